package real

import (
	"strings"
	"testing"
	"time"
)

// What a component says of itself changes when its machine has to bring it back,
// and one on another machine that reads it is reconfigured, with no command given
// (LZ7).
func TestLZ7ReaderOnAnotherMachineFollowsARestart(t *testing.T) {
	h := newHome(t)
	h.do("up", h.write("follows", `#include "aloft/components.sf"
sfConfig extends {
  a extends VM { cloudProvider "local"; memory 64; p extends Process { command [| "sleep", "infinity" |]; restart "always"; } }
  b extends VM {
    cloudProvider "local"; memory 64;
    reader extends Process { command [| "sleep", "infinity" |]; env extends DATA { OTHER ("process " ++ LAZY ROOT:a:p:pid); } }
  }
}
`), "-y")
	other := func() string {
		out, _ := h.try("exec", "follows/b", "--", "sh", "-c", "tr '\\0' '\\n' </proc/$(pgrep -o sleep)/environ | grep ^OTHER=")
		return strings.TrimSpace(out)
	}
	pid := strings.TrimSpace(h.do("get", "follows", "a:p:pid"))
	if got := other(); got != "OTHER=process "+pid {
		t.Fatalf("the reader has %q, and the process is %s", got, pid)
	}
	h.do("exec", "follows/a", "--", "kill", "-9", pid)
	eventually(t, 60*time.Second, "another process, of which the reader knows", func() bool {
		now, _ := h.try("get", "follows", "a:p:pid")
		now = strings.TrimSpace(now)
		return now != pid && other() == "OTHER=process "+now
	})
	h.do("down", "follows", "-y")
}
