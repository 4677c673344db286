package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
)

// liveness is how a component is asked whether it lives (runtime.md LV1, LV2).
type liveness struct {
	delay  time.Duration // 0: never
	factor int           // failures in a row that count as an end
}

// pulse is how a component has answered. It is guarded by the tenant's lock.
type pulse struct {
	next   time.Time // when it is asked next; zero: it has not been planned
	failed int       // times in a row
	silent bool      // it counts as ended since it has not answered
	asked  bool      // it is being asked
}

// Bounds of the pause between two looks for who is to be asked: many are asked
// together, and what has begun to run meanwhile is found.
const (
	pulseLeast = 250 * time.Millisecond
	pulseMost  = 5 * time.Second
)

// pulses is how many components are asked at once.
const pulses = 64

// live asks the components that run here whether they still do, each as often as
// what is around it says, until ctx ends. Every one is asked by itself: a
// failure names the deepest component that has failed, and what is around it
// answers for its own part.
func (a *Agent) live(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, pulses)
	for {
		next := time.Now().Add(pulseMost)
		for _, t := range a.all() {
			due, later := t.due(time.Now())
			if later.Before(next) {
				next = later
			}
			for _, c := range t.reminded(a.now()) {
				a.spawn(func(ctx context.Context) { t.remind(ctx, c) })
			}
			for _, c := range due {
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				wg.Go(func() {
					defer func() { <-slots }()
					t.feel(ctx, c)
				})
			}
		}
		if sleep(ctx, max(pulseLeast, time.Until(next))); ctx.Err() != nil {
			return
		}
	}
}

// due returns the components that are to be asked now, and when the next is.
func (t *tenant) due(now time.Time) (due []*held, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next = now.Add(pulseMost)
	if t.resuming.Load() {
		return nil, next
	}
	for path, c := range t.comps {
		p := &c.pulse
		if c.liveness.delay == 0 || p.asked || !t.stands(c) {
			if c.state != inventory.Running {
				*p = pulse{asked: p.asked}
			}
			continue
		}
		if p.next.IsZero() { // spread, so that many that were started together do not answer together
			h := fnv.New32a()
			_, _ = h.Write([]byte(path))
			p.next = now.Add(c.liveness.delay * time.Duration(h.Sum32()%1000+1) / 1000)
		}
		if !p.next.After(now) {
			p.asked, p.next = true, now.Add(c.liveness.delay)
			due = append(due, c)
		}
		if p.next.Before(next) {
			next = p.next
		}
	}
	return due, next
}

// feel asks one component, and ends it when it has failed often enough (LV2).
func (t *tenant) feel(ctx context.Context, c *held) {
	t.mu.Lock()
	l := c.liveness
	t.mu.Unlock()
	err := t.answers(ctx, c, l.delay)
	t.mu.Lock()
	c.pulse.asked = false
	switch {
	case err == nil || errors.Is(err, component.ErrOnlyAsked) || ctx.Err() != nil || c.state != inventory.Running:
		c.pulse.failed = 0
	default:
		c.pulse.failed++
	}
	dead := c.pulse.failed >= l.factor
	if dead {
		c.pulse.failed, c.pulse.silent = 0, true
	}
	t.mu.Unlock()
	if ctx.Err() == nil {
		t.pinged(c, err)
	}
	if !dead {
		return
	}
	rec := t.record(c.path, ping, err)
	rec.Description = fmt.Sprintf("%s has not answered %d pings in a row", c.path, l.factor)
	t.agent.spawn(func(ctx context.Context) {
		if !t.mend(ctx, c, err) {
			t.componentEnded(ctx, c, *rec)
		}
	})
}

// answers asks the manager of a component that runs whether it still does, and
// checks what is asserted of it (LV4). What cannot be found out is no failure.
func (t *tenant) answers(ctx context.Context, c *held, limit time.Duration) error {
	if !c.op.TryLock() {
		return nil // an operation is under way
	}
	defer c.op.Unlock()
	_, err := t.asks(ctx, c, limit)
	return err
}

// asks is answers, of a component whose turn is held, and says whether there was
// somebody to ask.
func (t *tenant) asks(ctx context.Context, c *held, limit time.Duration) (asked bool, err error) {
	m, class, err := t.manager(c, plan.Start)
	if err != nil || class.Site == component.SiteResource {
		return false, nil // a machine is watched by its host
	}
	return true, t.stillHolds(ctx, c, m, &class, limit)
}

// stillHolds is answers, of a component whose turn is held.
func (t *tenant) stillHolds(ctx context.Context, c *held, m component.Manager, class *component.Class, limit time.Duration) error {
	t.mu.Lock()
	state, attrs := c.state, c.attrs
	t.mu.Unlock()
	if state != inventory.Running {
		return fmt.Errorf("it is %s", state)
	}
	ctx, done, err := t.underTenure(ctx, c) // it must not keep what is to be stopped
	if err != nil {
		return nil
	}
	defer done()
	call, env, err := t.call(ctx, c, plan.Start, attrs) // as its start had it, secrets and all
	if err != nil {
		return nil
	}
	defer env.close()
	switch err := lifecycle.Ping(ctx, m, call, min(limit, watchLimit)); {
	case errors.Is(err, component.ErrNoEnd):
		return nil
	case err != nil && ctx.Err() == nil:
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, min(limit, askLimit), ErrUnavailable)
	defer cancel()
	if err := t.assertions(ctx, c, class, ping, attrs); err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
		return err
	}
	return nil
}
