package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/execute"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// learn takes in what others may read of a component elsewhere.
func (t *tenant) learn(f *peerpb.Fact) error {
	if len(f.Component) == 0 {
		return nil
	}
	c, err := decodeComponent(f.Component)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.values[plan.StepID(f.Step).Path()] = c
	t.stir()
	t.mu.Unlock()
	return nil
}

// hear takes in a fact of a step elsewhere. One that comes again says nothing
// new: what it came to may have changed since.
func (t *tenant) hear(ctx context.Context, f *peerpb.Fact) error {
	j := t.agent.cfg.Journal
	if _, heard, err := j.Facts.Get(ctx, f.System, f.Plan, f.Step); err != nil {
		return err
	} else if !heard || f.Plan == "" { // those without a plan, by an older release, are of now
		if err := j.Save(ctx, j.Facts.Set(f)); err != nil {
			return err
		}
		if err := t.learn(f); err != nil {
			return fmt.Errorf("fact %s: %w", f.Step, err)
		}
	}
	t.mu.Lock()
	runner, current := t.runner, t.current().GetPlan() == f.Plan
	t.mu.Unlock()
	if current {
		runner.Tell(plan.StepID(f.Step), outcomes[f.Outcome])
	}
	return nil
}

// settled queues the fact of a step of ours.
func (t *tenant) settled(s plan.Step, r execute.Result) {
	t.mu.Lock()
	t.facts[s.ID] = &peerpb.Fact{
		System: t.system, Revision: t.current().Revision, Plan: t.current().Plan, Step: string(s.ID),
		Outcome: wireOutcomes[r.Outcome], Component: r.Value, Record: inventory.RecordProto(r.Record),
	}
	t.tell[s.ID] = true
	t.show[s.Path] = true
	t.stir()
	t.mu.Unlock()
	kind, reason := event.StepDone, string(s.Action)
	switch r.Outcome {
	case plan.Failed:
		kind, reason = event.StepFailed, r.Record.Cause
	case plan.Skipped:
		kind, reason = event.StepSkipped, r.Record.Cause
	}
	t.event(s.Path, s.ID, kind, reason, 0)
	t.agent.changed()
}

// inOrder puts the end of what is replaced before the deploy of its successor,
// which the owner takes for what is so since.
func inOrder(a, b plan.StepID) int {
	rank := func(id plan.StepID) int {
		if id == plan.ID(id.Path(), plan.Terminate) {
			return 0
		}
		return 1
	}
	return cmp.Or(rank(a)-rank(b), cmp.Compare(a, b))
}

// news adds what was not yet reported to r, as long as there is room (in
// bytes), and returns what to call once it is, or nil. States come after all
// facts: the owner takes them as what is true then.
func (t *tenant) news(r *peerpb.ReportRequest, room *int) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tell)+len(t.show) == 0 || *room <= 0 {
		return nil
	}
	part := t.current()
	var told []plan.StepID
	for _, id := range slices.SortedFunc(maps.Keys(t.tell), inOrder) {
		if *room <= 0 {
			break
		}
		told = append(told, id)
		r.Facts = append(r.Facts, t.facts[id])
		*room -= proto.Size(t.facts[id])
	}
	var shown []value.Path
	for path := range t.show {
		if *room <= 0 {
			break
		}
		st, err := t.state(path)
		if err != nil {
			t.agent.cfg.Log.Error("report state", "system", t.system, "component", path, "error", err)
			continue
		}
		t.show[path] = false
		shown = append(shown, path)
		r.States = append(r.States, st)
		*room -= proto.Size(st)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.current() == part {
			for _, id := range told {
				delete(t.tell, id)
			}
		}
		for _, path := range shown {
			if again, there := t.show[path]; there && !again {
				delete(t.show, path)
			}
		}
	}
}

// state returns the reported state of a component; one that is gone is
// terminated. The lock is held.
func (t *tenant) state(path value.Path) (*peerpb.ComponentState, error) {
	c := t.comps[path]
	if c == nil {
		return &peerpb.ComponentState{System: t.system, Revision: t.current().GetRevision(), Path: string(path), State: string(inventory.Terminated)}, nil
	}
	return c.status(t.system)
}

// changed queues the state of a component for the owner.
func (t *tenant) changed(path value.Path) {
	t.mu.Lock()
	t.show[path] = true
	t.stir()
	t.mu.Unlock()
	t.agent.changed()
}
