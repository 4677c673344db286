// Package launch makes a process that has its limits, its user and its folder
// before the first instruction of its program. The kernel lets nobody but the
// process itself change them without a right that root in a container lacks;
// so the child is this program once more, which becomes the other by exec and
// thereby keeps its pid. It makes nothing but the one process and watches over
// none. It has no goroutines.
package launch

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Request says what the child becomes.
type Request struct {
	Path   string // the program's file
	Args   []string
	Env    []string
	Dir    string
	Limits map[int]uint64      // by number of the resource, in the units of setrlimit
	User   *syscall.Credential // nil: the caller's
}

// Failed says at what the child failed before it was the program.
type Failed struct {
	Limit int    // the resource whose limit was refused, else -1
	Hard  uint64 // the most that it may be
	Errno syscall.Errno
}

func (f *Failed) Error() string {
	if f.Limit >= 0 {
		return fmt.Sprintf("limit of resource %d, at most %d: %s", f.Limit, f.Hard, f.Errno)
	}
	return f.Errno.Error()
}

// Unwrap returns the number of the error.
func (f *Failed) Unwrap() error { return f.Errno }

// name is what the child is called until it is the program: nothing that is
// typed by chance.
const name = "aloft: launch"

// socket is the child's end of the connection to its maker.
const socket = 3

// Child is a process that waits to be told what it becomes.
type Child struct {
	Pid  int
	conn *os.File
}

// Start makes a process that leads a session of its own and has files as its
// standard ones. Until it is the program, mark, a variable, is all of its
// environment. It ends by itself if its maker dies or closes it before Become.
func Start(mark string, files [3]uintptr) (*Child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[1])
	conn := os.NewFile(uintptr(pair[0]), "launch")
	// The link leads to this program's file wherever it was moved to.
	pid, err := syscall.ForkExec("/proc/self/exe", []string{name}, &syscall.ProcAttr{
		Env:   []string{mark},
		Files: append(files[:], uintptr(pair[1])),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start this program once more: %w", err)
	}
	return &Child{Pid: pid, conn: conn}, nil
}

// Become returns when the child runs the program, or with a *Failed when it
// has ended instead. A child that was killed before is no failure: its end is
// there to be seen.
func (c *Child) Become(r Request) error {
	failed := new(Failed)
	err := gob.NewEncoder(c.conn).Encode(r)
	if err == nil {
		err = gob.NewDecoder(c.conn).Decode(failed)
	}
	switch {
	case err == nil:
		return failed
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return nil // the child's end is closed by exec, as by its death
	}
	return err
}

// Close lets go of the child.
func (c *Child) Close() { c.conn.Close() }

// Waits reports whether the process is a child that is not the program yet.
func Waits(pid int) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && string(args) == name+"\x00"
}

// Set changes the limit of a process, 0 being the calling one, and returns the
// most that it may be without a right. If root asks, the limit is hard; the
// program of another user may raise it again up to that most.
func Set(pid, resource int, want uint64) (hard uint64, err error) {
	var limit unix.Rlimit
	// Not asked of pid: that takes the same right as changing it.
	if err := unix.Prlimit(0, resource, nil, &limit); err != nil {
		return 0, err
	}
	hard = limit.Max
	limit.Cur = want
	if os.Geteuid() == 0 {
		limit.Max = want
	}
	return hard, unix.Prlimit(pid, resource, &limit, nil)
}

// init makes a child what it shall be, on the thread it began with and before
// what it has no need of is initialised.
func init() {
	if len(os.Args) == 1 && os.Args[0] == name {
		become(os.NewFile(socket, "launch"))
	}
}

// become never returns.
func become(conn *os.File) {
	unix.CloseOnExec(socket)
	// What is sampled now and then, and a thread for more than one thing at once,
	// would need memory beyond the limits.
	runtime.MemProfileRate = 0
	runtime.GOMAXPROCS(1)
	r, err := readRequest(conn)
	if err != nil {
		os.Exit(1) // the maker is gone
	}
	failed := &Failed{Limit: -1}
	if err = r.exec(failed); !errors.As(err, &failed.Errno) {
		failed.Errno = unix.EINVAL
	}
	if err := gob.NewEncoder(conn).Encode(failed); err != nil {
		fmt.Fprintln(os.Stderr, failed)
	}
	os.Exit(1)
}

func readRequest(from io.Reader) (r Request, err error) {
	err = gob.NewDecoder(from).Decode(&r)
	return r, err
}

// exec returns only if it cannot run the program.
func (r *Request) exec(failed *Failed) error {
	// The limits hold for this program, too, as long as it is there, and may be
	// less than it has already. The rehearsal of what Exec does, and the
	// collection, leave its runtime threads and memory enough to need no more.
	for _, texts := range [][]string{r.Args, r.Env} {
		if _, err := syscall.SlicePtrFromStrings(texts); err != nil {
			return err
		}
	}
	runtime.GC()
	// As who made this process: a right to raise them goes with the user.
	for resource, want := range r.Limits {
		if hard, err := Set(0, resource, want); err != nil {
			failed.Limit, failed.Hard = resource, hard
			return err
		}
	}
	if u := r.User; u != nil {
		groups := make([]int, len(u.Groups))
		for i, g := range u.Groups {
			groups[i] = int(g)
		}
		if err := syscall.Setgroups(groups); err != nil {
			return err
		}
		if err := syscall.Setgid(int(u.Gid)); err != nil {
			return err
		}
		if err := syscall.Setuid(int(u.Uid)); err != nil {
			return err
		}
	}
	// As the user: it may have no way to the folder.
	if err := syscall.Chdir(r.Dir); err != nil {
		return err
	}
	return syscall.Exec(r.Path, r.Args, r.Env)
}
