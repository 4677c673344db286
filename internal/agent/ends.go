package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/provider"
	"aloft/value"
)

// restarting is the reason of a component that is being brought back: found in
// the journal, the work is taken up again.
const restarting = inventory.Restarting

// hasEnded is the reason of a component that has ended by itself, until that is
// answered: found in the journal, it is answered then.
const hasEnded = "it has ended by itself"

// componentEnded answers the end of a component by itself (runtime.md TR3).
func (t *tenant) componentEnded(ctx context.Context, c *held, r component.Record) {
	t.mu.Lock()
	if c.state == inventory.Starting || c.state == inventory.Reconfiguring {
		// It has ended before the operation had: nobody tells it again.
		t.mu.Unlock()
		c.op.pass()
		t.mu.Lock()
	}
	if c.state != inventory.Running || c.repairing || c.reason == hasEnded || c.wanted == nil {
		t.mu.Unlock()
		return // it is being ended, or brought back already, or that is about to be recorded
	}
	if r.Time.IsZero() {
		r.Time = t.agent.now()
	}
	if r.Host == "" {
		r.Host = t.agent.cfg.Machine(t.current().GetMachine()).Name
	}
	r.Path = c.path
	c.record = &r
	policy := c.policy
	c.repairing = policy.OnEnd == lifecycle.Restart && r.Type != component.Normal
	ended := !c.repairing
	if ended {
		c.reason = hasEnded
	}
	t.mu.Unlock()
	if ended && !t.saveFirst(ctx, c.path) {
		return // ended halfway, nobody could tell how it has: the daemon ends
	}
	t.event(c.path, "", event.ComponentEnded, r.Cause, 0)
	switch {
	case policy.OnEnd == lifecycle.Course:
		t.actionEnded(ctx, c, r)
	case policy.OnEnd == lifecycle.Share:
		t.share(ctx, c, r)
	case policy.OnEnd == lifecycle.Restart && r.Type != component.Normal:
		t.repair(ctx, c, r)
	default:
		t.remove(ctx, c, inventory.Terminated, r)
	}
}

// repair brings a component back by terminate, deploy, start, with growing
// pauses, until it runs or the policy gives up.
func (t *tenant) repair(ctx context.Context, c *held, r component.Record) {
	defer func() {
		t.mu.Lock()
		c.repairing = false
		t.mu.Unlock()
	}()
	for {
		t.mu.Lock()
		pause, again := c.recent.Next(time.Now(), c.policy)
		tries := len(c.recent)
		if again {
			c.reason = restarting
		}
		t.mu.Unlock()
		if !again {
			r.Description = fmt.Sprintf("given up after %d restarts", tries)
			t.share(ctx, c, r)
			return
		}
		t.changed(c.path)
		if childless := t.rest(ctx, c, pause); ctx.Err() != nil || !childless && t.revived(ctx, c) {
			return
		}
		err := t.restart(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errTaken) {
			return
		}
		if errors.Is(err, errOrphaned) {
			r.Cause = inventory.Orphaned // answered when its parent is heard of
			t.endAllForNow(ctx, c, r)    // part of it may run again
			return
		}
		if errors.Is(err, errIsolated) {
			r.Cause = inventory.Isolated // brought back when its owner lets it
			t.endAllForNow(ctx, c, r)
			return
		}
		if provider.KindOf(err) == provider.NotFound {
			t.remove(ctx, c, inventory.Failed, *t.record(c.path, plan.Start, err)) // a machine that is gone does not come back
			return
		}
		if err == nil {
			t.mu.Lock()
			c.restarts++
			t.mu.Unlock()
			t.save(ctx, c.path)
			t.changed(c.path)
			t.event(c.path, "", event.ComponentRestarted, r.Cause+t.fromRecord(c.path), 0)
			return
		}
		r = *t.record(c.path, plan.Start, err)
		t.event(c.path, "", event.ComponentEnded, r.Cause, 0)
	}
}

// revived reports whether a component that counts as ended, since it did not
// answer, has answered meanwhile: then it is left alone.
func (t *tenant) revived(ctx context.Context, c *held) bool {
	t.mu.Lock()
	silent, delay := c.pulse.silent, c.liveness.delay
	c.pulse.silent = false
	t.mu.Unlock()
	if !silent || t.answers(ctx, c, delay) != nil {
		return false
	}
	t.mu.Lock()
	c.reason, c.record = "", nil
	t.mu.Unlock()
	t.save(ctx, c.path)
	t.changed(c.path)
	t.event(c.path, "", event.ComponentState, string(inventory.Running), 0)
	return true
}

// fromRecord tells, for the event of a restart, of the values that could not be
// had at and below path, so that those recorded before served (LZ8).
func (t *tenant) fromRecord(path value.Path) string {
	var names []string
	for _, c := range t.subtree(path) {
		t.mu.Lock()
		for _, name := range c.recorded {
			names = append(names, c.path.Child(name).String())
		}
		t.mu.Unlock()
	}
	if len(names) == 0 {
		return ""
	}
	return "; restarted with the recorded values of " + strings.Join(names, ", ")
}

// errTaken says that a newer part decides what becomes of a component.
var errTaken = errors.New("taken over by a plan")

// planned reports whether the newest part has yet to deploy or end a component.
func (t *tenant) planned(path value.Path) bool {
	return t.ahead(path, peerpb.Action_ACTION_DEPLOY, peerpb.Action_ACTION_TERMINATE)
}

// ahead reports whether the newest part has yet to do one of the actions on a
// component.
func (t *tenant) ahead(path value.Path, actions ...peerpb.Action) bool {
	t.mu.Lock()
	runner, part := t.runner, t.current()
	t.mu.Unlock()
	for _, s := range part.Steps {
		if value.Path(s.Path) == path && slices.Contains(actions, s.Action) && runner.Outcome(plan.StepID(s.Id)) == "" {
			return true
		}
	}
	return false
}

// known reports whether there is anything to say what a component is like: the
// newest part, or what it had.
func (t *tenant) known(c *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.wanted != nil || c.attrs != nil || c.last != nil
}

// restart ends and brings back a component and everything below it. A machine
// is only started again: it keeps its disk.
func (t *tenant) restart(ctx context.Context, c *held) error {
	t.halt(c.path)
	below := t.subtree(c.path)
	for _, b := range below {
		b.op.Lock()
		defer b.op.Unlock()
	}
	t.mu.Lock()
	gone, record := c.wanted == nil, c.record
	t.mu.Unlock()
	if gone || t.planned(c.path) {
		return errTaken
	}
	if _, class, err := t.manager(c, plan.Start); err == nil && class.Site == component.SiteResource {
		t.mu.Lock()
		c.state = inventory.Running
		t.mu.Unlock()
		return t.operate(ctx, c, plan.Start)
	}
	for _, b := range slices.Backward(below) {
		if b != c && !t.exists(b) {
			continue
		}
		t.endsWith(b, record)
		b.returns = true
		err := t.operate(ctx, b, plan.Terminate)
		b.returns = false
		if err != nil {
			return err
		}
		if t.returnsWith(b, c) {
			t.mark(ctx, b)
		}
	}
	for _, action := range []plan.Action{plan.Deploy, plan.Start} {
		for _, b := range t.order(t.with(c), action) {
			if !t.known(b) {
				continue // an older part was to deploy it and never came to
			}
			if err := t.operate(ctx, b, action); err != nil {
				if ctx.Err() == nil && !errors.Is(err, errIsolated) {
					t.keepFailure(b, action, t.record(b.path, action, err))
				}
				return err
			}
			if action == plan.Deploy {
				t.mark(ctx, b)
			} else {
				t.save(ctx, b.path)
			}
		}
	}
	return nil
}

// returnsWith reports whether b, at or below c, is brought back with it: a
// workflow component below c creates anew what it has created.
func (t *tenant) returnsWith(b, c *held) bool {
	creator := t.creatorOf(b)
	return creator == nil || creator == t.creatorOf(c)
}

// mark journals that a component is on its way back.
func (t *tenant) mark(ctx context.Context, c *held) {
	t.mu.Lock()
	c.reason = restarting
	t.mu.Unlock()
	t.save(ctx, c.path)
}

// share ends the siblings of a component, and what is around them, with its
// record (runtime.md TR2). What lies above this machine is its owner's, which
// hears of what failed here: it replaces the machine, or leaves it.
func (t *tenant) share(ctx context.Context, c *held, r component.Record) {
	parent := t.component(c.path.Parent())
	if c.path == value.Root || parent == nil || parent == c {
		if t.isMachine(c) && c.policy.OnEnd == lifecycle.Restart {
			// Its disk may hold what cannot be made again: to destroy it is not
			// this host's to decide.
			t.set(c, inventory.Failed, inventory.GivenUp+r.Cause, &r)
			t.save(ctx, c.path)
			return
		}
		t.remove(ctx, c, inventory.Failed, r)
		return
	}
	t.halt(parent.path)
	parent.op.Lock()
	for _, b := range slices.Backward(t.subtree(parent.path)) {
		if b == parent {
			continue
		}
		b.op.Lock()
		if t.exists(b) {
			_ = t.terminate(ctx, b, inventory.Terminated, r)
		}
		b.op.Unlock()
	}
	parent.op.Unlock()
	t.set(c, inventory.Failed, r.Cause, &r)
	t.save(ctx, c.path)
	shared := r
	t.mu.Lock()
	policy, running := parent.policy, parent.state == inventory.Running && !parent.repairing
	parent.repairing = running && policy.OnEnd == lifecycle.Restart
	t.mu.Unlock()
	if !running {
		return
	}
	switch policy.OnEnd {
	case lifecycle.Course:
		t.actionEnded(ctx, parent, shared)
	case lifecycle.Restart:
		t.repair(ctx, parent, shared)
	case lifecycle.Share:
		t.share(ctx, parent, shared)
	default:
		t.remove(ctx, parent, inventory.Terminated, shared)
	}
}

// remove ends a component and what is below it.
func (t *tenant) remove(ctx context.Context, c *held, as inventory.State, r component.Record) {
	t.halt(c.path)
	for _, b := range slices.Backward(t.subtree(c.path)) {
		b.op.Lock()
		state := as
		if b != c {
			state = inventory.Terminated
		}
		if t.exists(b) || b == c && as != inventory.Terminated {
			_ = t.terminate(ctx, b, state, r)
		}
		b.op.Unlock()
	}
}

// isMachine reports whether a component is a machine that this host keeps.
func (t *tenant) isMachine(c *held) bool {
	_, class, err := t.manager(c, plan.Start)
	return err == nil && class.Site == component.SiteResource
}

// endsWith gives a component that is about to be ended the record that it ends
// with, which is what its manager is told (runtime.md TR2).
func (t *tenant) endsWith(c *held, r *component.Record) {
	t.mu.Lock()
	c.record = r
	t.mu.Unlock()
}

// terminate ends one component outside of a plan and leaves it in the given
// state. Failures are recorded and do not stop the rest (LC5).
func (t *tenant) terminate(ctx context.Context, c *held, as inventory.State, r component.Record) error {
	t.endsWith(c, &r)
	err := t.operate(context.WithoutCancel(ctx), c, plan.Terminate)
	if err != nil {
		t.agent.cfg.Log.Warn("terminate", "system", t.system, "component", c.path, "error", err)
	}
	reason := r.Cause
	if reason == "" {
		reason = r.Description
	}
	t.set(c, as, reason, &r)
	t.save(ctx, c.path)
	return err
}

// resume brings back what ran before the daemon was restarted: it adopts what
// still runs and starts what does not, parents before children, and takes up
// restarts that were cut off.
func (t *tenant) resume(ctx context.Context) {
	for _, c := range t.subtree(value.Root) {
		t.mu.Lock()
		// A start with the values of before would undo what a reconfigure has
		// done already, and bring back what a terminate has ended.
		serves := c.serves() && !t.redone[c.path]
		cut := c.wanted != nil && c.reason == restarting
		ended, record := serves && c.reason == hasEnded, c.record
		if ended {
			c.reason = ""
		}
		t.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return
		case ended && record != nil:
			t.agent.spawn(func(ctx context.Context) { t.componentEnded(ctx, c, *record) })
		case serves && t.restored(ctx, c):
		case serves:
			c.op.Lock()
			err := t.operate(ctx, c, plan.Start)
			c.op.Unlock()
			if err != nil && ctx.Err() == nil {
				rec := t.record(c.path, plan.Start, err)
				t.mu.Lock()
				c.state = inventory.Running // what ended is what ran
				t.mu.Unlock()
				t.agent.spawn(func(ctx context.Context) { t.componentEnded(ctx, c, *rec) })
				continue
			}
			t.save(ctx, c.path)
		case cut:
			t.mu.Lock()
			c.repairing = true
			t.mu.Unlock()
			t.agent.spawn(func(ctx context.Context) {
				t.repair(ctx, c, component.Record{Type: component.Abnormal, Path: c.path, Description: "restart", Cause: "the daemon ended while the component was restarted", Time: t.agent.now()})
			})
		}
	}
}

// reload asks a component to take up its configuration again, because another
// one that it depends on has rewritten it.
func (t *tenant) reload(from *held, ref *value.Reference) {
	c := t.component(value.PathOf(namesOf(ref)...))
	if c == nil || c == from {
		t.agent.cfg.Log.Warn("notify", "system", t.system, "component", from.path, "error", fmt.Sprintf("%s is not on this machine", value.RefText(ref)))
		return
	}
	t.agent.spawn(func(ctx context.Context) { t.takeUp(ctx, c) })
}

// takeUp has a component that runs read its attributes anew, and what is behind
// them; not one that the plan is about to replace.
func (t *tenant) takeUp(ctx context.Context, c *held) {
	c.op.Lock()
	defer c.op.Unlock()
	t.mu.Lock()
	stands := t.stands(c) && c.successor == nil
	t.mu.Unlock()
	if stands && !t.planned(c.path) {
		_ = t.takeAnew(ctx, c) // its state says why not
	}
}

// takeAnew is takeUp of a component that stands. Its op lock is held.
func (t *tenant) takeAnew(ctx context.Context, c *held) error {
	err := t.operate(ctx, c, plan.Reconfigure)
	if ctx.Err() != nil {
		return ctx.Err() // the daemon ends; the next one reads again
	}
	if err != nil {
		t.set(c, inventory.Running, "not reloaded: "+t.agent.shown.hide(err.Error()), nil)
	}
	t.save(ctx, c.path)
	return err
}

// Times of the watch over machines.
const (
	watchEvery = 2 * time.Second
	watchLimit = 10 * time.Second
)

// watch pings the machines that this host answers for: nobody inside them can
// tell when they end. Two failures in a row count as an end (LV2).
func (a *Agent) watch(ctx context.Context) {
	failed := map[*held]int{}
	for {
		if sleep(ctx, watchEvery); ctx.Err() != nil {
			return
		}
		for _, t := range a.all() {
			for _, c := range t.subtree(value.Root) {
				err := t.ping(ctx, c)
				if err == nil {
					delete(failed, c)
					continue
				}
				if failed[c]++; failed[c] >= 2 && ctx.Err() == nil {
					delete(failed, c)
					if t.waitsToStart(c) {
						a.spawn(func(ctx context.Context) { t.revive(ctx, c) })
						continue
					}
					rec := t.record(c.path, ping, err)
					a.spawn(func(ctx context.Context) { t.componentEnded(ctx, c, *rec) })
				}
			}
		}
	}
}

// ping asks the manager of a running machine whether it still runs.
func (t *tenant) ping(ctx context.Context, c *held) error {
	m, class, err := t.manager(c, plan.Start)
	if err != nil || class.Site != component.SiteResource {
		return nil
	}
	if !c.op.TryLock() {
		return nil // an operation is under way
	}
	defer c.op.Unlock()
	t.mu.Lock()
	exists, attrs := c.wanted != nil && (c.state == inventory.Running || c.state == inventory.Deployed), c.attrs
	t.mu.Unlock()
	if !exists {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, watchLimit)
	defer cancel()
	call, env, err := t.call(ctx, c, ping, attrs)
	if err != nil {
		return err
	}
	defer env.close()
	return m.Ping(ctx, call)
}

// waitsToStart reports whether a component is deployed and not yet started.
func (t *tenant) waitsToStart(c *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.state == inventory.Deployed
}

// revive starts a machine again that ended while what is inside it is being
// deployed: the plan goes on in it, and its own start is still to come.
func (t *tenant) revive(ctx context.Context, c *held) {
	c.op.Lock()
	defer c.op.Unlock()
	m, class, err := t.manager(c, plan.Start)
	if err != nil || !t.waitsToStart(c) {
		return
	}
	t.mu.Lock()
	attrs := c.attrs
	t.mu.Unlock()
	call, env, err := t.call(ctx, c, plan.Start, attrs)
	if err != nil {
		t.agent.cfg.Log.Warn("machine not started again", "system", t.system, "component", c.path, "error", err)
		return
	}
	defer env.close()
	if err := lifecycle.Do(ctx, m, plan.Start, call, lifecycle.Limit(&class, attrs, plan.Start)); err != nil && ctx.Err() == nil {
		t.agent.cfg.Log.Warn("machine not started again", "system", t.system, "component", c.path, "error", err)
	}
}
