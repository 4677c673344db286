package real

import (
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// The example, with the daemon of its machine and that of the host killed on the
// way: the course goes on where it was, and does nothing twice.
func TestWorkflowGoesOnAfterItsDaemonsWereKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", examples(t, "workflow.sf"), "-y")
	state := func(path string) string {
		t.Helper()
		for _, c := range h.status("workflow").Components {
			if c.Path == path {
				return c.State
			}
		}
		return ""
	}
	until := func(path, want string) {
		t.Helper()
		for began := time.Now(); state(path) != want; time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("%s is %s, not %s", path, state(path), want)
			}
		}
	}
	until("box:release:review", api.ComponentTerminated)
	h.try("exec", "workflow/box", "--", "pkill", "-9", "-f", "daemon run --machine") // its own answer is lost with it
	kill(t, h.pid())
	h.do("daemon", "start")
	until("box:release:publish", api.ComponentRunning)
	log := h.do("exec", "workflow/box", "--", "sh", "-c", "grep -v / /tmp/release.log; cat /tmp/attempts")
	for word, want := range map[string]int{"disk": 1, "memory": 1, "review": 1, "overruled": 1, "attempt": 3} {
		if got := strings.Count(log, word+"\n"); got != want {
			t.Errorf("%s was done %d times, want %d:\n%s", word, got, want, log)
		}
	}
	// A job that was cut off by the kill is done again; no round is left out.
	if got := strings.Count(log, "announced\n"); got < 3 || got > 4 {
		t.Errorf("it was announced %d times, want 3", got)
	}
	if got := h.status("workflow").State; got != api.SystemRunning {
		t.Errorf("the system is %s", got)
	}
	id := h.id()
	h.do("down", "workflow", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
