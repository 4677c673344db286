package real

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/api"
	"aloft/client"
)

// takeOver is how soon another manager owns a dead one's systems.
const takeOver = 3 * time.Second

// three are three managers a, b, c at the addresses 127.0.N.1 to 3, the first
// of which alone is a host.
func three(t *testing.T, n int) (all []*home) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
	at := func(i int) string { return fmt.Sprintf("127.0.%d.%d:7400", n, i+1) }
	for i, name := range []string{"a", "b", "c"} {
		h := newHome(t)
		if i == 0 {
			h.do("cluster", "init", "--listen", at(0), "--name", name)
		} else {
			h.join(all[0], at(0), at(i), "manage", name)
		}
		all = append(all, h)
	}
	return all
}

// starters is a description of n machines with a process each, which writes
// down on its machine that it was started.
func starters(n int) string {
	var b strings.Builder
	b.WriteString("sfConfig extends {\n")
	for i := range n {
		fmt.Fprintf(&b, "  m%d extends VM { p extends Process { command [| \"/bin/sh\", \"-c\", \"echo start >> /starts; exec sleep infinity\" |]; } }\n", i+1)
	}
	b.WriteString("}\n")
	return b.String()
}

// once fails the test unless host has n machines, on each of which the process
// was started once and runs.
func once(t *testing.T, host, ask *home, system string, n int) {
	t.Helper()
	if m, s := processes(t, host.id()); m != n || s != n {
		t.Errorf("%d machines and %d processes, want %d of each", m, s, n)
	}
	for i := range n {
		machine := fmt.Sprintf("%s/m%d", system, i+1)
		if out := ask.do("exec", machine, "--", "cat", "/starts"); out != "start\n" {
			t.Errorf("starts on %s: %q", machine, out)
		}
	}
}

// owner returns who owns a system, as h is told; nil where nobody says so.
func (h *home) owner(system string) *api.SystemOwner {
	h.t.Helper()
	var list []api.System
	out, err := h.command("systems", "-o", "json").Output()
	if err != nil || !jsonOf(out, &list) {
		return nil
	}
	for _, s := range list {
		if s.Name == system {
			return s.Owner
		}
	}
	return nil
}

// plan returns the id of the newest plan of a system.
func (h *home) plan(system string) string {
	h.t.Helper()
	c := client.New(client.SocketPath(h.dir, func(string) string { return "" }))
	defer c.Close()
	d, err := c.Deployment(h.t.Context(), system)
	if err != nil {
		h.t.Fatal(err)
	}
	return d.Plan
}

// up begins to make a system, and returns once it has an owner as witness sees.
func (h *home) up(witness *home, system, text string) (up *exec.Cmd, said *bytes.Buffer, owner api.SystemOwner) {
	h.t.Helper()
	said = &bytes.Buffer{}
	up = h.command("up", h.write(system, text), "-y")
	up.Stdout, up.Stderr = said, said
	if err := up.Start(); err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, 10*time.Second, system+" has an owner", func() bool {
		o := witness.owner(system)
		if o != nil {
			owner = *o
		}
		return o != nil
	})
	return up, said, owner
}

// succeeds returns once another than the manager before owns a system, and how
// long that took.
func succeeds(t *testing.T, witness *home, system string, before api.SystemOwner) (api.SystemOwner, time.Duration) {
	t.Helper()
	begun := time.Now()
	var now api.SystemOwner
	eventually(t, takeOver, "another owner of "+system, func() bool {
		o := witness.owner(system)
		if o != nil {
			now = *o
		}
		return o != nil && o.Name != before.Name
	})
	if now.Fence <= before.Fence {
		t.Errorf("the new owner's fence is %d, the old one's was %d", now.Fence, before.Fence)
	}
	return now, time.Since(begun)
}

// RT-07 DI6: whichever of three managers takes a request, when it dies another
// goes on with the same plan within three seconds, and no step is done twice.
func TestRT07DI6AnotherManagerGoesOnWithTheSamePlan(t *testing.T) {
	all := three(t, 84)
	host := all[0]
	for i, h := range all[1:] {
		witness := all[2-i] // the third
		system := fmt.Sprint("s", i)
		up, said, before := h.up(host, system, starters(3))
		plan := host.plan(system)
		victim := h.pid()
		if before.PID != victim {
			t.Errorf("%s is owned by %+v, not by who took it (%d)", system, before, victim)
		}
		if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_, took := succeeds(t, witness, system, before)
		t.Logf("taken over in %s", took.Round(time.Millisecond))
		if err := up.Wait(); err != nil {
			t.Errorf("up: %v\n%s", err, said)
		}
		if now := host.plan(system); now != plan {
			t.Errorf("plan %s became %s", plan, now)
		}
		once(t, host, witness, system, 3)
		host.do("down", system, "-y")
		h.do("daemon", "start")
	}
}

// RT-06: an owner that is stopped during an update, and goes on when another
// owns the system, steps down: what it says late is refused, nothing is done
// twice.
func TestRT06StoppedOwnerStepsDown(t *testing.T) {
	all := three(t, 85)
	host, h, witness := all[0], all[1], all[2]
	h.do("up", h.write("s", starters(1)), "-y")
	up := h.command("up", h.write("s", starters(3)), "-y")
	var said bytes.Buffer
	up.Stdout, up.Stderr = &said, &said
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the update has begun", func() bool {
		return len(witness.status("s").Components) > 3
	})
	before := witness.owner("s")
	if before == nil || before.PID != h.pid() {
		t.Fatalf("the owner is %+v", before)
	}
	if err := syscall.Kill(before.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(before.PID, syscall.SIGCONT) }()
	now, took := succeeds(t, witness, "s", *before)
	t.Logf("taken over in %s by %s", took.Round(time.Millisecond), now.Name)
	if err := up.Wait(); err != nil {
		t.Errorf("up: %v\n%s", err, said.String())
	}
	if err := syscall.Kill(before.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the former owner knows who owns it", func() bool {
		o := h.owner("s")
		return o != nil && *o == now
	})
	if pid := h.pid(); pid != before.PID {
		t.Errorf("the former owner %d is %d now", before.PID, pid)
	}
	once(t, host, h, "s", 3)
	witness.do("down", "s", "-y")
}

// DI9: with all managers dead components go on, and what dies is restarted; when
// the managers are back nothing is restarted.
func TestDI9ComponentsNeedNoneOfTheManagers(t *testing.T) {
	all := three(t, 86)
	host := all[0]
	all[1].do("up", all[1].write("s", starters(2)), "-y")
	pids := func() string { return host.do("get", "s", "m1:p:pid") + host.do("get", "s", "m2:p:pid") }
	before, id := pids(), host.id()
	for _, h := range all {
		kill(t, h.pid())
	}
	if m, s := processes(t, id); m != 2 || s != 2 {
		t.Errorf("%d machines and %d processes without a manager", m, s)
	}
	victim := sleeper(t, id)
	kill(t, victim)
	eventually(t, 15*time.Second, "the process runs again", func() bool {
		_, s := processes(t, id)
		return s == 2
	})
	for _, h := range all {
		h.do("daemon", "start")
	}
	eventually(t, 20*time.Second, "the managers answer for the system", func() bool {
		out, status := all[2].try("exec", "s/m1", "--", "cat", "/starts")
		return status == 0 && strings.HasPrefix(out, "start\n")
	})
	starts := all[2].do("exec", "s/m1", "--", "cat", "/starts") + all[2].do("exec", "s/m2", "--", "cat", "/starts")
	if n := strings.Count(starts, "start\n"); n != 3 {
		t.Errorf("%d starts, want 2 and one more for the process that died", n)
	}
	if after := pids(); after == before {
		t.Errorf("the process that was restarted is not known: %q", after)
	}
	all[0].do("down", "s", "-y")
}
