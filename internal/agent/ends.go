package agent

import (
	"context"
	"slices"

	"aloft/component"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

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
