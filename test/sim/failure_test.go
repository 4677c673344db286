package sim

import (
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
	cloud "aloft/internal/drivers/sim"
)

// The middle branch fails as often as TIMES says; beside it others go on, one
// of them reads what fails.
func withFailure(attribute string) string {
	return `sfConfig extends {
		m1 extends VM {
			a extends Probe { deployTakes 1000; x extends Probe { deployTakes 1000; } }
			b extends Probe {
				deployTakes 1000;
				bad extends Probe { deployTakes 10000; startTakes 1000; ` + attribute + ` below extends Probe { inner extends Probe {} } }
				good extends Probe { deployTakes 60000; }
			}
		}
		m2 extends VM { c extends Probe { reads LAZY m1:b:bad:out; } d extends Probe {} }
	}`
}

func TestLC8FailedOperationUndoesItsSubtreeAlone(t *testing.T) {
	for name, attribute := range map[string]string{"deploy": "failDeploy 1;", "start": "failStart 1;"} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				d := w.up(withFailure(attribute))
				if d.State != api.DeploymentDegraded {
					t.Errorf("up ended %s", d.State)
				}
				if len(d.Failures) != 1 || d.Failures[0].Path != "m1:b:bad" || d.Failures[0].Operation != name ||
					d.Failures[0].Machine != "sys/m1" || !strings.Contains(d.Failures[0].Cause, "told to fail") {
					t.Errorf("failures: %+v", d.Failures)
				}
				w.expectState(api.SystemDegraded)
				want := []string{"m1:a", "m1:a:x", "m1:b", "m1:b:good", "m2:d"}
				if name == "start" {
					want = append(want, "m2:c!") // deployed, and waits for what failed
				}
				w.expectLive(want...)
				w.expectStates(map[string]string{"m1:b:bad": "failed", "m1:b:good": "running", "m2:d": "running", "m2": "running"})

				mark := len(w.stage.trace())
				w.runs(withFailure(attribute))
				w.expectLive("m1:a", "m1:a:x", "m1:b", "m1:b:bad", "m1:b:bad:below", "m1:b:bad:below:inner", "m1:b:good", "m2:c", "m2:d")
				for _, c := range w.stage.trace()[mark:] {
					switch c.Path {
					case "m1:b:bad", "m1:b:bad:below", "m1:b:bad:below:inner", "m2:c":
					default:
						t.Errorf("done again: %v", c)
					}
				}
				w.balance(2)
				w.down(false)
			})
		})
	}
}

func TestLC8FailureUndoesEverythingWhereTheDescriptionSaysSo(t *testing.T) {
	for name, attribute := range map[string]string{"deploy": "failDeploy 1;", "start": "failStart 1;"} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				text := strings.Replace(withFailure(attribute), "sfConfig extends {", `sfConfig extends { sfOnFailure "undo";`, 1)
				w.begin(text)
				time.Sleep(30 * time.Minute)
				w.expectNothing()
				w.expectGone()
				w.runs(text) // and it can be deployed again
				w.down(false)
			})
		})
	}
}

func TestMachineThatDoesNotBootDegradesTheSystem(t *testing.T) {
	scenario(t, options{seed: 3, cloud: cloud.Config{Faults: cloud.Faults{NeverBoots: 1}}}, func(w *world) {
		if d := w.up(hello); d.State != api.DeploymentDegraded || len(d.Failures) != 2 {
			t.Errorf("up ended %s with %+v", d.State, d.Failures)
		}
		w.expectStates(map[string]string{"m1": "failed", "m1:a": "instantiated", "m2": "failed", "m2:b": "instantiated"})
		w.balance(0)
		w.down(false)
	})
}

func TestMachineThatFailedIsMadeAnewByTheNextUp(t *testing.T) {
	for seed := range uint64(8) {
		scenario(t, options{seed: seed, cloud: cloud.Config{Faults: cloud.Faults{NoCapacity: 0.5}}}, func(w *world) {
			for tries := 0; ; tries++ {
				if d := w.up(hello); d.State == api.DeploymentDone {
					break
				} else if tries > 20 {
					t.Fatalf("up ended %s: %+v", d.State, d.Failures)
				}
				w.expectState(api.SystemDegraded)
			}
			w.expectState(api.SystemRunning)
			w.balance(2)
			w.down(false)
		})
	}
}

func TestTerminateThatFailsIsRecordedAndCanBeRepeated(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends {
			m1 extends VM { a extends Probe { failTerminate 1; x extends Probe {} } }
		}`)
		p, err := w.apply(api.PlanRequest{Name: "sys", Down: true})
		if err != nil {
			t.Fatal(err)
		}
		d := w.end()
		if len(d.Failures) != 1 || d.Failures[0].Path != "m1:a" || d.Failures[0].Operation != "terminate" {
			t.Errorf("plan %s: failures %+v", p.ID, d.Failures)
		}
		// The machine goes all the same, and with it what would not end.
		w.expectNothing()
	})
}

func TestCloudThatLosesAnswersAndRefusesLeavesNothing(t *testing.T) {
	overSeeds(t, 12, func(t *testing.T, seed uint64) {
		c := cloud.Config{
			Faults:  cloud.Faults{LostAnswers: 0.3, Transient: 0.2, NoCapacity: 0.1, NeverBoots: 0.1},
			Latency: 300 * time.Millisecond, Shutdown: 20 * time.Second, NativeTokens: seed%2 == 0, ListLag: 5 * time.Second,
		}
		scenario(t, options{seed: seed, cloud: c, random: 3 * time.Second}, func(w *world) {
			for tries := 0; ; tries++ {
				_, err := w.apply(w.request(sixMachines))
				if err == nil && w.end().State == api.DeploymentDone {
					break
				} else if tries > 20 {
					t.Fatalf("up does not succeed: %v", err)
				}
			}
			w.expectState(api.SystemRunning)
			time.Sleep(5 * time.Minute) // duplicates are gone by then
			if n := len(w.cloud.Resources()); n != 6 {
				t.Errorf("%d machines, want 6", n)
			}
			w.balance(6)
			w.down(false)
		})
	})
}

const sixMachines = `sfConfig extends {
	m1 extends VM { a extends Probe {} }
	m2 extends VM { a extends Probe { reads LAZY m1:a:out; } }
	m3 extends VM { a extends Probe { later LAZY m2:a:out; } }
	m4 extends VM { a extends Probe {} }
	m5 extends VM { a extends Probe {} }
	m6 extends VM { a extends Probe {} }
}`

func TestMachineWhoseDaemonTakesItsTimeIsDeployed(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		heal := w.net.Isolate(managerHost)
		w.begin(hello)
		time.Sleep(2*time.Minute + 30*time.Second) // they have booted by now, and cannot call
		heal()
		if d := w.end(); d.State != api.DeploymentDone {
			t.Errorf("up ended %s: %+v", d.State, d.Failures)
		}
		w.down(false)
	})
}

// TestRestartBringsBackFirstWhatOthersRead has a component restarted whose
// descendants refer to each other against the order of the description.
func TestRestartBringsBackFirstWhatOthersRead(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM { top extends Probe {
			a extends Probe { deep extends Probe { reads LAZY ROOT:m1:top:c:out; } }
			b extends Probe { later LAZY ROOT:m1:top:a:deep:out; }
			c extends Probe {}
		} } }`)
		mark := len(w.stage.trace())
		w.stage.die("m1:top", component.Abnormal)
		time.Sleep(time.Minute) // far less than a wait takes
		w.expectLive("m1:top", "m1:top:a", "m1:top:a:deep", "m1:top:b", "m1:top:c")
		ops := w.operations(mark)
		w.follows(ops, "m1:top:a:deep deploy", "m1:top:c deploy")
		w.follows(ops, "m1:top:b start", "m1:top:a:deep deploy")
		w.down(false)
	})
}
