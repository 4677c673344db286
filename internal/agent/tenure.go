package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/journal/journalpb"
	"aloft/internal/plan"
	"aloft/value"
)

// Clock tells the time that a tenure is measured by: which boot of the machine
// this is, and how long ago it was, suspensions counted. Nobody can set it.
type Clock func() (boot string, up time.Duration)

// Times of tenures.
const (
	tenureTick = time.Second      // between two looks at what has one
	renewEvery = 5 * time.Second  // between two questions to an owner that answers
	holdLimit  = 10 * time.Second // of one question, at the most
	stopLimit  = 5 * time.Second  // of ending one component at its end
)

// errIsolated says that the owner has not let the machine go on for too long.
var errIsolated = errors.New(inventory.Isolated)

// tenure is how long a tenant may go on running what stops when its owner is
// out of reach (runtime.md HL2). It is guarded by the tenant's lock.
type tenure struct {
	boot      string        // in which the owner let it go on; "": never
	confirmed time.Duration // when the machine asked for that
}

// stops reports whether c is to be stopped when the owner is out of reach. The
// lock is held.
func (c *held) stops() bool { return c.isolation == "stop" }

// allowed reports whether c may run now. The lock is held.
func (t *tenant) allowed(c *held) bool {
	return !t.orphan(c) && t.left(c) > 0
}

// left returns how long c may still run by its tenure. The lock is held.
func (t *tenant) left(c *held) time.Duration {
	if !c.stops() {
		return math.MaxInt64
	}
	boot, up := t.agent.cfg.Clock()
	if t.tenure.boot != boot || boot == "" {
		return 0
	}
	return t.tenure.confirmed + c.tenure - plan.StopTime - up
}

// awaitTenure waits until c may run.
func (t *tenant) awaitTenure(ctx context.Context, c *held) error {
	for {
		t.mu.Lock()
		allowed, moved := t.allowed(c), t.moved
		t.mu.Unlock()
		if allowed {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// underTenure returns a context for an operation that makes or keeps c running: it
// ends with the tenure. Its op lock is held until done is called.
func (t *tenant) underTenure(ctx context.Context, c *held) (_ context.Context, done func(), err error) {
	t.mu.Lock()
	if !t.allowed(c) {
		defer t.mu.Unlock()
		return nil, nil, t.forbids(c)
	}
	if !c.stops() && c.loss == 0 {
		t.mu.Unlock()
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c.cut = cancel
	t.mu.Unlock()
	done = func() {
		t.mu.Lock()
		c.cut = nil
		t.mu.Unlock()
		cancel(nil)
	}
	if err := t.agent.tighten(); err != nil {
		done()
		return nil, nil, err
	}
	return ctx, done, nil
}

// leash is what was said last to who ends this machine's processes if its
// daemon hangs.
type leash struct {
	mu    sync.Mutex
	until time.Duration // guarded by mu
}

// tighten says by when all that runs here is to be ended if this daemon does
// nothing more: when the first tenure ends of what may run now. A daemon that
// works has ended it by then.
func (a *Agent) tighten() error {
	if a.cfg.Leash == nil {
		return nil
	}
	a.leash.mu.Lock() // what was found out first is said first
	defer a.leash.mu.Unlock()
	boot, _ := a.cfg.Clock()
	until := time.Duration(0)
	for _, t := range a.all() {
		if at := t.until(boot); at != 0 && (until == 0 || at < until) {
			until = at
		}
	}
	if until == a.leash.until {
		return nil
	}
	if err := a.cfg.Leash(until); err != nil {
		return fmt.Errorf("have what runs here ended with its tenure, should this daemon hang: %w", err)
	}
	a.leash.until = until
	return nil
}

// until returns when the first tenure of what may run ends; 0 where nothing
// runs that has one. Of another boot nothing runs.
func (t *tenant) until(boot string) (first time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tenure.boot != boot {
		return 0
	}
	for _, c := range t.comps {
		if at := t.tenure.confirmed + c.tenure; c.stops() && (c.cut != nil || t.alive(c)) && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

// tenured reports whether anything here has a tenure: what stops at its end,
// and what only has to be known as in contact.
func (t *tenant) tenured() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.comps {
		if (c.isolation != "" || c.loss > 0) && (c.wanted != nil || c.state != inventory.Terminated) {
			return true
		}
	}
	return false
}

// keepTenures has Run ask for tenures and see to their ends, from when there
// first is one.
func (a *Agent) keepTenures() {
	if !slices.ContainsFunc(a.all(), (*tenant).tenured) {
		return
	}
	a.tenures.Do(func() {
		a.spawn(a.hold)
		a.spawn(a.isolate)
	})
}

// hold asks owners to let this machine go on, until ctx ends.
func (a *Agent) hold(ctx context.Context) {
	for ctx.Err() == nil {
		boot, up := a.cfg.Clock() // before the question: the owner counts from later
		var names []string
		limit := holdLimit
		for _, t := range a.all() {
			if patience := t.endures(); t.tenured() && !t.fresh(boot, up, patience) {
				names, limit = append(names, t.system), min(limit, patience/4) // one that hangs ends nothing
			}
		}
		if len(names) > 0 {
			call, cancel := context.WithTimeout(ctx, limit)
			reply, err := a.cfg.Owner.Hold(call, names)
			cancel()
			if err != nil && ctx.Err() == nil {
				a.cfg.Log.Debug("ask owners for tenures", "error", err)
			}
			for _, name := range reply.GetSystems() {
				if t := a.tenant(name); t != nil && slices.Contains(names, name) {
					t.heardOf(silentIn(reply, name), up)
					t.renew(ctx, tenure{boot, up})
				}
			}
		}
		sleep(ctx, tenureTick)
	}
}

// silentIn returns the machines that the owner of a system does not hear of.
func silentIn(reply *peerpb.HoldReply, system string) (machines []string) {
	for _, s := range reply.GetSilent() {
		if s.System == system {
			machines = append(machines, s.Machine)
		}
	}
	return machines
}

// fresh reports whether the owner has let the machine go on just now, for what
// has that much patience.
func (t *tenant) fresh(boot string, up, patience time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tenure.boot == boot && up-t.tenure.confirmed < min(renewEvery, patience/3)
}

// renew takes in that the owner lets the machine go on, and brings back what
// was stopped. A record that does not get to disk only makes it shorter.
func (t *tenant) renew(ctx context.Context, n tenure) {
	j := t.agent.cfg.Journal
	if err := j.Save(ctx, j.Tenures.Set(&journalpb.Tenure{System: t.system, Boot: n.boot, Confirmed: int64(n.confirmed)})); err != nil {
		t.agent.cfg.Log.Warn("record a tenure", "system", t.system, "error", err)
	}
	t.mu.Lock()
	t.tenure = n
	back := !t.returning && t.anyIsolated()
	t.returning = t.returning || back
	orphans := t.orphans()
	t.stir()
	t.mu.Unlock()
	for _, c := range orphans {
		t.agent.spawn(func(ctx context.Context) { t.answerOrphan(ctx, c) })
	}
	if back {
		t.agent.spawn(t.comeBack)
	}
}

// anyIsolated reports whether something is to be brought back. The lock is
// held.
func (t *tenant) anyIsolated() bool {
	for _, c := range t.comps {
		if c.wanted != nil && c.reason == inventory.Isolated {
			return true
		}
	}
	return false
}

// isolate stops what has a tenure at the end of it, until ctx ends.
func (a *Agent) isolate(ctx context.Context) {
	for ctx.Err() == nil {
		for _, t := range a.all() {
			for _, c := range t.subtree(value.Root) {
				t.mu.Lock()
				over := !t.allowed(c) && (t.alive(c) || c.cut != nil)
				if over && c.cut != nil {
					c.cut(t.forbids(c))
				}
				outer := t.outermost(c)
				orphan := over && t.orphan(c) && t.bereft(outer) && !outer.ending
				outer.ending = outer.ending || orphan
				stop := over && !orphan && t.left(c) <= 0 && !c.stopping // whatever the end of what is around it comes to
				c.stopping = c.stopping || stop
				t.mu.Unlock()
				if orphan {
					a.spawn(func(ctx context.Context) { t.endOrphan(ctx, outer) })
				}
				if stop {
					a.spawn(func(ctx context.Context) { t.stop(ctx, c) })
				}
			}
		}
		if err := a.tighten(); err != nil {
			a.cfg.Log.Error("tenures", "error", err)
		}
		sleep(ctx, tenureTick)
	}
}

// alive reports whether something of c may run. The lock is held.
func (t *tenant) alive(c *held) bool {
	switch c.state {
	case inventory.Instantiated, inventory.Deployed, inventory.Terminated:
		return false
	case inventory.Running:
		// What was found again after a boot does not run before it is let.
		return c.reason != inventory.Isolated
	}
	return true
}

// stop ends c because its tenure is over. What does not end in time is tried
// again.
func (t *tenant) stop(ctx context.Context, c *held) {
	c.op.Lock()
	defer c.op.Unlock()
	t.mu.Lock()
	over, orphan := t.left(c) <= 0 && t.alive(c), t.orphan(c) && t.bereft(t.outermost(c))
	t.mu.Unlock()
	switch {
	case over && orphan: // it comes back with what is around it
		r := t.orphaned(c)
		t.endForNow(ctx, c, r.Cause, &r)
	case over && t.endForNow(ctx, c, inventory.Isolated, nil):
		t.event(c.path, "", event.ComponentEnded, inventory.Isolated, 0)
	}
	t.mu.Lock()
	c.stopping = false
	t.mu.Unlock()
}

// comeBack brings back what was stopped, parents first, now that the owner
// lets it: nobody has placed it elsewhere.
func (t *tenant) comeBack(ctx context.Context) {
	defer func() {
		t.mu.Lock()
		t.returning = false
		t.mu.Unlock()
	}()
	var back []*held
	for _, c := range t.subtree(value.Root) {
		t.mu.Lock()
		isolated := c.wanted != nil && c.reason == inventory.Isolated && !c.repairing
		t.mu.Unlock()
		if isolated && !t.planned(c.path) {
			back = append(back, c)
		}
	}
	for _, action := range []plan.Action{plan.Deploy, plan.Start} {
		for _, c := range back {
			if err := t.bring(ctx, c, action); err != nil && ctx.Err() == nil && !errors.Is(err, errIsolated) {
				rec := t.record(c.path, action, err)
				t.mu.Lock()
				c.state = inventory.Running // what ended is what ran
				t.mu.Unlock()
				t.agent.spawn(func(ctx context.Context) { t.componentEnded(ctx, c, *rec) })
			}
		}
	}
}

// bring does one operation of a component's way back. Until the last of them
// is done the journal says that it is isolated, so that it is found again.
func (t *tenant) bring(ctx context.Context, c *held, action plan.Action) error {
	c.op.Lock()
	defer c.op.Unlock()
	t.mu.Lock()
	due := c.wanted != nil && c.reason == inventory.Isolated && (action == plan.Start || c.state != inventory.Running)
	t.mu.Unlock()
	if !due {
		return nil
	}
	if action == plan.Deploy && t.unended(c) && !t.endForNow(ctx, c, inventory.Isolated, nil) {
		return nil // tried again when its owner answers next
	}
	err := t.operate(ctx, c, action)
	t.mu.Lock()
	if err != nil || action == plan.Deploy {
		c.reason = inventory.Isolated
	}
	t.mu.Unlock()
	t.save(ctx, c.path)
	t.changed(c.path)
	return err
}

// restored leaves a component that ran before the daemon was restarted alone,
// if its tenure is over, and reports whether it is: until its owner lets it,
// it does not run. After a boot nothing runs, and nothing is to be ended.
func (t *tenant) restored(ctx context.Context, c *held) (over bool) {
	t.mu.Lock()
	booted, orphan, outermost := false, t.orphan(c), t.outermost(c)
	if over = !t.allowed(c); over {
		boot, _ := t.agent.cfg.Clock()
		booted = t.tenure.boot != boot
	}
	if booted {
		c.reason = inventory.Isolated
	}
	t.mu.Unlock()
	switch {
	case booted:
		t.save(ctx, c.path)
		t.changed(c.path)
	case orphan:
		t.endOrphan(ctx, outermost)
	case over:
		t.stop(ctx, c)
	}
	return over
}
