package sim

import (
	"errors"
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
		w.seats[0].boss.cancel() // as `daemon stop` does
		<-w.seats[0].boss.done
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

func TestSystemThatIsGoneIsUnknownToAnotherDown(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(hello)
		w.down(false)
		if _, err := w.apply(api.PlanRequest{Name: "sys", Down: true}); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			t.Errorf("down of a system that is gone: %v", err)
		}
	})
}
