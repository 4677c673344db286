package agent

import (
	"context"
	"strings"
	"sync"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// What the reason of a component that runs begins with while it does not pass
// its pings.
const (
	drifted     = "drifted: "         // it is repaired in place
	doesNotPing = "does not answer: " // it is restarted
)

// Of what is asked once, for a plan: a component has so long to answer, and one
// that would have to be restarted is asked again after a pause, since one failure
// is no end (LV2).
const (
	checkLimit = 3 * time.Second
	checkPause = 500 * time.Millisecond
	turnLook   = 50 * time.Millisecond // how often it is looked whether its turn has come
)

// Check asks what runs here of a system, at or below a path, whether it still is
// what its last operation has made of it. What cannot be asked now is not among
// those asked.
func (a *Agent) Check(ctx context.Context, r *peerpb.CheckRequest) (*peerpb.CheckReply, error) {
	reply := &peerpb.CheckReply{}
	t := a.tenant(r.System)
	if t == nil || t.resuming.Load() {
		return reply, nil
	}
	all := t.subtree(value.Path(r.Path))
	asked, errs := make([]bool, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	slots := make(chan struct{}, pulses)
	for i, c := range all {
		t.mu.Lock()
		stands := t.stands(c)
		t.mu.Unlock()
		if !stands {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			asked[i], errs[i] = t.check(ctx, c)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if asked[i] {
			reply.Asked = append(reply.Asked, string(all[i].path))
		}
		if err != nil {
			reply.Drifts = append(reply.Drifts, &peerpb.Drift{Path: string(all[i].path), What: a.shown.hide(err.Error())})
		}
	}
	return reply, ctx.Err()
}

// stands reports whether a component runs and nothing else is about to become of
// it, so that it can be asked whether it does. The lock is held.
func (t *tenant) stands(c *held) bool {
	return c.state == inventory.Running && c.wanted != nil && !c.repairing && c.reason != hasEnded && t.alive(c)
}

// check returns what is wrong with a component that runs, and notes it, and
// whether it could be asked.
func (t *tenant) check(ctx context.Context, c *held) (asked bool, err error) {
	if !t.getsTurn(ctx, c) {
		return false, nil
	}
	asked, err = t.asks(ctx, c, checkLimit)
	c.op.Unlock()
	if err != nil && !t.repairs(c) {
		if sleep(ctx, checkPause); ctx.Err() == nil {
			err = t.answers(ctx, c, checkLimit)
		}
	}
	if ctx.Err() != nil {
		return false, nil // it may have been that
	}
	t.pinged(c, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	return asked && t.stands(c), err
}

// getsTurn takes the turn of a component, and reports whether it got it in time: the
// ping of its supervision ends soon, any other operation need not.
func (t *tenant) getsTurn(ctx context.Context, c *held) bool {
	for end := time.Now().Add(checkLimit); !c.op.TryLock(); sleep(ctx, turnLook) {
		if ctx.Err() != nil || time.Now().After(end) {
			return false
		}
	}
	return true
}

// repairs reports whether what has drifted of a component is repaired in place.
func (t *tenant) repairs(c *held) bool {
	_, class, err := t.manager(c, plan.Reconfigure)
	return err == nil && class.Repairs
}

// pinged has its reason say whether a component that runs passes its pings.
func (t *tenant) pinged(c *held, err error) {
	reason := ""
	if err != nil {
		reason = doesNotPing
		if t.repairs(c) {
			reason = drifted
		}
		reason += t.agent.shown.hide(err.Error())
	}
	t.mu.Lock()
	says := c.reason == "" || strings.HasPrefix(c.reason, drifted) || strings.HasPrefix(c.reason, doesNotPing)
	changes := says && c.reason != reason && t.stands(c)
	if changes {
		c.reason = reason
	}
	t.mu.Unlock()
	if changes {
		t.changed(c.path)
	}
}

// mend puts right what no longer holds of a component, which why tells, and
// reports whether nothing is left to be done: nothing of it runs that would have
// to be restarted, and nobody who depends on it is ended.
func (t *tenant) mend(ctx context.Context, c *held, why error) bool {
	m, class, err := t.manager(c, plan.Reconfigure)
	if err != nil || !class.Repairs {
		return false
	}
	c.op.Lock()
	defer c.op.Unlock()
	t.mu.Lock()
	stands := t.stands(c)
	t.mu.Unlock()
	if !stands || t.planned(c.path) {
		return true // somebody else decides what becomes of it
	}
	c.mends = true
	err = t.operate(ctx, c, plan.Reconfigure)
	c.mends = false
	if err == nil {
		err = t.stillHolds(ctx, c, m, &class, watchLimit)
	} else {
		t.set(c, inventory.Running, drifted+t.agent.shown.hide(err.Error()), nil)
	}
	if ctx.Err() != nil {
		return true // the daemon ends; the next one asks again
	}
	if err != nil {
		return false
	}
	t.save(ctx, c.path)
	t.changed(c.path)
	t.event(c.path, "", event.ComponentRepaired, t.agent.shown.hide(why.Error()), 0)
	return true
}
