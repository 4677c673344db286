package expand

import (
	"fmt"
	"slices"

	"aloft/internal/model"
	"aloft/value"
)

// maxAliases is how many LAZY attributes a reference is followed through; more
// are a circle, which planning tells.
const maxAliases = 100

// value returns v, which attribute name of s holds, with the references to
// copies in it written out.
func (x *expander) value(s *scope, name string, v value.Value) value.Value {
	switch v := v.(type) {
	case value.Vector:
		var out value.Vector // made at the first difference
		for i, e := range v {
			w := x.value(s, fmt.Sprintf("%s[%d]", name, i), e)
			if out == nil && !same(w, e) {
				out = slices.Clone(v)
			}
			if out != nil {
				out[i] = w
			}
		}
		if out != nil {
			return out
		}
	case *value.Component:
		if refers(v) {
			return x.component(s.inside(name, v))
		}
	case *value.Reference:
		return x.reference(s, name, v)
	}
	return v
}

// same reports whether w is e, unchanged.
func same(w, e value.Value) bool {
	switch e := e.(type) {
	case *value.Reference, *value.Component:
		return w == e
	case value.Vector:
		u := w.(value.Vector)
		return len(u) == len(e) && (len(e) == 0 || &u[0] == &e[0])
	}
	return true // what holds no references
}

// component returns the data component or function of s.
func (x *expander) component(s *scope) *value.Component {
	out := value.NewComponent(s.comp.Data)
	for a := range s.comp.All() {
		a.Value = x.value(s, a.Name, a.Value)
		out.Set(a)
	}
	return out
}

// refers reports whether there is a reference in v.
func refers(v value.Value) bool {
	switch v := v.(type) {
	case *value.Reference:
		return true
	case value.Vector:
		return slices.ContainsFunc(v, refers)
	case *value.Component:
		for a := range v.All() {
			if refers(a.Value) {
				return true
			}
		}
	}
	return false
}

func (x *expander) reference(s *scope, name string, r *value.Reference) value.Value {
	switch {
	case r.Data:
		return r
	case r.Apply != nil:
		if !refers(r.Apply) {
			return r
		}
		lazy := *r
		lazy.Apply = x.component(s.inside(name, r.Apply))
		return &lazy
	}
	node, attr := s.holder(name)
	w := &way{x: x, ref: r, holder: node.path, attr: attr}
	if v := w.on(s, s, r.Parts, 0, entry{}, 0); v != nil {
		return v
	}
	return r
}

// way is one reference on its way to what it means.
type way struct {
	x      *expander
	ref    *value.Reference
	holder value.Path
	attr   string
}

// on walks parts[at:] from scope cur for the component reader. Last is the
// copy that the walk has entered last. The value is what to write in the place
// of the reference, nil where it meets no copies.
func (w *way) on(reader, cur *scope, parts []value.Part, at int, last entry, aliases int) value.Value {
	out := model.WalkOn(space{w.x}, cur, parts, at)
	if out.Kind == model.Lazy {
		if _, ok := out.In.sets[out.Name]; ok {
			return w.into(out.In, out.Name, reader, parts, out.At+1, last, aliases)
		}
		if v := w.through(out, parts[out.At+1:], last.bound, aliases); v != nil {
			return v
		}
	}
	if out.Kind == model.Found && out.Name == attrCopies && out.In.index > 0 {
		return value.Integer(out.In.of)
	}
	if last.copy == nil {
		return nil
	}
	// Written from the top, it means the same wherever it stands.
	ref := *w.ref
	ref.Parts = slices.Concat(last.copy.parts(), parts[last.rest:])
	if last.bound {
		w.x.binds[Bind{Holder: w.holder, Attr: w.attr, Copy: last.copy.path}] = true
	}
	return &ref
}

// parts returns the way to s from the top.
func (s *scope) parts() []value.Part {
	if s.way == nil {
		s.way = []value.Part{{Kind: value.PartRoot}}
		for _, n := range s.path.Names() {
			s.way = append(s.way, value.Part{Kind: value.PartHere, Name: n})
		}
	}
	return s.way
}

// entry is a copy that a walk has entered.
type entry struct {
	copy  *scope // nil: none so far
	rest  int    // the parts behind it begin here
	bound bool   // it, or one before it, was entered from outside
}

// into goes on into the copy that the reader is in, or into all of them: those
// of holder's name.
func (w *way) into(holder *scope, name string, reader *scope, parts []value.Part, at int, last entry, aliases int) value.Value {
	for up := reader; up != nil; up = up.up {
		if up.index > 0 && up.set == name && up.up == holder {
			return w.on(reader, up, parts, at, entry{up, at, last.bound}, aliases)
		}
	}
	set := holder.sets[name]
	all := make(value.Vector, 0, len(set))
	for _, c := range set {
		if w.x.elements++; w.x.elements > maxElements {
			w.x.tooMany(c)
			break
		}
		if v := w.on(reader, c, parts, at, entry{c, at, true}, aliases); v != nil {
			all = append(all, v)
		}
	}
	return all
}

// through follows the LAZY attribute at which a walk has ended, with the parts
// behind it. It returns nil where that leads to no copies.
func (w *way) through(out model.Outcome[*scope], rest []value.Part, bound bool, aliases int) value.Value {
	if aliases == maxAliases {
		return nil
	}
	a, _ := out.In.comp.Attr(out.Name)
	r, ok := a.Value.(*value.Reference)
	if !ok || r.Apply != nil {
		return nil
	}
	return w.on(out.In, out.In, slices.Concat(r.Parts, rest), 0, entry{bound: bound}, aliases+1)
}

func (x *expander) tooMany(c *scope) {
	if x.over {
		return
	}
	x.over = true
	a, _ := c.comp.Attr(attrCopies)
	x.problem(a, c.path, "references to copies ask for too much", fmt.Sprintf("at most %d values in all", maxElements), "more",
		"refer to fewer copies, or from fewer places")
}

// space lets references be walked over the scopes. A walk stops, as at a LAZY
// value, at the old name of a copied component.
type space struct{ x *expander }

func (space) Attr(s *scope, name string, first bool) (model.Item[*scope], bool) {
	a, ok := s.comp.Attr(name)
	if ok && !first && slices.Contains(a.Tags, "sfLocal") {
		return model.Item[*scope]{}, false
	}
	if _, is := s.sets[name]; is {
		return model.Item[*scope]{Kind: model.ItemLazy}, true
	}
	if c := s.children[name]; c != nil && c.node {
		return model.Item[*scope]{Kind: model.ItemComponent, Component: c}, true
	}
	if name == attrIndex && s.index > 0 {
		return model.Item[*scope]{Kind: model.ItemValue}, true
	}
	if !ok {
		return model.Item[*scope]{}, false
	}
	switch v := a.Value.(type) {
	case *value.Component:
		return model.Item[*scope]{Kind: model.ItemComponent, Component: s.inside(name, v)}, true
	case *value.Reference:
		if !v.Data && !v.Assert {
			return model.Item[*scope]{Kind: model.ItemLazy}, true
		}
	}
	return model.Item[*scope]{Kind: model.ItemValue}, true
}

func (space) Parent(s *scope) (*scope, bool) { return s.up, s.up != nil }

func (sp space) Root(*scope) *scope { return sp.x.root }
