package plan

import (
	"fmt"
	"slices"

	"aloft/internal/expand"
	"aloft/internal/inventory"
	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Beside completes the survey of a description that was written out with further
// copies, where base is that of the same description without them. The copies
// exist only for the time of a rolling update (runtime.md UP8): what stays keeps
// the attributes that it has without them, and has others meanwhile where it
// refers to them. The copies themselves know nothing of those of other sets.
func (s *Survey) Beside(base *Survey) {
	var copies []value.Path
	for _, c := range s.parts {
		if base.byPath[c.node.Path] == nil && base.byPath[c.node.Path.Parent()] != nil {
			copies = append(copies, c.node.Path)
		}
	}
	s.beside = len(copies) > 0
	for _, c := range s.parts {
		was := base.byPath[c.node.Path]
		if was == nil {
			c.further = true
			c.forget(slices.DeleteFunc(slices.Clone(copies), func(p value.Path) bool { return p.Contains(c.node.Path) }))
			continue
		}
		if !value.Equal(c.attrs, was.attrs) {
			c.meanwhile = c.attrs
			for _, targets := range c.targets {
				for _, t := range targets {
					if base.byPath[t.Path] == nil && !slices.Contains(c.leads, t.Path) {
						c.leads = append(c.leads, t.Path)
					}
				}
			}
			slices.Sort(c.leads)
		}
		c.attrs, c.targets = was.attrs, was.targets
	}
}

// IsFurther reports whether what is at path is wanted only for the time of the plan.
func (s *Survey) IsFurther(path value.Path) bool { return s.byPath[path].further }

// forget takes copies out of the sets that c refers to.
func (c *surveyed) forget(copies []value.Path) {
	c.attrs = Without(c.attrs, copies).(*value.Component)
	for name, targets := range c.targets {
		c.targets[name] = slices.DeleteFunc(targets, func(t model.Target) bool {
			return slices.ContainsFunc(copies, func(p value.Path) bool { return p.Contains(t.Path) })
		})
	}
}

// want notes the further copies that are to be beside those of r, of which so
// many are changed: with numbers that nothing else has, neither in the
// description nor of what exists.
func (m *maker) want(r *rolling, copies []*surveyed, many int) {
	parent := m.in.Survey.byPath[copies[0].node.Parent.Path]
	var numbers []int
	for n := len(copies) + 1; len(numbers) < many; n++ {
		path := value.Path(fmt.Sprint(r.name, n))
		_, held := m.in.Existing.Components[path]
		if _, named := parent.node.Comp.Attr(path.Name()); !held && !named {
			numbers = append(numbers, n)
		}
	}
	if m.wants == nil {
		m.wants = expand.Further{}
	}
	m.wants[value.Path(r.name)] = numbers
}

// holdsData refuses further copies of what has data: those in it would be other
// ones, and would go with it.
func (m *maker) holdsData(c *surveyed, p pace) {
	for n := range within(c.node) {
		k := m.in.Survey.byPath[n.Path]
		held := inventory.Component{Attrs: k.attrs, Resolved: m.in.Existing.Components[n.Path].Resolved}
		if !holds(&k.class, held) {
			continue
		}
		a, _ := p.at.attrs.Attr(p.attr)
		m.in.Survey.problem(p.at, p.attr, a.Pos, diag.AttributeKind,
			fmt.Sprintf("copies that hold data cannot have others beside them for the time of an update, and %s holds data: it would be without them there, and new ones would be destroyed with it", n.Path),
			"no "+p.attr, value.Source(a.Value), "with sfMaxUnavailable alone the copies are updated so many at a time, and keep their data")
		return
	}
}

// refuseBeside refuses further copies where updating in batches would have steps
// wait for each other, and reports whether there are any. A plan that nobody asked
// for mends something, and does without those that are not there yet.
func (m *maker) refuseBeside() bool {
	refused := m.in.Survey.beside
	for _, r := range m.sets {
		if wanted := len(m.wants[value.Path(r.name)]) > 0 && !m.in.Auto; len(r.further) == 0 && !wanted {
			continue
		}
		refused = true
		a, _ := r.at.attrs.Attr(r.attr)
		m.in.Survey.problem(r.at, r.attr, a.Pos, diag.AttributeKind, "this update cannot have further copies of "+r.name+" beside the others: something needs copies in between that waits for them", "no "+r.attr, value.Source(a.Value),
			"make what needs them in an update of its own, or leave it out for this one")
	}
	return refused
}

// recede adds the steps that end the further copies: when those who refer to them
// do not any more, and no batch has failed.
func (m *maker) recede(bound StepID, gates []StepID) {
	of := map[value.Path]*rolling{}
	var further []inventory.Component
	for _, c := range m.in.Survey.parts { // in definition order
		if !c.further {
			continue
		}
		p := m.plan.Components[c.node.Order]
		of[p.Path] = m.batch[p.Path].set
		further = append(further, inventory.Component{
			Path: p.Path, Class: p.Class, Machine: p.Machine, Executor: p.Executor, Order: p.Order,
			Attrs: p.Attrs.Component, Flow: p.Flow, State: inventory.Running,
		})
	}
	from := len(m.plan.Steps)
	m.ends(further, func(path value.Path) bool { return of[path] != nil }, bound)
	for i := range m.plan.Steps[from:] {
		s := &m.plan.Steps[from+i]
		s.Needs = append(s.Needs, gates...)
		for _, c := range m.binders[of[s.Path]] {
			s.Needs = append(s.Needs, ID(c.node.Path, Reconfigure))
		}
	}
}
