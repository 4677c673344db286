package sim

import (
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// TestDI8HeldBackCommandOfAnEarlierOwnerChangesNothing has the network keep what
// an owner tells a machine until its successor has been heard there, also by
// another daemon of that machine: the fence on its disk does not go back, and
// the deployment ends as if nothing had been held. // RT-06, DI8
func TestDI8HeldBackCommandOfAnEarlierOwnerChangesNothing(t *testing.T) {
	for name, restart := range map[string]bool{"same daemon": false, "restarted daemon": true} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.begin(`sfConfig extends {
					m1 extends VM { a extends Probe { deployTakes 60000; } }
					m2 extends VM { b extends Probe { reads LAZY m1:a:out; } }
				}`)
				for len(w.running()) < 2 {
					time.Sleep(time.Second)
				}
				m2 := w.machine("sys/m2")
				release := w.net.Hold(managerHost, m2.resource.Address, func(method string) bool { return strings.HasSuffix(method, "/Tell") })
				for len(w.did(0)) < 1 {
					time.Sleep(time.Second)
				}
				time.Sleep(90 * time.Second) // a is deployed, and m2 would be told
				w.restartManager()
				time.Sleep(20 * time.Second)
				if restart {
					w.restartMachine(m2, time.Second)
					time.Sleep(20 * time.Second)
				}
				release()
				if d := w.end(); d.State != api.DeploymentDone {
					t.Errorf("up ended %s: %+v", d.State, d.Failures)
				}
				w.expectLive("m1:a", "m2:b")
				w.down(false)
			})
		})
	}
}
