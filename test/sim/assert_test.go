package sim

import (
	"fmt"
	"strings"
	"testing"

	"aloft/api"
)

// asserted is a system whose component a asserts something of the address of
// another machine, which nobody knows before it is there.
const asserted = `
#include "components.sf"
sfConfig extends {
	m1 extends VM { a extends Probe { peer LAZY m2:ip; %s } }
	m2 extends VM { b extends Probe {} }
}`

func TestAssertionOfLateValuesIsCheckedAtStart(t *testing.T) {
	for name, c := range map[string]struct{ assertion, cause string }{
		"true":            {`check extends Assertions { moved (peer != "nowhere"); }`, ""},
		"false":           {`check extends Assertions { moved (peer == "nowhere"); same (1 == 1); other (peer == "there"); }`, "check: assertion failed: moved is false, other is false"},
		"schema that is":  {`schema extends Schema { peer extends String; gone extends OptionalInteger; }`, ""},
		"schema that not": {`schema extends Schema { peer extends Integer; }`, "schema: assertion failed: attribute peer has the wrong type: expected integer, found a string"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				d := w.up(fmt.Sprintf(asserted, c.assertion))
				if c.cause == "" {
					w.expectState(api.SystemRunning)
					w.down(false)
					return
				}
				if len(d.Failures) != 1 || d.Failures[0].Path != "m1:a" || d.Failures[0].Operation != "start" || !strings.Contains(d.Failures[0].Cause, c.cause) {
					t.Errorf("failures %+v", d.Failures)
				}
				w.expectStates(map[string]string{"m1:a": "failed", "m2:b": "running"})
				w.expectState(api.SystemDegraded)
				w.runs(fmt.Sprintf(asserted, "")) // mended
				w.down(false)
			})
		})
	}
}

func TestChangeThatAnAssertionRefusesLeavesTheComponentAsItWas(t *testing.T) {
	const text = `
#include "components.sf"
sfConfig extends {
	m1 extends VM { a extends Probe { size %d; limit LAZY ROOT:m2:b:limit; check extends Assertions { fits (size < limit); } } }
	m2 extends VM { b extends Probe { limit 10; } }
}`
	scenario(t, options{seed: 2}, func(w *world) {
		w.runs(fmt.Sprintf(text, 1))
		d := w.up(fmt.Sprintf(text, 20))
		if len(d.Failures) != 1 || d.Failures[0].Operation != "reconfigure" || !strings.Contains(d.Failures[0].Cause, "check: assertion failed: fits is false") {
			t.Errorf("failures %+v", d.Failures)
		}
		w.expectStates(map[string]string{"m1:a": "running"})
		w.runs(fmt.Sprintf(text, 5))
		w.down(false)
	})
}
