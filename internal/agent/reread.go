package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/inventory"
	"aloft/internal/journal"
	"aloft/internal/plan"
	"aloft/value"
)

// Times of reading attributes anew.
const (
	rereadPause = 5 * time.Second  // between two of one component, and twice as long each time it has changed again:
	rereadMost  = 5 * time.Minute  // two that read each other do not keep the machine busy
	rereadAgain = 30 * time.Second // where what is read cannot be reached, or was not taken
	rereadLimit = 20 * time.Second // of reading
)

// Reread has those that refer to components which have changed elsewhere read
// their attributes anew (runtime.md LZ7).
func (a *Agent) Reread(ctx context.Context, r *peerpb.RereadRequest) (*peerpb.RereadReply, error) {
	if err := a.ready(ctx); err != nil {
		return nil, err
	}
	t := a.tenant(r.System)
	if t == nil {
		return &peerpb.RereadReply{}, nil
	}
	if err := a.fence(ctx, r.System, r.Fence); err != nil {
		return nil, err
	}
	if newest := t.current().GetRevision(); newest > r.Revision {
		return nil, status.Errorf(codes.FailedPrecondition, "revision %d of system %s is here, and not %d any more", newest, r.System, r.Revision)
	}
	if err := t.relearn(ctx, r.Components); err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(r.Components)) {
		t.tellReaders(value.Path(path))
	}
	return &peerpb.RereadReply{}, nil
}

// relearn takes in what others may read by now of components elsewhere, also in
// place of what was heard of them with the steps of a plan.
func (t *tenant) relearn(ctx context.Context, components map[string][]byte) error {
	now := map[value.Path]*value.Component{}
	for name, wire := range components {
		c, err := decodeComponent(wire)
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "component %s: %v", name, err)
		}
		now[value.Path(name)] = c
	}
	j := t.agent.cfg.Journal
	facts, err := j.Facts.List(ctx, t.system)
	if err != nil {
		return err
	}
	var writes []journal.Write
	for _, f := range facts {
		path := plan.StepID(f.Step).Path()
		if _, told := now[path]; told && len(f.Component) > 0 && !bytes.Equal(f.Component, components[string(path)]) {
			f.Component = components[string(path)]
			writes = append(writes, j.Facts.Set(f))
		}
	}
	if len(writes) > 0 {
		if err := j.Save(ctx, writes...); err != nil {
			return err
		}
	}
	t.mu.Lock()
	maps.Copy(t.values, now)
	t.mu.Unlock()
	return nil
}

// readers returns those of this machine's components that refer to the one at
// path, or into it, and can be reconfigured, and which of them run. Those that are
// about to refer to it are among them: the step that brings the reference may be
// under way, and have read already.
func (t *tenant) readers(path value.Path) (all []*held, run map[*held]bool) {
	run = map[*held]bool{}
	t.mu.Lock()
	for _, c := range t.comps {
		if c.path != path && c.class != "" && c.wanted != nil && (reads(c.standing().attrs, path) || reads(c.wanted, path)) {
			all, run[c] = append(all, c), c.state == inventory.Running
		}
	}
	t.mu.Unlock()
	return slices.DeleteFunc(all, func(c *held) bool {
		_, class, err := t.manager(c, plan.Reconfigure)
		return err != nil || !class.Reconfigures
	}), run
}

// tellReaders has readers of the component at path reconfigured, if they read
// something else there by now.
func (t *tenant) tellReaders(path value.Path) {
	all, _ := t.readers(path)
	for _, c := range all {
		t.agent.spawn(func(ctx context.Context) { t.reread(ctx, c) })
	}
}

// toldLimit is how long a step of a plan waits for those who read what it has
// changed. What they wait for may be after the step.
const toldLimit = time.Minute

// reloadReaders has readers of a component reconfigured where what has changed is
// behind what they read, as the content of a file. A step of a plan has ended
// when those that run have the new content.
func (t *tenant) reloadReaders(ctx context.Context, of *held) {
	all, runs := t.readers(of.path)
	var told []chan struct{}
	for _, c := range all {
		done := make(chan struct{})
		if of.step != nil && runs[c] {
			told = append(told, done)
		}
		t.agent.spawn(func(ctx context.Context) {
			defer close(done)
			t.takeUp(ctx, c)
		})
	}
	limit := time.NewTimer(toldLimit)
	defer limit.Stop()
	for _, done := range told {
		select {
		case <-done:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// reread has a component that runs reconfigured, if its references lead to other
// values than it has.
func (t *tenant) reread(ctx context.Context, c *held) {
	t.mu.Lock()
	under := c.rereading // whoever does may have read before the change, and reads once more
	c.rereading, c.stale = true, true
	t.mu.Unlock()
	if under {
		return
	}
	for pause := rereadPause; ; {
		t.mu.Lock()
		c.rereading, c.stale = c.stale && ctx.Err() == nil, false
		more := c.rereading
		t.mu.Unlock()
		if !more {
			return
		}
		changed, err := t.readAnew(ctx, c)
		if err != nil {
			t.mu.Lock()
			c.stale = true
			t.mu.Unlock()
		}
		switch {
		case errors.Is(err, errToCome):
			pause = rereadPause
		case err != nil:
			pause = min(max(2*pause, rereadAgain), rereadMost)
		case changed:
			sleep(ctx, pause)
			pause = min(2*pause, rereadMost)
			continue
		default:
			pause = rereadPause
		}
		sleep(ctx, pause)
	}
}

// errToCome says that the plan has an operation of a component still to come, which
// reads its attributes; or has just done it, and may have read them before they
// changed.
var errToCome = errors.New("the plan has a step of it still to come")

// readAnew reads the attributes of a component, and has it reconfigured if they
// are others.
func (t *tenant) readAnew(ctx context.Context, c *held) (changed bool, err error) {
	c.op.Lock()
	defer c.op.Unlock()
	t.mu.Lock()
	stands, is, standing := t.stands(c), c.attrs, c.standing()
	t.mu.Unlock()
	switch {
	case !stands:
		return false, nil
	case t.toCome(c.path):
		return false, errToCome
	}
	_, class, err := t.manager(c, plan.Reconfigure)
	if err != nil {
		return false, err
	}
	limited, done, err := t.underTenure(ctx, c)
	if err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(limited, rereadLimit)
	attrs, err := t.attributes(limited, c, standing, &class, plan.Reconfigure, false)
	cancel()
	done()
	if err == nil && len(c.recorded) > 0 {
		err = fmt.Errorf("attributes %s: %w", strings.Join(c.recorded, ", "), ErrUnavailable)
	}
	if err != nil || value.Equal(attrs, is) || open(attrs) && !open(is) {
		return false, err // what cannot be read now stays as it was
	}
	return true, t.takeAnew(ctx, c)
}

// open reports whether attributes have references that were not resolved.
func open(attrs *value.Component) (is bool) {
	references(attrs, func([]string) { is = true })
	return is
}

// toCome reports whether the plan has an operation of the component at path
// that has not ended.
func (t *tenant) toCome(path value.Path) bool {
	t.mu.Lock()
	runner, part := t.runner, t.current()
	t.mu.Unlock()
	return slices.ContainsFunc(part.Steps, func(s *peerpb.Step) bool {
		return value.Path(s.Path) == path && runner.Outcome(plan.StepID(s.Id)) == ""
	})
}

// reads reports whether a reference in v leads to the component at path, or to
// an attribute of it.
func reads(v value.Value, path value.Path) (found bool) {
	of := strings.Join(path.Names(), ":") + ":"
	references(v, func(names []string) {
		found = found || strings.HasPrefix(strings.Join(names, ":")+":", of)
	})
	return found
}

// rereadAll has all that refer to others read them again: what was told while the
// daemon was away, or not taken before it ended, is not lost.
func (t *tenant) rereadAll() {
	t.mu.Lock()
	var readers []*held
	for _, c := range t.comps {
		if c.class != "" && c.wanted != nil && open(c.standing().attrs) {
			readers = append(readers, c)
		}
	}
	t.mu.Unlock()
	for _, c := range readers {
		if _, class, err := t.manager(c, plan.Reconfigure); err == nil && class.Reconfigures {
			t.agent.spawn(func(ctx context.Context) { t.reread(ctx, c) })
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
