package agent

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"aloft/component"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
)

// Who pings a component is the compound around it (runtime.md LV1). This daemon
// does it for those that it holds itself; of one elsewhere it hears through the
// owner. What was not pinged for too long ends by itself (LV3), and with it all
// that is below it on this machine.

// errOrphaned says that where a component's parent is processed was not heard of
// for too long. Like isolation it ends with a word of the owner.
var errOrphaned = fmt.Errorf("%s: %w", inventory.Orphaned, errIsolated)

// forbids is why c may not run now.
func (t *tenant) forbids(c *held) error {
	if t.orphan(c) {
		return errOrphaned
	}
	return errIsolated
}

// orphan reports whether c was not pinged from elsewhere for so long that it has
// to end. The lock is held.
func (t *tenant) orphan(c *held) bool {
	if c.loss == 0 {
		return false
	}
	boot, up := t.agent.cfg.Clock()
	if boot == "" || t.tenure.boot != boot || up-t.tenure.confirmed >= c.loss {
		return true
	}
	since, silent := t.silent[c.parent]
	return silent && up-since >= c.loss
}

// outermost returns the component on this machine that c ends with when nothing
// is heard of what is around that one. The lock is held.
func (t *tenant) outermost(c *held) *held {
	for {
		parent := t.comps[c.path.Parent()]
		if parent == nil || parent == c {
			return c
		}
		c = parent
	}
}

// heardOf takes in which machines the owner does not hear of.
func (t *tenant) heardOf(silent []string, up time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := map[string]time.Duration{}
	for _, machine := range silent {
		now[machine] = up
		if since, before := t.silent[machine]; before {
			now[machine] = since
		}
	}
	t.silent = now
}

// endures is the shortest time that something here goes on without a word of its
// owner or of its parent.
func (t *tenant) endures() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	least := time.Duration(math.MaxInt64)
	for _, c := range t.comps {
		if c.loss > 0 {
			least = min(least, c.loss)
		}
		if c.stops() {
			least = min(least, c.tenure-plan.StopTime)
		}
	}
	return least
}

// bereft reports whether c, which is outermost, is to end for want of its parent,
// or has ended so: what is below it may run still. What has failed stays failed.
// The lock is held.
func (t *tenant) bereft(c *held) bool {
	return t.alive(c) && c.state != inventory.Failed || c.reason == inventory.Orphaned
}

// orphaned is the record of a component that has lost its parent.
func (t *tenant) orphaned(c *held) component.Record {
	return component.Record{
		Type: component.Abnormal, Path: c.path, Cause: inventory.Orphaned, Time: t.agent.now(),
		Description: fmt.Sprintf("%s was not pinged for %s", c.path, c.loss), Host: t.agent.cfg.Machine(t.current().GetMachine()).Name,
	}
}

// endOrphan ends what has lost its parent. How that answers the end is seen to
// when it is heard of again: until then nobody decides. What does not end is
// tried again.
func (t *tenant) endOrphan(ctx context.Context, c *held) {
	t.mu.Lock()
	c.ending = true
	lost, anew := t.orphan(c) && t.bereft(c), c.reason != inventory.Orphaned
	t.mu.Unlock()
	if lost {
		if anew {
			t.event(c.path, "", event.ComponentEnded, inventory.Orphaned, 0)
		}
		t.endAllForNow(ctx, c, t.orphaned(c))
	}
	t.mu.Lock()
	c.ending = false
	t.mu.Unlock()
}

// orphans returns what has ended since its parent was not heard of, and can be
// answered now. The lock is held.
func (t *tenant) orphans() (list []*held) {
	for _, c := range t.comps {
		if c.wanted != nil && c.reason == inventory.Orphaned && c.record != nil && !c.repairing && !c.ending && !t.orphan(c) && t.outermost(c) == c {
			list = append(list, c)
		}
	}
	return list
}

// answerOrphan answers the end of a component that had lost its parent, as that
// one would have (TR3). A plan that is about to deploy or end it decides itself.
func (t *tenant) answerOrphan(ctx context.Context, c *held) {
	if t.planned(c.path) {
		return
	}
	t.mu.Lock()
	due := c.wanted != nil && c.reason == inventory.Orphaned && c.record != nil && !c.repairing && !c.ending
	if !due {
		t.mu.Unlock()
		return
	}
	r := *c.record
	r.Cause = "its parent was not heard of for " + c.loss.String()
	what := c.policy.OnEnd
	c.repairing = what == lifecycle.Restart
	t.mu.Unlock()
	switch what {
	case lifecycle.Restart:
		t.repair(ctx, c, r)
	case lifecycle.Share:
		t.share(ctx, c, r)
	default:
		t.remove(ctx, c, inventory.Terminated, r) // what has not ended, too
		t.set(c, inventory.Terminated, r.Cause, &r)
		t.save(ctx, c.path)
	}
}

// rest waits before a component that has ended is brought back. It pings nothing
// meanwhile: what is below it has ended, too, when that has taken too long, and
// rest says so. It comes back with what is around it.
func (t *tenant) rest(ctx context.Context, c *held, pause time.Duration) (childless bool) {
	below := slices.DeleteFunc(t.subtree(c.path), func(b *held) bool { return b == c }) // a plan may have taken c away
	t.mu.Lock()
	var patience time.Duration
	for _, b := range below {
		if l := b.liveness; b.path.Parent() == c.path {
			patience = l.delay * time.Duration(l.factor) // as c says, of all of them; 0: for ever
		}
	}
	t.mu.Unlock()
	if patience == 0 || patience >= pause {
		sleep(ctx, pause)
		return false
	}
	sleep(ctx, patience)
	below = slices.DeleteFunc(below, func(b *held) bool { return !t.exists(b) })
	if childless = ctx.Err() == nil && len(below) > 0 && !t.planned(c.path); childless {
		t.halt(c.path)
		for _, b := range slices.Backward(below) {
			t.endWithParent(ctx, b, c, fmt.Sprintf("%s, which has ended, has not pinged it for %s", c.path, patience))
		}
	}
	sleep(ctx, pause-patience)
	return childless
}

// endWithParent ends b, below c, until c is brought back. What a workflow
// component below c has created is that one's to create again.
func (t *tenant) endWithParent(ctx context.Context, b, c *held, why string) {
	t.event(b.path, "", event.ComponentEnded, why, 0)
	t.endToReturn(ctx, b, component.Record{
		Type: component.Abnormal, Path: b.path, Cause: why, Time: t.agent.now(),
		Description: fmt.Sprintf("%s has ended with what is around it", b.path), Host: t.agent.cfg.Machine(t.current().GetMachine()).Name,
	})
	if t.returnsWith(b, c) {
		t.mark(ctx, b)
	}
}
