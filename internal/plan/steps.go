package plan

import (
	"aloft/internal/inventory"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// write writes the graph. Where updating sets in batches would have steps wait
// for each other, since something outside of a set needs what is in it, they
// are updated at once.
func (m *maker) write() {
	edits, late, notes := len(m.plan.Edits), len(m.plan.Late), len(m.plan.Notes)
	m.steps()
	if len(m.sets) == 0 || !m.circular() {
		m.plan.Wants = m.wants
		return
	}
	if m.refuseBeside() {
		return
	}
	m.plan.Steps, m.plan.Edits, m.plan.Late = nil, m.plan.Edits[:edits], m.plan.Late[:late]
	m.plan.Notes = append(m.plan.Notes[:notes], "copies are updated at once: others need them in between")
	m.sets, m.soft, m.leaving = nil, nil, nil
	clear(m.batch)
	clear(m.binders)
	clear(m.gates)
	clear(m.newcomers)
	clear(m.guests)
	m.steps()
}

// steps writes the graph, in the order of runtime.md UP1: deploy new,
// reconfigure changed, start new, terminate removed; what is replaced is
// terminated before its successor is deployed. Sets that are updated in batches
// come after what is new, and who reads what is new after it runs.
func (m *maker) steps() {
	m.terminates()
	var deploys, starts, changes []*surveyed
	for _, c := range m.in.Survey.parts {
		if m.inBatch(c.node.Path) {
			continue
		}
		switch m.fate[c.node.Path] {
		case add, renew:
			deploys = append(deploys, c)
			starts = append(starts, c)
		case begin:
			starts = append(starts, c)
		case change:
			changes = append(changes, c)
		}
	}
	m.deploys(deploys)
	m.order(deploys, Deploy)
	m.failures(deploys, Deploy, inventory.DeployFailure)
	deployed := m.barrier("deployed", deploys, Deploy, "")
	early, late := m.apart(changes)
	m.changes(early, deployed)
	reconfigured := m.barrier("reconfigured", early, Reconfigure, deployed)
	before := reconfigured
	if m.unbarred() {
		before = "" // each starts as soon as its own edges allow
	}
	m.starts(starts, before)
	m.order(starts, Start)
	m.failures(starts, Start, inventory.StartFailure)
	started := m.barrier("started", starts, Start, reconfigured)
	var gates []StepID
	for _, r := range m.sets {
		gates = append(gates, m.roll(r, started))
	}
	for _, c := range m.in.Survey.parts {
		if m.newcomers[c.node.Path] {
			late = append(late, c)
		}
	}
	from := len(m.plan.Steps)
	m.changes(late, started)
	m.inTurn(from)
	bound := m.barrier("bound", late, Reconfigure, started)
	m.removals(bound, gates)
	m.recede(bound, gates)
	m.harden()
}

// unbarred reports whether the system does without the deploy barrier
// (runtime.md LC2).
func (m *maker) unbarred() bool {
	if len(m.in.Survey.parts) == 0 {
		return false
	}
	top := m.in.Survey.parts[0]
	a, ok := top.attrs.Attr("sfBarrier")
	if !ok || a.Value == value.String("all") {
		return false
	}
	if a.Value != value.String("none") {
		m.in.Survey.problem(top, "sfBarrier", a.Pos, diag.AttributeKind, "sfBarrier has an unknown value", `"none", or "all", which is the default`, value.Source(a.Value))
	}
	return true
}

func (m *maker) step(c *surveyed, action Action) *Step {
	id := ID(c.node.Path, action)
	m.plan.Steps = append(m.plan.Steps, Step{
		ID: id, Path: c.node.Path, Action: action,
		Executor: m.plan.Components[c.node.Order].Executor, Token: m.in.Token(id),
	})
	return &m.plan.Steps[len(m.plan.Steps)-1]
}

// barrier adds a vertex that is passed when every given step has ended. It
// returns before where there is nothing to wait for.
func (m *maker) barrier(name string, of []*surveyed, action Action, before StepID) StepID {
	if len(of) == 0 {
		return before
	}
	s := Step{ID: StepID("/" + name), Action: Barrier}
	for _, c := range of {
		s.After = append(s.After, ID(c.node.Path, action))
	}
	if before != "" {
		s.After = append(s.After, before)
	}
	m.plan.Steps = append(m.plan.Steps, s)
	return s.ID
}
