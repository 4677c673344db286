package sim

import (
	"testing"
	"time"

	"aloft/api"
)

func TestSystemOfPlainCompoundsAloneIsDeployed(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { c extends { d extends { x 1; } } }`)
		w.runs(`sfConfig extends { c extends { d extends { x 2; } } e extends {} }`)
		w.restartManager()
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}

func TestStoppedDaemonEndsNoMachineItIsMaking(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begin(hello)
		time.Sleep(25 * time.Second)
		w.boss.cancel() // as `daemon stop` does
		<-w.boss.done
		if n := len(w.cloud.Resources()); n != 2 {
			t.Errorf("%d machines after the daemon was stopped, want the 2 that are being made", n)
		}
		w.startManager()
		if d := w.end(); d.State != api.DeploymentDone {
			t.Fatalf("up ended %s: %+v", d.State, d.Failures)
		}
		w.balance(2)
		if made := len(w.cloud.Resources()); made != 2 {
			t.Errorf("%d machines", made)
		}
		w.down(false)
	})
}
