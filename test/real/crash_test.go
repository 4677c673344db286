package real

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

// sleepers is a description of n machines with a process each.
func sleepers(n int) string {
	var b strings.Builder
	b.WriteString("sfConfig extends {\n")
	for i := range n {
		fmt.Fprintf(&b, "  m%d extends VM { p extends Process { command [| \"sleep\", \"infinity\" |]; } }\n", i+1)
	}
	b.WriteString("}\n")
	return b.String()
}

// processes counts the machines and the sleepers of a home.
func processes(t *testing.T, id string) (machines, sleepers int) {
	t.Helper()
	for _, pid := range bearers(t, id) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		switch {
		case strings.Contains(string(args), "init\x00--home-id"):
			machines++
		case strings.HasPrefix(string(args), "sleep\x00infinity"):
			sleepers++
		}
	}
	return machines, sleepers
}

func TestManagerKilledDuringUpLosesAndDoublesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const machines = 8
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("repeat with SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := newHome(t)
	file := h.write("crash", sleepers(machines))
	for round := range 6 {
		up := h.command("up", file, "-y")
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.Int64N(int64(900 * time.Millisecond)))) // the seeded point of the crash
		var st api.DaemonStatus
		if out, err := h.command("daemon", "status", "-o", "json").Output(); err == nil && jsonOf(out, &st) {
			_ = syscall.Kill(st.PID, syscall.SIGKILL) // it may just have ended
		}
		_ = up.Wait() // it says that the daemon is gone, or has been faster
		if round%2 == 1 {
			// Killed again while it takes up the work.
			if out, err := h.command("daemon", "start").CombinedOutput(); err != nil {
				t.Fatalf("start: %v\n%s", err, out)
			}
			time.Sleep(time.Duration(r.Int64N(int64(300 * time.Millisecond))))
			kill(t, h.pid())
		}
		h.do("up", file, "-y")
		for _, c := range h.status("crash").Components {
			if c.State != api.ComponentRunning {
				t.Errorf("round %d: %s is %s: %s", round, c.Path, c.State, c.Reason)
			}
		}
		if m, s := processes(t, h.id()); m != machines || s != machines {
			t.Errorf("round %d: %d machines and %d processes, want %d of each", round, m, s, machines)
		}
		h.do("down", "crash", "-y")
		if m, s := processes(t, h.id()); m != 0 || s != 0 {
			t.Errorf("round %d: %d machines and %d processes are left", round, m, s)
		}
	}
}

func TestComponentKeepsRunningWhileItsMachinesDaemonIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", h.write("one", sleepers(1)), "-y")
	before := strings.TrimSpace(h.do("get", "one", "m1:p:pid"))
	// A command's parent is the machine's daemon.
	h.try("exec", "one/m1", "--", "sh", "-c", "kill -9 $PPID")
	eventually(t, 10*time.Second, "the machine answers again", func() bool {
		out, status := h.try("exec", "one/m1", "--", "cat", "/proc/"+before+"/cmdline")
		return status == 0 && strings.Contains(out, "sleep")
	})
	if after := strings.TrimSpace(h.do("get", "one", "m1:p:pid")); after != before {
		t.Errorf("process %s was restarted as %s", before, after)
	}
}

func TestKilledProcessIsRestartedByItsMachineWithoutAManager(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", h.write("one", sleepers(1)), "-y")
	id := h.id()
	h.do("daemon", "stop")
	victim := sleeper(t, id)
	if victim == 0 {
		t.Fatal("no process")
	}
	kill(t, victim)
	eventually(t, 15*time.Second, "the process runs again", func() bool {
		pid := sleeper(t, id)
		return pid != 0 && pid != victim
	})
	h.do("daemon", "start")
	eventually(t, 10*time.Second, "the manager knows", func() bool {
		return component(t, h.status("one"), "m1:p").State == api.ComponentRunning
	})
}

// sleeper returns the host's process id of a home's sleeper.
func sleeper(t *testing.T, id string) int {
	t.Helper()
	for _, pid := range bearers(t, id) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.HasPrefix(string(args), "sleep\x00") {
			return pid
		}
	}
	return 0
}

func TestDaemonStopEndsNoMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", h.write("two", sleepers(2)), "-y")
	pid := h.do("get", "two", "m1:p:pid")
	if out := h.do("daemon", "stop"); !strings.Contains(out, "2 machines") {
		t.Errorf("stop said\n%s", out)
	}
	if m, s := processes(t, h.id()); m != 2 || s != 2 {
		t.Errorf("%d machines and %d processes go on", m, s)
	}
	h.do("daemon", "start")
	eventually(t, 10*time.Second, "the machines answer", func() bool {
		_, status := h.try("exec", "two/m1", "--", "true")
		return status == 0
	})
	if now := h.do("get", "two", "m1:p:pid"); now != pid {
		t.Errorf("process %s was restarted as %s", pid, now)
	}
}

func TestMachinesComeBackWithTheirDisksAfterTheHostsReboot(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", h.write("one", sleepers(1)), "-y")
	h.do("exec", "one/m1", "--", "sh", "-c", "echo kept > /etc/kept")
	// A reboot ends every process, without asking; the links go with them.
	kill(t, h.pid())
	for _, pid := range bearers(t, h.id()) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // most are gone with their machine's first process
	}
	links, err := filepath.Glob("/sys/class/net/*" + h.id() + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if out, err := exec.Command("ip", "link", "delete", filepath.Base(l)).CombinedOutput(); err != nil {
			t.Logf("%s: %s", l, out) // a veth goes with its machine
		}
	}
	h.do("daemon", "start")
	eventually(t, 20*time.Second, "the machine answers with its disk", func() bool {
		out, status := h.try("exec", "one/m1", "--", "cat", "/etc/kept")
		return status == 0 && strings.TrimSpace(out) == "kept"
	})
	eventually(t, 20*time.Second, "the process runs again", func() bool {
		_, s := processes(t, h.id())
		return s == 1 && component(t, h.status("one"), "m1:p").State == api.ComponentRunning
	})
}

func TestKilledMachineIsStartedAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", h.write("one", sleepers(1)), "-y")
	for _, pid := range bearers(t, h.id()) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(args), "init\x00--home-id") {
			kill(t, pid)
		}
	}
	eventually(t, 30*time.Second, "machine and process run again", func() bool {
		m, s := processes(t, h.id())
		return m == 1 && s == 1 && component(t, h.status("one"), "m1").State == api.ComponentRunning
	})
}
