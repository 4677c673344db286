package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"aloft/component"
	"aloft/internal/flow"
	"aloft/internal/inventory"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

// create brings a child of a workflow component to a phase, with what is inside
// of it. If that fails what was done is undone, and the record says why.
func (t *tenant) create(ctx context.Context, c *held, k flow.Child) *component.Record {
	t.mu.Lock()
	if c.run != k.Run { // it is created anew (WF5)
		c.run, c.record, c.reason, c.recent, c.restarts, c.started = k.Run, nil, "", nil, 0, time.Time{}
	}
	t.mu.Unlock()
	if !t.saveFirst(ctx, c.path) {
		return nil
	}
	actions := []plan.Action{plan.Deploy}
	if k.To == flow.Running {
		actions = append(actions, plan.Start)
	}
	all := t.with(c)
	for _, action := range actions {
		for _, b := range t.order(all, action) {
			if err := t.bringTo(ctx, b, action); ctx.Err() != nil {
				return nil
			} else if err != nil {
				record := t.record(b.path, action, err)
				t.remove(context.WithoutCancel(ctx), c, inventory.Terminated, *record)
				return record
			}
		}
	}
	return nil
}

// bringTo does an operation of a component that is created, unless it is done. It
// waits until the owner lets it where it has a tenure.
func (t *tenant) bringTo(ctx context.Context, c *held, action plan.Action) error {
	for {
		if err := t.awaitTenure(ctx, c); err != nil {
			return err
		}
		c.op.Lock()
		t.mu.Lock()
		done := c.state == inventory.Running || action == plan.Deploy && c.state == inventory.Deployed
		if !done {
			c.kept = nil
		}
		t.mu.Unlock()
		var err error
		if !done {
			err = t.operate(ctx, c, action)
			t.save(ctx, c.path)
		}
		c.op.Unlock()
		if !errors.Is(err, errIsolated) {
			return err
		}
	}
}

// with returns a component and what is deployed with it, parents first: all
// below it but what workflow components create.
func (t *tenant) with(c *held) []*held {
	below := t.subtree(c.path)
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(below, func(b *held) bool {
		for x := b; x != nil && x != c; x = t.comps[x.path.Parent()] {
			if x.creator != "" {
				return true
			}
		}
		return false
	})
}

// creatorOf returns the workflow component in whose course a component is
// created, or nil.
func (t *tenant) creatorOf(c *held) *held {
	t.mu.Lock()
	defer t.mu.Unlock()
	for x := c; x != nil; x = t.comps[x.path.Parent()] {
		if x.creator != "" {
			path, err := value.ParsePath(x.creator)
			if err != nil {
				return nil
			}
			return t.comps[path]
		}
		if x.path == value.Root {
			return nil
		}
	}
	return nil
}

// actionEnded ends what is left of a component that a workflow component has
// created, and tells that one (WF1).
func (t *tenant) actionEnded(ctx context.Context, c *held, r component.Record) {
	t.mu.Lock()
	run := c.run
	t.mu.Unlock()
	t.remove(ctx, c, inventory.Terminated, r)
	creator := t.creatorOf(c)
	if creator == nil {
		return
	}
	t.mu.Lock()
	on := creator.on
	t.mu.Unlock()
	if on != nil { // else it sees in the journal what has happened
		on.tell(flow.Ended{Name: nameBelow(creator.path, c.path), Run: run, Record: r, Created: true})
	}
}

// halt ends the courses of the workflow components at and below a path: they
// create nothing any more.
func (t *tenant) halt(path value.Path) {
	for _, c := range slices.Backward(t.subtree(path)) {
		t.haltOne(c)
	}
}

func (t *tenant) haltOne(c *held) {
	t.mu.Lock()
	f, class, attrs := c.on, c.class, c.attrs
	t.mu.Unlock()
	if f == nil {
		return
	}
	if class == flow.Finally {
		f.tell(flow.Ending{}) // it has its action started first
		last := time.NewTimer(lifecycle.Limit(&component.Class{}, attrs, plan.Terminate))
		defer last.Stop()
		select {
		case <-f.done:
		case <-last.C:
		case <-t.agent.over:
		}
	}
	f.stop()
	select {
	case <-f.done:
	case <-t.agent.over:
	}
}

// clear ends what a workflow component has created, last created first (WF3):
// where several are there, they were created in the order of their definition.
// A newer part may not know of them, so all that is inside counts.
func (t *tenant) clear(ctx context.Context, c *held) {
	t.haltOne(c)
	below := t.subtree(c.path)
	t.mu.Lock()
	below = slices.DeleteFunc(below, func(b *held) bool {
		return b == c || b.state == inventory.Instantiated || b.state == inventory.Terminated
	})
	t.mu.Unlock()
	for _, b := range slices.Backward(below) {
		t.remove(ctx, b, inventory.Terminated, component.Record{
			Type: component.Normal, Path: c.path, Description: "ended with " + c.path.String(), Time: t.agent.now(),
		})
	}
}

// forgetCreated drops what a workflow component that has ended is not to create
// any more.
func (t *tenant) forgetCreated(ctx context.Context, c *held) {
	var gone []value.Path
	t.mu.Lock()
	for path, b := range t.comps {
		if c.path.Contains(path) && b != c && b.wanted == nil && (b.state == inventory.Instantiated || b.state == inventory.Terminated) {
			delete(t.comps, path)
			gone = append(gone, path)
		}
	}
	t.mu.Unlock()
	t.save(ctx, gone...)
}

// retake reconfigures what a workflow component has created and is described
// anew.
func (t *tenant) retake(ctx context.Context, c *held) error {
	for _, b := range t.subtree(c.path) {
		if b == c || t.creatorOf(b) == nil {
			continue
		}
		b.op.Lock()
		t.mu.Lock()
		differs := b.wanted != nil && b.state == inventory.Running && b.done != b.digest
		if differs {
			b.kept = nil
		}
		t.mu.Unlock()
		var err error
		if differs {
			err = t.operate(ctx, b, plan.Reconfigure)
			t.save(ctx, b.path)
		}
		b.op.Unlock()
		if err != nil {
			rec := t.record(b.path, plan.Reconfigure, err)
			t.set(b, inventory.Running, "not reconfigured: "+rec.Cause, rec)
			return err
		}
	}
	return nil
}
