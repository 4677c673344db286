package launch

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func begin(t *testing.T) *Child {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	c, err := Start("MARK=1", [3]uintptr{null.Fd(), null.Fd(), os.Stderr.Fd()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func end(t *testing.T, c *Child) unix.WaitStatus {
	t.Helper()
	var status unix.WaitStatus
	for {
		switch _, err := unix.Wait4(c.Pid, &status, 0, nil); {
		case err == nil:
			return status
		case !errors.Is(err, unix.EINTR):
			t.Fatal(err)
		}
	}
}

func TestChildEndsWithItsMaker(t *testing.T) {
	c := begin(t)
	c.Close() // as the maker's death does
	if status := end(t, c); status.ExitStatus() != 1 {
		t.Errorf("status %x", status)
	}
}

func TestChildThatWasKilledIsNoFailure(t *testing.T) {
	c := begin(t)
	if err := unix.Kill(c.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.Become(Request{Path: "/bin/true", Args: []string{"true"}, Dir: "/"}); err != nil {
		t.Error(err)
	}
	if status := end(t, c); status.Signal() != unix.SIGKILL {
		t.Errorf("status %x", status)
	}
}

// The child's own runtime has more address space than this, and must come
// through.
func TestProgramIsReachedUnderLimitsBelowWhatTheChildHas(t *testing.T) { reach(t, 1_000) }

// reach starts programs with 20 variables of a size under tight limits.
func reach(t *testing.T, size int) {
	t.Helper()
	env := make([]string, 20)
	for i := range env {
		env[i] = "X=" + strings.Repeat("x", size)
	}
	for range 20 {
		c := begin(t)
		err := c.Become(Request{
			Path: "/bin/sh", Args: []string{"sh", "-c", "exit 7"}, Env: env, Dir: "/",
			Limits: map[int]uint64{unix.RLIMIT_AS: 64 << 20, unix.RLIMIT_NOFILE: 10, unix.RLIMIT_NPROC: 1, unix.RLIMIT_FSIZE: 0},
		})
		if err != nil {
			t.Error(err)
		}
		if status := end(t, c); status.ExitStatus() != 7 {
			t.Errorf("status %x", status)
		}
	}
}

func TestFailureIsTold(t *testing.T) {
	c := begin(t)
	err := c.Become(Request{
		Path: "/no/such/program", Args: []string{"x"}, Dir: "/",
		Limits: map[int]uint64{unix.RLIMIT_AS: 1 << 20, unix.RLIMIT_NPROC: 1},
	})
	if failed, ok := errors.AsType[*Failed](err); !ok || failed.Limit != -1 || failed.Errno != unix.ENOENT {
		t.Errorf("error %v", err)
	}
	end(t, c)
}
