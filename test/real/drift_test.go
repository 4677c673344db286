package real

import (
	"strings"
	"testing"
	"time"
)

// What somebody changes by hand is in the next plan, and repaired by up; what
// the daemon looks after comes back by itself.
func TestUP2DriftIsFoundShownAndRepaired(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	file := h.write("drift", `#include "components.sf"
		sfConfig extends { box extends VM {
			sfLivenessDelay 0;
			note extends File { path "/etc/note"; content "as it was\n"; }
			tool extends Package { name "sl"; }
			site extends Website { port 8080; pages extends DATA { "/" "hello"; } }
			idle extends Process { command [| "sleep", "infinity" |]; }
		} }`)
	h.do("up", file, "-y")
	inside := func(command string) string {
		t.Helper()
		return strings.TrimSpace(h.do("exec", "drift/box", "--", "sh", "-c", command))
	}
	uri := strings.TrimSpace(h.do("get", "drift", "box:site:uri"))
	if out := h.do("plan", file); !strings.Contains(out, "no changes") {
		t.Fatalf("plan of what was just made:\n%s", out)
	}

	idle := inside("pgrep -x sleep")
	inside("echo by hand > /etc/note; dpkg --purge sl >/dev/null; pkill -STOP -f '[w]ebsite serve'")
	out, status := h.try("plan", file)
	if status != 2 {
		t.Errorf("plan ended with %d", status)
	}
	for _, want := range []string{"~ box:note ", "(repair: /etc/note was changed)", "~ box:tool ", "(repair: not installed: sl)", "-/+ box:site ", "(repair: "} {
		if !strings.Contains(out, want) {
			t.Errorf("the plan does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "box:idle") {
		t.Errorf("the plan changes what is as it was:\n%s", out)
	}
	for _, c := range h.status("drift").Components {
		if doubted := strings.HasPrefix(c.Reason, "drifted: ") || strings.HasPrefix(c.Reason, "does not answer: "); doubted != (c.Path == "box:note" || c.Path == "box:tool" || c.Path == "box:site") {
			t.Errorf("the reason of %s is %q", c.Path, c.Reason)
		}
	}
	h.do("up", file, "-y")
	if got := inside("cat /etc/note; test -x /usr/games/sl && echo there"); got != "as it was\nthere" {
		t.Errorf("after up the machine says %q", got)
	}
	if page := get(t, uri); page != "hello" {
		t.Errorf("after up the page is %q", page)
	}
	if now := inside("pgrep -x sleep"); now != idle {
		t.Errorf("what was as it was has been begun anew: %s, then %s", idle, now)
	}
	if out := h.do("up", file, "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up after the repair:\n%s", out)
	}

	h.do("set", "drift", "box:sfLivenessDelay", "1", "-y")
	server := inside("pgrep -f '[w]ebsite serve'")
	inside("echo by hand > /etc/note; pkill -KILL -x sleep")
	eventually(t, 30*time.Second, "what the daemon has repaired", func() bool {
		return inside("cat /etc/note; pgrep -cx sleep || true") == "as it was\n1"
	})
	if now := inside("pgrep -f '[w]ebsite serve'"); now != server {
		t.Errorf("what stood beside it was begun anew: %s, then %s", server, now)
	}
	h.do("down", "drift", "-y")
}
