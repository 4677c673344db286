// Package cli is the command line: it reads and resolves descriptions, speaks
// to a daemon through client alone, and shows what comes back. It decides
// nothing about deployments and acts on no machine. The only process it ever
// starts is a daemon in the background; its goroutines end with their command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"aloft/api"
	"aloft/client"
	"aloft/component"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The exit statuses, beside those of commands run by exec.
const (
	exitError       = 1   // an error, wrong use, or a system that ends degraded
	exitChanges     = 2   // only plan: something would be done
	exitInterrupted = 130 // Ctrl-C
)

// DaemonOptions is what "aloft daemon run" was asked for.
type DaemonOptions struct {
	Home    string // state folder, absolute
	Socket  string // where the Service API has to listen
	Machine bool   // the daemon of a machine: it reads its enrolment and serves no API
	Version string // of the build
	Orphans string // what becomes of them from now on: adopt, destroy or keep; "": as before
	Log     io.Writer
}

// Deps is what main hands in, since the command line may not import it.
type Deps struct {
	// RunDaemon runs a daemon until ctx ends or it is stopped through its API.
	RunDaemon func(ctx context.Context, o DaemonOptions) error
	// PrepareMember makes a home what its daemon is to be in a cluster. It
	// changes nothing where it returns an error and no undo. Once nothing can
	// be refused any more it calls stop, which ends a daemon that runs. undo
	// takes back what was changed.
	PrepareMember func(ctx context.Context, o MemberOptions, stop func() error) (undo func() error, err error)
	// LeaveCluster deletes from a home, whose daemon does not run, what
	// belongs to its cluster.
	LeaveCluster func(ctx context.Context, home string, destroy bool) (destroyed int, err error)
	// Restore makes a home out of a backup. Nothing is changed where it returns
	// an error.
	Restore func(ctx context.Context, o RestoreOptions) (*Restored, error)
	// Recover makes the manager in a home, whose daemon does not run, the only
	// one of its cluster.
	Recover func(ctx context.Context, home string) (*Recovered, error)
	// ServeEditor runs the language server until the editor ends it.
	ServeEditor func(ctx context.Context, o EditorOptions) error
	// Class describes the component class of a name in sfClass. It is called
	// only by commands that ship sources.
	Class func(name string) (component.Class, bool)
	// Classes lists the component classes, for those who write descriptions;
	// may be nil.
	Classes func() []component.Class
	// TestComponent runs the conformance suite over a component of executables,
	// tells how it went, and ends the process: with status 0 where all was well,
	// else 1.
	TestComponent func(Trial)
	// Self is the program to start a background daemon from; "" for the one
	// that runs.
	Self string
	// Version is the version of the build.
	Version string

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

// app is one run of the command line.
type app struct {
	Deps
	homeFlag string
	// contextFlag is --context.
	contextFlag string
	// machineFlag is --machine, of the commands that have it.
	machineFlag string
	orphans     string // of "daemon start": what the daemon does about them
	format      string // of -o
	client      *client.Client
	stdin       []byte // the description on standard input, once read
}

// Run carries out one command and returns its exit status. Absent streams and
// environment are those of the process.
func Run(args []string, d Deps) int {
	if d.Stdin == nil {
		d.Stdin = os.Stdin
	}
	if d.Stdout == nil {
		d.Stdout = os.Stdout
	}
	if d.Stderr == nil {
		d.Stderr = os.Stderr
	}
	if d.Getenv == nil {
		d.Getenv = os.Getenv
	}
	a := &app{Deps: d}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	root := a.command()
	root.SetArgs(args)
	root.SetIn(d.Stdin)
	root.SetOut(d.Stdout)
	root.SetErr(d.Stderr)
	err := root.ExecuteContext(ctx)
	if a.client != nil {
		a.renewContext(ctx)
		a.client.Close()
	}
	return a.exit(ctx, err)
}

// exit tells what went wrong, once, and chooses the status.
func (a *app) exit(ctx context.Context, err error) int {
	status, quiet := errors.AsType[exitStatus](err)
	switch {
	case err == nil:
		return 0
	case quiet:
		return int(status)
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted)):
		fmt.Fprintln(a.Stderr, "aloft: interrupted")
		return exitInterrupted
	}
	a.tell(err)
	return exitError
}

// errInterrupted is an operation that Ctrl-C ended.
var errInterrupted = errors.New("interrupted")

// exitStatus ends a command that has said already what there was to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// remedied is an error with what to do about it.
type remedied struct {
	error
	remedy string
}

func (r remedied) Unwrap() error { return r.error }

func fail(remedy, format string, args ...any) error {
	return remedied{fmt.Errorf(format, args...), remedy}
}

// tell prints err as "aloft: what", and what to do on a line of its own.
func (a *app) tell(err error) {
	var remedy string
	text := err.Error()
	if r, ok := errors.AsType[remedied](err); ok {
		remedy = r.remedy
	} else if r, ok := errors.AsType[interface {
		error
		Remedy() string
	}](err); ok {
		remedy = r.Remedy() // as of what a home is prepared with, outside of this package
	} else if e, ok := errors.AsType[*api.Error](err); ok {
		text = strings.TrimSuffix(text, e.Error()) + e.Message
		remedy = e.Remedy
		switch {
		case len(e.Nearest) > 0:
			remedy = "did you mean " + strings.Join(e.Nearest, " or ") + "?"
		case e.Kind == api.KindConflict && e.Revision > 0 && !strings.Contains(text, fmt.Sprintf("revision %d", e.Revision)):
			text += fmt.Sprintf(" (revision %d, since %s)", e.Revision, e.Since.Local().Format("2006-01-02 15:04:05"))
		}
		if err := a.printDiagnostics(diagnostics(e.Diagnostics), "text"); err != nil {
			return // standard error is gone
		}
	}
	fmt.Fprintln(a.Stderr, "aloft: "+text)
	if remedy != "" {
		fmt.Fprintln(a.Stderr, "  "+remedy)
	}
}

// command builds the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "aloft",
		Short: "Deploy a described service over machines, and keep it running",
		Long: `aloft takes one description of a service, gets machines for it, and keeps every
component installed, bound, running and healthy.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		Args:              cobra.NoArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVar(&a.homeFlag, "home", "", "state folder (default $ALOFT_HOME, else aloft in the XDG state folder)")
	root.PersistentFlags().StringVar(&a.contextFlag, "context", "", "cluster to call, of those that 'aloft context list' shows (default $ALOFT_CONTEXT, else what 'context use' chose)")
	root.MarkFlagsMutuallyExclusive("home", "context")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddCommand(
		a.upCommand(), a.downCommand(), a.planCommand(), a.setCommand(), a.scaleCommand(), a.detachCommand(), a.historyCommand(), a.rollbackCommand(), a.parseCommand(), a.checkCommand(), a.explainCommand(), a.fmtCommand(), a.convertCommand(), a.graphCommand(), a.catalogCommand(), a.componentCommand(),
		a.systemsCommand(), a.statusCommand(), a.getCommand(), a.describeCommand(), a.dumpCommand(), a.pingCommand(), a.actionCommand(), a.machinesCommand(), a.endpointsCommand(),
		a.logsCommand(), a.eventsCommand(), a.execCommand(),
		a.secretCommand(), a.clusterCommand(), a.joinCommand(), a.backupCommand(), a.restoreCommand(), a.daemonCommand(), a.contextCommand(), a.userCommand(), a.doctorCommand(), a.versionCommand(), a.lspCommand(),
	)
	root.CompletionOptions.HiddenDefaultCmd = false
	usageErrors(root)
	return root
}

// usageErrors makes wrong arguments of every command below c say how the
// command is used.
func usageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(c, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

func usage(c *cobra.Command, err error) error {
	if _, ok := errors.AsType[remedied](err); ok {
		return err
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return remedied{errors.New(text), "usage: " + c.UseLine() + "; more: " + c.CommandPath() + " --help"}
}

// color reports whether w shows colours: a terminal, unless NO_COLOR is set.
func (a *app) color(w io.Writer) bool {
	return a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb" && terminal(w)
}

// terminal reports whether v, a reader or writer, is a terminal.
func terminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
