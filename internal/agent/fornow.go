package agent

import (
	"context"
	"math"
	"slices"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/plan"
)

// What its machine ends because nobody lets it go on comes back when somebody
// does (runtime.md HL2, LV3): its data stay.

// endForNow ends a component that is to come back here, or whose data are needed
// by who looks, unless a plan is to end it for good; reason and r say why. Where
// that fails it stays as it is, and it is to be tried again. Its op lock is held.
func (t *tenant) endForNow(ctx context.Context, c *held, reason string, r *component.Record) (ended bool) {
	goes := t.ahead(c.path, peerpb.Action_ACTION_TERMINATE)
	t.mu.Lock()
	c.returns = c.wanted != nil && !goes
	attrs, left := c.attrs, t.left(c)
	if r != nil {
		c.record = r
	}
	t.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	limited, cancel := ctx, context.CancelFunc(func() {})
	if left < math.MaxInt64 {
		limited, cancel = context.WithTimeout(ctx, max(left, 0)+stopLimit)
	}
	err := t.operate(limited, c, plan.Terminate)
	cancel()
	c.returns = false
	if err != nil {
		t.agent.cfg.Log.Error("end for now", "system", t.system, "component", c.path, "why", reason, "error", err)
		t.mu.Lock()
		if c.state == inventory.Terminating {
			c.reason, c.record = reason, r // so that it comes back when it may again
		}
		t.mu.Unlock()
		t.changed(c.path)
		return false
	}
	if attrs != nil {
		t.mu.Lock()
		c.tried = attrs
		t.mu.Unlock()
	}
	t.set(c, inventory.Terminated, reason, r)
	t.save(ctx, c.path)
	return true
}

// unended reports whether the end of c was begun and has failed. Its op lock is
// held.
func (t *tenant) unended(c *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.state == inventory.Terminating
}

// endAllForNow ends a component and what is below it, leaves first.
func (t *tenant) endAllForNow(ctx context.Context, c *held, r component.Record) {
	t.halt(c.path)
	for _, b := range slices.Backward(t.subtree(c.path)) {
		t.endToReturn(ctx, b, r)
	}
}

// endToReturn ends a component for now, if there is anything of it to end. What
// was on its way back and what a plan is to end, and does not run, is left.
func (t *tenant) endToReturn(ctx context.Context, c *held, r component.Record) {
	c.op.Lock()
	defer c.op.Unlock()
	goes := t.ahead(c.path, peerpb.Action_ACTION_TERMINATE)
	t.mu.Lock()
	alive, back := t.alive(c), c.reason == restarting
	t.mu.Unlock()
	switch {
	case goes && !alive:
	case t.exists(c):
		t.endForNow(ctx, c, r.Cause, &r)
	case back:
		t.set(c, inventory.Terminated, r.Cause, &r)
		t.save(ctx, c.path)
	}
}
