package sim

import (
	"testing"
	"time"

	"aloft/api"
)

// starts returns when the process of a component was begun, since the world
// began.
func (w *world) starts(path string) (at []time.Duration) {
	for _, c := range w.stage.trace() {
		if string(c.Path) == path && c.Op == "start" && !c.Done {
			at = append(at, c.At)
		}
	}
	return at
}

func TestTR3EndedComponentIsRestartedWithGrowingPauses(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM {
			a extends Probe { endsAfter 100; ends 4; below extends Probe {} }
			b extends Probe {}
		} }`)
		time.Sleep(5 * time.Minute)
		at := w.starts("m1:a")
		if len(at) != 5 {
			t.Fatalf("m1:a was begun at %v, want five times", at)
		}
		for i, want := range []time.Duration{1, 2, 4, 8} {
			if pause := at[i+1] - at[i] - 100*time.Millisecond; pause < want*time.Second || pause > want*time.Second+500*time.Millisecond {
				t.Errorf("pause %d is %v, want %d s", i+1, pause, want)
			}
		}
		if n := len(w.starts("m1:b")); n != 1 {
			t.Errorf("m1:b, which is beside it, was begun %d times", n)
		}
		w.expectLive("m1:a", "m1:a:below", "m1:b")
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}

func TestTR3RestartsAreGivenUpAndTheCompoundSharesTheEnd(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM {
			group extends Compound { sfOnChildEnd "restart"; sfMaxRestarts 3;
				a extends Probe { endsAfter 100; }
				b extends Probe {}
			}
			c extends Probe {}
		} m2 extends VM { d extends Probe {} } }`)
		time.Sleep(30 * time.Second)
		at := w.starts("m1:group:a")
		if len(at) < 5 || w.starts("m1:group:b")[1] < at[3] || w.starts("m1:group:b")[1] > at[4] {
			t.Errorf("m1:group:a was begun at %v, m1:group:b at %v; want b again after three restarts of a", at, w.starts("m1:group:b"))
		}
		// The group has ended with it, and is brought back by the machine's policy.
		if n := len(w.starts("m1:group:b")); n < 2 {
			t.Errorf("m1:group:b was begun %d times, want again with its group", n)
		}
		if n := len(w.starts("m1:c")); n != 1 {
			t.Errorf("m1:c was begun %d times", n)
		}
		if n := len(w.starts("m2:d")); n != 1 {
			t.Errorf("m2:d was begun %d times", n)
		}
		w.down(true)
	})
}

func TestTR2CompoundSharesTheEndOfAChild(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { m1 extends VM { sfOnChildEnd "ignore";
			group extends Compound {
				a extends Probe { endsAfter 5000; ends 1; }
				b extends Probe {}
			}
			c extends Probe {}
		} }`
		w.runs(text)
		time.Sleep(time.Minute)
		w.expectLive("m1:c")
		w.expectState(api.SystemDegraded)
		w.expectStates(map[string]string{"m1:group": "terminated", "m1:group:b": "terminated", "m1:c": "running"})
		w.runs(text) // brings back what is missing
		w.expectLive("m1:c", "m1:group:a", "m1:group:b")
		w.down(false)
	})
}

func TestTR3NormalEndRemovesTheComponent(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM {
			a extends Probe { endsAfter 5000; endsHow "normal"; }
			b extends Probe {}
		} }`)
		time.Sleep(time.Minute)
		if n := len(w.starts("m1:a")); n != 1 {
			t.Errorf("m1:a was begun %d times, want once", n)
		}
		w.expectLive("m1:b")
		w.expectStates(map[string]string{"m1:a": "terminated", "m1:b": "running"})
		w.down(false)
	})
}

func TestTR3IgnoredEndRemovesTheComponent(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM { sfOnChildEnd "ignore";
			a extends Probe { endsAfter 5000; }
			b extends Probe {}
		} }`)
		time.Sleep(time.Minute)
		if n := len(w.starts("m1:a")); n != 1 {
			t.Errorf("m1:a was begun %d times, want once", n)
		}
		w.expectLive("m1:b")
		w.down(false)
	})
}

func TestMachineThatStoppedIsStartedAgainWithItsDisk(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(hello)
		m := w.machine("sys/m1")
		if err := w.cloud.Stop(m.resource.Ref, "reclaimed"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		w.expectState(api.SystemRunning)
		w.expectMachines(2)
		if again := w.machine("sys/m1"); again != m {
			t.Error("it is another machine")
		}
		w.down(false)
	})
}
