package control

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// LC7: what is told to other executors is in the store before. Were it told
// sooner and the owner to die, a machine could be gone before its work is known.
func TestNobodyHearsOfAFactThatIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machines := &box{}
		a := bosses(t, machines, "a")["a"]
		p, err := a.control.Plan(t.Context(), things(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.control.Apply(t.Context(), "sys", p.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		part := machines.given()[0]
		report := done(part, 0)
		// Somebody listens for that step.
		s := a.control.system("sys")
		other := &courier{system: s, news: make(chan struct{}, 1)}
		heard := func() []string {
			other.mu.Lock()
			defer other.mu.Unlock()
			var steps []string
			for _, f := range other.facts {
				steps = append(steps, f.Step)
			}
			return steps
		}
		s.mu.Lock()
		s.couriers["other"], s.listeners[part.Steps[0].Id] = other, []*courier{other}
		s.mu.Unlock()

		a.refused.Store(true)
		if err := a.control.Report(t.Context(), part.Executor, report, false); err == nil {
			t.Error("a report was taken in without the store")
		}
		if steps := heard(); len(steps) > 0 {
			t.Errorf("told before it was recorded: %v", steps)
		}
		a.refused.Store(false)
		time.Sleep(10 * time.Second)
		if steps := heard(); !slices.Equal(steps, []string{part.Steps[0].Id}) {
			t.Errorf("told once it could be recorded: %v", steps)
		}
	})
}
