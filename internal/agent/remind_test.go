package agent

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"aloft/api/peerpb"
)

// What a component asks to be reminded of while a plan is about to replace it is
// not forgotten: where the plan does not come to that, the reminder comes then,
// and once.
func TestAReminderOutlivesAPlanThatLeavesItsComponent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a := m.agent()
		a.cfg.Now = time.Now
		defer run(t, a)()
		m.deliver(a, m.part("one", 1, "m:p", "m:p deploy", "m:p start"))
		time.Sleep(time.Minute)
		m.deliver(a, with(t, m.part("two", 2, "m:p", "m:p terminate", "m:p deploy", "m:p start"), func(p *peerpb.Part) {
			p.Steps[0].Needs = []string{"x/terminate"} // elsewhere, which does not happen
			p.Listens = []string{"x/terminate"}
		}))
		tn := a.tenant("sys")
		c := tn.component("m:p")
		tn.mu.Lock()
		c.reminder = reminder{time.Now().Add(time.Second), "renewal"}
		tn.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if slices.Contains(m.things.calls(), "m:p reconfigure") {
			t.Error("it is reminded while it is about to be replaced")
		}
		if _, err := a.Interrupt(t.Context(), &peerpb.InterruptRequest{System: "sys", Plan: "two", Fence: firstOwner}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * remindAgain)
		reminded := 0
		for _, call := range m.things.calls() {
			if call == "m:p reconfigure" {
				reminded++
			}
		}
		if reminded != 1 {
			t.Errorf("reminded %d times: %v", reminded, m.things.calls())
		}
	})
}
