package plan

import (
	"slices"

	"aloft/internal/inventory"
	"aloft/value"
)

// isGuest reports whether c, which is updated with a batch of a later set, has to
// be told of the batches of r until then: with the attributes that it has, since
// its own turn has not come.
func (m *maker) isGuest(c *surveyed, r *rolling) bool {
	at, old := m.batch[c.node.Path].set, m.in.Existing.Components[c.node.Path]
	f := m.fate[c.node.Path]
	stays := f == keep || f == change || f == renew
	if at == nil || slices.Index(m.sets, at) <= slices.Index(m.sets, r) || !stays || old.State != inventory.Running || old.Flow != "" || !c.class.Reconfigures || old.Class != c.class.Name {
		return false
	}
	reads := false
	for path := range readIn(old.Attrs) {
		if !slices.ContainsFunc(r.all, func(p value.Path) bool { return p.Contains(path) }) {
			continue
		}
		if reads = true; !m.stillThere(path) {
			return false // what it reads is no more once that is updated
		}
	}
	return reads
}

// stillThere reports whether what a reference names will be there when the plan is
// done: a component, or an attribute of one.
func (m *maker) stillThere(path value.Path) bool {
	c := m.in.Survey.byPath[path]
	if c != nil {
		return true
	}
	if c = m.in.Survey.byPath[path.Parent()]; c == nil {
		return true // it is in an attribute
	}
	_, given := c.attrs.Get(path.Name())
	return given || m.in.Survey.outputs(c.node, path.Name())
}

// beside returns attributes that refer to copies of r with the further ones of it,
// too: each vector that has references to some has one of the same form to each.
func (r *rolling) beside(v value.Value) value.Value {
	switch v := v.(type) {
	case *value.Reference:
		if v.Apply == nil {
			return v
		}
		ref := *v
		ref.Apply = r.beside(v.Apply).(*value.Component)
		return &ref
	case value.Vector:
		var out, more value.Vector
		for _, e := range v {
			out = append(out, r.beside(e))
			more = append(more, r.likewise(e)...)
		}
		for _, e := range more {
			if !slices.ContainsFunc(out, func(is value.Value) bool { return value.Equal(is, e) }) {
				out = append(out, e)
			}
		}
		return out
	case *value.Component:
		out := value.NewComponent(v.Data)
		for a := range v.All() {
			a.Value = r.beside(a.Value)
			out.Set(a)
		}
		return out
	default:
		return v
	}
}

// likewise returns, for a reference that leads into a copy, those that lead to the
// same of the further ones.
func (r *rolling) likewise(v value.Value) (out value.Vector) {
	ref, is := v.(*value.Reference)
	if !is || ref.Apply != nil {
		return nil
	}
	at := slices.IndexFunc(r.all, func(p value.Path) bool { return p.Contains(Referred(ref)) })
	if at < 0 {
		return nil
	}
	for _, path := range r.further {
		to := *ref
		to.Parts = slices.Clone(ref.Parts)
		deep := len(to.Parts) - len(Referred(ref).Names()) + len(path.Names()) - 1
		to.Parts[deep].Name = path.Name()
		out = append(out, &to)
	}
	return out
}
