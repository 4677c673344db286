package sim

import (
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// terminates returns when the terminate of a component was begun, since the world
// began.
func (w *world) terminates(path string) (at []time.Duration) {
	for _, c := range w.stage.trace() {
		if string(c.Path) == path && c.Op == "terminate" && !c.Done {
			at = append(at, c.At)
		}
	}
	return at
}

// LV3: what says so ends when the machine hears nothing of where its parent is
// processed for delay × factor, with what is below it, leaves first; what does
// not say so goes on. Nobody decides about it before the parent is heard of; then
// its end is answered as any other.
func TestLV3WhatLosesItsParentOnAnotherHostEnds(t *testing.T) {
	for policy, c := range map[string]struct {
		on     []string
		states map[string]string
	}{
		"restart": {[]string{"m:app", "m:app:below", "m:other"}, map[string]string{"m:app": "running", "m:app:below": "running"}},
		"ignore":  {[]string{"m:other"}, map[string]string{"m": "running", "m:app": "terminated", "m:app:below": "terminated"}},
	} {
		t.Run(policy, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.runs(`sfConfig extends { m extends VM { sfLivenessDelay 10; sfOnChildEnd "` + policy + `";
					app extends Probe { sfOnParentLoss "terminate"; below extends Probe {} }
					other extends Probe {}
				} }`)
				m := w.machine("sys/m")
				heal := w.cut(m)
				time.Sleep(12 * time.Second) // shorter than it has patience
				heal()
				time.Sleep(time.Minute)
				if n := len(w.terminates("m:app")); n != 0 {
					t.Errorf("m:app was ended %d times by a silence of 12 s", n)
				}
				heal = w.cut(m)
				cut := time.Since(w.stage.begun)
				time.Sleep(12 * time.Second)
				w.expectOn(m, "m:app", "m:app:below", "m:other")
				time.Sleep(12 * time.Second)
				w.expectOn(m, "m:other")
				app, below := w.terminates("m:app"), w.terminates("m:app:below")
				if len(app) != 1 || len(below) != 1 || below[0] > app[0] || app[0] < cut+14*time.Second || app[0] > cut+22*time.Second {
					t.Errorf("ended at %v, what is below it at %v; want once, leaves first, within 20 s of %v", app, below, cut)
				}
				time.Sleep(time.Hour)
				w.expectOn(m, "m:other")
				heal()
				time.Sleep(2 * time.Minute)
				if w.machine("sys/m") != m {
					t.Error("the machine was replaced")
				}
				w.expectOn(m, c.on...)
				w.expectStates(c.states)
				if policy != "restart" {
					if got := w.reason("m:app"); !strings.Contains(got, "its parent was not heard of for 20s") {
						t.Errorf("m:app has ended because %q", got)
					}
					if r := w.record("m:app"); r.Type != "abnormal" || string(r.Path) != "m:app" {
						t.Errorf("its record is %+v", r)
					}
				} else {
					w.expectState(api.SystemRunning)
				}
				w.down(policy != "restart")
			})
		})
	}
}

// LV3, TR2: a machine whose children share one fate is replaced for it, as for
// any other end, once it is heard of.
func TestLV3WhatLosesItsParentSharesItsEnd(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m extends VM { sfLivenessDelay 5; sfOnChildEnd "share"; app extends Probe { sfOnParentLoss "terminate"; } } }`)
		m := w.machine("sys/m")
		heal := w.cut(m)
		time.Sleep(time.Hour)
		w.expectOn(m)
		if w.machine("sys/m") != m {
			t.Error("the machine was replaced because of silence")
		}
		heal()
		time.Sleep(5 * time.Minute)
		w.expectMoved(m, "m:app")
		w.down(false)
	})
}

// LV3: of a parent on another machine the owner says whether it is heard of.
func TestLV3WhatLosesItsParentOnAnotherMachineEnds(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM {
			group extends { sfLivenessDelay 5;
				app extends Probe { sfOnParentLoss "terminate"; sfProcessHost LAZY ROOT:m2:ip; }
				goes extends Probe { sfProcessHost LAZY ROOT:m2:ip; }
			}
		} m2 extends VM { sfOnParentLoss "terminate"; hears extends Probe {} } }`)
		m2 := w.machine("sys/m2")
		w.expectOn(m2, "m1:group:app", "m1:group:goes", "m2:hears")
		heal := w.cut(w.machine("sys/m1"))
		time.Sleep(40 * time.Second)
		w.expectOn(m2, "m1:group:goes", "m2:hears")
		heal()
		time.Sleep(time.Minute)
		w.expectOn(m2, "m1:group:app", "m1:group:goes", "m2:hears")
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}

// LV3: a daemon that is started anew goes on counting, and brings nothing back
// before the parent is heard of; a crash in the middle of the end leaves nothing
// of it running.
func TestLV3WhatHasLostItsParentStaysEndedOverRestarts(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m extends VM { sfOnParentLoss "terminate";
			app extends Probe { terminateTakes 3000; below extends Probe { terminateTakes 1000; } }
		} }`)
		m := w.machine("sys/m")
		heal := w.cut(m)
		time.Sleep(15 * time.Second)
		w.restartMachine(m, time.Second)
		w.expectOn(m, "m:app", "m:app:below")
		for len(w.terminates("m:app:below")) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if since := time.Since(w.stage.begun) - w.terminates("m:app:below")[0]; since > time.Second {
			t.Fatalf("seen %v late", since)
		}
		w.restartMachine(m, time.Second) // in the middle of the terminate of what is below
		time.Sleep(15 * time.Second)
		w.expectOn(m)
		w.restartMachine(m, time.Second)
		time.Sleep(time.Minute)
		w.expectOn(m)
		heal()
		time.Sleep(time.Minute)
		w.expectOn(m, "m:app", "m:app:below")
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}

// LV3: on one machine a parent that has ended pings nothing until it is back.
// What is below it ends by itself when that takes longer than delay × factor,
// and comes back with it; a daemon killed meanwhile forgets neither.
func TestLV3ChildrenOfAParentThatHasEndedDoNotOutliveItForLong(t *testing.T) {
	for _, killed := range []bool{false, true} {
		scenario(t, options{seed: 1}, func(w *world) {
			w.runs(`sfConfig extends { m extends VM {
				app extends Probe { sfLivenessDelay 1; sfLivenessFactor 3; endsAfter 20000; ends 4; below extends Probe {} }
			} }`)
			m := w.machine("sys/m")
			for len(w.starts("m:app")) < 4 {
				time.Sleep(100 * time.Millisecond)
			}
			fourth := w.starts("m:app")[3]
			before := len(w.terminates("m:app:below"))
			time.Sleep(time.Until(w.stage.begun.Add(fourth + 20*time.Second + 2500*time.Millisecond)))
			w.expectOn(m, "m:app:below") // the pause is 8 s now, its patience 3 s
			time.Sleep(1500 * time.Millisecond)
			w.expectOn(m)
			if n := len(w.terminates("m:app:below")); n != before+1 {
				t.Errorf("what is below was ended %d times meanwhile, want once", n-before)
			}
			if killed {
				w.restartMachine(m, time.Second)
			}
			time.Sleep(2 * time.Minute)
			w.expectOn(m, "m:app", "m:app:below")
			w.expectState(api.SystemRunning)
			w.down(false)
		})
	}
}

// TR3: the pauses are as long where nothing is left that could end meanwhile.
func TestLV3PausesAreAsLongWithoutChildren(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m extends VM {
			app extends Probe { sfLivenessDelay 1; sfLivenessFactor 1; endsAfter 20000; ends 4; below extends Probe { endsAfter 100; endsHow "normal"; } }
		} }`)
		time.Sleep(5 * time.Minute)
		at := w.starts("m:app")
		if len(at) != 5 {
			t.Fatalf("m:app was begun at %v, want five times", at)
		}
		for i, want := range []time.Duration{1, 2, 4, 8} {
			if pause := at[i+1] - at[i] - 20*time.Second; pause < want*time.Second || pause > want*time.Second+500*time.Millisecond {
				t.Errorf("pause %d is %v, want %d s", i+1, pause, want)
			}
		}
		w.down(true)
	})
}

// LV3, LV2: a parent that hangs is found out after delay × factor, and what is
// below it does not go on without it.
func TestLV3ChildrenOfAParentThatHangsEndWithIt(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m extends VM { sfOnChildEnd "ignore"; sfLivenessDelay 5;
			app extends Probe { below extends Probe { deeper extends Probe {} } }
			beside extends Probe {}
		} }`)
		m := w.machine("sys/m")
		w.mute("m:app")
		time.Sleep(20 * time.Second)
		w.expectOn(m, "m:beside")
		w.expectStates(map[string]string{"m:app": "terminated", "m:app:below": "terminated", "m:app:below:deeper": "terminated"})
		w.down(true)
	})
}
