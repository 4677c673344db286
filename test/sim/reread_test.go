package sim

import (
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// apart is a system with a component whose level rises every half an hour, one
// on another machine that reads it, and one there that reads what does not
// change.
const apart = `sfConfig extends {
	m extends VM { a extends Probe { begins 1; due 1800000; } }
	n extends VM {
		reader extends Probe { reads LAZY ROOT:m:a:level; }
		next extends Probe { reads LAZY ROOT:n:reader:out; }
		other extends Probe { reads LAZY ROOT:m:a:out; }
	}
}`

// Who reads on another machine is reconfigured with the new value: at once;
// after it was cut off; and by the next owner, if the one before did not come to
// tell.
func TestLZ7WhoReadsOnAnotherMachineIsReconfigured(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(apart)
		reads := func(want value.Integer) {
			t.Helper()
			if v, _ := w.last("n:reader", "reconfigure").Attrs.Get("reads"); v != want {
				t.Errorf("the reader has %v, want %v", v, want)
			}
		}
		mark := len(w.stage.trace())
		time.Sleep(30*time.Minute + 20*time.Second)
		w.expectDid(mark, "m:a reconfigure", "n:reader reconfigure")
		reads(2)

		heal := w.cut(w.machine("sys/n"))
		mark = len(w.stage.trace())
		time.Sleep(30*time.Minute + 20*time.Second)
		w.expectDid(mark, "m:a reconfigure")
		heal()
		time.Sleep(2 * time.Minute)
		w.expectDid(mark, "m:a reconfigure", "n:reader reconfigure")
		reads(3)

		// The owner ends while it cannot tell, and its next one does.
		heal = w.cut(w.machine("sys/n"))
		mark = len(w.stage.trace())
		time.Sleep(28 * time.Minute)
		w.expectDid(mark, "m:a reconfigure")
		w.restartManager()
		heal()
		time.Sleep(time.Minute)
		w.expectDid(mark, "m:a reconfigure", "n:reader reconfigure")
		reads(4)
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}
