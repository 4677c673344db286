package sim

import (
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
	"aloft/value"
)

// giveUp has the host of the machine called name stop it for good, and waits
// until its owner knows.
func (w *world) giveUp(name string) {
	w.t.Helper()
	m := w.machine("sys/" + name)
	w.setUnstartable(true)
	if err := w.cloud.Stop(m.resource.Ref, "reclaimed"); err != nil {
		w.t.Fatal(err)
	}
	for began := time.Now(); !strings.Contains(w.reason(name), "given up: "); time.Sleep(time.Second) {
		if time.Since(began) > patience {
			w.t.Fatalf("%s is not given up: %s", name, w.reason(name))
		}
	}
	w.setUnstartable(false)
}

// TR3, HL2, UP9: a machine with data that its host has given up stays, and keeps
// nothing else from being replaced, placed again or changed. It goes with leave.
func TestTR3HL2UP9GivenUpMachineWithDataHoldsUpNothing(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { sfMaxRestarts 3;
			m1 extends VM { b extends Probe { dataDir "/nonexistent/data"; } }
			m2 extends VM { c extends Probe { v 1; } }
			m3 extends VM { sfMaxRestarts 2; a extends Probe {} }
		}`
		w.runs(text)
		w.giveUp("m1")
		time.Sleep(time.Minute)
		m2, m3 := w.machine("sys/m2"), w.machine("sys/m3")
		if err := w.cloud.Lose(m2.resource.Ref); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if w.machine("sys/m2") == m2 {
			t.Errorf("m2, which is gone, is not placed again: %s", w.reason("m2"))
		}
		for range 3 {
			w.stage.die("m3:a", component.Abnormal)
			time.Sleep(20 * time.Second)
		}
		time.Sleep(5 * time.Minute)
		if w.machine("sys/m3") == m3 {
			t.Errorf("m3 is not replaced: %s", w.reason("m3"))
		}
		p := w.insist(w.request(strings.Replace(text, "v 1", "v 2", 1)))
		if d := w.end(); d.State != api.DeploymentDone || len(w.incarnations()) != 1 {
			t.Errorf("what has nothing to do with m1 ended %s: %+v", d.State, d.Failures)
		}
		if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "m1 is left as it is, given up: ") || !strings.Contains(notes, "--allow-data-loss m1:b") {
			t.Errorf("notes of the plan: %s", notes)
		}
		w.expectLive("m2:c", "m3:a")
		time.Sleep(time.Minute)
		if why := w.reason("m1"); !strings.Contains(why, "not replaced: m1:b holds data") {
			t.Errorf("m1 is %q", why)
		}
		told := w.ends("m1")
		if n := strings.Count(strings.Join(told, "\n"), "not replaced"); n != 4 { // under each of the four plans
			t.Errorf("that m1 is not replaced is told %d times: %q", n, told)
		}
		r := w.request(text)
		r.AllowDataLoss = []string{"m1:b"}
		w.insist(r)
		if d := w.end(); d.State != api.DeploymentDone || len(w.incarnations()) != 2 {
			t.Errorf("with leave it ended %s: %+v", d.State, d.Failures)
		}
		w.expectLive("m1:b", "m2:c", "m3:a")
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}

// UP9: a machine of which it is known at run time alone that data would be
// destroyed with it is left, which is told once; another one that comes due with
// it is replaced.
func TestTR3UP9RefusedReplacementIsToldOnceAndHoldsUpNothing(t *testing.T) {
	for name, c := range map[string]struct{ before, after, lost string }{
		"left on the machine": {
			before: `m1 extends VM { sfMaxRestarts 2; a extends Probe {} db extends Probe { dataDir "/nonexistent/data"; keepOnTerminate true; } } m2 extends VM { c extends Probe {} }`,
			after:  `m1 extends VM { sfMaxRestarts 2; a extends Probe {} } m2 extends VM { c extends Probe {} }`,
			lost:   "m1:db",
		},
		"on another machine": {
			after: `m1 extends VM { sfMaxRestarts 2; a extends Probe {} x extends Probe { sfProcessHost LAZY m2; dataDir "/nonexistent/data"; } } m2 extends VM { c extends Probe {} }`,
			lost:  "m1:x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				const around = `m3 extends VM { sfMaxRestarts 2; a extends Probe {} } }`
				if c.before != "" {
					w.runs("sfConfig extends { " + c.before + around)
				}
				w.runs("sfConfig extends { " + c.after + around)
				m1, m3 := w.machine("sys/m1"), w.machine("sys/m3")
				for range 3 {
					w.stage.die("m1:a", component.Abnormal)
					w.stage.die("m3:a", component.Abnormal)
					time.Sleep(20 * time.Second)
				}
				time.Sleep(30 * time.Minute)
				if w.machine("sys/m1") != m1 {
					t.Error("m1 is replaced")
				}
				if w.machine("sys/m3") == m3 {
					t.Errorf("m3 is not replaced: %s", w.reason("m3"))
				}
				told := w.ends("m1")
				if n := strings.Count(strings.Join(told, "\n"), "no, the data of "+c.lost+" would be destroyed: "); n != 1 || len(told) != 2 {
					t.Errorf("the end of m1 is told as %q, want that it is to be replaced and that it is not", told)
				}
				w.insist(api.PlanRequest{Name: "sys", Down: true})
				w.end()
				w.expectNothing()
			})
		})
	}
}

// UP9: an update that fails while the host of a machine gives that up is undone
// without the machine, whose data were there before.
func TestUP9UndoLeavesGivenUpMachineWithItsData(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { sfMaxRestarts 3; sfOnFailure "undo";
			m1 extends VM { b extends Probe { dataDir "/nonexistent/data"; } }
			m2 extends VM { c extends Probe { v 1; reconfigureTakes 1200000; failReconfigure 1; } d extends Probe { v 1; } }
		}`
		w.runs(text)
		w.begin(strings.ReplaceAll(text, "v 1", "v 2"))
		w.giveUp("m1")
		time.Sleep(time.Hour)
		if v, _ := w.last("m2:d", "reconfigure").Attrs.Get("v"); v != value.Integer(1) {
			t.Errorf("the update is not undone: m2:d has %v", v)
		}
		if len(w.incarnations()) != 1 || len(w.cloud.Resources()) != 2 {
			t.Errorf("the machine with the data is gone: there were %v, and are %d machines", w.incarnations(), len(w.cloud.Resources()))
		}
		w.expectLive("m2:c", "m2:d")
		w.insist(api.PlanRequest{Name: "sys", Down: true})
		w.end()
		w.expectNothing()
	})
}

// LC4, TR3: the steps of a machine that its host gives up are not waited for.
func TestTR3UpdateDoesNotWaitForAGivenUpMachine(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { sfMaxRestarts 3;
			m1 extends VM { b extends Probe { v 1; reconfigureTakes 3600000; dataDir "/nonexistent/data"; } }
		}`
		w.runs(text)
		w.begin(strings.Replace(text, "v 1", "v 2", 1))
		time.Sleep(10 * time.Second)
		w.giveUp("m1")
		began := time.Now()
		d := w.end()
		if took := time.Since(began); took > time.Minute || d.State != api.DeploymentDegraded {
			t.Errorf("the update ended %s, %s after the machine was given up", d.State, took)
		}
		if f := w.failure(d, "m1:b"); !strings.Contains(f.Cause, "its machine m1 is given up: ") {
			t.Errorf("failed: %+v", f)
		}
		w.insist(api.PlanRequest{Name: "sys", Down: true})
		w.end()
		w.expectNothing()
	})
}
