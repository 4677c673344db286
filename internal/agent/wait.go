package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/event"
	"aloft/internal/execute"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// ErrUnavailable is in the chain of an error of a read whose answer is on a
// machine that is cut off from this one (runtime.md LZ8).
var ErrUnavailable = errors.New("unavailable")

// Times of a wait.
const (
	cutAfter   = 10 * time.Second       // without an answer, what is asked is cut off
	askPause   = 200 * time.Millisecond // before the owner is asked again after a lost session
	circleTick = time.Second            // between looks for waits that go round
)

// waitLimit is how long a step waits for what its component refers to.
func (t *tenant) waitLimit(s plan.Step) time.Duration {
	if c := t.component(s.Path); c != nil {
		return t.patience(c)
	}
	return plan.WaitLimit(value.NewComponent(false))
}

// patience is how long an operation of a component waits for what it reads.
func (t *tenant) patience(c *held) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.wanted == nil {
		return plan.WaitLimit(value.NewComponent(false))
	}
	return plan.WaitLimit(c.wanted)
}

// overdue ends a step that has waited too long for what its component refers
// to: it has failed like one that was tried.
func (t *tenant) overdue(ctx context.Context, s plan.Step, open []plan.Await) execute.Result {
	err := &component.Failure{
		Err:    errors.New(plan.Overdue(t.waitLimit(s), open)),
		Remedy: fmt.Sprintf("look at %s; sfWaitTimeout is how many seconds %s waits", open[0].Step.Path(), s.Path),
	}
	rec := t.record(s.Path, s.Action, err)
	c := t.component(s.Path)
	if c == nil {
		return execute.Result{Outcome: plan.Failed, Record: rec}
	}
	c.op.Lock()
	defer c.op.Unlock()
	t.event(s.Path, s.ID, event.StepStarted, string(s.Action), 0)
	if s.Action == plan.Deploy && !t.exists(c) {
		t.keepFailure(c, s.Action, rec)
		t.set(c, inventory.Failed, rec.Cause, rec) // there is nothing to undo
	} else {
		t.failed(ctx, c, s.Action, rec)
	}
	return execute.Result{Outcome: plan.Failed, Record: rec}
}

// wait returns what the names lead to as soon as it can be read. A component
// of this machine is looked at here; the owner is asked in any case: it knows
// what is elsewhere, and which waits would never end.
func (r *reader) wait(ctx context.Context, names []string, running bool) (value.Value, error) {
	if r.cut != nil {
		return nil, r.cut
	}
	t := r.t
	limit := t.patience(r.c)
	what := value.PathOf(names...).String()
	ctx, cancel := context.WithDeadlineCause(ctx, r.begun.Add(limit), fmt.Errorf("waited %s for %s", limit, what))
	r.letGo()
	defer r.takeBack()
	answers := make(chan answer, 1)
	var asking sync.WaitGroup
	asking.Go(func() { answers <- r.ask(ctx, names, running) })
	defer asking.Wait()
	defer cancel()
	tick := time.NewTicker(circleTick)
	defer tick.Stop()
	forget, on := func() {}, plan.StepID("")
	defer func() { forget() }()
	for {
		t.mu.Lock()
		moved := t.moved
		t.mu.Unlock()
		f := t.find(names, running)
		if f.err != nil || f.value != nil {
			return f.value, f.err
		}
		if f.on != "" {
			if t.hopeless(f.path, running) {
				return nil, fmt.Errorf("%s cannot be read: %s", what, t.account(f.path))
			}
			if f.on != on {
				forget()
				forget, on = t.waitFor(r.step, f.on), f.on
			}
			if circle := t.circle(r.step); circle != nil {
				return nil, circular(circle)
			}
		}
		select {
		case <-moved:
		case <-tick.C:
		case a := <-answers:
			switch {
			case a.err == nil:
				return a.value, nil
			case errors.Is(a.err, ErrUnavailable) && f.on != "":
				answers = nil // what is here goes on without the owner
			case errors.Is(a.err, ErrUnavailable):
				r.cut = a.err
				return nil, a.err
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			default:
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// letGo gives the operation's place among those that run at once to another
// one, which may be what it waits for; takeBack takes it back.
func (r *reader) letGo() {
	if r.slot {
		<-r.t.agent.limit
	}
}

func (r *reader) takeBack() {
	if r.slot {
		r.t.agent.limit <- struct{}{}
	}
}

// circular is the error of an operation that could only wait for itself
// (runtime.md LZ5).
func circular(circle []plan.StepID) error {
	return &component.Failure{
		Err:    errors.New("this wait can never end: " + plan.Waiting(circle)),
		Remedy: "let one of them refer to an attribute that the description gives, or that is read at start",
	}
}

// answer is what the owner said.
type answer struct {
	value value.Value
	err   error
}

// ask asks the owner until there is an answer, ctx ends, or the owner or the
// machine that holds the value is cut off.
func (r *reader) ask(ctx context.Context, names []string, running bool) answer {
	request := &peerpb.ReadRequest{
		System: r.t.system, Names: names, Reader: string(r.c.path), Action: wireActions[r.action], Running: running,
	}
	var lost time.Time // when a call was cut off, and none was answered since
	for {
		call, cancel := context.WithTimeout(ctx, cutAfter)
		reply, err := r.t.agent.cfg.Owner.Read(call, request)
		silent := call.Err() != nil
		cancel()
		switch code := status.Code(err); {
		case ctx.Err() != nil:
			return answer{err: context.Cause(ctx)}
		case err == nil && reply.Unavailable != "":
			return answer{err: fmt.Errorf("%w: %s", ErrUnavailable, reply.Unavailable)}
		case err == nil && reply.Pending:
			lost = time.Time{}
		case err == nil:
			v, err := value.Decode(reply.Value)
			return answer{v, err}
		case silent:
			return answer{err: fmt.Errorf("%w: the owner of the system has not answered for %s", ErrUnavailable, cutAfter)}
		case code != codes.Unavailable:
			return answer{err: errors.New(status.Convert(err).Message())}
		case lost.IsZero():
			lost = time.Now() // the session ended: there may be another in a moment
			sleep(ctx, askPause)
		case time.Since(lost) >= cutAfter:
			return answer{err: fmt.Errorf("%w: the owner of the system has not answered for %s", ErrUnavailable, cutAfter)}
		default:
			sleep(ctx, askPause)
		}
	}
}

// waitFor notes that an operation waits for another one here; forget ends that.
func (t *tenant) waitFor(step, on plan.StepID) (forget func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits[step] = append(t.waits[step], on)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		left := t.waits[step]
		i := slices.Index(left, on)
		if left = slices.Delete(left, i, i+1); len(left) == 0 {
			delete(t.waits, step)
		} else {
			t.waits[step] = left
		}
	}
}

// circle returns the waits on this machine that lead from a step back to it.
func (t *tenant) circle(step plan.StepID) []plan.StepID {
	t.mu.Lock()
	runner := t.runner
	waits := make(map[plan.StepID][]plan.StepID, len(t.waits))
	for id, on := range t.waits {
		waits[id] = slices.Clone(on)
	}
	t.mu.Unlock()
	return plan.Circle(step, func(id plan.StepID) []plan.StepID { return append(runner.Waits(id), waits[id]...) })
}

// hopeless reports whether a component here is not to reach the state that a
// reader waits for: it is past it, and no step of the part leads there again.
func (t *tenant) hopeless(path value.Path, running bool) bool {
	t.mu.Lock()
	c, runner, part := t.comps[path], t.runner, t.current()
	if c == nil {
		t.mu.Unlock()
		return true
	}
	busy := c.repairing || c.reason == restarting
	at := c.state
	t.mu.Unlock()
	if creator := t.creatorOf(c); creator != nil && at != inventory.Deployed && !t.hopeless(creator.path, true) {
		return false // it may be created yet
	}
	if busy {
		return false
	}
	for _, s := range part.Steps {
		if value.Path(s.Path) == path && runner.Outcome(plan.StepID(s.Id)) == "" {
			return false
		}
	}
	switch at {
	case inventory.Instantiated, inventory.Failed, inventory.Terminated:
		return true
	case inventory.Deployed:
		return running
	}
	return false
}

// account says in which state a component here is, and why.
func (t *tenant) account(path value.Path) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.comps[path]
	if c == nil {
		return path.String() + " is gone"
	}
	text := fmt.Sprintf("%s is %s", path, c.state)
	if c.reason != "" {
		text += ": " + c.reason
	}
	return text
}
