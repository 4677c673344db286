package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	var orphans string
	start := &cobra.Command{
		Use:   "start",
		Short: "Start a daemon in the background, unless one runs",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOrphans(orphans); err != nil {
				return usage(c, err)
			}
			cl, err := a.connectOwn()
			if err != nil {
				return err
			}
			if st, err := cl.Daemon(c.Context()); err == nil {
				if orphans != "" {
					return fail("end it first with: aloft daemon stop", "a daemon is running already (pid %d), and looks for orphans when it starts", st.PID)
				}
				fmt.Fprintf(a.Stdout, "A daemon is running already (pid %d).\n", st.PID)
				return nil
			}
			a.orphans = orphans
			_, err = a.ensureDaemon(c.Context())
			return err
		},
	}
	orphansFlag(start, &orphans)
	stop := &cobra.Command{
		Use:   "stop",
		Short: "End the daemon; machines go on",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.stopDaemon(c.Context()) },
	}
	c.AddCommand(a.daemonRunCommand(), start, stop, status)
	return c
}

// orphansFlag lets a command say what becomes of orphans.
func orphansFlag(c *cobra.Command, policy *string) {
	c.Flags().StringVar(policy, "orphans", "", `what becomes, from now on, of what is found at a start and belongs to nothing:
adopt (what a system has; the rest is ended), destroy, or keep (default: as before, at first adopt)`)
}

func checkOrphans(policy string) error {
	switch policy {
	case "", "adopt", "destroy", "keep":
		return nil
	}
	return fail("one of adopt, destroy, keep", "--orphans %s is none of the three", policy)
}

func (a *app) daemonRunCommand() *cobra.Command {
	var machine bool
	var orphans string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOrphans(orphans); err != nil {
				return usage(c, err)
			}
			if a.RunDaemon == nil {
				return errors.New("this program holds no daemon")
			}
			home, err := a.home()
			if err != nil {
				return err
			}
			o := DaemonOptions{Home: home, Socket: client.SocketPath(home, a.Getenv), Machine: machine, Version: a.build().Version, Orphans: orphans, Log: a.Stderr}
			err = a.RunDaemon(c.Context(), o)
			if errors.Is(err, context.Canceled) && c.Context().Err() != nil {
				return nil // asked to end by a signal, and did
			}
			return err
		},
	}
	c.Flags().BoolVar(&machine, "machine", false, "be the daemon of a machine: enrol with what its user data says")
	orphansFlag(c, &orphans)
	return c
}

func (a *app) daemonStatus(ctx context.Context) error {
	cl, err := a.connectOwn()
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
		{"name", orDash(st.Name)},
		{"roles", strings.Join(st.Roles, ", ")},
		{"state", state(st)},
		{"address", orDash(st.Address)},
		{"cluster", orDash(st.Cluster)},
		{"members", number(int64(st.Members))},
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

// state says how a daemon is, in a few words.
func state(st *api.DaemonStatus) string {
	text := orDash(st.State)
	if st.Reason != "" {
		text += ": " + st.Reason
	}
	if st.State == api.DaemonReady && !st.Quorum {
		if slices.Contains(st.Roles, api.RoleManage) {
			return text + ", without a majority of the managers: it reads, and changes nothing"
		}
		return text + ", without a manager in reach"
	}
	return text
}

func (a *app) stopDaemon(ctx context.Context) error {
	cl, err := a.connectOwn()
	if err != nil {
		return err
	}
	home, err := a.home()
	if err != nil {
		return err
	}
	res, err := cl.StopDaemon(ctx)
	// One that becomes another member, or none any more, answers nobody meanwhile.
	for late := time.Now().Add(stopPatience); errors.Is(err, client.ErrNoDaemon) && occupied(home) && time.Now().Before(late); {
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-time.After(startPause):
		}
		res, err = cl.StopDaemon(ctx)
	}
	if errors.Is(err, client.ErrNoDaemon) {
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

// occupied reports whether a process has the home.
func occupied(home string) bool {
	f, err := os.Open(filepath.Join(home, "daemon.lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
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
