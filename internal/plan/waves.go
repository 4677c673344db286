package plan

import (
	"iter"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/graph"
	"aloft/internal/inventory"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

func (m *maker) deploys(deploys []*surveyed) {
	var g graph.Graph[value.Path]
	for _, c := range deploys {
		s := m.step(c, Deploy)
		if m.newcomers[c.node.Path] {
			s.Without = m.unready(c)
		}
		g.Add(c.node.Path)
		need := func(path value.Path) {
			if f := m.fate[path]; (f == add || f == renew) && path != c.node.Path {
				if id := ID(path, Deploy); !slices.Contains(s.Needs, id) {
					s.Needs = append(s.Needs, id)
					g.Edge(path, c.node.Path)
				}
			}
		}
		if c.node.Parent != nil {
			need(c.node.Parent.Path)
		}
		if !c.isMachine() && c.machine != value.Root {
			need(c.machine)
		}
		for path, attribute := range m.readsInDeploy(c) {
			before := len(s.Needs)
			need(path)
			if len(s.Needs) > before {
				m.await(s, path, Deploy, attribute)
			}
			if slices.Contains(s.Needs, ID(path, Deploy)) {
				m.late(c, path, attribute)
			}
		}
		if m.fate[c.node.Path] == renew && !m.left(c.node.Path) {
			s.After = append(s.After, ID(c.node.Path, Terminate))
		}
		s.Needs = append(s.Needs, m.leavings(c.node.Path)...) // else what it replaces is still there
	}
	for _, cycle := range g.Cycles() {
		m.deployCycle(&g, cycle)
	}
}

// late notes, for people, that a reference orders two components. What is
// inside of what it refers to waits for it anyway.
func (m *maker) late(c *surveyed, to value.Path, attribute string) {
	l := Late{From: c.node.Path, To: to, Attribute: attribute}
	if !to.Contains(c.node.Path) && !slices.Contains(m.plan.Late, l) {
		m.plan.Late = append(m.plan.Late, l)
	}
}

// readsInDeploy ranges over the components whose run-time attributes c reads
// in its deploy (runtime.md LZ2, LZ3), and its own attributes that do.
func (m *maker) readsInDeploy(c *surveyed) iter.Seq2[value.Path, string] {
	return func(yield func(value.Path, string) bool) {
		for a := range c.attrs.All() {
			if line, ok := c.class.Attribute(a.Name); ok && line.Use == component.UseStart {
				continue
			}
			if r, ok := a.Value.(*value.Reference); ok && r.Assert || c.class.Name == "" {
				continue // assertions are checked at start; nobody reads the attributes of a plain compound in deploy
			}
			for _, t := range c.targets[a.Name] {
				if t.Given || inventory.IsFailure(t.Attr) || m.newcomers[c.node.Path] && m.inSet(c, a.Name, t) {
					continue
				}
				if !yield(t.Path, a.Name) {
					return
				}
			}
		}
	}
}

// deployCycle reports a wait that could never end (runtime.md LZ5).
func (m *maker) deployCycle(g *graph.Graph[value.Path], cycle []value.Path) {
	c := m.in.Survey.byPath[cycle[0]]
	var text strings.Builder
	for i, p := range g.Path(cycle[0], cycle[0]) {
		if i > 0 {
			text.WriteString(" <- ")
		}
		text.WriteString(p.String())
	}
	m.in.Survey.problem(c, "", c.node.Pos, diag.DeployCycle, "these components wait for each other while they are deployed: "+text.String(), "", "",
		"let one of them refer to an attribute that the description gives, or that is read at start")
}

func (m *maker) changes(changes []*surveyed, deployed StepID) {
	for _, c := range changes {
		s := m.step(c, Reconfigure)
		if m.newcomers[c.node.Path] {
			s.Needs = append(s.Needs, ID(c.node.Path, Start))
		}
		if c.node.Parent != nil && m.fate[c.node.Parent.Path] == change {
			s.Needs = append(s.Needs, ID(c.node.Parent.Path, Reconfigure))
		}
		if deployed != "" {
			s.After = append(s.After, deployed)
		}
		for path, attribute := range m.readsInDeploy(c) {
			if f := m.fate[path]; f == add || f == renew {
				s.Needs = append(s.Needs, ID(path, Deploy))
				m.await(s, path, Deploy, attribute)
				m.late(c, path, attribute)
			}
		}
		m.enters(c, s)
		s.Needs = append(s.Needs, m.leavings(c.node.Path)...)
	}
}

// starts orders the start wave: parents first, and after what a component
// refers to (runtime.md LZ4). References that go round are left out.
func (m *maker) starts(starts []*surveyed, barrier StepID) {
	var g graph.Graph[value.Path]
	starting := map[value.Path]bool{}
	for _, c := range starts {
		g.Add(c.node.Path)
		starting[c.node.Path] = true
	}
	lazy := func(c *surveyed) iter.Seq2[value.Path, string] {
		return func(yield func(value.Path, string) bool) {
			for a := range c.attrs.All() {
				for _, t := range c.targets[a.Name] {
					if !starting[t.Path] || inventory.IsFailure(t.Attr) || t.Path.Contains(c.node.Path) || m.in.Survey.bound(c, a.Name, t) {
						continue
					}
					if !yield(t.Path, a.Name) {
						return
					}
				}
			}
		}
	}
	for _, c := range starts {
		if c.node.Parent != nil && starting[c.node.Parent.Path] {
			g.Edge(c.node.Parent.Path, c.node.Path)
		}
		for path := range lazy(c) {
			g.Edge(path, c.node.Path)
		}
	}
	round := map[value.Path]int{}
	for i, cycle := range g.Cycles() {
		var names strings.Builder
		for j, p := range cycle {
			round[p] = i + 1
			if j > 0 {
				names.WriteString(", ")
			}
			names.WriteString(p.String())
		}
		m.plan.Notes = append(m.plan.Notes, "these components refer to each other and start without waiting for each other: "+names.String())
	}
	for _, c := range starts {
		s := m.step(c, Start)
		if m.newcomers[c.node.Path] {
			s.Without = m.unready(c)
		}
		need := func(id StepID) (added bool) {
			if added = !slices.Contains(s.Needs, id); added {
				s.Needs = append(s.Needs, id)
			}
			return added
		}
		if f := m.fate[c.node.Path]; f != begin {
			need(ID(c.node.Path, Deploy))
		}
		if c.node.Parent != nil && starting[c.node.Parent.Path] {
			need(ID(c.node.Parent.Path, Start))
		}
		for path, attribute := range lazy(c) {
			if r := round[c.node.Path]; r == 0 || round[path] != r {
				if need(ID(path, Start)) && path != c.machine {
					m.await(s, path, Start, attribute)
				}
				m.late(c, path, attribute)
			}
		}
		if barrier != "" {
			s.After = append(s.After, barrier)
		}
	}
}
