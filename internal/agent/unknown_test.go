package agent

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What a part neither describes nor has a step for ends after its steps: nobody
// else would ever end it. A crash in between changes nothing of that.
func TestUP2WhatNobodyKnowsOfIsEnded(t *testing.T) {
	for name, crash := range map[string]bool{"at once": false, "after a crash": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t)
				a := m.agent()
				end := run(t, a)
				m.deliver(a, m.part("one", 1, "p p:q p:q:r", "p deploy", "p:q deploy", "p:q:r deploy", "p start", "p:q start", "p:q:r start"))
				m.outcomes("one", 6)
				if crash {
					m.rows.left = 1 // it takes the part, and comes to nothing
					_, _ = a.Deliver(t.Context(), m.part("two", 2, "p", "p reconfigure"))
					time.Sleep(time.Minute)
					end()
					m.rows.left = -1
					a = m.agent()
					end = run(t, a)
				}
				m.deliver(a, m.part("two", 2, "p", "p reconfigure"))
				m.outcomes("two", 1)
				time.Sleep(time.Minute)
				calls := m.things.calls()
				if got, want := calls[len(calls)-3:], []string{"p reconfigure", "p:q:r terminate", "p:q terminate"}; !slices.Equal(got, want) {
					t.Errorf("asked %v, want it to end with %v", calls, want)
				}
				end()
			})
		})
	}
}
