package agent

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/internal/execute"
	"aloft/internal/inventory"
	"aloft/internal/journal"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

var (
	outcomes = map[peerpb.Outcome]plan.Outcome{
		peerpb.Outcome_OUTCOME_DONE: plan.Done, peerpb.Outcome_OUTCOME_FAILED: plan.Failed, peerpb.Outcome_OUTCOME_SKIPPED: plan.Skipped,
	}
	wireOutcomes = map[plan.Outcome]peerpb.Outcome{
		plan.Done: peerpb.Outcome_OUTCOME_DONE, plan.Failed: peerpb.Outcome_OUTCOME_FAILED, plan.Skipped: peerpb.Outcome_OUTCOME_SKIPPED,
	}
	actions = map[peerpb.Action]plan.Action{
		peerpb.Action_ACTION_DEPLOY: plan.Deploy, peerpb.Action_ACTION_START: plan.Start,
		peerpb.Action_ACTION_RECONFIGURE: plan.Reconfigure, peerpb.Action_ACTION_TERMINATE: plan.Terminate,
	}
	wireActions = map[plan.Action]peerpb.Action{
		plan.Deploy: peerpb.Action_ACTION_DEPLOY, plan.Start: peerpb.Action_ACTION_START,
		plan.Reconfigure: peerpb.Action_ACTION_RECONFIGURE, plan.Terminate: peerpb.Action_ACTION_TERMINATE,
	}
)

// contents are what a part says.
type contents struct {
	part  *peerpb.Part
	steps []plan.Step
	attrs []*value.Component // of part.Components
	// meanwhile are those of part.Components that refer to copies which exist only
	// for the time of the plan, by their places.
	meanwhile map[int]*value.Component
}

// decodePart reads a part as it was signed.
func decodePart(signed []byte) (*contents, error) {
	part := &peerpb.Part{}
	if err := proto.Unmarshal(signed, part); err != nil {
		return nil, fmt.Errorf("part: %w", err)
	}
	return readPart(part)
}

// readPart reads a part. One that this daemon does not understand is refused
// before it is kept.
func readPart(part *peerpb.Part) (*contents, error) {
	c := &contents{part: part, steps: make([]plan.Step, 0, len(part.Steps)), attrs: make([]*value.Component, 0, len(part.Components)), meanwhile: map[int]*value.Component{}}
	for _, s := range part.Steps {
		action, ok := actions[s.Action]
		if !ok {
			return nil, fmt.Errorf("step %s: unknown action %s: the manager speaks a newer protocol", s.Id, s.Action)
		}
		step := plan.Step{ID: plan.StepID(s.Id), Path: value.Path(s.Path), Action: action, Token: s.Token, Needs: stepIDs(s.Needs), After: stepIDs(s.After), Awaits: awaits(s.Awaits), Without: paths(s.Without), Spare: s.Spare}
		if len(s.Text) > 0 {
			attrs, err := decodeComponent(s.Text)
			if err != nil {
				return nil, fmt.Errorf("step %s: %w", s.Id, err)
			}
			step.Text = &plan.Attributes{Component: attrs}
		}
		c.steps = append(c.steps, step)
	}
	for i, w := range part.Components {
		attrs, err := decodeComponent(w.Attributes)
		if err != nil {
			return nil, fmt.Errorf("component %s: %w", w.Path, err)
		}
		c.attrs = append(c.attrs, attrs)
		if len(w.Meanwhile) == 0 {
			continue
		}
		if c.meanwhile[i], err = decodeComponent(w.Meanwhile); err != nil {
			return nil, fmt.Errorf("component %s: %w", w.Path, err)
		}
	}
	return c, nil
}

// take makes a part the tenant's newest. entries are what the journal knows of
// its steps, heard what it knows of steps elsewhere.
func (t *tenant) take(content *contents, entries []journal.Entry, heard map[plan.StepID]plan.Outcome, interrupted bool) {
	part := content.part
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.comps {
		c.wanted, c.meanwhile = nil, nil
	}
	for i, w := range part.Components {
		path := value.Path(w.Path)
		if w.Further && ended(entries, path) {
			continue
		}
		c := t.comps[path]
		if c == nil {
			c = &held{op: newTurn(), path: path, state: inventory.Instantiated, outputs: map[string]value.Value{}}
			t.comps[path] = c
		}
		switch c.state {
		case inventory.Instantiated, inventory.Terminated, inventory.Failed:
			if c.class != w.Class {
				c.class, c.kept = w.Class, nil
			}
		default:
			if c.successor = nil; c.class != w.Class {
				c.successor = &w.Class
			}
		}
		c.wanted, c.digest, c.order = content.attrs[i], w.Digest, int(w.Order)
		if c.kept != nil && c.kept.digest == c.digest {
			c.kept = nil
		}
		c.meanwhile, c.further = content.meanwhile[i], w.Further
		c.creator = w.Creator
		c.liveness = liveness{time.Duration(w.LivenessDelay) * time.Millisecond, int(w.LivenessFactor)}
		c.isolation, c.tenure = w.OnIsolation, time.Duration(w.Tenure)*time.Second
		c.loss, c.parent = time.Duration(w.ParentLoss)*time.Millisecond, w.Parent
		c.policy = lifecycle.Policy{
			OnEnd: lifecycle.OnEnd(w.OnEnd), MaxRestarts: int(w.MaxRestarts), Window: time.Duration(w.RestartWindow) * time.Second,
		}
	}
	t.redone = map[value.Path]bool{}
	for _, e := range entries {
		if e.Result == nil && !interrupted {
			t.redone[e.Path] = true
		}
	}
	t.part.Store(part)
	t.ended = make(chan struct{})
	t.interrupted = ""
	if interrupted {
		t.interrupted = "interrupted"
	}
	t.prepare(content, entries, heard)
}

// ended reports whether the component at path has been ended by its part, as far as
// the journal knows.
func ended(entries []journal.Entry, path value.Path) bool {
	return slices.ContainsFunc(entries, func(e journal.Entry) bool {
		return e.ID == string(plan.ID(path, plan.Terminate)) && e.Result != nil && e.Result.Outcome == peerpb.Outcome_OUTCOME_DONE
	})
}

// prepare makes the runner of the newest part. The lock is held.
func (t *tenant) prepare(content *contents, entries []journal.Entry, heard map[plan.StepID]plan.Outcome) {
	part := content.part
	results := map[plan.StepID]execute.Result{}
	for id, o := range heard {
		results[id] = execute.Result{Outcome: o}
	}
	clear(t.facts)
	clear(t.tell)
	t.cut = map[plan.StepID]bool{}
	for _, e := range entries {
		id := plan.StepID(e.ID)
		if e.Result == nil {
			t.cut[id] = true
		} else {
			results[id] = execute.Result{Outcome: outcomes[e.Result.Outcome]}
			t.facts[id] = &peerpb.Fact{
				System: t.system, Revision: part.Revision, Plan: part.Plan, Step: e.ID,
				Outcome: e.Result.Outcome, Component: e.Result.Component, Record: e.Result.Record,
			}
			t.tell[id] = true
		}
	}
	t.runner = execute.New(execute.Config{
		Steps: content.steps, Results: results, Journal: stepJournal{t, part}, Limit: t.agent.limit, Do: t.do, Settled: t.settled,
		Begun: t.cut, Undo: t.undoCut, Wait: t.waitLimit, Expired: t.overdue,
	})
	if t.interrupted != "" {
		t.runner.Interrupt(t.interrupted)
	}
}

func stepIDs(texts []string) []plan.StepID {
	ids := make([]plan.StepID, len(texts))
	for i, s := range texts {
		ids[i] = plan.StepID(s)
	}
	return ids
}

func paths(texts []string) []value.Path {
	var list []value.Path
	for _, p := range texts {
		list = append(list, value.Path(p))
	}
	return list
}

func awaits(list []*peerpb.Await) []plan.Await {
	var out []plan.Await
	for _, a := range list {
		out = append(out, plan.Await{Step: plan.StepID(a.Step), Attribute: a.Attribute, Machine: a.Machine})
	}
	return out
}
