package initd

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/names"
)

// leash is a pipe at which the machine's daemon says by when all that runs here
// is to be ended, unless it says another time before: nanoseconds of the clock
// that counts from the boot, also while the host is suspended, in eight bytes,
// little endian; 0 is never. A daemon that hangs says nothing, and neither
// could it end anything (runtime.md HL2). What one daemon has said holds for
// the next.
//
// The kernel tells by SIGIO that something was said: no time of the processor
// is spent where nobody says anything.
type leash struct {
	read  int
	write *os.File
	boot  func() time.Duration // the clock

	deadline time.Duration // 0: never
	pulled   time.Duration // when all was last ended for a deadline
}

// lookAgain is how long a deadline is waited for at a time: the waiting does
// not count while the host is suspended.
const lookAgain = time.Second

func newLeash() (*leash, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe", err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[0]), unix.F_SETOWN, os.Getpid()); err != nil {
		return nil, os.NewSyscallError("set the owner of a pipe", err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[0]), unix.F_SETFL, unix.O_NONBLOCK|unix.O_ASYNC); err != nil {
		return nil, os.NewSyscallError("have a pipe tell", err)
	}
	return &leash{read: fds[0], write: os.NewFile(uintptr(fds[1]), "leash"), boot: sinceBoot}, nil
}

func sinceBoot() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // every kernel that is served has it
	return time.Duration(t.Nano())
}

// hand adds what a daemon is given to its environment and files.
func (l *leash) hand(env []string, files []*os.File) ([]string, []*os.File) {
	if l == nil {
		return env, files
	}
	return append(slices.Clip(env), names.LeashVar+"="+strconv.Itoa(len(files))), append(files, l.write)
}

// pull takes in what the daemon has said, and reports whether a deadline has
// passed, and after what time to look again; 0 when something is said.
func (l *leash) pull() (over bool, look time.Duration) {
	if l == nil {
		return false, 0
	}
	l.hear()
	now := l.boot()
	switch {
	case l.deadline == 0 || l.deadline <= l.pulled:
		return false, 0 // what was to end then has ended
	case l.deadline <= now:
		l.pulled = now
		return true, 0
	}
	return false, min(l.deadline-now, lookAgain)
}

func (l *leash) hear() {
	var b [64 * 8]byte // what is written in eights is read in eights
	for {
		n, err := unix.Read(l.read, b[:])
		switch {
		case err == unix.EINTR:
		case err != nil || n < 8:
			return
		default:
			l.deadline = time.Duration(binary.LittleEndian.Uint64(b[n-8 : n]))
		}
	}
}
