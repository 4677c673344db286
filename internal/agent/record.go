package agent

import (
	"context"
	"fmt"

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
	j := s.t.agent.cfg.Journal
	var writes []journal.Write
	w, err := s.t.write(p.Path)
	if err != nil {
		return err
	}
	writes = append(writes, w...)
	return j.End(context.Background(), s.step(p.ID, p.Path, p.Action, p.Token), journal.Result{
		Outcome: wireOutcomes[r.Outcome], Record: inventory.RecordProto(r.Record), Component: r.Value,
	}, writes...)
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
