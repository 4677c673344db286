package sim

import (
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
)

// TR3: what an update was to add inside of a component and never came to, and the
// next update does not want any more, is nothing to bring back with it.
func TestTR3WhatNeverWasIsNotBroughtBack(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		app := func(inside string) string {
			return `sfConfig extends { m1 extends VM { app extends Probe { kept extends Probe; ` + inside + ` } } }`
		}
		w.runs(app(""))
		// What is around extra fails, so it is never deployed.
		w.begin(app("bad extends Probe { failDeploy -1; extra extends Probe; }"))
		if end := w.end(); end.State != api.DeploymentDegraded {
			t.Fatalf("the update has ended %s", end.State)
		}
		w.runs(app(""))
		mark := len(w.stage.trace())
		w.stage.die("m1:app", component.Abnormal)
		time.Sleep(time.Minute)
		w.expectLive("m1:app", "m1:app:kept")
		w.expectState(api.SystemRunning)
		for _, c := range w.stage.trace()[mark:] {
			if c.Path == "m1:app:bad:extra" || c.Path == "m1:app:bad" {
				t.Errorf("%v", c)
			}
		}
		w.down(false)
	})
}
