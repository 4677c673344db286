package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWorkGoesOnWhenTheDiskTakesRecordsAgain fills the disk at every write in
// turn: nothing more is begun, the state says why, and when there is room the
// plan ends as if nothing had been.
func TestWorkGoesOnWhenTheDiskTakesRecordsAgain(t *testing.T) {
	for writes := range 8 {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t)
			a := m.agent()
			defer run(t, a)()
			m.deliver(a, m.part("p1", 1, "a b", "a deploy", "b deploy", "a start", "b start"))
			m.rows.mu.Lock()
			m.rows.left = writes
			m.rows.mu.Unlock()
			time.Sleep(10 * time.Minute)
			stalled := len(m.outcomes("p1", 4)) < 4
			if stalled {
				m.mu.Lock()
				reason := m.state.GetReason()
				m.mu.Unlock()
				if !strings.Contains(reason, errPower.Error()) {
					t.Errorf("after %d writes the state says %q", writes, reason)
				}
			}
			m.rows.mu.Lock()
			m.rows.left = -1
			m.rows.mu.Unlock()
			time.Sleep(2 * lastRetry)
			want := []string{"a/deploy done", "a/start done", "b/deploy done", "b/start done"}
			if got := m.outcomes("p1", 4); !slices.Equal(got, want) {
				t.Errorf("after %d writes: %v", writes, got)
			}
		})
	}
}
