package agent

import (
	"context"
	"time"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

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
