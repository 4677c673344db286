package real

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// TestPingFindsTheServerThatWasStopped: a server that is stopped takes
// connections still, as the kernel does that, but gives no page. What deploys and
// ends the system are action descriptors.
func TestPingFindsTheServerThatWasStopped(t *testing.T) {
	h := newHome(t)
	h.do("action", "s:DEPLOY:"+h.write("s", `#include "components.sf"
		sfConfig extends {
			box extends VM {
				sfLivenessDelay 0;
				site extends Website { port 8080; pages extends DATA { "/" "hello"; } }
				idle extends Process { command [| "sleep", "infinity" |]; }
			}
			other extends VM { note extends File { path "/etc/note"; content "as it was"; } }
		}`)+":::", "-y")
	if out := h.do("ping", "s"); strings.Count(out, " ok") != 5 {
		t.Fatalf("ping of what was just made:\n%s", out)
	}
	signal := func(name string) {
		h.do("exec", "s/box", "--", "sh", "-c", "pkill -"+name+" -f '[w]ebsite serve'")
	}
	signal("STOP")
	var p api.Ping
	var status int
	for range 3 { // a machine that has no time to answer is not known
		begun := time.Now()
		var out string
		out, status = h.try("ping", "s", "-o", "json")
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it took %s", took)
		}
		p = api.Ping{}
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			t.Fatalf("%v in:\n%s", err, out)
		}
		if len(p.Silent) == 0 {
			break
		}
	}
	signal("CONT")
	if status != 1 || p.OK || len(p.Silent) != 0 {
		t.Errorf("ping ended with %d, ok %t, silent %q", status, p.OK, p.Silent)
	}
	for _, x := range p.Components {
		if x.OK == (x.Path == "box:site") || !x.Known || (x.Reason == "") != x.OK {
			t.Errorf("component %+v", x)
		}
	}
	h.do("action", "s:PING::other::")
	h.do("ping", "s", "box:site") // it goes on
	h.do("action", "s:TERMINATE:::localhost:rootProcess", "-y")
	if out := h.do("systems"); !strings.Contains(out, "There are no systems") {
		t.Errorf("after TERMINATE:\n%s", out)
	}
}
