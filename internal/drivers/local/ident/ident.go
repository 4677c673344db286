// Package ident tells processes apart for certain. A process number alone is
// used again after its process ended; together with the moment of its start it
// names one process until the host is booted again. The package never decides
// by a program's name, and starts no goroutines.
package ident

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process names one process of this boot of the host.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks from the host's boot
	Boot  string `json:"boot"`  // id of that boot
}

// glance is how often a wait for a process looks whether it is still wanted.
const glance = 20 * time.Millisecond

// ErrGone says that the process has ended.
var ErrGone = errors.New("process has ended")

// Boot returns the id of the host's present boot.
func Boot() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// Of returns the process that has the number pid now; ErrGone if there is
// none, or it has ended and waits for its parent.
func Of(pid int) (Process, error) {
	boot, err := Boot()
	if err != nil {
		return Process{}, err
	}
	start, state, err := stat(pid)
	if err != nil {
		return Process{}, err
	}
	if state == 'Z' || state == 'X' {
		return Process{}, ErrGone
	}
	return Process{PID: pid, Start: start, Boot: boot}, nil
}

// stat reads the start time and the state of a process.
func stat(pid int) (start uint64, state byte, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, 0, ErrGone
	} else if err != nil {
		return 0, 0, err
	}
	return parseStat(b)
}

// parseStat reads the line of /proc/PID/stat. The second field, the program's
// name in brackets, may itself hold spaces and brackets.
func parseStat(b []byte) (start uint64, state byte, err error) {
	const fieldState, fieldStart = 0, 19 // counted from the field after the name
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return 0, 0, errors.New("process status without a name")
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) <= fieldStart || len(fields[fieldState]) != 1 {
		return 0, 0, errors.New("process status too short")
	}
	start, err = strconv.ParseUint(fields[fieldStart], 10, 64)
	return start, fields[fieldState][0], err
}

// Alive reports whether the process runs. A child of ours that has ended is
// released on the way.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, err := Of(p.PID)
	if err == nil {
		return now == p
	}
	if errors.Is(err, ErrGone) {
		p.release()
	}
	return false
}

// release takes the process out of the kernel's table if it is a child of ours
// that has ended. Another's child is left to its parent.
func (p Process) release() {
	if start, state, err := stat(p.PID); err == nil && start == p.Start && state == 'Z' {
		_, _ = unix.Wait4(p.PID, nil, unix.WNOHANG, nil)
	}
}

// Signal sends a signal to exactly this process; ErrGone if it has ended.
func (p Process) Signal(sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); errors.Is(err, unix.ESRCH) {
		return ErrGone
	} else if err != nil {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// End sends a signal and waits until the process has ended, until ctx ends or
// for limit at most. Of a light machine's process 1, all processes of the machine have then ended.
func (p Process) End(ctx context.Context, sig unix.Signal, limit time.Duration) error {
	fd, err := p.open()
	if errors.Is(err, ErrGone) {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	for until := time.Now().Add(limit); ; {
		left := min(time.Until(until), glance)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, max(int(left.Milliseconds()), 0))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for process %d: %w", p.PID, err)
		case n > 0:
			p.release()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(until):
			return fmt.Errorf("process %d has not ended within %s of %s", p.PID, limit, unix.SignalName(sig))
		}
	}
}

// open returns a descriptor of the process. That the number still is this
// process is checked after it is opened, so it cannot become another's.
func (p Process) open() (int, error) {
	if p.PID <= 0 {
		return -1, ErrGone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, ErrGone
	} else if err != nil {
		return -1, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	if now, err := Of(p.PID); err != nil || now != p {
		unix.Close(fd)
		if err == nil || errors.Is(err, ErrGone) {
			p.release()
			err = ErrGone
		}
		return -1, err
	}
	return fd, nil
}

// Entry is a process as a walk over all sees it.
type Entry struct {
	Process
	Args []string // the program's name first
}

// All returns the processes this one may see, with their arguments. Those that
// end meanwhile are left out.
func All() ([]Entry, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		p, err := Of(pid)
		if err != nil {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		all = append(all, Entry{p, split(line)})
	}
	return all, nil
}

// Environ returns the variables a process was started with; none if they may
// not be read.
func (p Process) Environ() []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
	if err != nil {
		return nil
	}
	return split(b)
}

func split(b []byte) []string {
	s := strings.TrimSuffix(string(b), "\x00")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\x00")
}
