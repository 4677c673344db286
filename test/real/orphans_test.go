package real

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// orphans returns what a home's events say became of orphans, as "STATE KIND",
// of those that were told after the first so many.
func (h *home) orphans(but int) (all []string) {
	h.t.Helper()
	out := h.do("events", "-o", "json")
	for line := range strings.Lines(out) {
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			h.t.Fatalf("%v: %s", err, line)
		}
		if e.Kind == api.EventOrphan {
			what, _, _ := strings.Cut(e.Reason, " ")
			all = append(all, e.State+" "+what)
		}
	}
	all = all[min(but, len(all)):]
	slices.Sort(all)
	return all
}

// illDoctor returns the doctor's report where something else may be wrong too.
func (h *home) illDoctor() (r api.DoctorReport) {
	h.t.Helper()
	out, err := h.command("doctor", "-o", "json").Output() // its status says that something is wrong
	if failed := json.Unmarshal(out, &r); failed != nil {
		h.t.Fatalf("doctor: %v, %v", err, failed)
	}
	return r
}

// orphansCheck is what the doctor says of them.
func (h *home) orphansCheck() api.Check {
	h.t.Helper()
	for _, c := range h.illDoctor().Checks {
		if c.Name == "orphans" {
			return c
		}
	}
	h.t.Fatal("the doctor does not speak of orphans")
	return api.Check{}
}

// LC7, HL: what is found at a start and belongs to nothing is dealt with as the
// home says, and told. The ledger is lost here, so that all machines are such.
func TestOrphansAreKeptAdoptedOrDestroyedAsTheHomeSays(t *testing.T) {
	h := newHome(t)
	h.do("up", h.write("one", sleepers(1)), "-y")
	id := h.id()
	before := bearersBut(t, h)
	s := makeStrays(t, h)
	lose := func() {
		t.Helper()
		h.do("daemon", "stop")
		if err := os.Rename(filepath.Join(h.dir, "journal.db"), filepath.Join(h.dir, fmt.Sprint("lost-", time.Now().UnixNano()))); err != nil {
			t.Fatal(err)
		}
	}
	told := 0
	// found waits until the start has dealt with all of them, and compares.
	found := func(detail string, want ...string) {
		t.Helper()
		slices.Sort(want)
		var got []string
		eventually(t, 20*time.Second, fmt.Sprintf("%d orphans are told of", len(want)), func() bool {
			got = h.orphans(told)
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			t.Errorf("events: %v, want %v", got, want)
		}
		told += len(got)
		if c := h.orphansCheck(); !strings.Contains(c.Detail, detail) {
			t.Errorf("the doctor: %+v, want %q", c, detail)
		}
	}
	each := func(state string) (all []string) {
		for _, kind := range s.kinds() {
			all = append(all, state+" "+kind)
		}
		return all
	}

	lose()
	h.do("daemon", "start", "--orphans", "keep")
	found(fmt.Sprintf("0 adopted, 0 destroyed, %d kept; policy keep", 1+len(s.kinds())), append(each("kept"), "kept machine")...)
	if n := len(s.remain(t)); n != 4+len(s.groups) {
		t.Errorf("something was removed: %d are there", n)
	}
	if c := h.orphansCheck(); c.State != api.CheckWarning || !strings.Contains(c.Remedy, "doctor --fix") {
		t.Errorf("%+v", c)
	}
	if kinds, _ := of(h.illDoctor(), id); !slices.Contains(kinds, "machine") {
		t.Errorf("left over: %v", kinds)
	}

	h.do("daemon", "stop")
	h.do("daemon", "start", "--orphans", "adopt")
	found(fmt.Sprintf("1 adopted, %d destroyed, 0 kept; policy adopt", len(s.kinds())), append(each("destroyed"), "adopted machine")...)
	if there := s.remain(t); len(there) > 0 {
		t.Errorf("still there: %v", there)
	}
	if now := bearersBut(t, h); !slices.Equal(now, before) {
		t.Errorf("processes of the machine: %v, before %v", now, before)
	}
	if kinds, _ := of(h.illDoctor(), id); len(kinds) > 0 {
		t.Errorf("left over: %v", kinds)
	}
	eventually(t, 20*time.Second, "the machine answers", func() bool {
		_, status := h.try("exec", "one/m1", "--", "true")
		return status == 0
	})
	h.do("exec", "one/m1", "--", "true")

	// The policy stays; what was adopted is no orphan any more.
	h.do("daemon", "stop")
	h.do("daemon", "start")
	found("0 adopted, 0 destroyed, 0 kept; policy adopt")

	h.do("daemon", "stop")
	if err := os.Remove(s.mount); err != nil { // the folder that it was on
		t.Fatal(err)
	}
	s = makeStrays(t, h)
	h.do("daemon", "start", "--orphans", "destroy")
	found(fmt.Sprintf("0 adopted, %d destroyed, 0 kept; policy destroy", len(s.kinds())), each("destroyed")...)
	if there := s.remain(t); len(there) > 0 {
		t.Errorf("still there: %v", there)
	}
	if out, status := h.try("daemon", "start", "--orphans", "keep"); status == 0 || !strings.Contains(out, "daemon stop") {
		t.Errorf("while a daemon runs: %d\n%s", status, out)
	}
	if out, status := h.try("daemon", "start", "--orphans", "feed"); status == 0 || !strings.Contains(out, "none of the three") {
		t.Errorf("a policy that there is not: %d\n%s", status, out)
	}

	// What was adopted is ended with its system, of which the daemon has lost
	// what it did for it.
	h.do("down", "one", "-y")
	eventually(t, 20*time.Second, "no machine is left", func() bool {
		m, n := processes(t, id)
		return m == 0 && n == 0
	})
}

// bearersBut returns the processes of a home's machines, sorted.
func bearersBut(t *testing.T, h *home) []int {
	t.Helper()
	daemon := h.pid()
	pids := slices.DeleteFunc(bearers(t, h.id()), func(pid int) bool {
		if pid == daemon {
			return true
		}
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return strings.Contains(string(env), strange)
	})
	slices.Sort(pids)
	return pids
}
