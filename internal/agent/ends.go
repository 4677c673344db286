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
	"aloft/value"
)

// restarting is the reason of a component that is being brought back: found in
// the journal, the work is taken up again.
const restarting = inventory.Restarting

// componentEnded answers the end of a component by itself (runtime.md TR3).
func (t *tenant) componentEnded(ctx context.Context, c *held, r component.Record) {
	t.mu.Lock()
	if c.state != inventory.Running || c.repairing || c.wanted == nil {
		t.mu.Unlock()
		return // it is being ended, or brought back already
	}
	if r.Time.IsZero() {
		r.Time = now()
	}
	if r.Host == "" {
		r.Host = t.agent.cfg.Machine(t.current().GetMachine()).Name
	}
	r.Path = c.path
	c.record = &r
	policy := c.policy
	c.repairing = policy.OnEnd == lifecycle.Restart && r.Type != component.Normal
	t.mu.Unlock()
	t.event(c.path, "", event.ComponentEnded, r.Cause, 0)
	switch {
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
		if sleep(ctx, pause); ctx.Err() != nil {
			return
		}
		err := t.restart(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errTaken) {
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
	t.mu.Lock()
	runner, part := t.runner, t.current()
	t.mu.Unlock()
	for _, s := range part.Steps {
		replaces := s.Action == peerpb.Action_ACTION_DEPLOY || s.Action == peerpb.Action_ACTION_TERMINATE
		if replaces && value.Path(s.Path) == path && runner.Outcome(plan.StepID(s.Id)) == "" {
			return true
		}
	}
	return false
}

// restart ends and brings back a component and everything below it. A machine
// is only started again: it keeps its disk.
func (t *tenant) restart(ctx context.Context, c *held) error {
	below := t.subtree(c.path)
	for _, b := range below {
		b.op.Lock()
		defer b.op.Unlock()
	}
	t.mu.Lock()
	gone := c.wanted == nil
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
		if err := t.operate(ctx, b, plan.Terminate); err != nil {
			return err
		}
		t.mark(ctx, b)
	}
	for _, action := range []plan.Action{plan.Deploy, plan.Start} {
		for _, b := range below {
			if err := t.operate(ctx, b, action); err != nil {
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

// mark journals that a component is on its way back.
func (t *tenant) mark(ctx context.Context, c *held) {
	t.mu.Lock()
	c.reason = restarting
	t.mu.Unlock()
	t.save(ctx, c.path)
}

// share ends the siblings of a component, and what is around them, with its
// record (runtime.md TR2). What lies above this machine is its owner's.
func (t *tenant) share(ctx context.Context, c *held, r component.Record) {
	parent := t.component(c.path.Parent())
	if c.path == value.Root || parent == nil || parent == c {
		t.remove(ctx, c, inventory.Failed, r)
		return
	}
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
	for _, b := range slices.Backward(t.subtree(c.path)) {
		b.op.Lock()
		state := as
		if b != c {
			state = inventory.Terminated
		}
		_ = t.terminate(ctx, b, state, r)
		b.op.Unlock()
	}
}

// terminate ends one component outside of a plan and leaves it in the given
// state. Failures are recorded and do not stop the rest (LC5).
func (t *tenant) terminate(ctx context.Context, c *held, as inventory.State, r component.Record) error {
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
		serves := c.serves()
		cut := c.wanted != nil && c.reason == restarting
		t.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return
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
				t.repair(ctx, c, component.Record{Type: component.Abnormal, Path: c.path, Description: "restart", Cause: "the daemon ended while the component was restarted", Time: now()})
			})
		}
	}
}

// reload asks a component to take up its configuration again, because another
// one that it depends on has rewritten it.
func (t *tenant) reload(ctx context.Context, from *held, ref *value.Reference) {
	path := value.Root
	for _, p := range ref.Parts {
		if p.Kind != value.PartRoot {
			path = path.Child(p.Name)
		}
	}
	c := t.component(path)
	if c == nil || c == from {
		t.agent.cfg.Log.Warn("notify", "system", t.system, "component", from.path, "error", fmt.Sprintf("%s is not on this machine", value.RefText(ref)))
		return
	}
	t.agent.spawn(func(ctx context.Context) {
		c.op.Lock()
		defer c.op.Unlock()
		t.mu.Lock()
		running := c.state == inventory.Running
		t.mu.Unlock()
		if !running {
			return
		}
		if err := t.operate(ctx, c, plan.Reconfigure); err != nil {
			t.set(c, inventory.Running, "not reloaded: "+err.Error(), nil)
		}
	})
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
					if t.begun(c) {
						a.spawn(func(ctx context.Context) { t.revive(ctx, c) })
						continue
					}
					rec := t.record(c.path, "ping", err)
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
	call, env := t.call(ctx, c, "ping", attrs)
	defer env.close()
	return m.Ping(ctx, call)
}

// begun reports whether a component is deployed and not yet started.
func (t *tenant) begun(c *held) bool {
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
	if err != nil || !t.begun(c) {
		return
	}
	t.mu.Lock()
	attrs := c.attrs
	t.mu.Unlock()
	call, env := t.call(ctx, c, plan.Start, attrs)
	defer env.close()
	if err := lifecycle.Do(ctx, m, plan.Start, call, lifecycle.Limit(&class, attrs, plan.Start)); err != nil && ctx.Err() == nil {
		t.agent.cfg.Log.Warn("machine not started again", "system", t.system, "component", c.path, "error", err)
	}
}
