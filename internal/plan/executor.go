package plan

import (
	"fmt"
	"slices"

	"aloft/component"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// place fixes where a component is processed, now that machines are chosen.
func (m *maker) place(c *surveyed) {
	host := m.in.Survey.host
	p := Component{
		Path: c.node.Path, Class: c.class.Name, Machine: c.machine, OnHost: c.onHost, Order: c.node.Order,
		Attrs: Attributes{c.attrs}, Digest: c.digest(), OnEnd: m.onEnd(c), OnLoss: m.onLoss(c), Reads: c.reads(),
		Liveness: m.liveness(c), Further: c.further,
	}
	if c.meanwhile != nil {
		p.Meanwhile = &Attributes{c.meanwhile}
	}
	if c.flow != nil {
		p.Flow = c.flow.node.Path.String()
	}
	if c.creator != nil {
		p.Creator = c.creator.node.Path.String()
	}
	target := component.Target{Isolation: true, Privileged: true}
	switch {
	case c.isMachine():
		p.Executor = host.MachineID
		if choice, ok := m.in.Placement[c.node.Path]; ok {
			p.Executor = MachineExecutor(choice.Proposal)
		}
	case c.owner:
	case c.onHost:
		p.Executor = host.MachineID
	default:
		choice := m.in.Placement[c.machine]
		p.Executor = choice.MachineID
		target.Isolation = choice.Proposal.Isolation
		target.Privileged = choice.Proposal.Isolation
		m.checkTarget(c, target)
	}
	m.bereave(c, &p)
	m.plan.Components = append(m.plan.Components, p)
}

// reads returns the components whose run-time attributes c refers to, in the
// order of its attributes.
func (c *surveyed) reads() []value.Path {
	var paths []value.Path
	for a := range c.attrs.All() {
		for _, t := range c.targets[a.Name] {
			if !t.Given && !slices.Contains(paths, t.Path) {
				paths = append(paths, t.Path)
			}
		}
	}
	for _, path := range c.leads {
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// onEnd returns what the compound around c does when c ends: what it says
// itself, else share in a Compound and restart in all others.
func (m *maker) onEnd(c *surveyed) OnEnd {
	end := OnEnd{What: "restart", MaxRestarts: 10, Window: 3600}
	if c.node.Parent == nil {
		return end
	}
	parent := m.in.Survey.byPath[c.node.Parent.Path]
	switch {
	case c.creator != nil:
		end.What = "course"
		return end
	case parent.class.Name == "Compound":
		end.What = "share"
	}
	if a, ok := parent.attrs.Attr("sfOnChildEnd"); ok {
		switch what, _ := a.Value.(value.String); what {
		case "share", "restart", "ignore":
			end.What = string(what)
		default:
			m.in.Survey.problem(parent, "sfOnChildEnd", a.Pos, diag.AttributeKind, "sfOnChildEnd has an unknown value", `"share", "restart" or "ignore"`, value.Source(a.Value))
		}
	}
	if n, ok := parent.attrs.Get("sfMaxRestarts"); ok {
		if n, ok := n.(value.Integer); ok && n >= 0 {
			end.MaxRestarts = int(n)
		}
	}
	if w, ok := parent.attrs.Get("sfRestartWindow"); ok {
		if w, ok := w.(value.Integer); ok && w > 0 {
			end.Window = int64(w)
		}
	}
	return end
}

// checkTarget refuses what the chosen machine cannot do.
func (m *maker) checkTarget(c *surveyed, target component.Target) {
	if target.Isolation {
		return
	}
	if c.class.Isolation {
		m.in.Survey.problem(c, "", c.node.Pos, diag.NeedsIsolation, fmt.Sprintf("%s installs packages, and machine %s has no root file system of its own", c.class.Name, c.machine), "", "", "run aloft as root on Linux: machines then are light machines, which have one")
		return
	}
	if c.class.Check == nil {
		return
	}
	for _, p := range c.class.Check(c.attrs, target) {
		pos := c.node.Pos
		if a, ok := c.attrs.Attr(p.Attr); ok && a.Pos.IsValid() {
			pos = a.Pos
		}
		var hints []string
		if p.Remedy != "" {
			hints = append(hints, p.Remedy)
		}
		m.in.Survey.problem(c, p.Attr, pos, diag.NeedsIsolation, p.Message, p.Expected, p.Found, hints...)
	}
}
