package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"aloft/client"
	"aloft/component"
	"aloft/internal/sdl/lsp"
	"aloft/value"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"aloft": func() {
		self, _ := exec.LookPath("aloft")
		os.Exit(Run(os.Args[1:], Deps{
			Self:    self,
			Version: "v0.0.0-test",
			Class:   classOf,
			ServeEditor: func(ctx context.Context, o EditorOptions) error {
				err := lsp.Run(ctx, lsp.Config{
					In: o.In, Out: o.Out, Log: o.Log, Version: o.Version, Now: time.Now, After: time.After, Alive: o.Alive,
				})
				if errors.Is(err, lsp.ErrNoShutdown) {
					return ErrNoShutdown
				}
				return err
			},
			RunDaemon: func(ctx context.Context, o DaemonOptions) error {
				if os.Getenv("FAKE_FAILS") != "" {
					return errors.New("the store of this home is damaged")
				}
				f, err := loadFake(os.Getenv("FAKE"))
				if err != nil {
					return err
				}
				if err := client.RecordSocket(o.Home, o.Socket); err != nil {
					return err
				}
				return f.serve(ctx, o.Socket)
			},
		}))
	}})
}

// classOf knows the one class that scripts ship sources with.
func classOf(name string) (component.Class, bool) {
	if name != "File" {
		return component.Class{}, false
	}
	return component.Class{Name: name, Attributes: []component.Attribute{
		{Name: "source", Source: true},
	}, Outputs: []component.Output{{Name: "workDir", Kind: value.KindString, Doc: "the component's work folder"}}}, true
}

// fakes are the fakes that a script has started, by home.
type fakes map[string]*fake

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ALOFT_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TZ", "UTC")
			e.Setenv("NO_COLOR", "1")
			e.Values["fakes"] = fakes{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// daemon [FILE] serves a fake daemon in the home, in this process.
			"daemon": func(ts *testscript.TestScript, _ bool, args []string) {
				file := ""
				if len(args) > 0 {
					file = ts.MkAbs(args[0])
				}
				f, err := loadFake(file)
				ts.Check(err)
				home := ts.Getenv("ALOFT_HOME")
				ts.Value("fakes").(fakes)[home] = f
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				socket := client.SocketPath(home, ts.Getenv)
				ts.Check(os.MkdirAll(home, 0o700))
				ts.Check(client.RecordSocket(home, socket))
				go func() { ended <- f.serve(ctx, socket) }()
				ts.Defer(func() {
					cancel()
					if err := <-ended; err != nil {
						t.Error(err)
					}
				})
				cl := client.New(socket)
				defer cl.Close()
				for errors.Is(err, client.ErrNoDaemon) || err == nil {
					if _, err = cl.Daemon(ctx); err == nil {
						return
					}
				}
				ts.Check(err)
			},
			// exits STATUS COMMAND… runs a command that must end so.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				got := 0
				if e, ok := errors.AsType[*exec.ExitError](err); ok {
					got = e.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("exit status %d, want %d", got, want)
				}
			},
			// asked FILE writes what plan requests and contents the fake got.
			"asked": func(ts *testscript.TestScript, _ bool, args []string) {
				f := ts.Value("fakes").(fakes)[ts.Getenv("ALOFT_HOME")]
				f.mu.Lock()
				defer f.mu.Unlock()
				text, err := json.MarshalIndent(map[string]any{"requests": f.requests, "blobs": f.blobs, "applied": f.applied}, "", "  ")
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(text, '\n'), 0o600))
			},
		},
	})
}
