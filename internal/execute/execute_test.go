package execute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"aloft/internal/plan"
)

// memory is a journal that survives its runner.
type memory struct {
	mu      sync.Mutex
	begun   []plan.StepID
	results map[plan.StepID]Result
	refuse  error
}

func (m *memory) Begin(s plan.Step) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun = append(m.begun, s.ID)
	return m.refuse
}

func (m *memory) End(s plan.Step, r Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.results == nil {
		m.results = map[plan.StepID]Result{}
	}
	m.results[s.ID] = r
	return m.refuse
}

func done(context.Context, plan.Step) Result { return Result{Outcome: plan.Done} }

func steps() []plan.Step {
	return []plan.Step{
		{ID: "a/deploy"},
		{ID: "b/deploy", Needs: []plan.StepID{"a/deploy"}},
		{ID: "b/start", Needs: []plan.StepID{"b/deploy"}, After: []plan.StepID{"barrier/deployed"}},
	}
}

func TestStepThatOtherMachinePerformsIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &memory{}
		var settled []plan.StepID
		r := New(Config{Steps: steps(), Journal: j, Limit: make(chan struct{}, 2), Do: done, Settled: func(s plan.Step, _ Result) {
			settled = append(settled, s.ID)
		}})
		go func() {
			time.Sleep(time.Minute)
			r.Tell("barrier/deployed", plan.Done)
		}()
		begin := time.Now()
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited != time.Minute {
			t.Errorf("ended after %s", waited)
		}
		if want := []plan.StepID{"a/deploy", "b/deploy", "b/start"}; !slices.Equal(settled, want) {
			t.Errorf("settled %v", settled)
		}
	})
}

func TestFinishedStepIsNotRunAgainAndUnfinishedOneIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &memory{}
		ctx, kill := context.WithCancel(t.Context())
		hang := func(ctx context.Context, s plan.Step) Result {
			if s.ID == "b/deploy" {
				kill()
				<-ctx.Done()
				return Result{Outcome: plan.Failed}
			}
			return Result{Outcome: plan.Done}
		}
		cfg := Config{Steps: steps(), Journal: j, Limit: make(chan struct{}, 2), Do: hang, Settled: func(plan.Step, Result) {}}
		if err := New(cfg).Run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("run ended with %v", err)
		}
		if _, recorded := j.results["b/deploy"]; recorded {
			t.Fatal("a step cut off by the daemon's end has a result")
		}
		cfg.Results, cfg.Do = j.results, done
		j.begun = nil
		r := New(cfg)
		r.Tell("barrier/deployed", plan.Done)
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []plan.StepID{"b/deploy", "b/start"}; !slices.Equal(j.begun, want) {
			t.Errorf("second run began %v, want %v", j.begun, want)
		}
	})
}

func TestInterruptCancelsWhatRunsAndSkipsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &memory{}
		var r *Runner
		r = New(Config{Steps: steps(), Journal: j, Limit: make(chan struct{}, 2), Settled: func(plan.Step, Result) {}, Do: func(ctx context.Context, _ plan.Step) Result {
			r.Interrupt("down --now")
			<-ctx.Done()
			return Result{Outcome: plan.Failed}
		}})
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if j.results["a/deploy"].Outcome != plan.Failed || j.results["b/start"].Outcome != plan.Skipped {
			t.Errorf("results %v", j.results)
		}
	})
}

func TestJournalThatRefusesStopsTheRunner(t *testing.T) {
	j := &memory{refuse: errors.New("disk full")}
	ran := false
	r := New(Config{Steps: steps(), Journal: j, Limit: make(chan struct{}, 1), Settled: func(plan.Step, Result) {}, Do: func(context.Context, plan.Step) Result {
		ran = true
		return Result{Outcome: plan.Done}
	}})
	if err := r.Run(t.Context()); err == nil || ran {
		t.Errorf("error %v, step ran: %v", err, ran)
	}
}

func TestStepThatBecomesReadyWhileInterruptedIsSkipped(t *testing.T) {
	for range 20 { // which of the two the runner hears of first is chance
		synctest.Test(t, func(t *testing.T) {
			j := &memory{}
			var r *Runner
			r = New(Config{
				Steps:   []plan.Step{{ID: "a/deploy"}, {ID: "b/deploy", Needs: []plan.StepID{"elsewhere/deploy"}}, {ID: "c/deploy", Needs: []plan.StepID{"b/deploy"}}},
				Journal: j, Limit: make(chan struct{}, 2), Settled: func(plan.Step, Result) {},
				Do: func(context.Context, plan.Step) Result {
					r.Tell("elsewhere/deploy", plan.Done)
					r.Interrupt("down --now")
					return Result{Outcome: plan.Failed}
				},
			})
			ended := make(chan error, 1)
			go func() { ended <- r.Run(t.Context()) }()
			select {
			case err := <-ended:
				if err != nil {
					t.Fatal(err)
				}
			case <-time.After(time.Hour):
				t.Fatal("the runner does not end")
			}
			if got := j.results["c/deploy"].Outcome; got != plan.Skipped {
				t.Errorf("c is %q, want it skipped", got)
			}
		})
	}
}

func TestStepThatWaitsForRoomIsNotBegunByAnInterruption(t *testing.T) {
	for range 20 { // room and the interruption are there together
		synctest.Test(t, func(t *testing.T) {
			j := &memory{}
			steps := make([]plan.Step, 8)
			for i := range steps {
				steps[i] = plan.Step{ID: plan.StepID(fmt.Sprintf("c%d/deploy", i))}
			}
			r := New(Config{Steps: steps, Journal: j, Limit: make(chan struct{}, 1), Settled: func(plan.Step, Result) {}, Do: func(ctx context.Context, _ plan.Step) Result {
				<-ctx.Done()
				return Result{Outcome: plan.Failed}
			}})
			time.AfterFunc(time.Second, func() { r.Interrupt("down --now") })
			if err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(j.begun) != 1 {
				t.Errorf("begun: %v", j.begun)
			}
		})
	}
}

func TestRunnerInterruptedBeforeItRunsBeginsNothing(t *testing.T) {
	j := &memory{}
	r := New(Config{
		Steps: steps(), Results: map[plan.StepID]Result{"a/deploy": {Outcome: plan.Done}},
		Journal: j, Limit: make(chan struct{}, 2), Do: done, Settled: func(plan.Step, Result) {},
	})
	r.Interrupt("down --now")
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(j.begun) > 0 {
		t.Errorf("begun: %v", j.begun)
	}
}

// What an earlier run began may have had its effect: skipped, nobody would know.
func TestInterruptionUndoesWhatAnEarlierRunBegan(t *testing.T) {
	for name, interrupt := range map[string]func(*Runner, *memory){
		"before it runs": func(r *Runner, j *memory) {
			r.Interrupt("down --now")
			r.Tell("elsewhere/deploy", plan.Done)
			if len(j.results) > 0 {
				t.Errorf("ended before it was undone: %v", j.results)
			}
		},
		"while it waits for its turn": func(r *Runner, _ *memory) {
			r.Tell("elsewhere/deploy", plan.Done)
			time.AfterFunc(time.Second, func() { r.Interrupt("down --now") })
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &memory{}
			busy := make(chan struct{}, 1)
			var undone []plan.StepID
			r := New(Config{
				Steps:   []plan.Step{{ID: "b/deploy", Needs: []plan.StepID{"elsewhere/deploy"}}, {ID: "b/start", Needs: []plan.StepID{"b/deploy"}}},
				Journal: j, Limit: busy, Settled: func(plan.Step, Result) {},
				Do:    done,
				Begun: map[plan.StepID]bool{"b/deploy": true},
				Undo: func(_ context.Context, s plan.Step) Result {
					undone = append(undone, s.ID)
					return Result{Outcome: plan.Failed}
				},
			})
			busy <- struct{}{}
			time.AfterFunc(time.Minute, func() { <-busy })
			interrupt(r, j)
			if err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(undone) != 1 || j.results["b/deploy"].Outcome != plan.Failed || j.results["b/start"].Outcome != plan.Skipped || len(j.begun) > 0 {
				t.Errorf("%s: undone %v, results %v, begun %v", name, undone, j.results, j.begun)
			}
		})
	}
}

// A runner whose journal refuses a record ends: what an earlier run began, and
// waits for its turn, is not undone for that. The next one goes on with it.
func TestJournalThatFailsUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("no space left on device")
		busy := make(chan struct{}, 1)
		r := New(Config{
			Steps:   []plan.Step{{ID: "a/deploy"}, {ID: "b/deploy", Needs: []plan.StepID{"elsewhere/deploy"}}},
			Journal: &memory{refuse: full}, Limit: busy, Settled: func(plan.Step, Result) {}, Do: done,
			Begun: map[plan.StepID]bool{"a/deploy": true},
			Undo: func(_ context.Context, s plan.Step) Result {
				t.Errorf("%s is undone", s.ID)
				return Result{Outcome: plan.Failed}
			},
		})
		busy <- struct{}{}
		time.AfterFunc(time.Second, func() { r.Tell("elsewhere/deploy", plan.Failed) })
		time.AfterFunc(time.Minute, func() { <-busy })
		if err := r.Run(t.Context()); !errors.Is(err, full) {
			t.Errorf("the run ended with %v", err)
		}
	})
}

func TestInterruptionIsToldApartFromTheRunnersEnd(t *testing.T) {
	for _, interrupt := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			told := false
			var r *Runner
			r = New(Config{
				Steps: steps()[:1], Journal: &memory{}, Limit: make(chan struct{}, 2), Settled: func(plan.Step, Result) {},
				Do: func(ctx context.Context, _ plan.Step) Result {
					if interrupt {
						r.Interrupt("down --now")
					} else {
						end()
					}
					<-ctx.Done()
					told = errors.Is(context.Cause(ctx), ErrInterrupted)
					return Result{Outcome: plan.Failed}
				},
			})
			_ = r.Run(ctx) // whether it ends well is another test's
			if told != interrupt {
				t.Errorf("interrupted %t, told %t", interrupt, told)
			}
			end()
		})
	}
}
