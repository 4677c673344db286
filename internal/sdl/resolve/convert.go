package resolve

import (
	"slices"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// mark is the state of a node during conversion.
type mark uint8

const (
	markNew mark = iota
	markOpen
	markDone
)

// conversion turns the linked tree into the values of the result.
func (r *resolver) conversion(linked bool) {
	root := r.convert(r.top(), linked, 0)
	if r.stopped || r.res.Diagnostics.Errors() > 0 {
		return
	}
	r.res.Tree = root
	r.res.isConfig = r.config != nil
	if linked && r.config != nil {
		r.res.Description = &model.Description{Root: root}
		r.checkLazy(r.res.Description)
	}
}

// convert returns the immutable form of n. A component shared by several places
// is converted once. Of linked trees sfTemp attributes are dropped (CV1), and
// a component that contains itself by way of links is an error (LK10).
func (r *resolver) convert(n *node, linked bool, depth int) *value.Component {
	switch n.mark {
	case markDone:
		return n.out
	case markOpen:
		return nil
	}
	if depth > maxDepth {
		r.tooDeep(n.at, n)
		return nil
	}
	if n.image != nil {
		if r.convertImage(n, linked, depth) {
			return n.out
		}
		r.open(n)
	}
	r.busy = n
	if !r.spend(len(n.attrs)+1) || !r.grow(len(n.attrs)*88) {
		return nil
	}
	n.mark = markOpen
	n.size, n.comps, n.paths = 1, 1, 0
	path := false           // a name may look like another
	first := len(r.scratch) // what the components around n have is below
	if len(n.protos) > 0 {
		r.convertPrototypes(n, depth)
	}
	for i := range n.attrs {
		a := &n.attrs[i]
		if linked && (slices.Contains(a.tags, "sfTemp") || a.v == term(dropped{})) {
			continue
		}
		v := r.convertTerm(slot{n, i}, a.v, linked, depth, &n.size)
		if v == nil {
			continue // reported
		}
		name := a.name
		if a.path {
			name, path = shownName(name), true
		}
		r.scratch = append(r.scratch, value.Attr{Name: name, Value: v, Tags: a.tags, Pos: a.span().Pos})
		n.size = min(n.size+1, maxSize+1)
		if child, isNode := a.v.(*node); isNode && !child.data {
			n.comps += child.comps
			n.paths += child.paths + child.comps*(len(name)+1)
		}
	}
	if n.size > maxSize || n.comps > maxComponents || n.paths > maxPathBytes {
		r.tooLarge(n.at, n, nodeName(n))
		return nil
	}
	if path {
		n.out = value.NewComponent(n.data, r.scratch[first:]...)
	} else {
		n.out = value.Compose(n.data, r.scratch[first:])
	}
	clear(r.scratch[first:])
	r.scratch = r.scratch[:first]
	n.mark = markDone
	return n.out
}

// convertPrototypes adds what a component extends, before the type phase, as
// its attribute extends; a body alone is the component's own.
func (r *resolver) convertPrototypes(n *node, depth int) {
	list := make(value.Vector, 0, len(n.protos))
	for i := range n.protos {
		switch p := &n.protos[i]; {
		case p.src.Body != nil:
			body := &node{attrs: p.body, parent: n.parent, name: n.name, at: p.src.At}
			c := r.convert(body, false, depth+1)
			if c == nil {
				return
			}
			n.size = min(n.size+body.size, maxSize+1)
			if len(n.protos) == 1 {
				r.scratch = slices.AppendSeq(r.scratch, c.All())
				return
			}
			list = append(list, c)
		case p.src.Link != nil:
			list = append(list, &value.Reference{Parts: p.src.Link})
		default:
			list = append(list, value.Null{})
		}
	}
	r.scratch = append(r.scratch, value.Attr{Name: "extends", Value: list, Pos: n.at.Pos})
}

// dropped takes the place of an attribute that the link phase consumed.
type dropped struct{}

// convertTerm returns the immutable form of t, found at s, or nil if it has
// none, which it reports. It adds to size.
func (r *resolver) convertTerm(s slot, t term, linked bool, depth int, size *int) value.Value {
	switch t := t.(type) {
	case *node:
		if t.mark == markOpen {
			if linked {
				r.containment(s, t)
				return nil
			}
			return value.Null{}
		}
		c := r.convert(t, linked, depth+1)
		if c == nil {
			return nil
		}
		*size = min(*size+t.size, maxSize+1)
		return c
	case *vector:
		return r.convertVector(s, t, linked, depth, size)
	case *ref:
		return r.convertRef(s, t, linked, depth, size)
	case *variable:
		if linked {
			r.report(nil, r.attrDiagnostic(diag.Constraint, s, "constraint variables are not supported"))
			return nil
		}
		return value.Null{}
	case value.Value:
		return t
	}
	if linked {
		r.report(nil, r.attrDiagnostic(diag.NotInResult, s, "value that cannot be in a result: "+kindText(t)))
	}
	return nil
}

func (r *resolver) convertVector(s slot, t *vector, linked bool, depth int, size *int) value.Value {
	if t.out == nil {
		if depth > maxDepth {
			r.tooDeep(s.attr().span(), s.n)
		}
		if !r.spend(len(t.elems) + 1) {
			return nil
		}
		out := make(value.Vector, 0, len(t.elems))
		t.size = len(t.elems)
		for _, e := range t.elems {
			if x := r.convertTerm(s, e, linked, depth+1, &t.size); x != nil {
				out = append(out, x)
			}
		}
		t.out = out
		if t.size > maxSize {
			if t.at.Pos.IsValid() {
				r.tooLarge(t.at, s.n, "a vector")
			} else {
				r.tooLarge(s.attr().span(), s.n, shownName(s.String()))
			}
		}
	}
	*size = min(*size+t.size, maxSize+1)
	return t.out
}

func (r *resolver) convertRef(s slot, t *ref, linked bool, depth int, size *int) value.Value {
	r.late = r.late || t.lazy && !t.assert
	if linked && !t.lazy && !t.data && !t.assert {
		r.report(nil, r.attrDiagnostic(diag.NotInResult, s, kindText(t)+" is left unresolved"))
		return nil
	}
	v := &value.Reference{Lazy: t.lazy, Data: t.data, Optional: t.optional, Assert: t.assert, Parts: t.parts}
	if t.def != nil {
		v.Default = r.convertTerm(s, t.def, linked, depth+1, size)
	}
	if t.apply != nil {
		// An assertion is kept as it was written.
		c := r.convert(t.apply, linked && !t.assert, depth+1)
		if c == nil {
			return nil
		}
		*size = min(*size+t.apply.size, maxSize+1)
		v.Apply = classFirst(c)
	}
	return v
}

// classFirst returns a function's component with its class first.
func classFirst(c *value.Component) *value.Component {
	class, found := c.Attr(syntax.FunctionClass)
	if !found || c.At(0).Name == syntax.FunctionClass {
		return c
	}
	if last := c.At(c.Len() - 1); last.Name == syntax.FunctionClass || last.Name == assertionPhase {
		return c // of a schema
	}
	attrs := []value.Attr{class}
	for a := range c.All() {
		if a.Name != syntax.FunctionClass {
			attrs = append(attrs, a)
		}
	}
	return value.NewComponent(c.Data, attrs...)
}

// convertAsIs returns the immutable form of n between phases.
func (r *resolver) convertAsIs(n *node) *value.Component { return r.convert(n, false, 0) }

// freeze returns the immutable form of a linked term, for functions that
// compare or print. A component's form is not kept: its link may go on.
func (r *resolver) freeze(t term) value.Value {
	return r.freezeTerm(t, map[*node]bool{}, 0)
}

func (r *resolver) freezeTerm(t term, open map[*node]bool, depth int) value.Value {
	if depth > maxDepth || !r.spend(1) {
		return value.Null{}
	}
	switch t := t.(type) {
	case *node:
		if open[t] {
			return value.Null{} // reported when the result is converted
		}
		r.open(t)
		if !r.grow(len(t.attrs)*200 + 200) {
			return value.Null{}
		}
		open[t] = true
		defer delete(open, t)
		c := value.NewComponent(t.data)
		for i := range t.attrs {
			v, how := r.attr(slot{t, i})
			if how == failed {
				continue
			}
			c.Set(value.Attr{Name: t.attrs[i].name, Value: r.freezeTerm(v, open, depth+1), Tags: t.attrs[i].tags})
		}
		return c
	case *vector:
		if !r.grow(len(t.elems) * 16) {
			return value.Null{}
		}
		v := make(value.Vector, len(t.elems))
		for i, e := range t.elems {
			v[i] = r.freezeTerm(e, open, depth+1)
		}
		return v
	case *ref:
		v := &value.Reference{Lazy: t.lazy, Data: t.data, Optional: t.optional, Assert: t.assert, Parts: t.parts}
		if t.def != nil {
			v.Default = r.freezeTerm(t.def, open, depth+1)
		}
		if t.apply != nil {
			v.Apply, _ = r.freezeTerm(t.apply, open, depth+1).(*value.Component)
		}
		return v
	case value.Value:
		return t
	}
	return value.Null{}
}

// checkLazy warns of LAZY references that can never resolve (RX3).
func (r *resolver) checkLazy(d *model.Description) {
	if !r.late {
		return
	}
	tree, err := model.NewTreeContext(r.ctx, d.Root)
	if err != nil {
		r.stopped = true
		return
	}
	for _, p := range model.CheckContext(r.ctx, tree, nil) {
		at := diag.At(p.Pos)
		if file, ok := r.trees[p.Pos.File]; ok {
			at = file.At(p.Pos)
		}
		w := diag.New(diag.LazyUnresolvable, at, p.Message)
		w.Path, w.Attribute, w.Hints = "sfConfig", p.Attr, p.Hints
		if p.Path != value.Root {
			w.Path += ":" + string(p.Path)
		}
		r.report(nil, w)
	}
}
