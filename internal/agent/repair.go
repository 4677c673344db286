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
	"aloft/internal/plan"
	"aloft/provider"
	"aloft/value"
)

// restarting is the reason of a component that is being brought back: found in
// the journal, the work is taken up again.
const restarting = inventory.Restarting

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
