package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// rollback goes back to a revision, 0 for the last one that ran, and waits for
// the end.
func (w *world) rollback(to int64) *api.Deployment {
	w.t.Helper()
	if p := w.insist(api.PlanRequest{Name: "sys", Rollback: true, To: to}); p.Empty {
		w.t.Fatal("rollback: no changes")
	}
	return w.end()
}

// expectHistory checks the revisions: each as "number state cause", the present
// one with a *.
func (w *world) expectHistory(want ...string) {
	w.t.Helper()
	list, err := w.service().Revisions(context.Background(), "sys")
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		line := fmt.Sprintf("%d %s %s", r.Revision, r.State, r.Cause)
		if r.Current {
			line += " *"
		}
		got = append(got, line)
		if r.Since.IsZero() || r.Ended.Before(r.Since) != (r.State == api.RevisionUnderWay) || r.Digest == "" || r.Summary == "" || r.Plan == "" {
			w.t.Errorf("revision %+v", r)
		}
		if failed := r.State == api.RevisionDegraded; failed != (len(r.Failures) > 0) {
			w.t.Errorf("revision %d is %s, with failures %v", r.Revision, r.State, r.Failures)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.t.Errorf("history:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A rollback is a revision of its own, and only the difference acts: machines
// that were removed are made, those that were added destroyed.
func TestUP4RollbackTakesTheWholeSystemBackMachinesIncluded(t *testing.T) {
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(twoMachines)
			changed := strings.NewReplacer(`"hello"`, `"good day"`, `m2 extends VM { b extends Probe { later LAZY m1:a:out; } }`, ``,
				`/*more*/`, `m3 extends VM { c extends Probe {} }`).Replace(twoMachines)
			w.runs(changed)
			mark := len(w.stage.trace())
			if d := w.rollback(0); d.State != api.DeploymentDone || d.Revision != 3 {
				t.Errorf("rollback ended %s at revision %d: %+v", d.State, d.Revision, d.Failures)
			}
			w.expectDid(mark, "m1:a reconfigure", "m2:b deploy", "m2:b start", "m3:c terminate")
			w.expectNoChange(twoMachines)
			w.expectLive("m1:a", "m1:a:x", "m2:b")
			w.expectHistory("1 running up", "2 running up", "3 running rollback to 1 *")
			w.rollback(2)
			w.expectNoChange(changed)
			time.Sleep(time.Minute)
			w.balance(2)
			w.down(false)
			if _, err := w.service().Revisions(context.Background(), "sys"); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
				t.Errorf("the history of a system that is gone: %v", err)
			}
			w.runs(twoMachines) // another one of that name has none of it
			w.expectHistory("1 running up *")
			w.down(false)
		})
	})
}

func TestUP4RollbackWithoutRevisionGoesToTheLastThatRan(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { m1 extends VM { a extends Probe { n 1; } /*more*/ } }`
		if _, err := w.apply(api.PlanRequest{Name: "sys", Rollback: true}); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			t.Errorf("rollback of nothing: %v", err)
		}
		w.runs(text)
		if _, err := w.apply(api.PlanRequest{Name: "sys", Rollback: true}); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			t.Errorf("rollback of the first revision: %v", err)
		}
		for n := 2; n < 4; n++ {
			w.up(strings.NewReplacer("n 1", fmt.Sprint("n ", n), "/*more*/", "bad extends Probe { failStart -1; }").Replace(text))
		}
		if d := w.rollback(0); d.State != api.DeploymentDone {
			t.Errorf("rollback ended %s: %+v", d.State, d.Failures)
		}
		w.expectHistory("1 running up", "2 degraded up", "3 degraded up", "4 running rollback to 1 *")
		w.expectNoChange(text)
		w.expectLive("m1:a")
		if v, _ := w.last("m1:a", "reconfigure").Attrs.Get("n"); v != value.Integer(1) {
			t.Errorf("m1:a has n %v, want what it had before", v)
		}
		if _, err := w.apply(api.PlanRequest{Name: "sys", Rollback: true, To: 77}); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			t.Errorf("rollback to what never was: %v", err)
		}
		w.down(false)
	})
}

// The history is in the shared store: whoever owns the system next has it, and
// finishes a rollback that its owner began.
func TestUP4RollbackSurvivesTheDeathOfTheOwner(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 20 * time.Second, more: 2}, func(w *world) {
			w.runs(twoMachines)
			w.runs(strings.Replace(twoMachines, `/*more*/`, `m3 extends VM { c extends Probe {} }`, 1))
			p := w.insist(api.PlanRequest{Name: "sys", Rollback: true})
			time.Sleep(time.Duration(w.number(20_000)) * time.Millisecond)
			owner, _ := w.owner(theSystem)
			w.kill(owner)
			w.another(theSystem, owner)
			if d := w.end(); d.State != api.DeploymentDone || d.Plan != p.ID {
				t.Errorf("rollback ended %s with plan %s, want done with %s", d.State, d.Plan, p.ID)
			}
			w.expectNoChange(twoMachines)
			w.expectHistory("1 running up", "2 running up", "3 running rollback to 1 *")
			w.down(false)
		})
	})
}

// UP4: an update that failed before it changed anything is in the history, and
// its undo beside it.
func TestUP4UndoOfWhatChangedNothingLeavesTheFailureInTheHistory(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { sfOnFailure "undo"; m1 extends VM { a extends Probe { n 1; } } }`
		w.runs(text)
		for range 2 { // what was undone may be tried again
			w.begin(strings.Replace(text, "n 1", "n 2; failReconfigure -1", 1))
			time.Sleep(5 * time.Minute)
			w.expectState(api.SystemRunning)
			w.expectNoChange(text)
		}
		w.expectHistory("1 running up", "2 degraded up", "3 running undo of 2", "4 degraded up", "5 running undo of 4 *")
		if n := len(w.starts("m1:a")); n != 1 {
			t.Errorf("m1:a was begun %d times, want once", n)
		}
		w.restartManager() // it reads the same from the store
		w.expectHistory("1 running up", "2 degraded up", "3 running undo of 2", "4 degraded up", "5 running undo of 4 *")
		w.down(false)
	})
}

// UP6: what was made from a revision is refused once the system has another: it
// would take back what somebody else has changed since.
func TestUP6RequestMadeFromAnotherRevisionIsStale(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		const text = `sfConfig extends { m1 extends VM { a extends Probe { n 1; } b extends Probe { n 1; } } }`
		made := func(base int64, a, b string) api.PlanRequest {
			r := w.request(strings.Replace(strings.Replace(text, "n 1", a, 1), "n 1", b, 1))
			r.Base = base
			return r
		}
		if _, err := w.apply(made(1, "n 1", "n 1")); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			t.Errorf("made from a system that is not: %v", err)
		}
		w.runs(text)
		// Two are planned from the same revision at the same moment.
		second, err := w.service().Plan(context.Background(), made(1, "n 1", "n 3"))
		if err != nil {
			t.Fatal(err)
		}
		w.insist(made(1, "n 2", "n 1"))
		if _, err := w.apply(made(1, "n 1", "n 3")); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
			t.Errorf("while the first is under way: %v", err)
		}
		w.end()
		if _, err := w.service().Apply(context.Background(), "sys", second.ID); !errors.Is(err, &api.Error{Kind: api.KindStale}) {
			t.Errorf("planned before the first was begun: %v", err)
		}
		_, err = w.apply(made(1, "n 1", "n 3"))
		if stale, ok := errors.AsType[*api.Error](err); !ok || stale.Kind != api.KindStale || !strings.Contains(stale.Message, "at revision 2") || stale.Remedy == "" {
			t.Errorf("planned after the first has ended: %v", err)
		}
		w.insist(made(2, "n 2", "n 3"))
		w.end()
		w.expectNoChange(strings.Replace(strings.Replace(text, "n 1", "n 2", 1), "n 1", "n 3", 1))
		w.expectHistory("1 running up", "2 running up", "3 running up *")
		w.down(false)
	})
}
