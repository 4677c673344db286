// Command aloft is the command line, the daemon, and what runs inside the
// machines that the daemon makes: one binary.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"aloft/internal/cli"
	"aloft/internal/components/executables/trial"
	"aloft/internal/components/website"
	"aloft/internal/daemon"
	_ "aloft/internal/drivers/local/initd"
	"aloft/internal/sdl/lsp"
)

// version is set by the linker in releases.
var version = ""

func main() {
	// `aloft init`, process 1 of a light machine, does not come this far: initd
	// takes over while packages are initialised. Nor does what becomes the
	// program of a component with limits (host/launch).
	if len(os.Args) > 1 && os.Args[1] == "website" { // the process of a Website component
		os.Exit(website.Main(os.Args[2:]))
	}
	os.Exit(cli.Run(os.Args[1:], cli.Deps{
		Version: version, Class: daemon.Class, Classes: daemon.Classes, RunDaemon: runDaemon, ServeEditor: serveEditor,
		PrepareMember: func(ctx context.Context, o cli.MemberOptions, stop func() error) (func() error, error) {
			return daemon.PrepareMember(ctx, daemon.MemberOptions(o), stop)
		},
		TestComponent: func(t cli.Trial) { trial.Run(t.Class, t.Attrs, t.Sources) },
		LeaveCluster:  daemon.LeaveCluster,
		Restore: func(ctx context.Context, o cli.RestoreOptions) (*cli.Restored, error) {
			r, err := daemon.Restore(ctx, daemon.RestoreOptions(o))
			return (*cli.Restored)(r), err
		},
		Recover: func(ctx context.Context, home string) (*cli.Recovered, error) {
			r, err := daemon.Recover(ctx, home)
			return (*cli.Recovered)(r), err
		},
	}))
}

func serveEditor(ctx context.Context, o cli.EditorOptions) error {
	err := lsp.Run(ctx, lsp.Config{
		In: o.In, Out: o.Out, Log: o.Log, Version: o.Version, Now: time.Now, After: time.After, Alive: o.Alive,
		Classes: o.Classes, LibraryDir: o.LibraryDir, Self: o.Self, Flags: o.Flags,
	})
	if errors.Is(err, lsp.ErrNoShutdown) {
		return cli.ErrNoShutdown
	}
	return err
}

func runDaemon(ctx context.Context, o cli.DaemonOptions) error {
	return daemon.Run(ctx, daemon.Options{
		Home: o.Home, Socket: o.Socket, Machine: o.Machine, Version: o.Version, Log: o.Log, Environ: os.Environ(), Orphans: o.Orphans,
	})
}
