package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// LC7: a write that takes long does not take back what was written since.
func TestLC7WhatTheJournalHoldsOfAComponentIsItsLastState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a := m.agent()
		defer run(t, a)()
		m.deliver(a, m.part("p1", 1, "c", "c deploy", "c start"))
		m.outcomes("p1", 2)
		a.mu.Lock()
		tn := a.tenants["sys"]
		a.mu.Unlock()
		c := tn.component("c")
		m.rows.mu.Lock()
		m.rows.take = []time.Duration{time.Minute, 0}
		m.rows.mu.Unlock()
		for n := range int64(2) {
			tn.mu.Lock()
			c.run = n + 1
			tn.mu.Unlock()
			go tn.save(context.Background(), "c")
			synctest.Wait()
		}
		time.Sleep(2 * time.Minute)
		if row, ok, err := a.cfg.Journal.Components.Get(t.Context(), "sys", "c"); err != nil || !ok || row.Run != 2 {
			t.Errorf("the journal has run %d, want 2 (%v, %v)", row.GetRun(), ok, err)
		}
	})
}
