package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
	"aloft/value"
)

// did returns what was asked of probes since mark, as "path op", sorted.
func (w *world) did(mark int) []string {
	var list []string
	for _, c := range w.stage.trace()[mark:] {
		if !c.Done {
			list = append(list, string(c.Path)+" "+c.Op)
		}
	}
	slices.Sort(list)
	return list
}

// expectDid checks what was asked of probes since mark.
func (w *world) expectDid(mark int, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.did(mark); !slices.Equal(got, want) {
		w.t.Errorf("done: %v, want %v", got, want)
	}
}

// twoMachines is a system whose parts can be replaced in the text.
const twoMachines = `sfConfig extends {
	m1 extends VM {
		a extends Probe { greeting "hello"; x extends Probe { fixed 1; } }
	}
	m2 extends VM { b extends Probe { later LAZY m1:a:out; } }
	/*more*/
}`

func TestUP2UP5UP6UpdateDoesWhatDiffersAsThePlanShows(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		did      []string
		machines int
	}{
		"add a component":    {`/*more*/`, `group extends { sfProcessHost LAZY m2:ip; c extends Probe {} }`, []string{"group:c deploy", "group:c start"}, 2},
		"add a machine":      {`/*more*/`, `m3 extends VM { c extends Probe {} }`, []string{"m3:c deploy", "m3:c start"}, 3},
		"remove a component": {`x extends Probe { fixed 1; }`, ``, []string{"m1:a:x terminate"}, 2},
		"remove a machine":   {`m2 extends VM { b extends Probe { later LAZY m1:a:out; } }`, ``, []string{"m2:b terminate"}, 1},
		"reconfigure":        {`"hello"`, `"good day"`, []string{"m1:a reconfigure"}, 2},
		"replace":            {`fixed 1`, `fixed 2`, []string{"m1:a:x deploy", "m1:a:x start", "m1:a:x terminate"}, 2},
		"replace a machine": {
			`m2 extends VM {`, `m2 extends VM { cores 2;`,
			[]string{"m2:b deploy", "m2:b start", "m2:b terminate"},
			2,
		},
		"change the class": {`x extends Probe { fixed 1; }`, `x extends Compound {}`, []string{"m1:a:x terminate"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
				w.runs(twoMachines)
				w.expectNoChange(twoMachines)
				mark := len(w.stage.trace())
				changed := strings.Replace(twoMachines, c.old, c.new, 1)
				w.expectShown(changed, c.did...)
				w.runs(changed)
				w.expectDid(mark, c.did...)
				w.expectNoChange(changed)
				time.Sleep(time.Minute)
				w.balance(c.machines)
				if n := len(w.cloud.Resources()); n != c.machines {
					t.Errorf("%d machines, want %d", n, c.machines)
				}
				w.runs(twoMachines) // and back
				w.expectNoChange(twoMachines)
				w.down(false)
			})
		})
	}
}

// expectShown checks that the plan of a description shows exactly these steps of
// probes, and of what were some (UP6).
func (w *world) expectShown(text string, want ...string) {
	w.t.Helper()
	p, err := w.service().Plan(context.Background(), w.request(text))
	if err != nil {
		w.t.Fatal(err)
	}
	var shown []string
	for _, s := range p.Steps {
		if s.Class == "Probe" || s.Action == "terminate" && s.Class != "VM" {
			shown = append(shown, s.Path+" "+s.Action)
		}
	}
	slices.Sort(shown)
	slices.Sort(want)
	if !slices.Equal(shown, want) {
		w.t.Errorf("the plan shows %v, want %v", shown, want)
	}
}

// expectNoChange checks that a description needs no operation.
func (w *world) expectNoChange(text string) {
	w.t.Helper()
	mark := len(w.stage.trace())
	p, err := w.service().Plan(context.Background(), w.request(text))
	if err != nil || !p.Empty || len(p.Steps) > 0 {
		w.t.Errorf("plan of an equal description: %+v, %v; want none", p, err)
	}
	w.expectDid(mark)
}

func TestUP1UpdateActsInItsOrder(t *testing.T) {
	scenario(t, options{seed: 1, random: 10 * time.Second}, func(w *world) {
		w.runs(`sfConfig extends {
			m1 extends VM { old extends Probe {} same extends Probe {} changed extends Probe { n 1; below extends Probe { n 1; } } }
		}`)
		mark := len(w.stage.trace())
		w.runs(`sfConfig extends {
			m1 extends VM { same extends Probe {} changed extends Probe { n 2; below extends Probe { n 2; } } new extends Probe {} }
		}`)
		ops := w.operations(mark)
		w.follows(ops, "m1:changed reconfigure", "m1:new deploy")
		w.follows(ops, "m1:changed:below reconfigure", "m1:changed reconfigure")
		w.follows(ops, "m1:new start", "m1:changed:below reconfigure")
		w.follows(ops, "m1:old terminate", "m1:new start")
		w.down(false)
	})
}

func TestComponentThatWasNeverDeployedFollowsItsReplacedParent(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := func(fixed, fail int) string {
			return fmt.Sprintf(`sfConfig extends { m1 extends VM {
				a extends Probe { fixed %d; bad extends Probe { failDeploy %d; below extends Probe {} } }
			} }`, fixed, fail)
		}
		w.up(text(1, 1))
		w.expectState(api.SystemDegraded)
		w.runs(text(2, 1))
		w.expectLive("m1:a", "m1:a:bad", "m1:a:bad:below")
		w.down(false)
	})
}

func TestUP4FailedReconfigureLeavesTheComponentRunningAsItWas(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { m1 extends VM { a extends Probe { n 1; failReconfigure 1; } b extends Probe { n 1; } } }`
		w.runs(text)
		changed := strings.ReplaceAll(text, "n 1", "n 2")
		if d := w.up(changed); d.State != api.DeploymentDegraded || len(d.Failures) != 1 {
			t.Errorf("up ended %s with %+v", d.State, d.Failures)
		}
		w.expectStates(map[string]string{"m1:a": "running", "m1:b": "running"})
		w.expectLive("m1:a", "m1:b")
		mark := len(w.stage.trace())
		w.runs(changed)
		w.expectDid(mark, "m1:a reconfigure")
		w.down(false)
	})
}

func TestUP4FailedUpdateGoesBackWhereTheDescriptionSaysSo(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { sfOnFailure "undo"; m1 extends VM { a extends Probe { n 1; } /*more*/ } }`
		w.runs(text)
		w.begin(strings.NewReplacer("n 1", "n 2", "/*more*/", "b extends Probe {} bad extends Probe { failStart -1; }").Replace(text))
		time.Sleep(10 * time.Minute)
		w.expectState(api.SystemRunning)
		w.expectLive("m1:a")
		if v, _ := w.last("m1:a", "reconfigure").Attrs.Get("n"); v != value.Integer(1) {
			t.Errorf("m1:a has n %v, want what it had before", v)
		}
		w.expectNoChange(text)
		w.balance(1)
		w.down(false)
	})
}

func TestUP3EqualDescriptionAttachesAndAnotherIsRefused(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		began := time.Now()
		first := w.begin(twoMachines)
		time.Sleep(10 * time.Second)
		again, err := w.apply(w.request(twoMachines))
		if err != nil || !again.Attached || again.ID != first.ID {
			t.Errorf("an equal description: %+v, %v; want it attached to plan %s", again, err, first.ID)
		}
		_, err = w.apply(w.request(hello))
		busy, ok := errors.AsType[*api.Error](err)
		if !ok || busy.Kind != api.KindConflict || busy.Revision != 1 || busy.Since.Sub(began).Abs() > time.Second {
			t.Errorf("another description: %+v; want a conflict with revision 1 since the start", err)
		}
		if _, err := w.apply(api.PlanRequest{Name: "sys", Down: true}); !errors.Is(err, &api.Error{Kind: api.KindConflict}) {
			t.Errorf("down: %v; want it refused while the deployment is under way", err)
		}
		w.end()
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}

func TestUP6PlanMadeForAnotherRevisionIsRefused(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		stale, err := w.service().Plan(context.Background(), w.request(hello))
		if err != nil {
			t.Fatal(err)
		}
		w.runs(twoMachines)
		if _, err := w.service().Apply(context.Background(), "sys", stale.ID); !errors.Is(err, &api.Error{Kind: api.KindStale}) {
			t.Errorf("apply: %v, want it refused as stale", err)
		}
		w.down(false)
	})
}

func TestLC3DownNowInTheMiddleOfADeploymentLeavesNothing(t *testing.T) {
	overSeeds(t, 16, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 40 * time.Second}, func(w *world) {
			w.begin(sixMachines)
			time.Sleep(time.Duration(w.rng.Int64N(int64(3 * time.Minute))))
			w.down(true)
		})
	})
}

// A plan that is made while a component is being brought back finds it as it may be
// by its turn: there again, or not.
func TestUP1ComponentThatIsBeingBroughtBackIsUpdated(t *testing.T) {
	text := func(v int, more string) string {
		return fmt.Sprintf(`sfConfig extends { m extends VM { a extends Probe { v %d; %s b extends Probe { n %[1]d; } } } }`, v, more)
	}
	for name, after := range map[string]string{
		"changed": text(2, ""), "the same": text(1, ""), "to be replaced": text(1, "fixed 1;"),
	} {
		t.Run(name, func(t *testing.T) {
			overSeeds(t, 8, func(t *testing.T, seed uint64) {
				scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
					w.runs(text(1, ""))
					w.stage.die("m:a", component.Abnormal)
					time.Sleep(time.Duration(w.number(40_000)) * time.Millisecond)
					p, err := w.apply(w.request(after))
					if err != nil {
						t.Fatal(details(err))
					}
					if !p.Empty {
						if d := w.end(); d.State != api.DeploymentDone {
							t.Errorf("up ended %s: %+v", d.State, d.Failures)
						}
					}
					time.Sleep(5 * time.Minute)
					w.expectLive("m:a", "m:a:b")
					w.expectNoChange(after)
					w.down(false)
				})
			})
		})
	}
}
