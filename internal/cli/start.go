package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"aloft/api"
	"aloft/client"

	"golang.org/x/sys/unix"
)

const (
	startPatience = 30 * time.Second      // for a daemon to answer
	startPause    = 10 * time.Millisecond // between two looks
)

// ensureDaemon returns a client of the home's daemon, after starting one in
// the background if none answers.
func (a *app) ensureDaemon(ctx context.Context) (*client.Client, error) {
	cl, err := a.connect()
	if err != nil {
		return nil, err
	}
	if _, err := cl.Daemon(ctx); !errors.Is(err, client.ErrNoDaemon) || a.contextName() != "" {
		return cl, a.notRunning(err)
	}
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	unlock, err := a.lockHome(ctx, home)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Another command may have been faster; the daemon may have recorded a
	// socket elsewhere by now.
	a.client.Close()
	a.client = client.New(client.SocketPath(home, a.Getenv))
	if _, err := a.client.Daemon(ctx); !errors.Is(err, client.ErrNoDaemon) {
		return a.client, err
	}
	st, err := a.startDaemon(ctx, home)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(a.Stderr, "aloft: started a daemon in the background (pid %d, state in %s)\n", st.PID, home)
	a.client.Close()
	a.client = nil
	return a.connect() // with the ways that it has recorded
}

// lockHome makes the home, unless it is there, and waits until no other command
// starts its daemon or changes what it is.
func (a *app) lockHome(ctx context.Context, home string) (unlock func(), err error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, orFull(filepath.Dir(home), fmt.Errorf("state folder: %w", err))
	}
	if unlock, err = lock(ctx, filepath.Join(home, "start.lock")); err != nil {
		return nil, orFull(home, err)
	}
	return unlock, nil
}

// lock waits until it holds the lock file at path alone.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, errInterrupted
		case <-time.After(startPause):
		}
	}
}

// startDaemon starts "aloft daemon run" in a session of its own, logging to
// daemon.log in the home, and waits until it answers.
func (a *app) startDaemon(ctx context.Context, home string) (*api.DaemonStatus, error) {
	self := a.Self
	if self == "" {
		var err error
		if self, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("start a daemon: %w", err)
		}
	}
	logName := filepath.Join(home, "daemon.log")
	log, err := os.OpenFile(logName, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, orFull(home, fmt.Errorf("log of the daemon: %w", err))
	}
	defer log.Close()
	began, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("log of the daemon: %w", err)
	}
	args := []string{"--home", home, "daemon", "run"}
	if a.orphans != "" {
		args = append(args, "--orphans", a.orphans)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a daemon: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	late := time.After(startPatience)
	for {
		st, err := a.client.Daemon(ctx)
		if err == nil {
			return st, nil
		}
		if !errors.Is(err, client.ErrNoDaemon) && !errors.Is(err, client.ErrEnded) && ctx.Err() == nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, errInterrupted
		case err := <-ended:
			if full := a.fullDisk(); full != nil {
				return nil, full // and its log had no room to say so
			}
			return nil, fail("all of it is in "+logName, "the daemon ended while it started: %s%s", ending(err), tail(logName, began))
		case <-late:
			return nil, fail("its log is "+logName, "the daemon (pid %d) does not answer after %s%s", cmd.Process.Pid, startPatience, tail(logName, began))
		case <-time.After(startPause):
		}
		// Where it listens is known for sure once it has recorded that.
		if path := client.SocketPath(home, a.Getenv); path != a.client.Socket() {
			a.client.Close()
			a.client = client.New(path)
		}
	}
}

func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// tail returns the last lines of a log written from offset on, indented, for
// an error message.
func tail(name string, offset int64) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil || len(text) == 0 {
		return ""
	}
	list := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "\n    " + strings.Join(list[max(0, len(list)-lastLines):], "\n    ")
}
