package resolve

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// raw parses the description and what it includes, and makes the tree of it.
func (r *resolver) raw(f *file, text []byte) {
	if f = r.parse(f, text); f == nil {
		return
	}
	b := body{owner: r.root, trace: r.trace}
	r.items(f, f.tree.Items, &b)
	r.root.setAttrs(b.attrs)
}

// body collects the attributes of one body, which later ones replace.
type body struct {
	owner *node
	attrs []attr
	index map[string]int
	trace *trace // or nil
}

// put adds a, or replaces the attribute of its name in its place (BD1).
func (b *body) put(a attr) {
	i := -1
	if b.index != nil {
		if at, ok := b.index[a.name]; ok {
			i = at
		}
	} else {
		i = slices.IndexFunc(b.attrs, func(c attr) bool { return c.name == a.name })
	}
	if i >= 0 {
		if len(a.tags) == 0 {
			a.tags = b.attrs[i].tags // BD3
		}
		b.trace.alike(a.src, b.attrs[i].src)
		b.attrs[i] = a
		return
	}
	b.attrs = append(b.attrs, a)
	if b.index != nil {
		b.index[a.name] = len(b.attrs) - 1
	} else if len(b.attrs) > scanLimit {
		b.index = make(map[string]int, 2*len(b.attrs))
		for i, a := range b.attrs {
			b.index[a.name] = i
		}
	}
}

// includeSteps is what looking for a file costs beside reading it.
const includeSteps = 50

// items adds the items of f to b, with those of included files in their place.
func (r *resolver) items(f *file, items []syntax.Item, b *body) {
	for _, item := range items {
		if !r.spend(2) {
			return
		}
		switch item := item.(type) {
		case *syntax.Include:
			r.writing = item.Span
			if g := r.include(f, item); g != nil {
				if r.trace != nil {
					r.trace.files[item] = g.name
					r.trace.owners[g.name] = append(r.trace.owners[g.name], b.owner)
				}
				r.items(g, g.tree.Items, b)
			}
		case *syntax.Attribute:
			if item.NameSpan.Pos.IsValid() {
				r.writing = item.NameSpan
			}
			r.memory -= 2 // with a value of middle size
			b.put(r.attribute(f, item, b.owner))
		}
	}
}

func (r *resolver) attribute(f *file, src *syntax.Attribute, owner *node) attr {
	a := attr{name: src.Name, src: src}
	if src.Fresh {
		a.name = r.freshName()
	}
	name := a.name
	if len(src.Path) > 0 {
		a.path = true
		a.name = strings.Join(src.Path, "\x00") + "\x00" + name
		if src.Fresh {
			// The name is needed again when the attribute is placed.
			fresh := *src
			fresh.Name = name
			a.src = &fresh
		}
	}
	if len(src.Tags) > 0 {
		a.tags = slices.Clone(src.Tags)
		slices.Sort(a.tags)
		a.tags = slices.Compact(a.tags)
	}
	a.v = r.expr(f, src.Value, owner, name)
	if strings.HasPrefix(name, "sf") && javaOnly(name) {
		d := diag.New(diag.AttributeNoEffect, src.NameSpan, fmt.Sprintf("%s has no effect: it configures the Java processes of the original", name))
		d.Attribute, d.Hints = name, []string{"leave it out"}
		r.report(f, d)
	}
	return a
}

// javaOnly reports whether name is an attribute that is accepted without
// effect (sdl.md section 16).
func javaOnly(name string) bool {
	switch name {
	case "sfRootLocatorPort", "sfProcessAllow", "sfProcessTimeout", "sfSubprocessGCTimeout", "sfDiagnosticsReport":
		return true
	}
	return strings.HasPrefix(name, "sfProcessJava") || strings.HasPrefix(name, "sfProcessClass")
}

func (r *resolver) freshName() string {
	if len(r.names) == 0 {
		r.names = freshNames(r.fresh)
	}
	name := r.names[0]
	r.names = r.names[1:]
	r.fresh++
	return name
}

// freshNames returns the names from the nth on, many at a time: each operand
// has one.
func freshNames(n int) []string {
	const many = 64
	var text []byte
	var ends [many]int
	for i := range ends {
		text = strconv.AppendInt(append(text, "unique"...), int64(n+i), 10)
		ends[i] = len(text)
	}
	all, begin := string(text), 0
	names := make([]string, many)
	for i, end := range ends {
		names[i], begin = all[begin:end], end
	}
	return names
}

// expr returns the term for e, which stands in attribute name of owner.
func (r *resolver) expr(f *file, e syntax.Expr, owner *node, name string) term {
	switch e := e.(type) {
	case *syntax.Literal:
		return e.Value
	case *syntax.Vector:
		v := &vector{at: e.At, elems: make([]term, len(e.Elems))}
		for i, x := range e.Elems {
			v.elems[i] = r.expr(f, x, owner, name)
		}
		return v
	case *syntax.Reference:
		t := r.newRef()
		*t = ref{lazy: e.Lazy, data: e.Data, optional: e.Optional, assert: e.Assert, parts: e.Parts, at: e.At}
		if e.Default != nil {
			t.def = r.expr(f, e.Default, owner, name)
		}
		if e.Apply != nil {
			t.apply = r.bodyNode(f, e.Apply, owner, name)
		}
		return t
	case *syntax.Component:
		return r.component(f, e, owner, name)
	case *syntax.Var:
		return &variable{at: e.At}
	default:
		panic(fmt.Sprintf("resolve: expression of type %T", e))
	}
}

// bodyNode returns the component that the body of an APPLY or ASSERT is.
func (r *resolver) bodyNode(f *file, src *syntax.Body, owner *node, name string) *node {
	n := r.newNode()
	*n = node{parent: owner, name: name, at: src.At, data: true}
	n.attrs = r.body(f, src, n)
	return n
}

func (r *resolver) body(f *file, src *syntax.Body, owner *node) []attr {
	b := body{owner: owner, trace: r.trace, attrs: r.newAttrs(len(src.Items))}
	r.items(f, src.Items, &b)
	return b.attrs
}

func (r *resolver) component(f *file, c *syntax.Component, owner *node, name string) *node {
	n := r.newNode()
	*n = node{parent: owner, name: name, at: c.At, op: c.Op, data: c.Data}
	if len(c.Protos) == 1 && c.Protos[0].Body != nil {
		n.attrs = r.body(f, c.Protos[0].Body, n)
		return n
	}
	n.protos = make([]proto, len(c.Protos))
	for i := range c.Protos {
		p := &c.Protos[i]
		n.protos[i].src = p
		if p.Body != nil {
			n.protos[i].body = r.body(f, p.Body, n)
		}
	}
	return n
}

// phaseList returns the phases between raw and conversion, and removes the
// attribute that changes them (PH1).
func (r *resolver) phaseList() []Phase {
	i := r.root.find("phaseList")
	if i < 0 {
		return Phases[1 : len(Phases)-1]
	}
	a := r.root.attrs[i]
	r.phasesAt = a.span()
	r.root.setAttrs(slices.Delete(r.root.attrs, i, i+1))
	bad := func() []Phase {
		d := diag.New(diag.Unexpected, a.span(), "phaseList is not a vector of phase names")
		d.Attribute, d.Expected = "phaseList", `a literal vector of strings, such as [| "type", "link" |]`
		r.report(nil, d)
		return nil
	}
	v, ok := a.v.(*vector)
	if !ok {
		return bad()
	}
	var list []Phase
	for _, e := range v.elems {
		s, ok := e.(value.String)
		if !ok {
			return bad()
		}
		list = append(list, Phase(s))
	}
	return list
}
