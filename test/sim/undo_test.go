package sim

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aloft/api"
	"aloft/internal/store"
	"aloft/value"
)

// What cannot be undone at once, as while the store is away, is undone when it
// can be.
func TestUP4UndoThatCannotBeginIsTriedAgain(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { sfOnFailure "undo"; m1 extends VM { a extends Probe { n 1; } } }`
		w.runs(text)
		var plans, lost atomic.Int32
		w.seats[0].lose(func(txn store.Txn) bool {
			for _, p := range txn.Put {
				if strings.HasPrefix(p.Key, "revision/sys/") && strings.HasSuffix(p.Key, "3") {
					plans.Add(1)
					if plans.Load() < 4 {
						lost.Add(1)
						return true
					}
				}
			}
			return false
		})
		w.begin(strings.Replace(text, "n 1", "n 2; b extends Probe { failStart -1; }", 1))
		time.Sleep(10 * time.Minute)
		w.seats[0].lose(nil)
		if lost.Load() == 0 {
			t.Error("nothing was lost")
		}
		w.expectState(api.SystemRunning)
		w.expectLive("m1:a")
		w.expectHistory("1 running up", "2 degraded up", "3 running undo of 2 *")
		w.down(false)
	})
}

// An undo that failed half-way is tried again by a rollback without a revision.
func TestUP4RollbackAfterAnUndoThatFailedTriesItAgain(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := func(n int, more string) string {
			return strings.NewReplacer("n 1", "n "+string(rune('0'+n)), "/*more*/", more).Replace(`sfConfig extends { sfOnFailure "undo"; m1 extends VM { a extends Probe { n 1; } /*more*/ } }`)
		}
		w.runs(text(1, ""))
		w.runs(text(2, ""))
		w.begin(text(3, `b extends Probe { failTerminate 1; } bad extends Probe { failStart -1; }`))
		time.Sleep(10 * time.Minute)
		w.expectHistory("1 running up", "2 running up", "3 degraded up", "4 degraded undo of 3 *")
		w.rollback(0)
		w.expectState(api.SystemRunning)
		w.expectLive("m1:a")
		if v, _ := w.last("m1:a", "reconfigure").Attrs.Get("n"); v != value.Integer(2) {
			t.Errorf("m1:a has n %v, want what it had before", v)
		}
		w.down(false)
	})
}

// What was accepted with references that nobody could check is kept up all the
// same.
func TestHL2WhatWasTakenUncheckedIsPlacedAgain(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		r := w.request(`sfConfig extends { m extends VM { sfOnIsolation "stop"; app extends Probe; } other extends VM { c extends Probe { x LAZY nowhere:out; } } }`)
		r.AllowUnresolved = true
		w.insist(r)
		w.end()
		old := w.machine("sys/m")
		w.cut(old)
		time.Sleep(10 * time.Minute)
		w.expectMoved(old, "m:app")
	})
}

// A rollback leads to what was accepted, with references that nobody can check.
func TestUP4RollbackToWhatWasTakenUnchecked(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		r := w.request(`sfConfig extends { other extends VM { c extends Probe { x LAZY nowhere:out; } d extends Probe {} } }`)
		r.AllowUnresolved = true
		w.insist(r)
		w.end()
		w.runs(`sfConfig extends { other extends VM { d extends Probe {} } }`)
		w.rollback(1)
		w.down(false)
	})
}

// A rollback that failed half-way is gone on with by naming its own revision;
// without one it leads to what ran last.
func TestUP4RollbackThatFailedIsGoneOnWith(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		const text = `sfConfig extends { m1 extends VM { a extends Probe { n 1; failReconfigure 2; } } }`
		w.runs(text)
		w.runs(strings.Replace(text, "n 1; failReconfigure 2;", "n 2;", 1))
		if d := w.rollback(1); d.State != api.DeploymentDegraded {
			t.Errorf("rollback ended %s", d.State)
		}
		if p, err := w.service().Plan(context.Background(), api.PlanRequest{Name: "sys", Rollback: true}); err != nil || !p.Empty {
			t.Errorf("a rollback without a revision: %+v, %v; want it to find what ran last as it was", p, err)
		}
		if d := w.rollback(3); d.State != api.DeploymentDone {
			t.Errorf("rollback ended %s: %+v", d.State, d.Failures)
		}
		w.expectNoChange(text)
		w.down(false)
	})
}
