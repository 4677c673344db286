package plan

import (
	"iter"
	"slices"

	"aloft/internal/inventory"
	"aloft/internal/model"
	"aloft/value"
)

// readers has every component reconfigured that reads what the plan makes anew
// (runtime.md LZ7): the text of its attributes is the same, and what it leads
// to is not.
func (m *maker) readers() {
	for _, c := range m.in.Survey.parts {
		if m.fate[c.node.Path] != keep || c.class.Name == "" {
			continue
		}
		old, held := m.in.Existing.Components[c.node.Path]
		if !held || old.State != inventory.Running {
			continue
		}
		for t := range c.reading() {
			if f := m.fate[t.Path]; f != add && f != renew || t.Path.Contains(c.node.Path) {
				continue
			}
			if !c.class.Reconfigures {
				m.plan.Notes = append(m.plan.Notes, c.node.Path.String()+" reads "+t.Path.String()+", which is made anew, and goes on with the old value: "+c.class.Name+" cannot be reconfigured")
				break
			}
			m.reconfigure(c, "reads "+t.Path.String()+", which is made anew")
			break
		}
	}
}

// reconfigure has a component that stays as it is reconfigured all the same.
func (m *maker) reconfigure(c *surveyed, reason string) {
	m.fate[c.node.Path] = change
	m.edit(c, change, reason, m.in.Existing.Components[c.node.Path])
}

// reading ranges over what the attributes of c refer to at run time, and the
// attributes that do.
func (c *surveyed) reading() iter.Seq2[model.Target, string] {
	return func(yield func(model.Target, string) bool) {
		for a := range c.attrs.All() {
			if r, ok := a.Value.(*value.Reference); ok && r.Assert {
				continue
			}
			for _, t := range c.targets[a.Name] {
				if !t.Given && !yield(t, a.Name) {
					return
				}
			}
		}
	}
}

// apart divides the components that are reconfigured: those that read what is
// about to run, and what is inside of them, come after it runs, so that nobody
// is led to what does not answer yet (runtime.md LZ7).
func (m *maker) apart(changes []*surveyed) (early, late []*surveyed) {
	after := map[value.Path]bool{}
	for _, c := range changes {
		is := c.node.Parent != nil && after[c.node.Parent.Path] || len(m.gates[c.node.Path]) > 0
		for t := range c.reading() {
			is = is || !t.Path.Contains(c.node.Path) && m.begins(t.Path)
		}
		if after[c.node.Path] = is; is {
			late = append(late, c)
		} else {
			early = append(early, c)
		}
	}
	return early, late
}

// begins reports whether the plan starts the component at path.
func (m *maker) begins(path value.Path) bool {
	f := m.fate[path]
	return f == add || f == renew || f == begin
}

// enters has the reconfigure of c wait until all runs that it reads and that
// the plan starts.
func (m *maker) enters(c *surveyed, s *Step) {
	m.runs(c, s, func(value.Path) bool { return true })
	for _, gate := range m.gates[c.node.Path] {
		if !slices.Contains(s.Needs, gate) {
			s.Needs = append(s.Needs, gate)
		}
	}
}

// runs has a step of c wait until all runs that it reads and that the plan
// starts, of what is chosen.
func (m *maker) runs(c *surveyed, s *Step, chosen func(value.Path) bool) {
	waits := map[StepID]bool{}
	for _, id := range s.Needs {
		waits[id] = true
	}
	for t, attribute := range c.reading() {
		if t.Path.Contains(c.node.Path) || !m.begins(t.Path) || inventory.IsFailure(t.Attr) || !chosen(t.Path) {
			continue
		}
		for n := range within(m.in.Survey.byPath[t.Path].node) {
			if id := ID(n.Path, Start); m.begins(n.Path) && !waits[id] {
				waits[id] = true
				s.Needs = append(s.Needs, id)
				m.await(s, n.Path, Start, attribute)
			}
		}
	}
}

// within ranges over a component and those inside of it, parents first.
func within(n *model.Node) iter.Seq[*model.Node] {
	return func(yield func(*model.Node) bool) { walk(n, yield) }
}

func walk(n *model.Node, yield func(*model.Node) bool) bool {
	return yield(n) && !slices.ContainsFunc(n.Children, func(child *model.Node) bool { return !walk(child, yield) })
}

// released returns the steps by which those who read what is at path, or what
// it is in and is removed with it, come to know that it goes: it ends when they
// have, so that nobody is led to what does not answer any more.
func (m *maker) released(path value.Path) []StepID {
	for path != value.Root && m.gone[path.Parent()] && path.Parent() != value.Root {
		path = path.Parent()
	}
	if m.leaving == nil {
		m.leaving = m.leavers()
	}
	return m.leaving[path]
}

// leavers returns, by the topmost components that are removed, the reconfigures
// of those who have read something of them.
func (m *maker) leavers() map[value.Path][]StepID {
	by := map[value.Path][]StepID{}
	for _, c := range m.in.Survey.parts {
		if m.fate[c.node.Path] != change {
			continue
		}
		id := ID(c.node.Path, Reconfigure)
		for path := range readIn(m.in.Existing.Components[c.node.Path].Attrs) {
			for up := path; up != value.Root; up = up.Parent() {
				if m.gone[up] && !m.gone[up.Parent()] && !slices.Contains(by[up], id) {
					by[up] = append(by[up], id)
				}
			}
		}
	}
	return by
}

// readIn ranges over the paths that the references in v lead to: that of a
// component, or of what is in one.
func readIn(v value.Value) iter.Seq[value.Path] {
	return func(yield func(value.Path) bool) { references(v, yield) }
}

func references(v value.Value, yield func(value.Path) bool) bool {
	switch v := v.(type) {
	case *value.Reference:
		if v.Apply != nil {
			return references(v.Apply, yield)
		}
		return yield(Referred(v))
	case value.Vector:
		for _, e := range v {
			if !references(e, yield) {
				return false
			}
		}
	case *value.Component:
		if v == nil {
			return true
		}
		for a := range v.All() {
			if !references(a.Value, yield) {
				return false
			}
		}
	}
	return true
}

// Referred returns the path below ROOT that an absolute reference names.
func Referred(r *value.Reference) value.Path {
	var names []string
	for _, p := range r.Parts {
		if p.Kind != value.PartRoot {
			names = append(names, p.Name)
		}
	}
	return value.PathOf(names...)
}

// Without returns v with every element of a vector left out that refers to one
// of paths, or into it: what a component is told of a set of which some are
// about to be away (runtime.md UP8).
func Without(v value.Value, paths []value.Path) value.Value {
	switch v := v.(type) {
	case *value.Reference:
		if v.Apply == nil {
			return v
		}
		r := *v
		r.Apply = Without(v.Apply, paths).(*value.Component)
		return &r
	case value.Vector:
		out := make(value.Vector, 0, len(v))
		for _, e := range v {
			r, is := e.(*value.Reference)
			if is && r.Apply == nil && slices.ContainsFunc(paths, func(p value.Path) bool { return p.Contains(Referred(r)) }) {
				continue
			}
			out = append(out, Without(e, paths))
		}
		return out
	case *value.Component:
		out := value.NewComponent(v.Data)
		for a := range v.All() {
			a.Value = Without(a.Value, paths)
			out.Set(a)
		}
		return out
	default:
		return v
	}
}
