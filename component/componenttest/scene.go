package componenttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/value"
)

// Attrs returns attributes of a component, given as name and value in turn.
func Attrs(pairs ...any) *value.Component { return filled(false, pairs) }

// Data returns a data component, given as name and value in turn.
func Data(pairs ...any) *value.Component { return filled(true, pairs) }

func filled(data bool, pairs []any) *value.Component {
	c := value.NewComponent(data)
	for i := 0; i < len(pairs); i += 2 {
		c.Set(value.Attr{Name: pairs[i].(string), Value: pairs[i+1].(value.Value)})
	}
	return c
}

// Loop has run go on, as a daemon does, until it is ended; end returns when it
// has stopped.
func Loop(run func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = run(ctx) }()
	return func() { cancel(); <-done }
}

// Freeze stops a process, and returns when none of its threads runs any more.
func Freeze(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		running := slices.ContainsFunc(files, func(file string) bool {
			stat, err := os.ReadFile(file)
			_, rest, _ := strings.Cut(string(stat), ") ") // behind the name
			return err == nil && !strings.HasPrefix(rest, "T")
		})
		if !running {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d goes on", pid)
		}
	}
}

// Ports of tests, below those that the system gives to connections: none of
// these is in the way of a server that comes back.
const (
	firstPort = 20000
	portCount = 10000
)

// FreePort returns a port that nothing listens on, and that no other test on
// this machine gets until t has ended: between two tests of one network, whatever
// they see of the file system, the one that has the port's name has the port.
func FreePort(t testing.TB) value.Integer {
	t.Helper()
	start := rand.IntN(portCount)
	for i := range portCount {
		port := strconv.Itoa(firstPort + (start+i)%portCount)
		turn, err := net.Listen("unix", "@aloft-test-port-"+port)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			turn.Close()
			continue
		}
		l.Close()
		t.Cleanup(func() { turn.Close() })
		n, _ := strconv.Atoi(port)
		return value.Integer(n)
	}
	t.Fatal("no port is free")
	return 0
}
