package sim

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// processors returns on which machine each component's deploy ran.
func (w *world) processors() map[value.Path]string {
	on := map[value.Path]string{}
	for _, c := range w.stage.trace() {
		if c.Op == "deploy" {
			on[c.Path] = c.Machine
		}
	}
	return on
}

func TestDI1ComponentsAreProcessedWhereTheDescriptionSays(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`
sfConfig extends {
  m extends VM {
    own extends Probe { inner extends Probe; }
    away extends Probe { sfProcessHost LAZY PARENT:PARENT:n:ip; below extends Probe { deeper extends Probe; } }
  }
  n extends VM;
  app extends { sfProcessHost LAZY PARENT:n:ip; s extends Probe { back extends Probe { sfProcessHost LAZY ROOT:m:ip; } } }
  pinned extends Probe { sfProcessHost "manager"; }
}`)
		on := w.processors()
		for path, want := range map[value.Path]string{
			"m:own": "sys/m", "m:own:inner": "sys/m", // directly below a machine: that machine; else the parent's host
			"m:away": "sys/n", "m:away:below": "sys/n", "m:away:below:deeper": "sys/n", // for the whole subtree
			"app:s": "sys/n", "app:s:back": "sys/m", // down to components with their own
			"pinned": "", // the manager's own host, by name
		} {
			if on[path] != want {
				t.Errorf("%s is processed on %q, want %q", path, on[path], want)
			}
		}
		w.down(false)

		_, err := w.apply(w.request(`sfConfig extends { m extends VM; stray extends Probe; }`))
		var e *api.Error
		if !errors.As(err, &e) || e.Kind != api.KindInvalid || !strings.Contains(details(err), "would run on the managing host itself") {
			t.Errorf("a component without a machine: %v%s, want it refused", err, details(err))
		}
	})
}

func TestDI2HostIsBoundWhenTheComponentIsDeployed(t *testing.T) {
	scenario(t, options{seed: 2}, func(w *world) {
		w.runs(`
sfConfig extends {
  m extends VM { first extends Probe { deployTakes 60000; } }
  late extends Probe { sfProcessHost LAZY PARENT:m:ip; }
}`)
		// The address exists only once the machine does, and it is the machine's.
		deploy := w.last("late", "deploy")
		if deploy.Machine != "sys/m" {
			t.Errorf("it was deployed on %q", deploy.Machine)
		}
		if host, _ := deploy.Attrs.Get("sfProcessHost"); host != value.String(w.machine("sys/m").resource.Address) {
			t.Errorf("its host was bound to %v, want the address that the machine was given", host)
		}
	})
}

func TestDI4ParentWaitsForItsChildrenWhereverTheyAre(t *testing.T) {
	scenario(t, options{seed: 4}, func(w *world) {
		began := len(w.stage.trace())
		w.begin(`
sfConfig extends {
  m extends VM { quick extends Probe; }
  n extends VM;
  app extends { sfProcessHost LAZY PARENT:m:ip; here extends Probe; there extends Probe { sfProcessHost LAZY ROOT:n:ip; deployTakes 600000; startTakes 60000; } }
}`)
		// Nothing counts as deployed while the slowest child is not.
		time.Sleep(5 * time.Minute)
		if d, err := w.service().Deployment(context.Background(), "sys"); err != nil || d.Ended() {
			t.Errorf("the deployment is over while a child is being deployed elsewhere: %+v, %v", d, err)
		}
		if d := w.end(); d.State != api.DeploymentDone {
			t.Fatalf("it ended %s: %+v", d.State, d.Failures)
		}
		ops := w.operations(began)
		for _, start := range []string{"app:here start", "m:quick start", "app:there start"} {
			w.follows(ops, start, "app:there deploy")
		}
	})
}

// The manager is configured with no machine's address, and a machine with
// nobody's but its managers'.
func TestDI5DI7MachineNeedsOnlyADaemonWithItsUserData(t *testing.T) {
	scenario(t, options{seed: 5}, func(w *world) {
		w.runs(hello)
		for _, m := range w.running() {
			var data map[string]any
			if err := json.Unmarshal(m.userData, &data); err != nil {
				t.Fatal(err)
			}
			for _, other := range w.running() {
				if other != m && strings.Contains(string(m.userData), other.resource.Address) {
					t.Errorf("the user data of %s names %s", m.resource.Address, other.resource.Address)
				}
			}
			if id := data["machine"]; id != m.resource.Mark.Machine {
				t.Errorf("the user data is for machine %v, the provider's mark is %s", id, m.resource.Mark.Machine)
			}
		}
	})
}
