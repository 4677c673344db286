package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// span is an operation of any component, as its events tell.
type span struct{ from, to time.Time }

// spans returns the operations of a system's components from its events, as
// "path deploying": machines and compounds have no probe that records them.
// Operations of the same moment are not told apart.
func (w *world) spans(system string) map[string]span {
	w.t.Helper()
	events, err := w.service().Events(context.Background(), api.EventQuery{System: system})
	if err != nil {
		w.t.Fatal(err)
	}
	list := map[string]span{}
	under := map[string]string{} // by path
	for e, err := range events {
		if err != nil {
			w.t.Fatal(err)
		}
		switch {
		case e.Kind != api.EventComponent:
		case e.State == "deploying" || e.State == "starting" || e.State == "terminating":
			under[e.Path] = e.Path + " " + e.State
			list[under[e.Path]] = span{from: e.Time}
		case under[e.Path] != "":
			list[under[e.Path]] = span{list[under[e.Path]].from, e.Time}
			delete(under, e.Path)
		}
	}
	return list
}

// notBefore checks that one operation began no earlier than another had ended.
func notBefore(t *testing.T, list map[string]span, later, earlier string) {
	t.Helper()
	l, ok := list[later]
	e, ok2 := list[earlier]
	if !ok || !ok2 || e.to.IsZero() || l.from.Before(e.to) {
		t.Errorf("%s %v began before the end of %s %v", later, l, earlier, e)
	}
}

// LC9 is the example of the specification, as it is written there.
func TestLC9TheExample(t *testing.T) {
	overSeeds(t, 8, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 2 * time.Minute}, func(w *world) {
			w.runs(`sfConfig extends {
				vmA extends VM { db extends Probe; }
				vmB extends VM { app extends Probe { site extends Probe; } }
			}`)
			ops, all := w.operations(0), w.spans("sys")
			if a, b := all["vmA deploying"], all["vmB deploying"]; !a.from.Before(b.to) || !b.from.Before(a.to) {
				t.Errorf("the deploys of vmA %v and vmB %v do not overlap", a, b)
			}
			notBefore(t, all, "vmA:db deploying", "vmA deploying")
			notBefore(t, all, "vmB:app deploying", "vmB deploying")
			w.follows(ops, "vmB:app:site deploy", "vmB:app deploy")
			for _, start := range []string{"vmA:db", "vmB:app", "vmB:app:site"} {
				for _, deploy := range []string{"vmA:db", "vmB:app", "vmB:app:site"} {
					w.follows(ops, start+" start", deploy+" deploy")
				}
			}
			for _, start := range []string{"vmA", "vmB"} {
				for _, deploy := range []string{"vmA", "vmA:db", "vmB", "vmB:app", "vmB:app:site"} {
					notBefore(t, all, start+" starting", deploy+" deploying")
				}
			}
			mark := len(w.stage.trace())
			w.down(false)
			ops, all = w.operations(mark), w.spans("sys")
			w.follows(ops, "vmB:app terminate", "vmB:app:site terminate")
			for parent, child := range map[string]string{"vmA": "vmA:db", "vmB": "vmB:app"} {
				notBefore(t, all, parent+" terminating", child+" terminating")
			}
			// The top has no manager to be seen ending: it has when its system has.
			done := w.plansDone("sys")
			if len(done) != 2 {
				t.Fatalf("plans were done at %v, want up and down", done)
			}
			for _, vm := range []string{"vmA", "vmB"} {
				if s := all[vm+" terminating"]; s.to.IsZero() || s.to.After(done[1]) {
					t.Errorf("the top ended at %v, %s at %v", done[1], vm, s.to)
				}
			}
		})
	})
}

// plansDone returns when the plans of a system were done.
func (w *world) plansDone(system string) (at []time.Time) {
	w.t.Helper()
	events, err := w.service().Events(context.Background(), api.EventQuery{System: system})
	if err != nil {
		w.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Kind == api.EventPlan && e.State == api.DeploymentDone {
			at = append(at, e.Time)
		}
	}
	return at
}

// ordered is one compound with two branches, the first of which is fast.
func ordered(order string) string {
	return fmt.Sprintf(`sfConfig extends { m extends VM { app extends Probe { sfOrder %q;
		a extends Probe { a1 extends Probe { a2 extends Probe; } }
		b extends Probe { deployTakes 60000; startTakes 60000; b1 extends Probe; }
	} } }`, order)
}

// LC6, in what is recorded of the operations.
func TestLC6OrderOfACompound(t *testing.T) {
	paths := []string{"m:app", "m:app:a", "m:app:a:a1", "m:app:a:a1:a2", "m:app:b", "m:app:b:b1"}
	depth := func(path string) int { return strings.Count(path, ":") }
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		waves := []string{" deploy", " start"}
		o := options{seed: seed, random: 10 * time.Second}
		t.Run("edges", func(t *testing.T) {
			scenario(t, o, func(w *world) {
				w.runs(ordered("edges"))
				ops := w.operations(0)
				for _, wave := range waves { // each branch by itself: the fast one is through before the slow one's first
					if fast, slow := ops["m:app:a:a1:a2"+wave], ops["m:app:b"+wave]; fast.end > slow.end {
						t.Errorf("the end of%s of a2 is at %v, that of b at %v", wave, fast.to, slow.to)
					}
				}
			})
		})
		t.Run("levels", func(t *testing.T) {
			scenario(t, o, func(w *world) {
				w.runs(ordered("levels"))
				ops := w.operations(0)
				for _, wave := range waves {
					for _, later := range paths {
						for _, earlier := range paths {
							if depth(earlier) < depth(later) {
								w.follows(ops, later+wave, earlier+wave)
							}
						}
					}
					if a, b := ops["m:app:a"+wave], ops["m:app:b"+wave]; max(a.begin, b.begin) > min(a.end, b.end) {
						t.Errorf("%s of a and b, which have the same depth, do not overlap", wave)
					}
				}
			})
		})
		t.Run("depth", func(t *testing.T) {
			scenario(t, o, func(w *world) {
				w.runs(ordered("depth"))
				var want, got []string
				for _, wave := range waves {
					for _, path := range paths {
						want = append(want, path+wave, path+wave+" ended")
					}
				}
				for _, c := range w.stage.trace() {
					switch {
					case c.Path == value.Root:
					case c.Done:
						got = append(got, fmt.Sprintf("%s %s ended", c.Path, c.Op))
					default:
						got = append(got, fmt.Sprintf("%s %s", c.Path, c.Op))
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("operations %v, want one at a time: %v", got, want)
				}
			})
		})
	})
}

// LZ3: a reference moves an operation behind one that would otherwise have come
// later or at the same time, and the plan shows the edge beforehand.
func TestLZ3PlanShowsTheEdgesOfReferencesAndTheyHold(t *testing.T) {
	const first = `a extends Probe { reads LAZY ROOT:m2:c:out; }`
	text := func(b string) string {
		return `sfConfig extends { m1 extends VM { ` + first + ` b extends Probe { ` + b + ` } } m2 extends VM { c extends Probe { deployTakes 600000; startTakes 60000; } } }`
	}
	scenario(t, options{seed: 1}, func(w *world) {
		p, err := w.service().Plan(context.Background(), w.request(text(`later LAZY ROOT:m1:a:out;`)))
		if err != nil {
			t.Fatal(err)
		}
		var edges []string
		for _, e := range p.Late {
			edges = append(edges, fmt.Sprintf("%s waits for %s (%s)", e.From, e.To, e.Attribute))
		}
		if want := []string{"m1:a waits for m2:c (reads)", "m1:b waits for m1:a (later)"}; !slices.Equal(edges, want) {
			t.Errorf("the plan shows %q, want %q", edges, want)
		}
		w.runs(text(`later LAZY ROOT:m1:a:out;`))
		ops := w.operations(0)
		w.follows(ops, "m1:a deploy", "m2:c deploy") // defined before it, on another machine
		w.follows(ops, "m1:a start", "m2:c start")
		w.follows(ops, "m1:b start", "m1:a start")
		if b, a := ops["m1:b deploy"], ops["m1:a deploy"]; b.begin > a.begin {
			t.Errorf("b, which reads only at start, was deployed at %v, after a at %v", b.from, a.from)
		}
		w.down(false)

		mark := len(w.stage.trace())
		p, err = w.service().Plan(context.Background(), w.request(strings.Replace(text(""), first, "a extends Probe;", 1)))
		if err != nil || len(p.Late) > 0 {
			t.Fatalf("without references the plan shows %+v, %v", p.Late, err)
		}
		w.runs(strings.Replace(text(""), first, "a extends Probe;", 1))
		if ops := w.operations(mark); ops["m1:a deploy"].end > ops["m2:c deploy"].end {
			t.Error("without the reference m1:a was deployed after m2:c as well")
		}
		w.down(false)
	})
}
