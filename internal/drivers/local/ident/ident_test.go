package ident

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProcessIsKnownUntilItEnds(t *testing.T) {
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Of(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Alive() {
		t.Error("a running process is not alive")
	}
	other := p
	other.Start++ // the number, used again
	if other.Alive() {
		t.Error("another process of the same number is alive")
	}
	if err := other.End(t.Context(), unix.SIGKILL, time.Second); err != nil || !p.Alive() {
		t.Errorf("ending another process of the same number: %v; alive %t", err, p.Alive())
	}
	if err := p.End(t.Context(), unix.SIGKILL, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("an ended process is alive")
	}
	if _, err := Of(p.PID); !errors.Is(err, ErrGone) {
		t.Errorf("an ended child is still in the kernel's table: %v", err)
	}
}

func TestEndGivesUp(t *testing.T) {
	c := exec.Command("sh", "-c", "trap '' TERM; echo; exec sleep 1000")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	if _, err := out.Read(make([]byte, 1)); err != nil { // the trap is set
		t.Fatal(err)
	}
	p, err := Of(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.End(t.Context(), unix.SIGTERM, 30*time.Millisecond); err == nil {
		t.Error("a process that goes on was reported as ended")
	}
}

func TestAllFindsThisProcess(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.PID == os.Getpid() && e.Args[0] == os.Args[0] {
			return
		}
	}
	t.Error("this process is not among all")
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (a) b) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 1234 0"))
	f.Add([]byte(") Z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if start, state, err := parseStat(b); err == nil && state == 0 {
			t.Errorf("%q: start %d without a state", b, start)
		}
	})
}
