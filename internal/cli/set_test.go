package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// busyFake is the service of a system that somebody else changes whenever its
// text has been read, so often.
type busyFake struct {
	*fake
	text     string
	changes  int
	revision int64
	without  []string
	set      []api.WrittenSet // of the present revision
}

func (f *busyFake) Written(_ context.Context, _ string, _ int64) (*api.Written, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &api.Written{
		File: "/shop.sf", Name: "shop.sf", Revision: f.revision, Set: f.set, Without: f.without,
		Folders: []api.WrittenFolder{{Name: "", Role: roleFirst, Files: map[string]string{"shop.sf": f.text}}},
	}
	if f.changes > 0 {
		f.changes--
		f.revision++
		f.set = append(f.set[:len(f.set):len(f.set)], api.WrittenSet{Path: "b", Value: fmt.Sprint(f.revision)})
	}
	return w, nil
}

func (f *busyFake) Plan(ctx context.Context, r api.PlanRequest) (*api.Plan, error) {
	f.mu.Lock()
	revision := f.revision
	f.mu.Unlock()
	p, err := f.fake.Plan(ctx, r)
	if r.Base != revision {
		return nil, &api.Error{Kind: api.KindStale, Message: fmt.Sprintf("shop is at revision %d, that was made from %d", revision, r.Base), Remedy: "make it again"}
	}
	return p, err
}

// runs calls the command line with the service of a busy system, and returns
// what was asked for last, whether it was begun, and what was said on standard
// error.
func (f *busyFake) runs(t *testing.T, args ...string) (last api.PlanRequest, begun bool, said string) {
	t.Helper()
	f.script.Plan = api.Plan{ID: "p", Base: 1, Revision: 2, Steps: []api.Step{{ID: "1", Path: "web", Action: "reconfigure", Change: api.ChangeUpdate}}}
	f.script.Deployment = api.Deployment{Plan: "p", Revision: 2, State: api.DeploymentDone}
	f.script.Status = map[string]api.Status{"shop": {System: "shop", State: api.SystemRunning}}
	f.script.Events = []api.Event{{System: "shop", Plan: "p", Kind: api.EventPlan, State: api.DeploymentDone}}
	f.played = f
	home, _ := daemonOf(t, f.fake)
	cmd := aloft(t, append([]string{"--home", home}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tooLong := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	tooLong.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.applied != (err == nil) {
		t.Errorf("%v, and begun is %v\n%s%s", err, f.applied, &out, &errOut)
	}
	if len(f.requests) > 0 {
		last = f.requests[len(f.requests)-1]
	}
	return last, f.applied, errOut.String()
}

// newBusy returns the service of a system with a text.
func newBusy(t *testing.T, text string, changes int) *busyFake {
	t.Helper()
	f, err := loadFake("")
	if err != nil {
		t.Fatal(err)
	}
	return &busyFake{fake: f, text: text, changes: changes, revision: 1}
}

// described returns the description that a request has.
func described(t *testing.T, r api.PlanRequest) *value.Component {
	t.Helper()
	v, err := value.Decode(r.Description)
	if err != nil {
		t.Fatal(err)
	}
	return v.(*value.Component)
}

// Of two who set attributes at the same moment none loses what the other has
// set: whoever is later sets it in what the system is then.
func TestSetTakesNothingBackThatIsSetMeanwhile(t *testing.T) {
	for _, c := range []struct {
		changes int
		fails   bool
	}{{0, false}, {1, false}, {alterTries - 1, false}, {100, true}} {
		busy := newBusy(t, "sfConfig extends { a 1; b 1; c 1; }", c.changes)
		last, begun, said := busy.runs(t, "set", "shop", "a", "7", "-y")
		if begun == c.fails {
			t.Errorf("changed %d times meanwhile: begun: %v\n%s", c.changes, begun, said)
		}
		if c.fails {
			if !strings.Contains(said, "was made from") || !strings.Contains(said, "make it again") {
				t.Errorf("it says:\n%s", said)
			}
			continue
		}
		if notes := strings.Count(said, "somebody has changed shop meanwhile"); notes != c.changes {
			t.Errorf("changed %d times meanwhile, it says so %d times:\n%s", c.changes, notes, said)
		}
		want := map[string]value.Value{"a": value.Integer(7), "b": value.Integer(c.changes + 1), "c": value.Integer(1)}
		for name, want := range want {
			if got, _ := described(t, last).Get(name); got == nil || !value.Equal(got, want) {
				t.Errorf("changed %d times meanwhile: %s is %v, want %v", c.changes, name, got, want)
			}
		}
		if last.Base != int64(c.changes+1) || last.Written == nil || last.Written.Revision != 0 {
			t.Errorf("changed %d times meanwhile: made from revision %d", c.changes, last.Base)
		}
	}
}

// What is detached is gone from the description, with what was set in it, also
// for who sets something later. // TR4
func TestDetachTakesAComponentOut(t *testing.T) {
	const text = "sfConfig extends { b 1; m extends { site extends { port 1; } beside extends {} port 8; } d extends DATA {} }"
	busy := newBusy(t, text, 1)
	busy.set = []api.WrittenSet{{Path: "m:site:port", Value: "2"}, {Path: "m:port", Value: "9"}}
	last, begun, said := busy.runs(t, "action", "shop:DETaTERM::'m:site'::", "-y")
	if !begun || strings.Count(said, "somebody has changed shop meanwhile: detach m:site") != 1 {
		t.Errorf("begun: %v\n%s", begun, said)
	}
	if got, want := value.Source(described(t, last)), "extends { b 2; m extends { beside extends {} port 9; } d extends DATA {} }"; strings.Join(strings.Fields(got), " ") != want {
		t.Errorf("the description is\n%s\nwant\n%s", got, want)
	}
	if last.Base != 2 || last.Cause != "detach m:site" || fmt.Sprint(last.Written.Without) != "[m:site]" || len(last.Written.Set) != 2 {
		t.Errorf("asked for: base %d, %q, %+v", last.Base, last.Cause, last.Written)
	}

	later := newBusy(t, text, 0)
	later.without = last.Written.Without
	if last, _, said := later.runs(t, "set", "shop", "m:port", "10", "-y"); strings.Contains(value.Source(described(t, last)), "site") || said != "" {
		t.Errorf("after another attribute was set: %s\n%s", value.Source(described(t, last)), said)
	}
	for _, c := range []struct{ args, want string }{
		{"m:site --down", "there is no attribute site in m"},
		{"d --down", "d is no component"},
		{"m:port --down", "m:port is no component"},
		{"ROOT --down", "name one of the components of shop"},
	} {
		refused := newBusy(t, text, 0)
		refused.without = later.without
		if _, begun, said := refused.runs(t, append([]string{"detach", "shop", "-y"}, strings.Fields(c.args)...)...); begun || !strings.Contains(said, c.want) {
			t.Errorf("detach %s: begun: %v\n%s", c.args, begun, said)
		}
	}
}
