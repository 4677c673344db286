package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"aloft/api"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) execCommand() *cobra.Command {
	var dir string
	var env []string
	c := &cobra.Command{
		Use:   "exec MACHINE -- COMMAND [ARG]...",
		Short: "Run a command on a machine; the exit status is the command's",
		Long: `Run a command on a machine, which is named SYSTEM/PATH as 'aloft machines'
prints it, or by its address after --machine, and then asked itself, without a
manager. On a terminal the command gets one too. The exit status is the
command's, 128 and the signal's number if a signal ended it.`,
		ValidArgsFunction: a.completeMachine,
		RunE: func(c *cobra.Command, args []string) error {
			dash := c.ArgsLenAtDash()
			if a.machineFlag != "" && dash == 0 && len(args) > 0 {
				return a.execOn(c.Context(), a.machineFlag, api.ExecRequest{Command: args, Dir: dir, Env: env})
			}
			if dash < 1 || dash > 2 || dash == len(args) {
				return usage(c, fail("usage: "+c.UseLine(), "exec needs a machine, then --, then a command"))
			}
			name, err := machine(args[:dash])
			if err != nil {
				return err
			}
			return a.execOn(c.Context(), name, api.ExecRequest{Command: args[dash:], Dir: dir, Env: env})
		},
	}
	a.machineAddress(c)
	c.Flags().StringVarP(&dir, "dir", "w", "", "`folder` to run it in")
	c.Flags().StringArrayVarP(&env, "env", "e", nil, "`NAME=VALUE` for its environment; may repeat")
	return c
}

// execOn runs a command; the error tells its exit status.
func (a *app) execOn(ctx context.Context, machine string, r api.ExecRequest) error {
	status, err := a.exec(ctx, machine, r)
	if err != nil {
		return a.notRunning(err)
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}

func (a *app) exec(ctx context.Context, machine string, r api.ExecRequest) (int, error) {
	cl, err := a.connect()
	if err != nil {
		return 0, err
	}
	s := api.ExecStreams{Stdin: a.Stdin, Stdout: a.Stdout, Stderr: a.Stderr}
	in, isFile := a.Stdin.(*os.File)
	if !isFile || !terminal(a.Stdin) || !terminal(a.Stdout) {
		return cl.Exec(ctx, machine, r, s)
	}
	// The machine's terminal does the editing and echoing; this one passes
	// every key on, Ctrl-C too.
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return 0, err
	}
	defer func() { _ = term.Restore(int(in.Fd()), old) }()
	size := func() (api.WindowSize, bool) {
		cols, rows, err := term.GetSize(int(in.Fd()))
		return api.WindowSize{Rows: uint16(rows), Cols: uint16(cols)}, err == nil
	}
	r.TTY = true
	r.Size, _ = size() // 0 by 0 if unknown
	if t := a.Getenv("TERM"); t != "" {
		r.Env = append([]string{"TERM=" + t}, r.Env...)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resize := make(chan api.WindowSize)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			now, ok := size()
			if !ok {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case resize <- now:
			}
		}
	}()
	s.Resize = resize
	return cl.Exec(ctx, machine, r, s)
}
