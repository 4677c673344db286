package plan

import (
	"slices"

	"aloft/internal/inventory"
	"aloft/value"
)

// terminates adds the steps that end what is replaced: before anything is
// deployed, children before parents.
func (m *maker) terminates() {
	m.ends(func(path value.Path) bool {
		return m.fate[path] == renew
	}, "")
}

// removals adds the steps that end what is no longer wanted, after the rest of
// the plan has come to rest.
func (m *maker) removals(started StepID) {
	m.ends(func(path value.Path) bool { return m.gone[path] }, started)
}

// ends adds a terminate step for every component that exists and is chosen, in
// post-order (runtime.md LC5): after all its children have ended, and, under
// sfSyncTerminate, one sibling after the other in reverse order.
func (m *maker) ends(chosen func(value.Path) bool, after StepID) {
	old := m.in.Existing.Ordered()
	children := map[value.Path][]value.Path{}
	guests := map[value.Path][]value.Path{} // processed on the machine, but not below it
	for _, c := range old {
		if c.Path == value.Root || !chosen(c.Path) || !m.exists(c) {
			continue
		}
		children[c.Path.Parent()] = append(children[c.Path.Parent()], c.Path)
		if c.Machine != value.Root && !c.Machine.Contains(c.Path) {
			guests[c.Machine] = append(guests[c.Machine], c.Path)
		}
	}
	slices.Reverse(old)
	for _, c := range old {
		if !chosen(c.Path) || !m.exists(c) {
			continue
		}
		s := Step{ID: ID(c.Path, Terminate), Path: c.Path, Action: Terminate, Executor: c.Executor}
		s.Token = m.in.Token(s.ID)
		for _, child := range children[c.Path] {
			s.After = append(s.After, ID(child, Terminate))
		}
		for _, guest := range guests[c.Path] {
			s.After = append(s.After, ID(guest, Terminate))
		}
		if next, ok := m.syncSibling(c, children); ok {
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

func (m *maker) removal() string {
	if m.in.Down {
		return ""
	}
	return "no longer in the description"
}

// syncSibling returns the sibling defined next after c, where their parent
// ends its children one after the other.
func (m *maker) syncSibling(c inventory.Component, children map[value.Path][]value.Path) (value.Path, bool) {
	if c.Path == value.Root {
		return "", false
	}
	parent, ok := m.in.Existing.Components[c.Path.Parent()]
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
