package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/provider"
)

// cut severs a machine from all managers.
func (w *world) cut(m *machine) (heal func()) { return w.net.Isolate(m.resource.Address) }

// on returns what runs on a machine, sorted.
func (s *stage) on(ref string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []string{}
	for at, e := range s.effects {
		if at.ref == ref && e.running {
			list = append(list, string(at.path))
		}
	}
	slices.Sort(list)
	return list
}

// expectOn checks what runs on a machine.
func (w *world) expectOn(m *machine, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.stage.on(m.resource.Ref); !slices.Equal(got, want) {
		w.t.Errorf("after %v: on %s run %v, want %v", time.Since(w.stage.begun).Round(time.Second), m.resource.Ref, got, want)
	}
}

// reason returns why a component is as it is.
func (w *world) reason(path string) string {
	w.t.Helper()
	st, err := w.service().Status(context.Background(), "sys")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range st.Components {
		if c.Path == path {
			return c.Reason
		}
	}
	return ""
}

// expectMoved checks that a machine was replaced by another one, on which path
// runs.
func (w *world) expectMoved(from *machine, path string) {
	w.t.Helper()
	to := w.machine("sys/m")
	if to.resource.Mark.Machine == from.resource.Mark.Machine {
		w.t.Fatalf("after %v: %s is not replaced: %s", time.Since(w.stage.begun), from.resource.Ref, w.reason("m"))
	}
	w.expectOn(to, path)
	w.expectState(api.SystemRunning)
}

// stubborn is the cloud's module, which may refuse to destroy.
type stubborn struct {
	provider.Provider
	w *world
}

func (s stubborn) Destroy(ctx context.Context, a provider.Account, ref string) error {
	s.w.mu.Lock()
	undying := s.w.undying
	s.w.mu.Unlock()
	if undying {
		return &provider.Error{Kind: provider.Denied, Provider: "sim", Op: "destroy", Err: errors.New("it does not die")}
	}
	return s.Provider.Destroy(ctx, a, ref)
}

func (w *world) setUndying(b bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.undying = b
}

// other returns the running machine that is not m.
func (w *world) other(m *machine) *machine {
	w.t.Helper()
	list := slices.DeleteFunc(w.running(), func(o *machine) bool { return o == m })
	if len(list) != 1 {
		w.t.Fatalf("after %v: %d machines run beside %s: %s", time.Since(w.stage.begun), len(list), m.resource.Ref, w.reason("m"))
	}
	return list[0]
}

const (
	silentApp  = `sfConfig extends { m extends VM { app extends Probe; } }`
	stoppedApp = `sfConfig extends { m extends VM { sfOnIsolation "stop"; app extends Probe; } }`
	keptApp    = `sfConfig extends { m extends VM { app extends Probe { sfOnIsolation "keep"; } } }`
	dataApp    = `sfConfig extends { m extends VM { app extends Probe { dataDir "/data"; } } }`
	movingData = `sfConfig extends { m extends VM { sfReplaceOnLoss true; app extends Probe { dataDir "/data"; } } }`
)

// HL1: silence alone moves nothing, however long it lasts and whoever dies
// meanwhile, and the machine goes on.
func TestHL1SilenceAloneMovesNothing(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(silentApp)
		m := w.machine("sys/m")
		heal := w.cut(m)
		time.Sleep(2 * time.Hour)
		w.restartManager()
		time.Sleep(2 * time.Hour)
		w.expectOn(m, "m:app")
		if why := w.reason("m"); !strings.HasPrefix(why, "unreachable since ") {
			t.Errorf("the machine's reason is %q", why)
		}
		heal()
		time.Sleep(2 * time.Minute)
		if w.machine("sys/m") != m {
			t.Error("the machine was replaced")
		}
		w.expectOn(m, "m:app")
		w.expectState(api.SystemRunning)
		w.balance(1)
	})
}

// HL2 (a): what the provider says is gone is placed again at once.
func TestHL2WhatIsGoneAtTheProviderIsPlacedAgain(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(silentApp)
		m := w.machine("sys/m")
		if err := w.cloud.Lose(m.resource.Ref); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.expectMoved(m, "m:app")
	})
}

// HL2 (b): both sides of a partition live. The machine stops what it runs
// within the tenure; only then, and not before the margin, another runs it.
func TestHL2WhatStopsIsPlacedAgainAfterItsTenure(t *testing.T) {
	overSeeds(t, 8, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed}, func(w *world) {
			w.runs(stoppedApp)
			m := w.machine("sys/m")
			time.Sleep(time.Duration(seed) * 777 * time.Millisecond)
			w.cut(m)
			cut := time.Now()
			time.Sleep(35 * time.Second)
			w.expectOn(m, "m:app")
			time.Sleep(25 * time.Second)
			w.expectOn(m)
			time.Sleep(5 * time.Minute)
			w.expectMoved(m, "m:app")
			for _, c := range w.stage.trace() {
				if c.Op == "deploy" && w.stage.begun.Add(c.At).After(cut) && w.stage.begun.Add(c.At).Before(cut.Add(60*time.Second)) {
					t.Errorf("placed again too early: %s", c)
				}
			}
		})
	})
}

// HL2: a partition shorter than the tenure stops nothing, and one that ends
// between the machine's end and the owner's brings it back where it was.
func TestHL2WhatWasStoppedComesBackWithItsOwner(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(stoppedApp)
		m := w.machine("sys/m")
		heal := w.cut(m)
		time.Sleep(20 * time.Second)
		heal()
		time.Sleep(30 * time.Second)
		w.expectOn(m, "m:app")
		if n := len(w.stage.trace()); n != 4 {
			t.Errorf("%d calls, want 4: nothing was touched", n)
		}
		heal = w.cut(m)
		time.Sleep(58 * time.Second)
		w.expectOn(m)
		heal()
		time.Sleep(30 * time.Second)
		w.expectOn(m, "m:app")
		if w.machine("sys/m") != m {
			t.Error("the machine was replaced")
		}
		w.expectState(api.SystemRunning)
	})
}

// HL2: an owner that comes while a machine is silent counts from its own
// coming: its predecessor may have let the machine go on until then.
func TestHL2ANewOwnerCountsFromItsOwnComing(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(stoppedApp)
		m := w.machine("sys/m")
		w.cut(m)
		time.Sleep(60 * time.Second)
		w.restartManager()
		time.Sleep(60 * time.Second)
		if w.machine("sys/m") != m {
			t.Error("placed again within the tenure of the new owner")
		}
		time.Sleep(5 * time.Minute)
		w.expectMoved(m, "m:app")
	})
}

// HL2: a daemon that is started anew while cut off goes on counting, and after
// a boot nothing is started before the owner has spoken.
func TestHL2ATenureOutlivesItsDaemon(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(stoppedApp)
		m := w.machine("sys/m")
		heal := w.cut(m)
		time.Sleep(20 * time.Second)
		w.restartMachine(m, 2*time.Second)
		w.expectOn(m, "m:app")
		time.Sleep(36 * time.Second)
		w.expectOn(m)
		w.restartMachine(m, time.Second)
		time.Sleep(5 * time.Second)
		w.expectOn(m)
		heal()
		time.Sleep(30 * time.Second)
		w.expectOn(m, "m:app")
		w.expectState(api.SystemRunning)
	})
}

// HL2 (c): what keeps running is placed again, and its doubling shows.
func TestHL2WhatKeepsRunningIsDoubledAndSaysSo(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(keptApp)
		m := w.machine("sys/m")
		w.cut(m)
		time.Sleep(60 * time.Second)
		w.expectOn(m, "m:app")
		time.Sleep(5 * time.Minute)
		w.expectMoved(m, "m:app")
	})
}

// HL3: what holds data stops within its tenure, and is not placed again unless
// it says so.
func TestHL3DataIsPlacedAgainOnlyWhereItSaysSo(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(dataApp)
		m := w.machine("sys/m")
		heal := w.cut(m)
		time.Sleep(time.Hour)
		w.expectOn(m)
		if w.machine("sys/m") != m {
			t.Error("data was placed again")
		}
		if why := w.reason("m"); !strings.Contains(why, "sfReplaceOnLoss") {
			t.Errorf("the reason %q does not say what would help", why)
		}
		heal()
		time.Sleep(time.Minute)
		w.expectOn(m, "m:app")
	})
	for _, text := range []string{movingData, strings.Replace(movingData, "dataDir", "keepOnTerminate true; dataDir", 1)} {
		scenario(t, options{seed: 1}, func(w *world) {
			w.runs(text)
			m := w.machine("sys/m")
			w.cut(m)
			time.Sleep(10 * time.Minute)
			w.expectMoved(m, "m:app")
		})
	}
}

// HL3: what a component that is no longer wanted has left on a machine counts as
// what it holds did: it is asked for before the machine is given up, not after.
func TestHL3LeftDataArePlacedAgainOnlyWhereTheirMachineSaysSo(t *testing.T) {
	for _, moves := range []bool{false, true} {
		scenario(t, options{seed: 1}, func(w *world) {
			text := func(inside string) string {
				return fmt.Sprintf(`sfConfig extends { m extends VM { sfOnIsolation "stop"; sfReplaceOnLoss %t; app extends Probe; %s } }`, moves, inside)
			}
			w.runs(text(`db extends Probe { keepOnTerminate true; dataDir "/data"; }`))
			w.runs(text(""))
			m := w.machine("sys/m")
			heal := w.cut(m)
			time.Sleep(time.Hour)
			if moves {
				w.expectMoved(m, "m:app")
				return
			}
			if why := w.reason("m"); !strings.Contains(why, "m:db has left data on it") || !strings.Contains(why, "sfReplaceOnLoss") {
				t.Errorf("the reason %q does not say what would help", why)
			}
			heal()
			time.Sleep(time.Minute)
			if w.machine("sys/m") != m {
				t.Error("it was placed again")
			}
			w.expectOn(m, "m:app")
		})
	}
}

// HL4: a machine that returns, and that its provider has not destroyed, does
// not start what runs elsewhere by now, and is emptied. In the end it is
// destroyed.
func TestHL4WhatWasPlacedElsewhereIsNotStartedByAReturningMachine(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed}, func(w *world) {
			w.runs(stoppedApp)
			m := w.machine("sys/m")
			w.setUndying(true)
			heal := w.cut(m)
			time.Sleep(10 * time.Minute)
			w.expectOn(m)
			to := w.other(m)
			w.expectOn(to, "m:app")
			w.restartMachine(m, time.Second)
			heal()
			for range 60 {
				time.Sleep(time.Second)
				w.expectOn(m)
			}
			w.expectOn(to, "m:app")
			w.expectState(api.SystemRunning)
			w.restartManager()
			time.Sleep(time.Minute)
			w.expectOn(m)
			w.expectOn(to, "m:app")
			w.setUndying(false)
			time.Sleep(10 * time.Minute)
			w.balance(1)
			w.expectOn(to, "m:app")
		})
	})
}

// HL2 (c), HL4: what keeps running runs twice until the old machine returns,
// and is ended there first.
func TestHL4WhatKeptRunningIsEndedOnReturn(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(keptApp)
		m := w.machine("sys/m")
		w.setUndying(true)
		heal := w.cut(m)
		time.Sleep(60 * time.Second)
		if len(w.running()) != 1 {
			t.Error("placed again at once")
		}
		time.Sleep(9 * time.Minute)
		to := w.other(m)
		w.expectOn(m, "m:app")
		w.expectOn(to, "m:app")
		heal()
		time.Sleep(time.Minute)
		w.expectOn(m)
		w.expectOn(to, "m:app")
		w.expectState(api.SystemRunning)
	})
}

// HL2: the owner dies while a machine is silent; the manager that takes over
// counts from then, and places it again.
func TestHL2AnotherManagerPlacesAgainWhatTheDeadOneCounted(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, more: 2}, func(w *world) {
			w.runs(stoppedApp)
			m := w.machine("sys/m")
			w.setUndying(true)
			w.cut(m)
			time.Sleep(time.Duration(seed) * 15 * time.Second)
			owner, _ := w.owner(theSystem)
			w.kill(owner)
			time.Sleep(60 * time.Second)
			if len(w.running()) != 1 {
				t.Error("placed again within the tenure of the new owner")
			}
			time.Sleep(10 * time.Minute)
			w.expectOn(m)
			w.expectOn(w.other(m), "m:app")
		})
	})
}

// HL2 (b) while an update is under way: what the machine was to do is not
// waited for once it may be placed again, and it is.
func TestHL2WhatIsLostDuringAnUpdateIsPlacedAgain(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed}, func(w *world) {
			w.runs(`sfConfig extends { m extends VM { sfOnIsolation "stop"; app extends Probe; } other extends VM { b extends Probe; } }`)
			m := w.machine("sys/m")
			w.begin(`sfConfig extends {
				m extends VM { sfOnIsolation "stop"; app extends Probe; more extends Probe { deployTakes 60000; } }
				other extends VM { b extends Probe; c extends Probe; }
			}`)
			w.until("m:more", "deploying")
			time.Sleep(time.Duration(seed) * 7 * time.Second)
			w.cut(m)
			time.Sleep(60 * time.Second)
			w.expectOn(m)
			time.Sleep(5 * time.Minute)
			to := w.machine("sys/m")
			if to == m {
				t.Fatalf("it is not replaced: %s", w.reason("m"))
			}
			w.expectOn(to, "m:app", "m:more")
			w.expectOn(w.machine("sys/other"), "other:b", "other:c")
			w.expectState(api.SystemRunning)
		})
	})
}

// HL1: without leave, an update waits for a machine that is silent, and moves
// nothing.
func TestHL1SilenceDuringAnUpdateMovesNothing(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(silentApp)
		m := w.machine("sys/m")
		w.begin(`sfConfig extends { m extends VM { app extends Probe; more extends Probe { deployTakes 60000; } } }`)
		w.until("m:more", "deploying")
		heal := w.cut(m)
		time.Sleep(10 * time.Minute)
		w.expectOn(m, "m:app")
		heal()
		if d := w.end(); d.State != api.DeploymentDone {
			t.Errorf("the update ended %s: %+v", d.State, d.Failures)
		}
		w.expectOn(m, "m:app", "m:more")
		if w.machine("sys/m") != m {
			t.Error("the machine was replaced")
		}
	})
}

// HL2 in a system that is degraded: what is lost is placed again; what failed
// before is tried again with it, and its failure changes nothing.
func TestHL2WhatIsLostOfADegradedSystemIsPlacedAgain(t *testing.T) {
	const text = `sfConfig extends {
		m extends VM { sfOnIsolation "stop"; app extends Probe; }
		other extends VM { bad extends Probe { failStart -1; } b extends Probe; }
	}`
	scenario(t, options{seed: 1}, func(w *world) {
		w.begin(text)
		if d := w.end(); d.State != api.DeploymentDegraded {
			t.Fatalf("it ended %s", d.State)
		}
		other := w.machine("sys/other")
		for range 2 { // the plan that places it again is degraded itself
			m := w.machine("sys/m")
			w.cut(m)
			time.Sleep(6 * time.Minute)
			to := w.machine("sys/m")
			if to == m {
				t.Fatalf("it is not replaced: %s", w.reason("m"))
			}
			w.expectOn(m)
			w.expectOn(to, "m:app")
			w.expectOn(other, "other:b")
			w.expectState(api.SystemDegraded)
		}
		if w.machine("sys/other") != other {
			t.Error("a machine was replaced that answers")
		}
	})
}

// HL2: an owner that cannot write any more, and that the machine alone reaches,
// lets nothing go on: whoever owns the system by now does not count on it.
func TestHL2FormerOwnerLetsNothingGoOn(t *testing.T) {
	overSeeds(t, 2, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, more: 2}, func(w *world) {
			w.runs(stoppedApp)
			m := w.machine("sys/m")
			w.setUndying(true)
			owner, _ := w.owner(theSystem)
			for _, s := range w.seats {
				if s != owner { // who would pass on what the machine asks
					defer w.net.Cut(s.name, m.resource.Address)()
					defer w.net.Cut(s.name, owner.name)()
				}
			}
			time.Sleep(time.Duration(seed) * 777 * time.Millisecond)
			mend := owner.cut()
			cut := time.Now()
			w.another(theSystem, owner)
			time.Sleep(time.Until(cut.Add(60 * time.Second)))
			w.expectOn(m)
			time.Sleep(5 * time.Minute)
			w.expectOn(m)
			w.expectOn(w.other(m), "m:app")
			mend()
			time.Sleep(time.Minute)
			w.expectOn(m)
			w.expectOn(w.other(m), "m:app")
		})
	})
}
