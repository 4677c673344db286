package agent

import (
	"context"
	"fmt"
	"slices"

	"aloft/api/peerpb"
	"aloft/internal/execute"
	"aloft/internal/inventory"
	"aloft/internal/journal"
	"aloft/internal/plan"
	"aloft/value"
)

// stepJournal keeps the steps of a part in the machine's journal, and with
// each result the state the component has then.
type stepJournal struct {
	t    *tenant
	part *peerpb.Part
}

func (s stepJournal) step(id plan.StepID, path value.Path, action plan.Action, token string) journal.Step {
	return journal.Step{
		System: s.t.system, Plan: s.part.Plan, ID: string(id), Revision: s.part.Revision,
		Path: path, Action: wireActions[action], Token: token,
	}
}

func (s stepJournal) Begin(p plan.Step) error {
	return s.t.agent.cfg.Journal.Begin(context.Background(), s.step(p.ID, p.Path, p.Action, p.Token))
}

func (s stepJournal) End(p plan.Step, r execute.Result) error {
	defer s.t.writing(p.Path)()
	writes, err := s.t.write(p.Path)
	if err != nil {
		return err
	}
	return s.t.agent.cfg.Journal.End(context.Background(), s.step(p.ID, p.Path, p.Action, p.Token), journal.Result{
		Outcome: wireOutcomes[r.Outcome], Record: inventory.RecordProto(r.Record), Component: r.Value,
	}, writes...)
}

// writing has the states of components reach the journal in the order in which
// they are read: an older one, written late, would take back what the machine's
// next daemon is to know. Who calls it reads and writes them, then calls written.
func (t *tenant) writing(paths ...value.Path) (written func()) {
	paths = slices.Compact(slices.Sorted(slices.Values(paths))) // all in one order, so that nobody waits for who waits for him
	turns := make([]turn, len(paths))
	t.mu.Lock()
	for i, p := range paths {
		if t.writes[p] == nil {
			t.writes[p] = newTurn()
		}
		turns[i] = t.writes[p]
	}
	t.mu.Unlock()
	for _, w := range turns {
		w.Lock()
	}
	return func() {
		for _, w := range turns {
			w.Unlock()
		}
	}
}

// write returns the journal's write of a component's state.
func (t *tenant) write(path value.Path) ([]journal.Write, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	j := t.agent.cfg.Journal
	c := t.comps[path]
	if c == nil {
		return []journal.Write{j.Components.Drop(t.system, string(path))}, nil
	}
	row, err := c.row(t.system, t.agent.now())
	if err != nil {
		return nil, fmt.Errorf("component %s: %w", path, err)
	}
	return []journal.Write{j.Components.Set(row)}, nil
}

// save writes the states of components that changed outside of a step.
func (t *tenant) save(ctx context.Context, paths ...value.Path) (saved bool) {
	defer t.writing(paths...)()
	saved = true
	var writes []journal.Write
	for _, p := range paths {
		w, err := t.write(p)
		if err != nil {
			t.agent.cfg.Log.Error("journal state", "system", t.system, "component", p, "error", err)
			saved = false
			continue
		}
		writes = append(writes, w...)
	}
	if err := t.agent.cfg.Journal.Save(context.WithoutCancel(ctx), writes...); err != nil {
		t.agent.cfg.Log.Error("journal state", "system", t.system, "error", err)
		saved = false
	}
	return saved
}

// saveFirst writes the state of a component before anything is done that follows
// from it, however long the journal refuses it, and reports whether it is there:
// it is not where ctx ends before.
func (t *tenant) saveFirst(ctx context.Context, path value.Path) bool {
	for pause := firstRetry; !t.save(ctx, path); pause = min(2*pause, lastRetry) {
		if sleep(ctx, pause); ctx.Err() != nil {
			return false
		}
	}
	return true
}
