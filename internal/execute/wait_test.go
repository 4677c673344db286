package execute

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"aloft/component"
	"aloft/internal/plan"
)

// referring are steps of which the first needs its parent, and another by
// reference; the last needs the first.
func referring() []plan.Step {
	return []plan.Step{
		{ID: "b/deploy", Needs: []plan.StepID{"p/deploy", "a/deploy"}, Awaits: []plan.Await{{Step: "a/deploy", Attribute: "x"}}},
		{ID: "b:in/deploy", Needs: []plan.StepID{"b/deploy"}},
	}
}

// ended is when and how each step ended.
type ended struct {
	begun    time.Time
	at       map[plan.StepID]time.Duration
	outcomes map[plan.StepID]plan.Outcome
	waited   []plan.Await
}

func (e *ended) config(j Journal) Config {
	e.begun, e.at, e.outcomes = time.Now(), map[plan.StepID]time.Duration{}, map[plan.StepID]plan.Outcome{}
	return Config{
		Steps: referring(), Journal: j, Limit: make(chan struct{}, 1), Do: done,
		Settled: func(s plan.Step, r Result) { e.at[s.ID], e.outcomes[s.ID] = time.Since(e.begun), r.Outcome },
		Wait:    func(plan.Step) time.Duration { return time.Minute },
		Expired: func(_ context.Context, _ plan.Step, open []plan.Await) Result {
			e.waited = open
			return Result{Outcome: plan.Failed, Record: &component.Record{Cause: "waited"}}
		},
	}
}

func TestWaitForAReferenceIsLimitedAndCountsFromWhereNothingElseIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ended
		j := &memory{}
		r := New(e.config(j))
		go func() {
			time.Sleep(time.Hour) // the parent takes its time, and that does not count
			r.Tell("p/deploy", plan.Done)
		}()
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e.at["b/deploy"] != time.Hour+time.Minute || e.outcomes["b/deploy"] != plan.Failed || e.outcomes["b:in/deploy"] != plan.Skipped {
			t.Errorf("ended at %v: %v", e.at, e.outcomes)
		}
		if len(e.waited) != 1 || e.waited[0].Attribute != "x" {
			t.Errorf("waited for %v", e.waited)
		}
		if !slices.Equal(j.begun, []plan.StepID{"b/deploy"}) || j.results["b/deploy"].Outcome != plan.Failed {
			t.Errorf("journal: begun %v, results %v", j.begun, j.results)
		}
	})
}

func TestWaitThatIsAnsweredInTimeDoesNotExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ended
		cfg := e.config(&memory{})
		cfg.Do = func(context.Context, plan.Step) Result {
			time.Sleep(time.Hour)
			return Result{Outcome: plan.Done}
		}
		r := New(cfg)
		go func() {
			r.Tell("p/deploy", plan.Done)
			time.Sleep(59 * time.Second)
			r.Tell("a/deploy", plan.Done)
		}()
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e.outcomes["b/deploy"] != plan.Done || e.outcomes["b:in/deploy"] != plan.Done || e.waited != nil {
			t.Errorf("outcomes %v, waited for %v", e.outcomes, e.waited)
		}
	})
}

func TestWaitDoesNotCountWhileTheJournalRefusesRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ended
		cfg := e.config(&memory{refuse: errors.New("no space left")})
		cfg.Steps = append(cfg.Steps, plan.Step{ID: "c/deploy"})
		r := New(cfg)
		r.Tell("p/deploy", plan.Done)
		if err := r.Run(t.Context()); err == nil {
			t.Fatal("the journal's refusal was not told")
		}
		time.Sleep(time.Hour)
		if len(e.waited) > 0 {
			t.Errorf("expired meanwhile: %v", e.waited)
		}
		cfg = e.config(&memory{})
		cfg.Results = map[plan.StepID]Result{"p/deploy": {Outcome: plan.Done}}
		if err := New(cfg).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e.at["b/deploy"] != time.Minute {
			t.Errorf("ended at %v", e.at)
		}
	})
}

func TestInterruptedWaitIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ended
		r := New(e.config(&memory{}))
		go func() {
			r.Tell("p/deploy", plan.Done)
			time.Sleep(30 * time.Second)
			r.Interrupt("enough")
		}()
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e.outcomes["b/deploy"] != plan.Skipped || e.at["b/deploy"] != 30*time.Second || e.waited != nil {
			t.Errorf("ended at %v: %v, waited for %v", e.at, e.outcomes, e.waited)
		}
	})
}
