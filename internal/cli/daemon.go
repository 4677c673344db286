package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"aloft/api"
	"aloft/client"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// stopPatience is how long stop waits for the daemon to be gone.
const stopPatience = 30 * time.Second

func (a *app) daemonCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "daemon",
		Short: "Run, start, stop the daemon, or say what it is",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.daemonStatus(c.Context()) },
	}
	a.outputFlag(c)
	status := &cobra.Command{
		Use:   "status",
		Short: "Say what the daemon is",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.daemonStatus(c.Context()) },
	}
	a.outputFlag(status)
	start := &cobra.Command{
		Use:   "start",
		Short: "Start a daemon in the background, unless one runs",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			if st, err := cl.Daemon(c.Context()); err == nil {
				fmt.Fprintf(a.Stdout, "A daemon is running already (pid %d).\n", st.PID)
				return nil
			}
			_, err = a.ensureDaemon(c.Context())
			return err
		},
	}
	stop := &cobra.Command{
		Use:   "stop",
		Short: "End the daemon; machines go on",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.stopDaemon(c.Context()) },
	}
	c.AddCommand(a.daemonRunCommand(), start, stop, status)
	return c
}

func (a *app) daemonRunCommand() *cobra.Command {
	var machine bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.RunDaemon == nil {
				return errors.New("this program holds no daemon")
			}
			home, err := a.home()
			if err != nil {
				return err
			}
			o := DaemonOptions{Home: home, Socket: client.SocketPath(home, a.Getenv), Machine: machine, Version: a.build().Version, Log: a.Stderr}
			err = a.RunDaemon(c.Context(), o)
			if errors.Is(err, context.Canceled) && c.Context().Err() != nil {
				return nil // asked to end by a signal, and did
			}
			return err
		},
	}
	c.Flags().BoolVar(&machine, "machine", false, "be the daemon of a machine: enrol with what its user data says")
	return c
}

func (a *app) daemonStatus(ctx context.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	st, err := cl.Daemon(ctx)
	if err != nil {
		return a.notRunning(err)
	}
	if a.format != "table" && a.format != "wide" {
		return a.print(answer{value: st, names: []string{number(int64(st.PID))}})
	}
	fmt.Fprintf(a.Stdout, "The daemon is running.\n\n")
	rows := [][2]string{
		{"pid", number(int64(st.PID))},
		{"roles", strings.Join(st.Roles, ", ")},
		{"address", orDash(st.Address)},
		{"version", orDash(st.Version)},
		{"home", st.Home},
		{"home id", st.HomeID},
		{"systems", number(int64(st.Systems))},
		{"machines", number(int64(st.Machines))},
	}
	for _, r := range rows {
		fmt.Fprintf(a.Stdout, "%-9s %s\n", r[0], r[1])
	}
	return nil
}

func (a *app) stopDaemon(ctx context.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	res, err := cl.StopDaemon(ctx)
	if errors.Is(err, client.ErrNoDaemon) {
		home, err := a.home()
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Stdout, "No daemon is running for %s.\n", home)
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.gone(ctx, cl, res); err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "The daemon (pid %d) has ended; %s.\n", res.PID, goOn(res.Machines))
	return nil
}

func goOn(machines int) string {
	switch machines {
	case 0:
		return "there are no machines"
	case 1:
		return "1 machine goes on"
	}
	return fmt.Sprintf("%d machines go on", machines)
}

// gone waits until nobody answers at the socket any more and the process has
// ended, so that another daemon can have the home.
func (a *app) gone(ctx context.Context, cl *client.Client, res *api.StopResult) error {
	late := time.After(stopPatience)
	for {
		_, err := cl.Daemon(ctx)
		if errors.Is(err, client.ErrNoDaemon) && ended(res.PID) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-late:
			return fail("its log is daemon.log in the state folder", "the daemon (pid %d) has not ended after %s", res.PID, stopPatience)
		case <-time.After(startPause):
		}
	}
}

// ended reports whether the process has ended, be it reaped or not. Where the
// kernel cannot tell, it has.
func ended(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}
