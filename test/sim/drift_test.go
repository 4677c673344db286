package sim

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
)

// thing is a probe of which nothing runs: when it answers no ping, a reconfigure
// puts it right.
type thing struct{ *probe }

func (thing) Class() component.Class {
	class := probeClass
	class.Name, class.Repairs = "Thing", true
	return class
}

func (th thing) Reconfigure(ctx context.Context, c *component.Call) error {
	err := th.probe.Reconfigure(ctx, c)
	if err == nil {
		th.stage.mu.Lock()
		defer th.stage.mu.Unlock()
		th.stage.effects[th.at(c)].mute = false
	}
	return err
}

const aThing = `Thing extends { sfClass "Thing"; }
`

// plan plans a description.
func (w *world) plan(text string) *api.Plan {
	w.t.Helper()
	p, err := w.service().Plan(context.Background(), w.request(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// expectPlan checks what a plan does, as "sign path action (reason)".
func expectPlan(t *testing.T, p *api.Plan, want ...string) {
	t.Helper()
	var got []string
	for _, s := range p.Steps {
		got = append(got, string(s.Change)+" "+s.Path+" "+s.Action+" ("+s.Reason+")")
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("plan:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What differs from what the last operation made is found by the plan of an
// equal description, and repaired in place; with nothing different there is no
// operation.
func TestUP2DriftIsShownInThePlanAndRepairedInPlace(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := aThing + `sfConfig extends { sfLivenessDelay 0;
			m1 extends VM { sfLivenessDelay 0; f extends Thing { inside extends Probe {} } p extends Probe { reads LAZY m1:f:out; } }
			m2 extends VM { sfLivenessDelay 0; q extends Probe {} }
		}`
		w.runs(text)
		w.expectNoChange(text)
		mark := len(w.stage.trace())
		w.mute("m1:f")
		expectPlan(t, w.plan(text), "~ m1:f reconfigure (repair: it does not answer)")
		w.expectReason("m1:f", "drifted: it does not answer")
		w.expectStates(map[string]string{"m1:f": "running"})
		w.runs(text)
		w.expectDid(mark, "m1:f reconfigure")
		w.expectReason("m1:f", "")
		w.expectNoChange(text)
		w.expectHistory("1 running up", "2 running up *")
		w.down(false)
	})
}

// expectReason waits until the reason of a component is known, as long as news
// take.
func (w *world) expectReason(path, want string) {
	w.t.Helper()
	time.Sleep(100 * time.Millisecond)
	if got := w.reason(path); got != want {
		w.t.Errorf("the reason of %s is %q, want %q", path, got, want)
	}
}

// What runs and does not answer is ended and begun anew, and who reads it is
// told.
func TestUP2WhatDoesNotAnswerIsBegunAnewByAPlan(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends {
			m1 extends VM { sfLivenessDelay 0; a extends Probe { below extends Probe {} } b extends Probe { later LAZY m1:a:out; } c extends Probe {} }
		}`
		w.runs(text)
		mark := len(w.stage.trace())
		w.mute("m1:a")
		p := w.plan(text)
		for _, s := range p.Steps {
			if s.Path == "m1:a" && (s.Change != api.ChangeReplace || s.Reason != "repair: it does not answer") {
				t.Errorf("step %+v", s)
			}
		}
		w.expectReason("m1:a", "does not answer: it does not answer")
		w.runs(text)
		w.expectDid(mark, "m1:a terminate", "m1:a deploy", "m1:a start", "m1:a:below terminate", "m1:a:below deploy", "m1:a:below start", "m1:b reconfigure")
		w.expectNoChange(text)
		w.down(false)
	})
}

// What is not to be brought back unasked is shown, and ended by nobody but a
// plan.
func TestUP2WhatIsOnlyBroughtBackIfAsked(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { m1 extends VM { a extends Probe {} b extends Probe {} } }`
		w.runs(text)
		mark := len(w.stage.trace())
		w.stage.mu.Lock()
		for at, e := range w.stage.effects {
			e.taken = at.path == "m1:a"
		}
		w.stage.mu.Unlock()
		time.Sleep(5 * time.Minute)
		w.expectDid(mark)
		w.expectReason("m1:a", "does not answer: somebody is at work: only up brings it back")
		const why = " (repair: somebody is at work: only up brings it back)"
		expectPlan(t, w.plan(text), "-/+ m1:a terminate"+why, "-/+ m1:a deploy"+why, "-/+ m1:a start"+why)
		w.runs(text)
		w.expectDid(mark, "m1:a terminate", "m1:a deploy", "m1:a start")
		w.expectReason("m1:a", "")
		w.expectNoChange(text)
		w.down(false)
	})
}

// The machine's own daemon repairs what has drifted, and nobody who shares the
// fate of the component is ended.
func TestTR3DriftIsRepairedInPlaceAndSharesNoFate(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := aThing + `sfConfig extends { m1 extends VM { g extends Compound { f extends Thing {} p extends Probe {} } } }`
		w.runs(text)
		mark := len(w.stage.trace())
		w.mute("m1:g:f")
		time.Sleep(40 * time.Second)
		w.expectDid(mark, "m1:g:f reconfigure")
		w.expectStates(map[string]string{"m1:g": "running", "m1:g:f": "running", "m1:g:p": "running"})
		w.expectReason("m1:g:f", "")
		w.expectState(api.SystemRunning)
		w.expectNoChange(text)
		w.down(false)
	})
}

// Where it cannot be repaired it has ended, and its compound says what follows.
func TestTR3DriftThatCannotBeRepairedIsAnEnd(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := aThing + `sfConfig extends { m1 extends VM { f extends Thing { failReconfigure 1; } p extends Probe {} } }`
		w.runs(text)
		mark := len(w.stage.trace())
		w.mute("m1:f")
		time.Sleep(time.Minute)
		w.expectDid(mark, "m1:f reconfigure", "m1:f terminate", "m1:f deploy", "m1:f start")
		w.expectStates(map[string]string{"m1:f": "running", "m1:p": "running"})
		w.expectNoChange(text)
		w.down(false)
	})
}

// A daemon that dies while it repairs leaves what the next one finds drifted
// still.
func TestLC7RepairCutOffByACrashIsDoneAgain(t *testing.T) {
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed}, func(w *world) {
			text := aThing + `sfConfig extends { m1 extends VM { g extends Compound { f extends Thing { reconfigureTakes 4000; } p extends Probe {} } } }`
			w.runs(text)
			mark := len(w.stage.trace())
			w.mute("m1:g:f")
			for len(w.did(mark)) == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Duration(w.number(4000)) * time.Millisecond)
			w.restartMachine(w.machine("sys/m1"), time.Second)
			time.Sleep(time.Minute)
			w.expectStates(map[string]string{"m1:g": "running", "m1:g:f": "running", "m1:g:p": "running"})
			w.expectNoChange(text)
			for _, did := range w.did(mark) {
				if did != "m1:g:f reconfigure" && !strings.HasSuffix(did, " adopt") {
					t.Errorf("done: %v", w.did(mark))
				}
			}
			w.down(false)
		})
	})
}

func TestUP9RepairDoesNotDestroyDataWithoutLeave(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { m1 extends VM { sfLivenessDelay 0; a extends Probe { dataDir "/data"; keepOnTerminate false; } } }`
		w.runs(text)
		w.mute("m1:a")
		mark := len(w.stage.trace())
		if p := w.plan(text); len(p.Data) != 1 || p.Data[0].Path != "m1:a" {
			t.Errorf("the plan tells of the data %+v", p.Data)
		}
		if _, err := w.apply(w.request(text)); !errors.Is(err, &api.Error{Kind: api.KindInvalid}) {
			t.Errorf("repaired without leave: %v", err)
		}
		w.expectDid(mark)
		r := w.request(text)
		r.AllowDataLoss = []string{"m1:a"}
		w.insist(r)
		w.end()
		w.expectDid(mark, "m1:a terminate", "m1:a deploy", "m1:a start")
		w.down(false)
	})
}

// A machine that cannot be asked is named, and holds up nobody.
func TestPlanNamesTheMachinesThatCannotBeAskedForDrift(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := aThing + `sfConfig extends { m1 extends VM { a extends Probe {} } m2 extends VM { sfLivenessDelay 0; f extends Thing {} } }`
		w.runs(text)
		heal := w.cut(w.machine("sys/m1"))
		time.Sleep(time.Minute)
		w.mute("m2:f")
		begun := time.Now()
		p := w.plan(text)
		expectPlan(t, p, "~ m2:f reconfigure (repair: it does not answer)")
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("planning took %s", took)
		}
		if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "sys/m1") {
			t.Errorf("notes: %q", p.Notes)
		}
		heal()
		w.down(false)
	})
}
