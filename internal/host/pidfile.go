package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// HoldNoted takes hold of the process whose id a program has noted in file, for
// somebody who may end it. The error says why there is none: it has ended, or
// what the file says is not to be believed. Anybody who can write the file could
// name any process there, and one that crashed leaves an id that another gets:
// the file is root's or the process's own user's, and no older than the process.
func HoldNoted(file string) (Held, error) {
	// No link is followed, and no other end of a pipe waited for.
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT:
		return Held{}, fmt.Errorf("there is no %s", file)
	case err == unix.ELOOP:
		return Held{}, fmt.Errorf("%s is a link, and no note of a process", file)
	case err != nil:
		return Held{}, fmt.Errorf("open %s: %w", file, err)
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Held{}, err
	}
	if !info.Mode().IsRegular() {
		return Held{}, fmt.Errorf("%s is no regular file", file)
	}
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return Held{}, err
	}
	text := strings.TrimSpace(string(b))
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		return Held{}, fmt.Errorf("%s says %q", file, text)
	}
	p, runs := Hold(pid)
	if !runs {
		return Held{}, fmt.Errorf("%s says %q", file, text)
	}
	if err := p.noted(info); err != nil {
		p.Release()
		return Held{}, fmt.Errorf("%s says %q: %w", file, text, err)
	}
	return p, nil
}

// clockTicks are those of /proc in a second, the same for all programs.
const clockTicks = 100

// notedSlack is what the clock of a file system may be behind, and more.
const notedSlack = time.Second

// noted tells whether the process can be the one that a file with this info
// names.
func (h Held) noted(info os.FileInfo) error {
	owner := info.Sys().(*syscall.Stat_t).Uid
	uid, err := userOf(h.pid)
	if err != nil {
		return err
	}
	if owner != 0 && owner != uid {
		return fmt.Errorf("the process is user %d's, the file user %d's", uid, owner)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return err
	}
	age := time.Duration(now.Nano()) - time.Duration(h.start)*(time.Second/clockTicks)
	if begun := time.Now().Add(-age); begun.After(info.ModTime().Add(notedSlack)) {
		return fmt.Errorf("the process began later, at %s", begun.Format(time.DateTime))
	}
	return nil
}

// userOf returns the user with whose rights a process acts.
func userOf(pid int) (uint32, error) {
	b, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			if fields := strings.Fields(ids); len(fields) > 1 { // real, effective
				uid, err := strconv.ParseUint(fields[1], 10, 32)
				return uint32(uid), err
			}
		}
	}
	return 0, errors.New("/proc does not say whose the process is")
}
