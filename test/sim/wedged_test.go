package sim

import (
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// RT-11: what fails half-way, what never comes and what hangs at its end each
// stop only their branch, within their limit, with a record that says so.
func TestRT11WhatFailsHalfWayNeverComesOrHangsIsRecordedWithinItsLimit(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		began := time.Now()
		d := w.up(`sfConfig extends { nothing "";
			m1 extends VM {
				half extends Probe { failDeploy -1; deployTakes 10000; below extends Probe {} }
				hangs extends Probe { terminateTakes 100000000; sfTerminateTimeout 20; inner extends Probe {} }
				slow extends Probe { deployTakes 120000; }
				ok extends Probe {}
			}
			m2 extends VM { waits extends Probe { sfWaitTimeout 30; reads ` + unseen("ROOT:m1:slow:out") + `; } }
		}`)
		if d.State != api.DeploymentDegraded || len(d.Failures) != 2 {
			t.Errorf("up ended %s: %+v", d.State, d.Failures)
		}
		if f := w.failure(d, "m1:half"); f.Operation != "deploy" || f.Machine != "sys/m1" || !strings.Contains(f.Cause, "told to fail") {
			t.Errorf("what failed half-way: %+v", f)
		}
		if f := w.failure(d, "m2:waits"); f.Operation != "deploy" || !strings.Contains(f.Cause, "waited 30s for m1:slow:out") {
			t.Errorf("what waited for an output that does not come: %+v", f)
		}
		w.expectLive("m1:hangs", "m1:hangs:inner", "m1:slow", "m1:ok")
		if took := time.Since(began); took > 5*time.Minute {
			t.Errorf("it took %v", took)
		}

		began = time.Now()
		w.insist(api.PlanRequest{Name: "sys", Down: true})
		d = w.end()
		if f := w.failure(d, "m1:hangs"); f.Operation != "terminate" || !strings.Contains(f.Cause, "20s") {
			t.Errorf("what hung at its end: %+v", f)
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("a terminate that hangs held up the end for %v", took)
		}
		w.expectGone()
		w.expectNothing()
	})
}
