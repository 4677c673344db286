package plan

import (
	"slices"

	"aloft/internal/inventory"
	"aloft/value"
)

// terminates adds the steps that end what is replaced, and what is no longer
// wanted inside of it: before anything is deployed, children before parents.
func (m *maker) terminates() {
	m.ends(m.in.Existing.Ordered(), func(path value.Path) bool {
		return !m.batched(path) && (m.fate[path] == renew && !m.left(path) || m.gone[path] && m.uprooted(path))
	}, "")
}

// batched reports whether a component, wanted or not, is updated with a batch.
func (m *maker) batched(path value.Path) bool {
	if len(m.sets) == 0 {
		return false
	}
	for p := path; p != value.Root; p = p.Parent() {
		if m.inBatch(p) {
			return true
		}
	}
	return false
}

// uprooted reports whether what contains a component, or processes it, is
// replaced.
func (m *maker) uprooted(path value.Path) bool {
	if m.fate[m.in.Existing.Components[path].Machine] == renew {
		return true
	}
	for p := path; p != value.Root; p = p.Parent() {
		if m.fate[p.Parent()] == renew {
			return true
		}
	}
	return false
}

// removals adds the steps that end what is no longer wanted, after the rest of
// the plan has come to rest, those who refer to it do not any more, and no
// batch has failed.
func (m *maker) removals(bound StepID, gates []StepID) {
	from := len(m.plan.Steps)
	m.ends(m.in.Existing.Ordered(), func(path value.Path) bool { return m.gone[path] && !m.uprooted(path) }, bound)
	for i := range m.plan.Steps[from:] {
		s := &m.plan.Steps[from+i]
		s.Needs = append(s.Needs, gates...)
		s.Needs = append(s.Needs, m.released(s.Path)...)
	}
}

// ends adds a terminate step for every component of old that exists and is chosen,
// in post-order (runtime.md LC5): after all its children have ended, and, under
// sfSyncTerminate, one sibling after the other in reverse order. They come in
// definition order, and leave it reversed.
func (m *maker) ends(old []inventory.Component, chosen func(value.Path) bool, after StepID) {
	at := make(map[value.Path]inventory.Component, len(old))
	for _, c := range old {
		at[c.Path] = c
	}
	children := map[value.Path][]value.Path{}
	guests := map[value.Path][]value.Path{} // processed on the machine, but not below it
	for _, c := range old {
		if c.Path == value.Root || !chosen(c.Path) || !m.exists(c) || m.inCourse(c) {
			continue
		}
		around := c.Path.Parent()
		for around != value.Root && !(chosen(around) && m.exists(at[around])) {
			around = around.Parent() // what is directly around it has ended by itself
		}
		children[around] = append(children[around], c.Path)
		if c.Machine != value.Root && !c.Machine.Contains(c.Path) {
			guests[c.Machine] = append(guests[c.Machine], c.Path)
		}
	}
	slices.Reverse(old)
	for _, c := range old {
		if !chosen(c.Path) || !m.exists(c) || m.inCourse(c) {
			continue
		}
		s := Step{ID: ID(c.Path, Terminate), Path: c.Path, Action: Terminate, Executor: c.Executor}
		s.Token = m.in.Token(s.ID)
		s.Needs = append(s.Needs, m.leavings(c.Path)...)
		for _, child := range children[c.Path] {
			s.After = append(s.After, ID(child, Terminate))
		}
		for _, guest := range guests[c.Path] {
			s.After = append(s.After, ID(guest, Terminate))
		}
		if next, ok := m.syncSibling(c, at, children); ok {
			s.After = append(s.After, ID(next, Terminate))
		}
		if after != "" {
			s.After = append(s.After, after)
		}
		m.plan.Steps = append(m.plan.Steps, s)
		if m.gone[c.Path] {
			m.plan.Edits = append(m.plan.Edits, Edit{Path: c.Path, Sign: Remove, Class: c.Class, Machine: c.Machine, Reason: m.removal()})
		}
	}
}

// exists reports whether there is anything of c to end.
func (m *maker) exists(c inventory.Component) bool {
	return c.State != inventory.Terminated && c.State != inventory.Instantiated && !m.lost(c)
}

// inCourse reports whether a workflow component that exists has created c: it
// ends it with itself.
func (m *maker) inCourse(c inventory.Component) bool {
	if c.Flow == "" {
		return false
	}
	path, err := value.ParsePath(c.Flow)
	return err == nil && m.exists(m.in.Existing.Components[path])
}

func (m *maker) removal() string {
	if m.in.Down || m.in.Asked {
		return ""
	}
	return "no longer in the description"
}

// syncSibling returns the sibling defined next after c, where their parent
// ends its children one after the other.
func (m *maker) syncSibling(c inventory.Component, at map[value.Path]inventory.Component, children map[value.Path][]value.Path) (value.Path, bool) {
	if c.Path == value.Root {
		return "", false
	}
	parent, ok := at[c.Path.Parent()]
	if !ok {
		return "", false
	}
	if v, _ := parent.Attrs.Get("sfSyncTerminate"); v != value.Bool(true) {
		return "", false
	}
	siblings := children[c.Path.Parent()]
	if i := slices.Index(siblings, c.Path); i+1 < len(siblings) {
		return siblings[i+1], true
	}
	return "", false
}
