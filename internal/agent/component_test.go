package agent

import (
	"errors"
	"testing"
	"time"

	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// Where undoing a deploy has failed, or what was ended is to come back, ending it
// for good takes what it was made with.
func TestAttributesOfWhatHasNotSucceededOutliveTheDaemon(t *testing.T) {
	tried := value.NewComponent(false)
	tried.Set(value.Attr{Name: "sfMachine", Value: value.String("6dcc2492")})
	c := &held{path: "web", state: inventory.Failed, tried: tried}
	row, err := c.row("shop", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	back, err := fromRow(row)
	if err != nil {
		t.Fatal(err)
	}
	if back.tried == nil || !value.Equal(back.tried, tried) || back.attrs != nil {
		t.Errorf("tried %v, applied %v", back.tried, back.attrs)
	}
}

// A deploy that a crash cut off was begun with what the part says; an end that was
// cut off is still of what was there before.
func TestOnlyADeployThatWasCutOffIsOfWhatIsWanted(t *testing.T) {
	before, wanted := value.NewComponent(false), value.NewComponent(false)
	wanted.Set(value.Attr{Name: "sfMachine", Value: value.String("6dcc2492")})
	for action, want := range map[plan.Action]*value.Component{plan.Deploy: wanted, plan.Terminate: before} {
		s := plan.Step{ID: plan.ID("web", action), Path: "web", Action: action}
		tn := newTenant(nil, "shop")
		tn.cut = map[plan.StepID]bool{s.ID: true}
		c := &held{path: "web", state: inventory.Failed, tried: before, wanted: wanted}
		tn.presume(c, s)
		if c.tried != want {
			t.Errorf("%s: tried %v", action, c.tried)
		}
	}
}

// A reconfigure that comes too late fails, and brings nothing back: what was undone
// has no attributes any more.
func TestUP4OnlyWhatRanGoesOnAfterAFailedReconfigure(t *testing.T) {
	for was, want := range map[inventory.State]inventory.State{
		inventory.Running: inventory.Running, inventory.Reconfiguring: inventory.Running,
		inventory.Failed: inventory.Failed, inventory.Terminated: inventory.Terminated, inventory.Instantiated: inventory.Instantiated,
	} {
		tn := crowd(t, 1)
		c := tn.comps["group:c0"]
		c.state = was
		rec := tn.record(c.path, plan.Reconfigure, errors.New("no answer"))
		tn.failed(t.Context(), c, plan.Reconfigure, rec)
		if c.state != want {
			t.Errorf("%s, and a reconfigure failed: %s, want %s", was, c.state, want)
		}
	}
}

// The last output of a process may hold anything.
func TestWhoWasKilledIsToldWithoutSecrets(t *testing.T) {
	m := newMachine(t)
	a := m.agent()
	a.shown.add("hunter2", "password")
	e := &environment{t: newTenant(a, "sys"), c: &held{path: "m:p"}}
	e.Killed("its last output: hunter2")
	r, _ := a.news()
	if len(r.Events) != 1 {
		t.Fatalf("told %v", r.Events)
	}
	if got := r.Events[0]; got.Kind != string(event.ComponentKilled) || got.Path != "m:p" || got.Reason != "its last output: (secret password)" {
		t.Errorf("told %v", got)
	}
}
