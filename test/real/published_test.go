package real

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is wrong with the published example is told before anything is made: the
// reference that cannot resolve, unless that is allowed (RX2), and then that
// nobody here offers its machines.
func TestPublishedExampleIsRefusedBeforeAnythingIsMade(t *testing.T) {
	h := newHome(t)
	h.do("daemon", "start")
	listing := func(kind string) string {
		path, err := filepath.Abs(filepath.Join("..", "..", "internal", "sdl", "resolve", "testdata", "section22-"+kind+".sf"))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	const (
		late   = "vmA not found in sfConfig:vmB:software:tomcat, and a later word does not climb"
		meant  = "did you mean LAZY ATTRIB vmA:software:mysql?"
		nobody = `no machine for vmA: no provider is called "ec2"; there are: local`
	)
	for _, c := range []struct {
		args     []string
		says     []string
		problems string
	}{
		{[]string{"plan", listing("bad")}, []string{late, meant}, ""},
		{[]string{"plan", "--allow-unresolved", listing("bad")}, []string{late, nobody}, ": 2 problems"},
		{[]string{"up", "-y", listing("ok")}, []string{nobody}, ": 2 problems"},
	} {
		out, status := h.try(c.args...)
		if status != 1 || !strings.Contains(out, "the description cannot be planned"+c.problems+"\n") {
			t.Errorf("%v gave %d:\n%s", c.args, status, out)
		}
		for _, text := range c.says {
			if !strings.Contains(out, text) {
				t.Errorf("%v does not say %q:\n%s", c.args, text, out)
			}
		}
		if n := strings.Count(out, late); n > 1 {
			t.Errorf("%v says %d times %q:\n%s", c.args, n, late, out)
		}
		if strings.Contains(out, "warning SDL811") != slices.Contains(c.args, "--allow-unresolved") {
			t.Errorf("%v does not tell a refusal from a warning:\n%s", c.args, out)
		}
	}
	var systems []any
	h.json(&systems, "systems")
	if len(systems) != 0 {
		t.Errorf("there are systems: %v", systems)
	}
}

// A system that was deployed with references that nobody could check is changed
// with the same leave.
func TestWhatWasTakenUncheckedIsChangedWithTheSameLeave(t *testing.T) {
	h := newHome(t)
	file := h.write("late", `#include "aloft/components.sf"
		sfConfig extends { a extends { x "1"; later LAZY PARENT:b:c:d; } b extends { } }`)
	if out, status := h.try("up", "-y", file); status == 0 || !strings.Contains(out, "SDL811") {
		t.Errorf("it was taken: exit %d\n%s", status, out)
	}
	h.do("up", "-y", "--allow-unresolved", file)
	if out, status := h.try("set", "late", "a:x", "2", "-y"); status == 0 || !strings.Contains(out, "SDL811") {
		t.Errorf("the change was taken: exit %d\n%s", status, out)
	}
	h.do("set", "late", "a:x", "2", "-y", "--allow-unresolved")
	if x := strings.TrimSpace(h.do("get", "late", "a:x")); x != "2" {
		t.Errorf("x is %s", x)
	}
}
