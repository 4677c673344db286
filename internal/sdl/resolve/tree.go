package resolve

import (
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// A term is a value while the phases work on it: a value.Value that is not a
// component, reference or vector, or one of *node, *ref, *vector, *variable.
// Only nodes change, so all other terms are shared between copies, but for
// references that hold a node.
type term any

// node is a component while the phases work on it. One that the type phase
// copied from a prototype is sealed at first: it has an image in place of
// attributes. Whoever reads attributes of a node that may be sealed opens it
// before.
type node struct {
	attrs  []attr
	image  *image
	index  map[string]int32 // nil while attrs is short enough to scan
	parent *node            // what holds it; nil at the top of the file
	name   string           // the attribute of parent that holds it
	protos []proto          // prototypes not merged yet, in order of writing
	at     diag.Span
	op     syntax.Op
	data   bool

	typed  typeState
	nested bool // the type phase has entered what lies inside
	placed bool // no path name is left in it or below
	walked bool // the link phase has been here
	mark   mark // of the conversion
	size   int  // its attributes and those of all in it, all copies counted
	comps  int  // the same for components that are deployed, once converted
	paths  int  // the bytes of their paths below it
	out    *value.Component
}

// proto is a prototype: a body, or else a link, or else NULL.
type proto struct {
	src  *syntax.Proto
	body []attr // of src.Body
}

// attr is one attribute of a node.
type attr struct {
	name  string // for a path name, a key no other name has
	v     term
	tags  []string // sorted, shared
	src   *syntax.Attribute
	path  bool // src.Path is still to be walked (place phase)
	state linkState
}

// ref is a reference, a function or an assertion.
type ref struct {
	lazy, data, optional, assert bool
	def                          term // of OPTIONAL; nil is NULL
	parts                        []value.Part
	apply                        *node
	at                           diag.Span
}

// vector is a list of terms. Written [| |], it holds no nodes. Like nodes,
// vectors may be shared by links, so that what was done for one is noted.
type vector struct {
	elems []term
	at    diag.Span

	plain  bool // holds no reference, at any depth
	active bool // a look-up is resolving its elements
	walked bool // the link phase has been here
	out    value.Vector
	size   int // elements of out, all copies counted
}

// variable is a constraint variable, which no result can hold.
type variable struct{ at diag.Span }

// span returns where the value of a was written.
func (a *attr) span() diag.Span {
	if a.src == nil {
		return diag.Span{}
	}
	if s := a.src.Value.Span(); s.Pos.IsValid() {
		return s
	}
	return a.src.NameSpan
}

// nameSpan returns where the name of a was written.
func (a *attr) nameSpan() diag.Span {
	if a.src == nil || !a.src.NameSpan.Pos.IsValid() {
		return a.span()
	}
	return a.src.NameSpan
}

// scanLimit is the length up to which a linear look-up beats a map.
const scanLimit = 8

// find returns the position of the attribute called name, or -1.
func (n *node) find(name string) int {
	if len(n.attrs) <= scanLimit {
		for i := range n.attrs {
			if n.attrs[i].name == name {
				return i
			}
		}
		return -1
	}
	if n.index == nil {
		n.index = make(map[string]int32, len(n.attrs))
		for i := range n.attrs {
			n.index[n.attrs[i].name] = int32(i)
		}
	}
	if i, ok := n.index[name]; ok {
		return int(i)
	}
	return -1
}

// add appends an attribute whose name n does not have.
func (n *node) add(a attr) {
	n.attrs = append(n.attrs, a)
	if n.index != nil {
		n.index[a.name] = int32(len(n.attrs) - 1)
	}
}

// setAttrs replaces all attributes.
func (n *node) setAttrs(attrs []attr) {
	n.attrs, n.index = attrs, nil
}

// within reports whether n is m or lies inside it.
func (n *node) within(m *node) bool {
	in, _ := n.climb(m)
	return in
}

// climb is within, and counts the levels.
func (n *node) climb(m *node) (in bool, levels int) {
	for ; n != nil; n = n.parent {
		if n == m {
			return true, levels
		}
		levels++
	}
	return false, levels
}

// path returns the place of n as diagnostics name it; "" for the top.
func (n *node) path() string {
	const most = 200 // levels shown
	var names []string
	for ; n != nil && n.parent != nil && len(names) < most; n = n.parent {
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return strings.Join(names, ":")
}

// union returns the tags of both lists, sorted.
func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	merged := make([]string, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			merged, a = append(merged, a[0]), a[1:]
		case a[0] > b[0]:
			merged, b = append(merged, b[0]), b[1:]
		default:
			merged, a, b = append(merged, a[0]), a[1:], b[1:]
		}
	}
	return append(append(merged, a...), b...)
}

// copyTerm returns a copy of t for attribute name of parent.
func (r *resolver) copyTerm(t term, parent *node, name string) term {
	switch t := t.(type) {
	case *node:
		return r.copyNode(t, parent, name)
	case *ref:
		if t.apply == nil {
			return t
		}
		c := *t
		c.apply = r.copyNode(t.apply, parent, name)
		return &c
	default:
		return t
	}
}

// copyNode returns a copy of n, sealed if that can be.
func (r *resolver) copyNode(n, parent *node, name string) *node {
	c := r.newNode()
	*c = node{
		parent: parent, name: name, at: n.at, op: n.op, data: n.data,
		typed: n.typed, nested: n.nested, placed: n.placed,
	}
	if c.image = r.seal(n); c.image == nil {
		c.attrs = r.copyAttrs(n.attrs, c)
	} else {
		r.memory -= 2
		r.spend(1)
	}
	if r.trace != nil {
		r.trace.from[c] = n
	}
	return c
}

func (r *resolver) copyAttrs(attrs []attr, parent *node) []attr {
	r.memory -= len(attrs) + 3 // a node weighs about as much as three
	if !r.spend(len(attrs) + 1) {
		return nil
	}
	list := make([]attr, len(attrs))
	copy(list, attrs)
	for i := range list {
		switch list[i].v.(type) {
		case *node, *ref:
			list[i].v = r.copyTerm(list[i].v, parent, list[i].name)
		}
	}
	return list
}

// newNode returns an empty node. Nodes live as long as the whole description,
// so they are made many at a time.
func (r *resolver) newNode() *node {
	if len(r.slab) == 0 {
		r.slab = make([]node, 128)
	}
	n := &r.slab[0]
	r.slab = r.slab[1:]
	return n
}

// newRef returns a reference with nothing set.
func (r *resolver) newRef() *ref {
	if len(r.refs) == 0 {
		r.refs = make([]ref, 128)
	}
	t := &r.refs[0]
	r.refs = r.refs[1:]
	return t
}

// newAttrs returns an empty list with room for n attributes.
func (r *resolver) newAttrs(n int) []attr {
	const many = 256
	if n > many/8 {
		return make([]attr, 0, n)
	}
	if len(r.attrs) < n {
		r.attrs = make([]attr, many)
	}
	list := r.attrs[:0:n]
	r.attrs = r.attrs[n:]
	return list
}
