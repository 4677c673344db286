package real

import (
	"net"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// LV3: with every manager dead, what says that it ends without its parent ends
// by itself, and what does not say so goes on; when a manager is back, its end is
// answered as any other is.
func TestLV3WhatLosesItsParentEndsByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", h.write("orphan", `#include "components.sf"
		sfConfig extends { m extends VM { sfLivenessDelay 4;
			bound extends Process { sfOnParentLoss "terminate"; command [| "sleep", "3333333" |]; note extends File { path "/etc/note"; content "here"; } }
			free extends Process { command [| "sleep", "4444444" |]; }
		} }`), "-y")
	address, _, err := net.SplitHostPort(h.address("orphan", "m:free"))
	if err != nil {
		address = h.address("orphan", "m")
	}
	// machine runs a command on the machine, which answers without a manager.
	machine := func(command string) string {
		t.Helper()
		return strings.TrimSpace(h.do("exec", "--machine", address, "--", "sh", "-c", command))
	}
	const bound, free = "pgrep -f '[s]leep 3333333' || true", "pgrep -f '[s]leep 4444444' || true"
	other := machine(free)
	if now := machine(bound); now == "" || other == "" {
		t.Fatalf("they run as %q and %q", now, other)
	}
	kill(t, h.pid())
	eventually(t, time.Minute, "it has ended, with what is in it", func() bool { return machine(bound+"; test -e /etc/note && echo note || true") == "" })
	var st api.Status
	eventually(t, 10*time.Second, "the machine says why", func() bool {
		h.json(&st, "status", "--machine", address, "orphan")
		c := component(t, st, "m:bound")
		return c.State == api.ComponentTerminated && strings.HasPrefix(c.Reason, "orphaned: ")
	})
	h.do("daemon", "start")
	eventually(t, time.Minute, "it is back", func() bool { return machine(bound) != "" && machine("cat /etc/note || true") == "here" })
	eventually(t, time.Minute, "the system runs", func() bool { return h.status("orphan").State == api.SystemRunning })
	if now := machine(free); now != other {
		t.Errorf("what goes on without its parent was begun anew: %q, then %q", other, now)
	}
	h.do("down", "orphan", "-y")
}
