// Package execute carries out the steps of a plan, or of one machine's part of
// it: as many at once as its limit allows, each journalled before and after,
// and none twice, whatever crashes between. It decides nothing: the order is
// the frontier's, the effect is its caller's. Run starts the goroutines of the
// steps and returns when all have ended.
package execute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"aloft/component"
	"aloft/internal/plan"
)

// Result is how a step ended.
type Result struct {
	Outcome plan.Outcome
	Record  *component.Record // why, unless Done
	Value   []byte            // what others may read of the component then: value's wire form, or nil
}

// Journal keeps the intents and results of steps. A step whose intent is
// recorded and whose result is not may have had its effect.
type Journal interface {
	// Begin records the intent; it is durable when Begin returns.
	Begin(plan.Step) error
	// End records the result; it is durable when End returns.
	End(plan.Step, Result) error
}

// ErrInterrupted is in the cause of a step's context that Interrupt has ended.
// A context that ended for another reason belongs to a runner that ends: what
// its step has done stays, and the next run repeats the step.
var ErrInterrupted = errors.New("interrupted")

// Config is what a Runner needs. Do performs one step; it must be repeatable.
// Settled is told each result, once, in the order of settling, after it is in
// the journal; it must not block.
type Config struct {
	Steps   []plan.Step
	Results map[plan.StepID]Result // of an earlier run, from the journal
	Journal Journal
	Limit   chan struct{} // shared by all runners of a daemon: its capacity is how many steps run at once
	Do      func(context.Context, plan.Step) Result
	Settled func(plan.Step, Result)
	// Begun are the steps whose intent an earlier run recorded, and no result. An
	// interruption does not skip them: Undo takes back what they may have done, and
	// ends them. It must be repeatable, too.
	Begun map[plan.StepID]bool
	Undo  func(context.Context, plan.Step) Result
	// Wait is how long a step may wait for nothing but what its component
	// refers to; then Expired ends it. The time counts from when this runner
	// runs: a daemon that starts again, or that could not record its work, has
	// all of it. Without Wait steps wait for ever.
	Wait    func(plan.Step) time.Duration
	Expired func(context.Context, plan.Step, []plan.Await) Result
}

// Runner runs the steps of one plan.
type Runner struct {
	cfg Config

	mu       sync.Mutex
	frontier *plan.Frontier
	reason   string // of an interruption, or ""

	news chan struct{} // has one element when the frontier may have moved
	stop chan struct{} // closed when interrupted
	wg   sync.WaitGroup
	err  error       // of the journal: the runner cannot go on
	todo []plan.Step // can begin
	cut  []plan.Step // to be undone
	late []overdue   // have waited too long
	// passed are steps that the results of an earlier run skip, and that the
	// journal may not know yet.
	passed []plan.Skip
}

// overdue is a step whose wait has ended without what it waited for.
type overdue struct {
	step plan.Step
	open []plan.Await
}

// New returns a runner that goes on where results end.
func New(cfg Config) *Runner {
	r := &Runner{cfg: cfg, frontier: plan.NewFrontier(cfg.Steps), news: make(chan struct{}, 1), stop: make(chan struct{})}
	for id, res := range cfg.Results {
		ready, skipped := r.frontier.Settle(id, res.Outcome)
		r.todo = append(r.todo, ready...)
		r.passed = append(r.passed, skipped...)
	}
	return r
}

// Tell says that a step that somebody else performs has ended.
func (r *Runner) Tell(id plan.StepID, o plan.Outcome) {
	r.mu.Lock()
	ready, skipped := r.frontier.Settle(id, o)
	r.advance(ready, skipped)
	r.mu.Unlock()
	r.wake()
}

// Interrupt cancels the steps that run and skips those that have not begun, in
// this run or an earlier one.
func (r *Runner) Interrupt(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reason != "" {
		return
	}
	r.reason = reason
	close(r.stop)
}

// Pending returns how many steps have not ended.
func (r *Runner) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frontier.Pending()
}

// Outcome returns how a step ended, or "".
func (r *Runner) Outcome(id plan.StepID) plan.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frontier.Outcome(id)
}

// Run performs the steps until all have ended, ctx ends, or the journal
// refuses a record. Steps that ctx cuts off stay as intents: the next run
// repeats them.
func (r *Runner) Run(ctx context.Context) error {
	steps, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer r.wg.Wait()
	r.mu.Lock()
	r.todo = slices.DeleteFunc(append(r.todo, r.frontier.Ready()...), func(s plan.Step) bool { return r.frontier.Outcome(s.ID) != "" })
	r.skip(slices.DeleteFunc(r.passed, func(k plan.Skip) bool { return r.cfg.Results[k.ID].Outcome != "" }))
	r.passed = nil
	r.mu.Unlock()
	timers := map[plan.StepID]*time.Timer{}
	defer func() {
		for _, t := range timers {
			t.Stop()
		}
	}()
	// at is a turn that has come. Steps come under the limit in the order in which
	// they could begin, and those that could at the same moment in the plan's: it
	// says in which order siblings are ended (LC5).
	at := make(chan struct{})
	close(at)
	turn := at
	stop := r.stop
	interrupted := func() {
		stop = nil
		cancel(fmt.Errorf("%w: %s", ErrInterrupted, r.reason))
		r.mu.Lock()
		defer r.mu.Unlock()
		r.skipReady()
		r.skip(r.frontier.SkipRest(r.reason))
	}
	for {
		select {
		case <-stop:
			interrupted() // before anything else begins
		default:
		}
		r.mu.Lock()
		todo, cut, late := r.todo, r.cut, r.late
		r.todo, r.cut, r.late = nil, nil, nil
		awaiting := r.frontier.Awaiting()
		pending, err := r.frontier.Pending(), r.err
		r.mu.Unlock()
		if err != nil {
			cancel(err)
			return err
		}
		if pending == 0 {
			return nil
		}
		for _, s := range todo {
			first := turn
			next := make(chan struct{})
			turn = next
			r.wg.Go(func() { r.perform(ctx, steps, s, first, sync.OnceFunc(func() { close(next) }), r.cfg.Do) })
		}
		for _, s := range cut {
			r.wg.Go(func() { r.undo(ctx, s) })
		}
		for _, o := range late {
			r.wg.Go(func() {
				r.perform(ctx, steps, o.step, at, func() {}, func(ctx context.Context, s plan.Step) Result { return r.cfg.Expired(ctx, s, o.open) })
			})
		}
		for _, s := range awaiting {
			if r.cfg.Wait != nil {
				timers[s.ID] = time.AfterFunc(r.cfg.Wait(s), func() { r.expire(s) })
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			interrupted()
		case <-r.news:
		}
	}
}

// expire ends the wait of a step, if it still waits.
func (r *Runner) expire(s plan.Step) {
	r.mu.Lock()
	if open := r.frontier.Expire(s.ID); len(open) > 0 {
		r.late = append(r.late, overdue{s, open})
	}
	r.mu.Unlock()
	r.wake()
}

// Waits returns the steps that have to end before a step of the runner's can
// begin: none for one that has.
func (r *Runner) Waits(id plan.StepID) []plan.StepID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frontier.Waits(id)
}

// perform runs one step under the limit, once its turn has come; next gives the
// turn to the step behind it. life is the runner's own context: if it ends, the
// result is not recorded and the step will be repeated.
func (r *Runner) perform(life, ctx context.Context, s plan.Step, turn <-chan struct{}, next func(), do func(context.Context, plan.Step) Result) {
	defer next()
	select {
	case <-turn:
	case <-ctx.Done():
	}
	begins := r.enter(ctx)
	next()
	if !begins {
		switch {
		case !errors.Is(context.Cause(ctx), ErrInterrupted): // the runner ends; the next one goes on with it
		case r.cfg.Begun[s.ID]:
			r.undo(life, s)
		default:
			r.end(s, Result{Outcome: plan.Skipped, Record: &component.Record{
				Type: component.Abnormal, Path: s.Path, Description: "not begun", Cause: context.Cause(ctx).Error(),
			}})
		}
		return
	}
	defer func() { <-r.cfg.Limit }()
	if err := r.cfg.Journal.Begin(s); err != nil {
		r.fail(fmt.Errorf("journal the intent of %s: %w", s.ID.Short(), err))
		return
	}
	res := do(ctx, s)
	if life.Err() != nil {
		return
	}
	r.end(s, res)
}

// enter waits until there is room for one more at work, and reports whether that
// is taken: not once ctx has ended, though there may be room by then.
func (r *Runner) enter(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case r.cfg.Limit <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// undo ends a step that an earlier run began. If life ends, that is to be done
// once more.
func (r *Runner) undo(life context.Context, s plan.Step) {
	if !r.enter(life) {
		return
	}
	defer func() { <-r.cfg.Limit }()
	res := r.cfg.Undo(life, s)
	if life.Err() != nil {
		return
	}
	r.end(s, res)
}

func (r *Runner) end(s plan.Step, res Result) {
	if err := r.cfg.Journal.End(s, res); err != nil {
		r.fail(fmt.Errorf("journal the result of %s: %w", s.ID.Short(), err))
		return
	}
	r.mu.Lock()
	r.cfg.Settled(s, res)
	ready, skipped := r.frontier.Settle(s.ID, res.Outcome)
	r.advance(ready, skipped)
	r.mu.Unlock()
	r.wake()
}

// advance takes up what a settled step has freed. The lock is held.
func (r *Runner) advance(ready []plan.Step, skipped []plan.Skip) {
	r.skip(skipped)
	r.todo = append(r.todo, ready...)
	if r.reason != "" {
		r.skipReady()
	}
}

// skipReady skips what could begin and has not, after an interruption. What an
// earlier run has begun is to be undone. The lock is held.
func (r *Runner) skipReady() {
	for len(r.todo) > 0 {
		s := r.todo[0]
		r.todo = r.todo[1:]
		if r.cfg.Begun[s.ID] {
			r.cut = append(r.cut, s)
			continue
		}
		r.skipped(s, r.reason)
		ready, skipped := r.frontier.Settle(s.ID, plan.Skipped)
		r.skip(skipped)
		r.todo = append(r.todo, ready...)
	}
}

func (r *Runner) skip(skips []plan.Skip) {
	for _, k := range skips {
		if s, ok := r.frontier.Step(k.ID); ok {
			r.skipped(s, k.Reason)
		}
	}
}

func (r *Runner) skipped(s plan.Step, reason string) {
	res := Result{Outcome: plan.Skipped, Record: &component.Record{
		Type: component.Abnormal, Path: s.Path, Description: s.ID.Short() + " was not begun", Cause: reason,
	}}
	if err := r.cfg.Journal.End(s, res); err != nil && r.err == nil {
		r.err = fmt.Errorf("journal the result of %s: %w", s.ID.Short(), err)
		return
	}
	r.cfg.Settled(s, res)
}

func (r *Runner) fail(err error) {
	r.mu.Lock()
	if r.err == nil {
		r.err = err
	}
	r.mu.Unlock()
	r.wake()
}

func (r *Runner) wake() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}
