package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// EX1, EX3: a component of one's own, in executables, from what aloft writes to
// begin with: it passes the suite, is deployed on a machine, reconfigured, seen
// to fail and to recover, and ends without a rest.
func TestEX1ComponentOfOnesOwnIsWrittenTestedDeployedAndChanged(t *testing.T) {
	h := newHome(t)
	folder := t.TempDir()
	in := func(args ...string) string {
		t.Helper()
		cmd := h.command(args...)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("aloft %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	in("component", "new", "Greeter")
	if out := in("component", "test", "greeter"); !strings.Contains(out, "PASS") || strings.Contains(out, "FAIL") {
		t.Errorf("the suite said\n%s", out)
	}

	script := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "greeter/scripts", name), []byte("#!/bin/sh\nset -eu\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	description := filepath.Join(folder, "own.sf")
	describe := func(greeting string) {
		t.Helper()
		text := `#include "aloft/components.sf"
#include "greeter/greeter.sf"
sfConfig extends {
  box extends VM {
    cloudProvider "local"; sfLivenessDelay 1;
    greeter extends Greeter { text "` + greeting + `"; }
    where extends File { path "/etc/where"; content LAZY greeter:greeting; }
  }
}
`
		if err := os.WriteFile(description, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// It leaves a process that serves, and logs.
	script("start", `echo "about to greet" >&2
[ -e pid ] && kill -0 "$(cat pid)" 2>/dev/null || { sleep 100000 & echo $! > pid; }
`)
	script("ping", `kill -0 "$(cat pid)" || { echo "nobody greets" >&2; exit 1; }
`)
	script("reconfigure", `case $ALOFT_A_TEXT in rude*) echo "not in this house" >&2; exit 1 ;; esac
printf '%s' "$ALOFT_A_TEXT" > greeting
`)
	inside := func(command string) string {
		t.Helper()
		return strings.TrimSpace(h.do("exec", "own/box", "--", "sh", "-c", command))
	}
	describe("hello, $(touch /tmp/carried-out)")
	h.do("up", description, "-y")
	if got := inside("cat $(cat /etc/where); ls /tmp/carried-out 2>/dev/null || true"); got != "hello, $(touch /tmp/carried-out)" {
		t.Errorf("it greets with %q", got)
	}
	if log := h.do("logs", "own", "box:greeter"); !strings.Contains(log, "about to greet") {
		t.Errorf("its log is\n%s", log)
	}
	greets := inside("cat $(dirname $(cat /etc/where))/pid")

	// A change is applied in place, and one that it refuses changes nothing.
	describe("good morning")
	if plan, status := h.try("plan", description); status != 2 || !strings.Contains(plan, "box:greeter") || strings.Contains(plan, "box:where") {
		t.Errorf("the plan is\n%s", plan)
	}
	h.do("up", description, "-y")
	describe("rude words")
	out, status := h.try("up", description, "-y")
	if status != 1 || !strings.Contains(out, "box:greeter, reconfigure on own/box") || !strings.Contains(out, "not in this house") {
		t.Errorf("up gave %d:\n%s", status, out)
	}
	if got := inside("cat $(cat /etc/where)"); got != "good morning" {
		t.Errorf("it greets with %q", got)
	}
	if now := inside("cat $(dirname $(cat /etc/where))/pid"); now != greets {
		t.Errorf("it was begun anew: pid %s, then %s", greets, now)
	}
	describe("good evening")
	h.do("up", description, "-y")

	// Its end is found by its ping, and it comes back.
	inside("kill -9 " + greets)
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, status := h.try("exec", "own/box", "--", "sh", "-c", "kill -0 $(cat $(dirname $(cat /etc/where))/pid)"); status == 0 {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("it is not back:\n%s", h.do("describe", "own", "box:greeter"))
		}
	}
	if why := h.do("describe", "own", "box:greeter"); !strings.Contains(why, "nobody greets") {
		t.Errorf("describe says\n%s", why)
	}

	// A change of the executables is one of the component.
	script("reconfigure", `printf 'anew: %s' "$ALOFT_A_TEXT" > greeting
`)
	h.do("up", description, "-y")
	if got := inside("cat $(cat /etc/where)"); got != "anew: good evening" {
		t.Errorf("it greets with %q", got)
	}
	h.do("down", "own", "-y")
	for _, thing := range left(t, h.id()) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
