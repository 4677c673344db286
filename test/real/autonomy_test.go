package real

import (
	"net"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// DI9: with every manager dead, components go on, what dies is restarted, and
// the machine's own daemon answers status, logs and exec; when the manager is
// back, nothing is restarted.
func TestMachineNeedsNoManager(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", h.write("one", `sfConfig extends {
  m1 extends VM {
    p extends Process { command [| "sleep", "infinity" |]; }
    says extends Process { command [| "/bin/sh", "-c", "echo here I am; exec tail -f /dev/null" |]; }
  }
}`), "-y")
	id := h.id()
	address, _, err := net.SplitHostPort(h.address("one", "m1:p"))
	if err != nil {
		address = h.address("one", "m1")
	}
	pid := strings.TrimSpace(h.do("get", "one", "m1:says:pid"))
	kill(t, h.pid())

	victim := sleeper(t, id)
	if victim == 0 {
		t.Fatal("no process")
	}
	kill(t, victim)
	eventually(t, 15*time.Second, "the process runs again", func() bool {
		now := sleeper(t, id)
		return now != 0 && now != victim
	})
	var st api.Status
	eventually(t, 10*time.Second, "the machine says so", func() bool {
		h.json(&st, "status", "--machine", address, "one")
		return component(t, st, "m1:p").State == api.ComponentRunning
	})
	if out := h.do("status", "--machine", address); !strings.Contains(out, "m1:says") {
		t.Errorf("status says\n%s", out)
	}
	if out := h.do("logs", "--machine", address, "one", "m1:says"); !strings.Contains(out, "here I am") {
		t.Errorf("logs say\n%s", out)
	}
	if out := h.do("exec", "--machine", address, "--", "cat", "/proc/"+pid+"/cmdline"); !strings.Contains(out, "tail") {
		t.Errorf("exec says %q", out)
	}
	if out, status := h.try("exec", "--machine", address, "--", "sh", "-c", "exit 7"); status != 7 {
		t.Errorf("exit status %d\n%s", status, out)
	}
	// A stranger's home has no certificate that the machine takes.
	other := newHome(t)
	other.do("daemon", "start")
	if out, status := other.try("status", "--machine", address); status == 0 {
		t.Errorf("a stranger was told\n%s", out)
	}

	before := sleeper(t, id)
	h.do("daemon", "start")
	eventually(t, 10*time.Second, "the manager knows", func() bool {
		return component(t, h.status("one"), "m1:p").State == api.ComponentRunning
	})
	eventually(t, 10*time.Second, "the machine answers its manager", func() bool {
		_, status := h.try("exec", "one/m1", "--", "true")
		return status == 0
	})
	eventually(t, 10*time.Second, "it is told what was run on the machine meanwhile, and by whom", func() bool {
		out := h.do("events", "one")
		return strings.Contains(out, "told by the machine: ") && strings.Contains(out, "POST /v1/exec on "+address+" (one/m1)")
	})
	if now := strings.TrimSpace(h.do("get", "one", "m1:says:pid")); now != pid || sleeper(t, id) != before {
		t.Errorf("processes %s and %d were restarted as %s and %d", pid, before, now, sleeper(t, id))
	}
}
