package host

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is a running process held by a pidfd, so that its pid cannot come to
// mean another process. It need not be a child of this daemon: one that a
// predecessor made is held the same way.
type child struct {
	procStat
	fd *os.File
}

// exit is how a process ended. The status of a process that was not our child
// is known only to kernels that keep it for the holder of a pidfd (6.15).
type exit struct {
	known  bool
	status syscall.WaitStatus
}

func (e exit) ok() bool { return e.known && e.status.Exited() && e.status.ExitStatus() == 0 }

func (e exit) String() string {
	switch {
	case !e.known:
		return "ended with a status that nobody saw"
	case e.status.Signaled():
		return fmt.Sprintf("was killed by signal %d (%s)", e.status.Signal(), e.status.Signal())
	default:
		return fmt.Sprintf("exited with status %d", e.status.ExitStatus())
	}
}

// hold takes hold of the process pid if it runs and began at start.
func hold(pid int, start uint64) (*child, bool) {
	c, err := grasp(pid)
	if err != nil {
		return nil, false
	}
	if c.start != start || c.dead() {
		if c.start == start {
			c.reap()
		}
		c.release()
		return nil, false
	}
	return c, true
}

// grasp takes hold of whatever process pid is, ended or not.
func grasp(pid int) (*child, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	c := &child{fd: os.NewFile(uintptr(fd), "pidfd")}
	// Only after the pidfd is open does the answer of /proc speak of this process.
	if c.procStat, err = readStat(pid); err != nil {
		c.release()
		return nil, err
	}
	return c, nil
}

func (c *child) release() { c.fd.Close() }

// wait blocks until the process has ended and reaps it if it is ours. It needs
// no thread while it waits. At the end of ctx it returns ctx's error.
func (c *child) wait(ctx context.Context) (exit, error) {
	raw, err := c.fd.SyscallConn()
	if err != nil {
		return exit{}, err
	}
	stop := context.AfterFunc(ctx, func() { c.fd.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			c.fd.SetReadDeadline(time.Time{})
		}
	}()
	if err := raw.Read(ended); err != nil {
		if ctx.Err() != nil {
			return exit{}, ctx.Err()
		}
		return exit{}, err
	}
	return c.reap(), nil
}

// ended reports whether the process behind a pidfd has ended.
func ended(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

func (c *child) reap() exit {
	var ws unix.WaitStatus
	for {
		pid, err := unix.Wait4(c.pid, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err == nil && pid == c.pid {
			return exit{known: true, status: syscall.WaitStatus(ws)}
		}
		break
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	err := c.control(func(fd int) error { return unix.IoctlPidfdInfo(fd, &info) })
	if err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
		return exit{known: true, status: syscall.WaitStatus(info.Exit_code)}
	}
	return exit{}
}

func (c *child) signal(sig syscall.Signal) error {
	err := c.control(func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
	if err == unix.ESRCH {
		return nil
	}
	return err
}

// control runs f on the pidfd, which must stay non-blocking: no Fd method.
func (c *child) control(f func(fd int) error) error {
	raw, err := c.fd.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// kill ends what is left of a family and waits until nothing is: processes
// may be forked while it looks, so it looks again.
func (f family) kill(ctx context.Context) error {
	for {
		left := f.members()
		if len(left) == 0 {
			return nil
		}
		for _, st := range left {
			c, ok := hold(st.pid, st.start)
			if !ok {
				continue
			}
			err := c.signal(syscall.SIGKILL)
			if err == nil {
				_, err = c.wait(ctx)
			}
			c.release()
			if err != nil {
				return fmt.Errorf("kill %s (pid %d): %w", programOf(st.pid), st.pid, err)
			}
		}
	}
}
