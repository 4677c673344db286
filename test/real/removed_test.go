package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// saysRemoved waits until a home's daemon says that it was removed.
func (h *home) saysRemoved() {
	h.t.Helper()
	eventually(h.t, 30*time.Second, "it says that it was removed", func() bool {
		var st api.DaemonStatus
		out, err := h.command("daemon", "status", "-o", "json").Output()
		return err == nil && jsonOf(out, &st) && st.State == api.DaemonRemoved
	})
}

// A host is gone for good: it is removed, what was on it is abandoned at once,
// and who ends a system is told where. Should the host come back it says that it
// was removed, ends nothing by itself, and is cleaned up when told to. Machines
// that end while the host is there are retired.
func TestDownOfWhatWasOnARemovedHostEndsAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.120.1:7400", "127.0.120.2:7400", "127.0.120.3:7400"
	first, second, third := newHome(t), newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a", "--role", "manage")
	second.join(first, a, b, "manage", "b")
	third.join(first, a, c, "host", "c")
	id := third.id()
	first.do("up", first.write("one", sleepers(2)), "-y")
	first.do("up", first.write("one", sleepers(1)), "-y")
	retired := 0
	for _, h := range []*home{first, second} {
		text, err := os.ReadFile(filepath.Join(h.dir, "daemon.log"))
		if err != nil {
			t.Fatal(err)
		}
		retired += strings.Count(string(text), "a machine is no more, and gets no other certificate")
	}
	if retired != 1 {
		t.Errorf("%d machines were retired, want 1", retired)
	}
	address := first.address("one", "m1")

	kill(t, third.pid())
	if out, status := first.try("cluster", "remove", "c"); status != 1 || !strings.Contains(out, "one/m1") {
		t.Errorf("a host with machines is removed: exit %d\n%s", status, out)
	}
	first.do("cluster", "remove", "c", "--force")
	if out := second.do("status", "one"); !strings.Contains(out, "its host c was removed") {
		t.Errorf("status does not say why the machine is silent:\n%s", out)
	}
	began := time.Now()
	if out := second.do("down", "one", "-y"); !strings.Contains(out, "one/m1 is abandoned") || !strings.Contains(out, "c as "+address) {
		t.Errorf("down does not say what it could not destroy, and where:\n%s", out)
	}
	if took := time.Since(began); took > 30*time.Second { // a silent machine is given up after a minute
		t.Errorf("down took %s", took)
	}
	for _, what := range []string{"systems", "machines"} {
		if out := first.do(what, "-o", "name"); out != "" {
			t.Errorf("%s after down:\n%s", what, out)
		}
	}

	third.do("daemon", "start")
	third.saysRemoved()
	if out, status := third.try("systems"); status != 1 || !strings.Contains(out, "removed") {
		t.Errorf("systems at a removed host: exit %d\n%s", status, out)
	}
	if m, s := processes(t, id); m != 1 || s != 1 {
		t.Errorf("%d machines and %d processes where nobody has ended any, want 1 of each", m, s)
	}
	if out, status := third.try("cluster", "leave"); status != 1 || !strings.Contains(out, "--force") {
		t.Errorf("leave with machines: exit %d\n%s", status, out)
	}
	if out := third.do("cluster", "leave", "--force"); !strings.Contains(out, "Destroyed 1 machine") {
		t.Errorf("leave --force says\n%s", out)
	}
	if things := left(t, id); len(things) > 0 {
		t.Errorf("left of the host: %v", things)
	}
}

// Members that were removed while they were away are told when they come back;
// nobody takes their certificates any more.
func TestWhoWasRemovedWhileAwaySaysSo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.121.1:7400", "127.0.121.2:7400", "127.0.121.3:7400"
	first, second, third := newHome(t), newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a")
	second.join(first, a, b, "manage", "b")
	third.join(first, a, c, "manage", "c")
	kill(t, third.pid())
	first.do("cluster", "remove", "c")
	third.do("daemon", "start")
	third.saysRemoved()
	first.do("cluster", "remove", "b")
}
