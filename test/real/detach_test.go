package real

import (
	"strings"
	"syscall"
	"testing"
)

// What is detached to be ended ends alone, though what is around it has all
// share one fate, and stays away until its file brings it back. // TR4
func TestDetachedComponentEndsAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	file := h.write("apart", `#include "components.sf"
		sfConfig extends { box extends VM { all extends Compound {
			one extends Process { command [| "sleep", "1111111" |]; }
			two extends Process { command [| "sleep", "2222222" |]; below extends File { path "/etc/below"; content "two"; } }
			reader extends File { path "/etc/reader"; content LAZY PARENT:two:below:content; }
		} } }`)
	h.do("up", file, "-y")
	inside := func(command string) string {
		t.Helper()
		return strings.TrimSpace(h.do("exec", "apart/box", "--", "sh", "-c", command))
	}
	one := inside("pgrep -f '[s]leep 1111111'")
	if out, status := h.try("detach", "apart", "box:all:none", "--down", "-y"); status == 0 || !strings.Contains(out, "no attribute none") {
		t.Errorf("detach of nothing: %d\n%s", status, out)
	}
	// Who still refers to it is named, and nothing is done.
	if out, status := h.try("detach", "apart", "box:all:two", "--down", "-y"); status == 0 || !strings.Contains(out, "box:all:reader") || !strings.Contains(out, "two") {
		t.Errorf("detach of what somebody refers to: %d\n%s", status, out)
	}
	if now := inside("pgrep -f '[s]leep 2222222' >/dev/null; echo $?; cat /etc/below"); now != "0\ntwo" {
		t.Errorf("after it was refused the machine says %q", now)
	}
	h.do("set", "apart", "box:all:reader:content", "by itself", "-y")
	h.do("action", "apart:DETaTERM::'box:all:two'::", "-y")
	if now := inside("pgrep -f '[s]leep 2222222' >/dev/null; echo $?; test -e /etc/below; echo $?; cat /etc/reader"); now != "1\n1\nby itself" {
		t.Errorf("after it was detached the machine says %q", now)
	}
	if now := inside("pgrep -f '[s]leep 1111111'"); now != one {
		t.Errorf("what shares its fate was begun anew: %s, then %s", one, now)
	}
	paths := map[string]string{}
	for _, c := range h.status("apart").Components {
		paths[c.Path] = c.State
	}
	if paths["box:all:one"] != "running" || paths["box:all"] != "running" || paths["box:all:two"] != "" || paths["box:all:two:below"] != "" {
		t.Errorf("the components are %v", paths)
	}
	if out := h.do("history", "apart"); !strings.Contains(out, "detach box:all:two") {
		t.Errorf("the history:\n%s", out)
	}
	h.do("set", "apart", "box:all:reader:content", "later", "-y") // does not bring it back
	if now := inside("pgrep -f '[s]leep 2222222' >/dev/null; echo $?; cat /etc/reader"); now != "1\nlater" {
		t.Errorf("after something else was set the machine says %q", now)
	}
	// Its file has it still: that is what up goes by, and the plan says.
	if out, status := h.try("plan", file); status != 2 || !strings.Contains(out, "+ box:all:two ") {
		t.Errorf("plan of the file: %d\n%s", status, out)
	}
	h.do("up", file, "-y")
	if now := inside("pgrep -f '[s]leep 2222222' >/dev/null; echo $?; cat /etc/below"); now != "0\ntwo" {
		t.Errorf("after up the machine says %q", now)
	}
	if now := inside("pgrep -f '[s]leep 1111111'"); now != one {
		t.Errorf("what stood beside it was begun anew: %s, then %s", one, now)
	}
	h.do("down", "apart", "-y")
}

// What is detached to run on serves as before, also once the system it was deployed
// with has ended, whose daemon is killed then. // TR4
func TestTR4DetachedMachineServesOn(t *testing.T) {
	h := newHome(t)
	file := h.write("two", `#include "components.sf"
		sfConfig extends {
			shop extends VM { site extends Website { pages extends DATA { "/" "shop\n"; } } }
			blog extends VM { site extends Website { pages extends DATA { "/" "blog\n"; } } }
		}`)
	h.do("up", file, "-y")
	blog := func() string { return h.do("get", "blog", "blog:site:uri") }
	if out, status := h.try("detach", "two", "blog:site", "-y"); status == 0 || !strings.Contains(out, "runs on machine blog") {
		t.Errorf("detach of what stands on a machine that stays: %d\n%s", status, out)
	}
	before := h.do("exec", "two/blog", "--", "cat", "/proc/1/stat")
	if out := h.do("detach", "two", "blog", "-y"); !strings.Contains(out, "Nothing is stopped or started.") || !strings.Contains(out, "blog runs: ") {
		t.Errorf("detach said:\n%s", out)
	}
	uri := strings.Trim(strings.TrimSpace(blog()), `"`)
	serves := func() {
		t.Helper()
		if got := h.do("exec", "blog/blog", "--", "cat", "/proc/1/stat"); strings.Fields(got)[21] != strings.Fields(before)[21] {
			t.Errorf("its machine is another: %s, then %s", before, got)
		}
		if got := get(t, uri); got != "blog\n" {
			t.Errorf("%s answers %q", uri, got)
		}
	}
	serves()
	h.do("down", "two", "-y")
	if err := syscall.Kill(h.daemonPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.do("daemon", "start")
	serves()
	if out := h.do("systems", "-o", "name"); strings.TrimSpace(out) != "blog" {
		t.Errorf("systems: %s", out)
	}
	if out := h.do("ping", "blog"); !strings.Contains(out, "blog:site") {
		t.Errorf("ping: %s", out)
	}
	if out, status := h.try("up", file, "-y"); status == 0 || !strings.Contains(out, "aloft down blog") {
		t.Errorf("up of the file that has it: %d\n%s", status, out)
	}
	if out, status := h.try("set", "blog", "blog:site:port", "81", "-y"); status == 0 || !strings.Contains(out, "was detached from two") {
		t.Errorf("set in what was detached: %d\n%s", status, out)
	}
	h.do("down", "blog", "-y")
	h.do("up", file, "-y")
	h.do("down", "two", "-y")
}
