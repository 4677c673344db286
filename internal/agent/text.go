package agent

import (
	"context"
	"time"

	"aloft/internal/inventory"
	"aloft/internal/journal"
	"aloft/internal/plan"
	"aloft/value"
)

// text are attributes of a component as they were delivered, with their
// references, and the digest that says which those are.
type text struct {
	attrs  *value.Component
	digest string
}

// text returns what an operation of the component is to apply: a step applies
// what the newest part wants, all else brings about what the last step has
// (runtime.md LZ7, UP4). What is to come of a plan, or has failed of it, is no
// reason to be told of what does not run. Its op lock and the tenant's lock are
// held.
func (c *held) text() text {
	if c.step != nil {
		return c.asked(*c.step)
	}
	return c.standing()
}

// asked returns what a step applies. The tenant's lock is held.
func (c *held) asked(s plan.Step) text {
	if s.Text != nil {
		return text{s.Text.Component, inventory.Partly(c.has())}
	}
	is := text{c.wanted, c.digest}
	if len(s.Without) == 0 || c.wanted == nil {
		return is
	}
	if c.meanwhile != nil {
		is.attrs = c.meanwhile
	}
	return text{plan.Without(is.attrs, s.Without).(*value.Component), inventory.Partly(c.digest)}
}

// standing returns what the last step has applied, as far as the component stays.
// The tenant's lock is held.
func (c *held) standing() text {
	if c.wanted != nil && c.kept != nil {
		return *c.kept
	}
	return text{c.wanted, c.digest}
}

// keeps has what the component is, or is to be, outlast the operation. The tenant's
// lock is held.
func (c *held) keeps(is text) {
	if c.kept = nil; is.digest != c.digest {
		c.kept = &is
	}
}

// outlast has components keep what is applied of them, if a part is about to want
// something else, and returns what is to be written with that part.
func (t *tenant) outlast(content *contents) ([]journal.Write, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var writes []journal.Write
	for _, w := range content.part.Components {
		c := t.comps[value.Path(w.Path)]
		if c == nil || c.wanted == nil || c.has() != c.digest || w.Digest == c.digest {
			continue
		}
		c.kept = &text{c.wanted, c.digest}
		row, err := c.row(t.system, t.agent.now())
		if err != nil {
			return nil, err
		}
		writes = append(writes, t.agent.cfg.Journal.Components.Set(row))
	}
	return writes, nil
}

// has returns the digest of what is applied of the component, or was when it was
// ended to be brought back. The tenant's lock is held.
func (c *held) has() string {
	if c.attrs == nil {
		return c.lastDone
	}
	return c.done
}

// takesUp has a component that is being brought back take up by that what a
// reconfigure is to apply, and reports whether it has: one whose process has ended
// cannot be reconfigured. If it does not come back with that, or the step is
// interrupted, it is to come back as it was (runtime.md UP4). Its op lock is held,
// and is not meanwhile.
func (t *tenant) takesUp(ctx context.Context, c *held, s plan.Step) bool {
	t.mu.Lock()
	if !t.comesBack(c) {
		t.mu.Unlock()
		return false
	}
	was, is, tries := c.standing(), c.asked(s), t.tries(c)
	c.keeps(is)
	c.before = &was
	t.mu.Unlock()
	c.op.Unlock()
	<-t.agent.limit // others may begin meanwhile
	limit := time.Now().Add(t.waitLimit(s))
	for wait := true; wait; {
		sleep(ctx, turnLook)
		t.mu.Lock()
		wait = t.comesBack(c) && t.tries(c) <= tries+1 && // the try under way may be one with what it was
			ctx.Err() == nil && time.Now().Before(limit)
		t.mu.Unlock()
	}
	t.agent.limit <- struct{}{}
	c.op.Lock()
	t.mu.Lock()
	defer t.mu.Unlock()
	c.before = nil
	if c.state != inventory.Running || c.done != is.digest {
		c.keeps(was)
		return false
	}
	return true
}

// tries returns how often a component and what it is in have lately begun to come
// back. The tenant's lock is held.
func (t *tenant) tries(c *held) (n int) {
	for x := c; x != nil; x = t.comps[x.path.Parent()] {
		if n += len(x.recent); x.path == value.Root {
			break
		}
	}
	return n
}

// cameBack reports whether a component that is to be deployed is there already: it
// was being brought back while the plan was made, and is what it is to be. If it is
// not, it is ended first. Its op lock is held.
func (t *tenant) cameBack(ctx context.Context, c *held, s plan.Step) (bool, error) {
	t.mu.Lock()
	runs, same := c.state == inventory.Running, c.done == c.asked(s).digest && c.successor == nil
	t.mu.Unlock()
	if !runs || same {
		return runs, nil
	}
	c.returns = true
	defer func() { c.returns = false }()
	return false, t.operate(ctx, c, plan.Terminate)
}

// comesBack reports whether a component, or what it is in, is being brought back
// after an end. The tenant's lock is held.
func (t *tenant) comesBack(c *held) bool {
	for x := c; x != nil; x = t.comps[x.path.Parent()] {
		if x.repairing {
			return true
		}
		if x.path == value.Root {
			break
		}
	}
	return false
}
