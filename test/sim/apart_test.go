package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aloft/api"
	"aloft/internal/store"
)

const besideShop = `sfConfig extends { shop extends VM { a extends Probe {} } other extends VM { c extends Probe {} } }`

// A part is neither ended nor doubled by what becomes of its surroundings.
func TestTR4NothingAroundAPartEndsOrDoublesIt(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(twoShops)
		w.detach("sys", "old:shop")
		mark := len(w.stage.trace())
		if _, err := w.apply(w.request(`sfConfig extends { old extends { sfCopies 2; } other extends VM { c extends Probe {} } }`)); err != nil {
			return // refused
		}
		w.end()
		for _, what := range w.did(mark) {
			if strings.Contains(what, "shop") {
				t.Error(what)
			}
		}
	})
}

// A system that is asked to end does not come back.
func TestTR4SystemThatIsEndedDoesNotComeBack(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { sfOnFailure "undo"; shop extends VM { a extends Probe {} } other extends VM { c extends Probe { failTerminate 1; } } third extends VM { e extends Probe {} } }`)
		w.detach("sys", "shop")
		mark := len(w.stage.trace())
		w.insist(api.PlanRequest{Name: "sys", Down: true})
		time.Sleep(5 * time.Minute)
		for _, what := range w.did(mark) {
			if strings.Contains(what, "deploy") || strings.Contains(what, "start") {
				t.Errorf("after down: %s", what)
			}
		}
	})
}

// A part that detached itself, and that the file still has, can be ended.
func TestTR4PartThatDetachedItselfCanBeEnded(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := strings.Replace(twoShops, "shop extends VM {", "shop extends VM { sfShouldDetach true;", 1)
		w.up(text)
		time.Sleep(10 * time.Second)
		w.runs(strings.Replace(text, "c extends Probe {}", "c extends Probe { n 2; }", 1))
		w.endsSystem("shop")
		w.expectLive("other:c")
		w.expectSystems(map[string][]string{"sys running": {"ROOT", "old", "other", "other:c"}})
	})
}

// The same after an end that failed.
func TestTR4PartThatWouldNotEndIsTheSystemsAgain(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(besideShop)
		w.detach("sys", "shop")
		w.setUndying(true)
		w.insist(api.PlanRequest{Name: "shop", Down: true})
		w.end()
		w.setUndying(false)
		w.up(besideShop)
		w.expectSystems(map[string][]string{"sys running": {"ROOT", "shop", "shop:a", "other", "other:c"}})
	})
}

// A failed end holds up nothing of the others.
func TestTR4FailedEndHoldsUpNothing(t *testing.T) {
	const keeps = `a extends Probe { dataDir "/data"; keepOnTerminate true; }`
	for name, c := range map[string]struct{ ends, failing, lost, data string }{
		"part, no data": {"shop", "shop", "other", `a extends Probe {}`}, "system, no data": {"sys", "other", "shop", `a extends Probe {}`},
		"part": {"shop", "shop", "other", keeps}, "system": {"sys", "other", "shop", keeps},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.runs(`sfConfig extends { ` + c.failing + ` extends VM { ` + c.data + ` } ` + c.lost + ` extends VM { a extends Probe {} } }`)
				w.detach("sys", "shop")
				w.setUndying(true)
				w.insist(api.PlanRequest{Name: c.ends, Down: true})
				w.end()
				w.setUndying(false)
				if err := w.cloud.Lose(w.machine("sys/" + c.lost).resource.Ref); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Hour)
				if !slices.Contains(w.stage.live(), c.lost+":a") {
					t.Errorf("%s is not placed again", c.lost)
				}
			})
		})
	}
}

// A name of a part that ended is free again.
func TestTR4NameOfAnEndedPartIsFree(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		var inside strings.Builder
		for i := range 600 {
			fmt.Fprintf(&inside, "g%d extends {} ", i)
		}
		w.runs(`sfConfig extends { shop extends { sfSyncTerminate true; ` + inside.String() + ` m extends VM { a extends Probe {} } } other extends VM { c extends Probe {} } }`)
		w.detach("sys", "shop")
		w.insist(api.PlanRequest{Name: "shop", Down: true})
		var refused atomic.Int32
		w.seats[0].lose(func(t store.Txn) bool { // the manager dies before this one
			if refused.Load() > 0 || slices.Contains(t.Delete, "origin/shop") {
				refused.Add(1)
			}
			return refused.Load() > 0
		})
		for began := time.Now(); refused.Load() == 0 && time.Since(began) < time.Hour; {
			time.Sleep(10 * time.Millisecond)
		}
		w.restartManager()
		w.seats[0].lose(nil)
		time.Sleep(5 * time.Minute)
		if _, err := w.apply(w.requestFor("shop", prelude+`sfConfig extends { m extends VM { x extends Probe {} } }`)); err != nil {
			_, down := w.service().Plan(context.Background(), api.PlanRequest{Name: "shop", Down: true})
			t.Errorf("up shop: %v; down shop: %v", err, down)
		}
	})
}

// A detachment that is refused leaves nothing.
func TestTR4RefusedDetachmentLeavesNoRevision(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(strings.Replace(twoShops, "c extends Probe {}", "c extends Probe { n 1; }", 1))
		w.runs(strings.Replace(twoShops, "c extends Probe {}", "c extends Probe { n 2; }", 1))
		p, err := w.service().Plan(context.Background(), api.PlanRequest{Name: "sys", Detach: "old:shop"})
		if err != nil {
			t.Fatal(err)
		}
		w.insist(w.requestFor("shop", prelude+`sfConfig extends { m extends VM { x extends Probe {} } }`))
		w.endOf("shop")
		if _, err := w.service().Apply(context.Background(), "sys", p.ID); err == nil {
			t.Error("the name is given twice")
		}
		w.expectHistory("1 running up", "2 running up *")
		if back, err := w.service().Plan(context.Background(), api.PlanRequest{Name: "sys", Rollback: true}); err != nil || len(back.Steps) != 1 {
			t.Errorf("rollback: %+v, %v", back, err)
		}
	})
}

// The end of one does nothing to the other.
func TestTR4EndTouchesNothingElse(t *testing.T) {
	for _, c := range []struct{ ends, other string }{{"shop", "other"}, {"sys", "shop"}} {
		t.Run(c.ends, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.runs(`sfConfig extends { sfMaxRestarts 3; shop extends VM { sfMaxRestarts 2; a extends Probe {} } other extends VM { sfMaxRestarts 2; c extends Probe {} } }`)
				w.detach("sys", "shop")
				w.setUnstartable(true)
				if err := w.cloud.Stop(w.machine("sys/"+c.other).resource.Ref, "reclaimed"); err != nil {
					t.Fatal(err)
				}
				of := map[string]string{"shop": "shop", "other": "sys"}[c.other]
				for began := time.Now(); time.Since(began) < time.Hour; time.Sleep(time.Second) {
					st, err := w.service().Status(context.Background(), of)
					if err == nil && slices.ContainsFunc(st.Components, func(c api.Component) bool { return strings.Contains(c.Reason, "given up: ") }) {
						break
					}
				}
				p, err := w.service().Plan(context.Background(), api.PlanRequest{Name: c.ends, Down: true})
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range p.Steps {
					if strings.HasPrefix(s.Path, c.other) {
						t.Errorf("down %s would %s %s", c.ends, s.Action, s.Path)
					}
				}
			})
		})
	}
}

// What was to detach itself does so though the store was away for a moment.
func TestTR4SelfDetachmentIsTriedAgain(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		began := time.Now()
		w.seats[0].lose(func(t store.Txn) bool {
			return time.Since(began) < 10*time.Minute && slices.ContainsFunc(t.Put, func(p store.Put) bool { return strings.HasPrefix(p.Key, "origin/") })
		})
		w.up(strings.Replace(twoShops, "shop extends VM {", "shop extends VM { sfShouldDetach true;", 1))
		time.Sleep(time.Hour)
		w.seats[0].lose(nil)
		w.expectSystems(map[string][]string{"sys running": {"ROOT", "old", "other", "other:c"}, "shop running": {"old:shop", "old:shop:a", "old:shop:a:b"}})
	})
}

// A name can be said to the API.
func TestTR4NameOfAPartIsNotTooLong(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		long := strings.Repeat("x", 70)
		w.runs(`sfConfig extends { ` + long + ` extends VM { a extends Probe {} } other extends VM { c extends Probe {} } }`)
		if p := w.detach("sys", long); len(p.Detaches.Name) > 63 {
			t.Errorf("%s has %d letters, and the API takes 63", p.Detaches.Name, len(p.Detaches.Name))
		}
	})
}

// --now is heard when a part is asked to end.
func TestTR4NowIsHeardWhenAPartEnds(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(besideShop)
		w.detach("sys", "shop")
		w.begin(`sfConfig extends { other extends VM { c extends Probe { n 2; reconfigureTakes 60000; } } }`)
		time.Sleep(5 * time.Second)
		if _, err := w.apply(api.PlanRequest{Name: "shop", Down: true, Now: true}); err != nil {
			t.Errorf("down shop --now: %v", err)
		}
	})
}

// A down that is asked for twice is one (UP3).
func TestTR4DownThatIsAskedForTwiceIsOne(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { shop extends VM { a extends Probe { terminateTakes 20000; } } other extends VM { c extends Probe { terminateTakes 20000; } } }`)
		w.detach("sys", "shop")
		for _, name := range []string{"sys", "shop"} {
			w.insist(api.PlanRequest{Name: name, Down: true})
			time.Sleep(time.Second)
			if p, err := w.service().Plan(context.Background(), api.PlanRequest{Name: name, Down: true}); err != nil || !p.Attached {
				t.Errorf("down %s again: %+v, %v", name, p, err)
			}
			time.Sleep(5 * time.Minute)
		}
	})
}

// A part can end beside a description with references that nobody could check.
func TestTR4PartEndsBesideReferencesThatNobodyCouldCheck(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(besideShop)
		w.detach("sys", "shop")
		r := w.request(`sfConfig extends { other extends VM { c extends Probe { x LAZY nowhere:out; } } }`)
		r.AllowUnresolved = true
		if _, err := w.apply(r); err != nil {
			t.Fatal(err, details(err))
		}
		time.Sleep(time.Hour)
		if _, err := w.apply(api.PlanRequest{Name: "shop", Down: true}); err != nil {
			t.Errorf("down shop: %v%s", err, details(err))
		}
	})
}

// A system that ended is no revision to go back to.
func TestTR4RollbackDoesNotEndASystem(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(twoShops)
		w.detach("sys", "old:shop")
		w.endsSystem("sys")
		w.runs(`sfConfig extends { other extends VM { c extends Probe { n 2; } } }`)
		if p, err := w.service().Plan(context.Background(), api.PlanRequest{Name: "sys", Rollback: true}); err == nil {
			for _, s := range p.Steps {
				if s.Action == "reconfigure" {
					continue // as it was with the part detached
				}
				t.Errorf("rollback would %s %s", s.Action, s.Path)
			}
		}
	})
}
