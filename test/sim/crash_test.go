package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
	"aloft/value"
)

// crashing makes daemons whose name match lets through crash at random writes,
// up to so many times each, until the returned function is called.
func (w *world) crashing(times, within int, match func(daemon string) bool) (stop func()) {
	left := map[string]int{}
	var over bool
	w.mu.Lock()
	defer w.mu.Unlock()
	fuse := make(lock, 1) // guards left and over
	w.fuse = func(daemon string) int {
		fuse.Lock()
		defer fuse.Unlock()
		if _, known := left[daemon]; !known {
			left[daemon] = times
		}
		if over || !match(daemon) || left[daemon] == 0 {
			return 0
		}
		left[daemon]--
		return 1 + w.number(within)
	}
	return func() {
		fuse.Lock()
		defer fuse.Unlock()
		over = true
	}
}

// isManager and isMachine choose the daemons that crash.
func isManager(daemon string) bool { return daemon == managerHost }
func isMachine(daemon string) bool { return daemon != managerHost }

// expectMadeOnce checks that every component of a forest was made once and its
// process begun once, whatever crashed.
func (f forest) expectMadeOnce(w *world) {
	w.t.Helper()
	w.expectLive(f.paths()...)
	w.stage.mu.Lock()
	defer w.stage.mu.Unlock()
	for _, p := range f.plants {
		if n := w.stage.made[p.path]; n != 1 {
			w.t.Errorf("%s was made %d times", p.path, n)
		}
	}
	for at, e := range w.stage.effects {
		if e.starts != 1 {
			w.t.Errorf("%s was begun %d times", at.path, e.starts)
		}
	}
}

// expectMachines checks that there are so many machines, none doubled or lost.
func (w *world) expectMachines(n int) {
	w.t.Helper()
	time.Sleep(2 * time.Minute) // duplicates of lost answers are gone by then
	if got := w.cloud.Resources(); len(got) != n {
		w.t.Errorf("%d machines, want %d: %+v", len(got), n, got)
	}
	w.balance(n)
}

func TestLC7ManagerKilledAnywhereFinishesTheSamePlan(t *testing.T) {
	crashes := 0
	overSeeds(t, 12, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 4)), 3, 9)
		scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
			stop := w.crashing(4, 120, isManager)
			w.restartManager() // and from now on it crashes
			p := w.begin(f.text(nil))
			d := w.end()
			if d.State != api.DeploymentDone || d.Plan != p.ID || d.Revision != 1 {
				t.Errorf("up ended %s with plan %s, revision %d, want done with %s and 1: %+v", d.State, d.Plan, d.Revision, p.ID, d.Failures)
			}
			w.expectState(api.SystemRunning)
			f.checkDeployed(w, 0)
			f.expectMadeOnce(w)
			w.expectMachines(3)
			mark := len(w.stage.trace())
			w.insist(api.PlanRequest{Name: "sys", Down: true})
			w.endOrGone()
			stop()
			f.checkTerminated(w, mark)
			w.expectNothing()
			crashes += w.crashes
		})
	})
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}

// endOrGone waits until the system is known no more: a manager that starts
// anew has forgotten one that was terminated.
func (w *world) endOrGone() {
	w.t.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(time.Second) {
		if _, err := w.service().Status(context.Background(), "sys"); errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			return
		}
	}
	st, err := w.service().Status(context.Background(), "sys")
	w.t.Fatalf("the system is not terminated: %+v, %v", st, err)
}

func TestLC7ManagerKilledWhileTheCloudFailsLosesNoMachine(t *testing.T) {
	overSeeds(t, 10, func(t *testing.T, seed uint64) {
		o := options{seed: seed, random: 5 * time.Second}
		o.cloud.Faults.LostAnswers, o.cloud.Faults.NoCapacity = 0.4, 0.2
		o.cloud.Latency, o.cloud.ListLag, o.cloud.Shutdown = 200*time.Millisecond, 3*time.Second, 15*time.Second
		scenario(t, o, func(w *world) {
			stop := w.crashing(5, 150, isManager)
			w.restartManager()
			for tries := 0; ; tries++ {
				_, err := w.apply(w.request(sixMachines))
				if err == nil && w.end().State == api.DeploymentDone {
					break
				} else if tries > 30 {
					t.Fatalf("up does not succeed: %v", err)
				}
				time.Sleep(time.Second)
			}
			w.expectState(api.SystemRunning)
			w.expectMachines(6)
			stop()
			w.restartManager()
			w.down(false)
		})
	})
}

func TestLC7MachineDaemonKilledAnywhereDoesNoStepTwice(t *testing.T) {
	crashes := 0
	overSeeds(t, 12, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 5)), 3, 12)
		scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
			stop := w.crashing(4, 40, isMachine)
			if d := w.up(f.text(nil)); d.State != api.DeploymentDone {
				t.Fatalf("up ended %s: %+v", d.State, d.Failures)
			}
			stop()
			w.expectState(api.SystemRunning)
			f.expectMadeOnce(w)
			crashes += w.crashes
			w.down(false)
		})
	})
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}

func TestComponentsAreAdoptedByTheNextDaemon(t *testing.T) {
	f := grow(rand.New(rand.NewPCG(1, 6)), 2, 8)
	scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
		w.runs(f.text(nil))
		for range 3 {
			mark := len(w.stage.trace())
			for _, m := range w.running() {
				w.restartMachine(m, 10*time.Second)
			}
			time.Sleep(10 * time.Second)
			adopted := 0
			for _, c := range w.stage.trace()[mark:] {
				if c.Op != "adopt" && c.Op != "crash" {
					t.Errorf("after the restart: %v", c)
				}
				adopted++
			}
			if adopted != len(f.plants) {
				t.Errorf("%d components were adopted, want %d", adopted, len(f.plants))
			}
			w.expectState(api.SystemRunning)
		}
		f.expectMadeOnce(w)
		w.restartManager()
		time.Sleep(10 * time.Second)
		w.expectState(api.SystemRunning)
		w.expectNoChange(f.text(nil))
		w.down(false)
	})
}

func TestComponentThatDiedWithItsDaemonIsBroughtBack(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(hello)
		m := w.machine("sys/m1")
		w.mu.Lock()
		p := m.daemon
		w.mu.Unlock()
		p.end()
		w.stage.die("m1:a", component.Abnormal) // nobody is told
		w.expectLive("m1:a!", "m2:b")
		w.mu.Lock()
		w.startMachine(m)
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.expectLive("m1:a", "m2:b")
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}

func TestEveryDaemonCrashesAndTheDeploymentEnds(t *testing.T) {
	overSeeds(t, 10, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 7)), 3, 9)
		scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
			w.net.Delay(0, 200*time.Millisecond)
			stop := w.crashing(3, 100, func(string) bool { return true })
			w.restartManager()
			w.begin(f.text(nil))
			if d := w.end(); d.State != api.DeploymentDone {
				t.Fatalf("up ended %s: %+v", d.State, d.Failures)
			}
			stop()
			w.expectState(api.SystemRunning)
			f.expectMadeOnce(w)
			w.expectMachines(3)
			w.restartManager()
			w.down(false)
		})
	})
}

func TestUpdateSurvivesCrashes(t *testing.T) {
	overSeeds(t, 8, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
			w.runs(twoMachines)
			stop := w.crashing(3, 60, func(string) bool { return true })
			w.restartManager()
			for _, m := range w.running() {
				w.restartMachine(m, 0)
			}
			time.Sleep(5 * time.Second)
			changed := `sfConfig extends {
				m1 extends VM { a extends Probe { greeting "good day"; x extends Probe { fixed 2; } } }
				m3 extends VM { b extends Probe { later LAZY m1:a:out; } }
			}`
			if d := w.up(changed); d.State != api.DeploymentDone {
				t.Fatalf("update ended %s: %+v", d.State, d.Failures)
			}
			stop()
			w.expectState(api.SystemRunning)
			w.expectLive("m1:a", "m1:a:x", "m3:b")
			if v, _ := w.last("m1:a", "reconfigure").Attrs.Get("greeting"); v != value.String("good day") {
				t.Errorf("m1:a was reconfigured to %v", v)
			}
			w.expectMachines(2)
			w.restartManager() // the one there is may yet crash, and the answer to down be lost
			w.down(false)
		})
	})
}

func TestDownNowSurvivesCrashes(t *testing.T) {
	overSeeds(t, 8, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 20 * time.Second}, func(w *world) {
			stop := w.crashing(2, 80, func(string) bool { return true })
			w.restartManager()
			w.begin(sixMachines)
			time.Sleep(time.Duration(w.number(150)) * time.Second)
			stop()
			w.insist(api.PlanRequest{Name: "sys", Down: true, Now: true})
			w.endOrGone()
			w.expectNothing()
		})
	})
}

func TestSessionsLostAndRegainedHarmNothing(t *testing.T) {
	overSeeds(t, 10, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 8)), 3, 12)
		scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
			w.net.Delay(0, 100*time.Millisecond)
			w.net.Loss(0.02)
			w.begin(f.text(nil))
			for range 12 {
				time.Sleep(time.Duration(w.number(20)) * time.Second)
				machines := w.running()
				if len(machines) == 0 {
					continue
				}
				host := machines[w.number(len(machines))].resource.Address
				if w.number(2) == 0 {
					w.net.Break(managerHost, host)
					continue
				}
				heal := w.net.Cut(managerHost, host)
				time.Sleep(time.Duration(w.number(40)) * time.Second)
				heal()
			}
			if d := w.end(); d.State != api.DeploymentDone {
				t.Fatalf("up ended %s: %+v", d.State, d.Failures)
			}
			w.net.Loss(0)
			time.Sleep(time.Minute)
			w.expectState(api.SystemRunning)
			f.checkDeployed(w, 0)
			f.expectMadeOnce(w)
			w.down(false)
		})
	})
}

func TestMachinesThatCannotBeReachedDoNotHoldUpTheEnd(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(twoMachines)
		defer w.net.Isolate(w.machine("sys/m2").resource.Address)()
		time.Sleep(time.Minute)
		st, err := w.service().Status(context.Background(), "sys")
		if err != nil {
			t.Fatal(err)
		}
		lost := slices.IndexFunc(st.Machines, func(m api.Machine) bool { return m.Path == "m2" && m.State == api.MachineLost })
		if lost < 0 || st.State != api.SystemRunning {
			t.Errorf("machine m2 is cut off: %+v; want it lost, and nothing changed by that alone", st)
		}
		w.expectLive("m1:a", "m1:a:x", "m2:b")
		if _, err := w.apply(api.PlanRequest{Name: "sys", Down: true}); err != nil {
			t.Fatal(err)
		}
		w.end()
		w.expectGone()
		w.expectNothing()
	})
}
