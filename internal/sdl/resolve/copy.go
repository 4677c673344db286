package resolve

import (
	"slices"

	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// An image is a component as the type phase left it, shared by all its copies
// that nobody has looked into yet. What a phase would do in each of them alike
// it does once, here: 100,000 components that inherit a schema hold that
// schema once, and a sealed node for each copy.
//
// The tree of an image is no part of the description: its own nested
// components are sealed too, and its parent only says where it comes from.
type image struct {
	tree *node
	path bool // a path name is in it

	pass  int  // the last pass of actions that was here
	found bool // in that pass: an attribute began with the prefix
	unfit bool // there was something to report, which each copy does itself
	acted *ref // what the last pass made of it, tree in the place of the copy

	link   closure
	schema *schema // what it checks if it is one; see schemaOf

	converted, linked bool // tree has its immutable form, of this kind
}

// closure says whether the link phase has something to do in an image.
type closure uint8

const (
	closureUnknown closure = iota
	closureOpen
	closureClosed
)

// seal returns the image of n, or nil if copies of n have to be whole: before
// its type is resolved, after the type phase, when n may change, and where an
// Inspection wants to know what each was copied from.
func (r *resolver) seal(n *node) *image {
	switch {
	case n.image != nil:
		return n.image
	case r.images == nil || n.typed != typeDone || r.opts.whole || r.trace != nil:
		return nil
	}
	if i := r.images[n]; i != nil {
		return i
	}
	i := &image{tree: r.newNode()}
	*i.tree = *n
	i.tree.index = nil
	i.tree.attrs = r.copyAttrs(n.attrs, i.tree)
	for j := range i.tree.attrs {
		a := &i.tree.attrs[j]
		i.path = i.path || a.path
		if c := inner(a.v); c != nil {
			i.path = i.path || c.image == nil || c.image.path
		}
	}
	r.images[n] = i
	return i
}

// open gives n, if it is sealed, attributes of its own.
func (r *resolver) open(n *node) {
	if i := n.image; i != nil {
		n.image = nil
		n.attrs = r.copyAttrs(i.tree.attrs, n)
	}
}

// inner returns the component that t is or holds, or nil.
func inner(t term) *node {
	switch t := t.(type) {
	case *node:
		return t
	case *ref:
		return t.apply
	}
	return nil
}

// closed reports whether the link phase would leave every copy of i as it is.
func (r *resolver) closed(i *image) bool {
	if i.link == closureUnknown {
		i.link = closureOpen
		if r.settled(i.tree) {
			i.link = closureClosed
		}
	}
	return i.link == closureClosed
}

// settled reports whether nothing in n, a tree of an image, is left to link.
func (r *resolver) settled(n *node) bool {
	for i := range n.attrs {
		switch v := n.attrs[i].v.(type) {
		case *node:
			if v.image == nil || !r.closed(v.image) {
				return false
			}
		case *ref:
			if v.apply != nil || !v.lazy && !v.data {
				return false
			}
		case *vector, *variable, value.TBD:
			if !literal(v) {
				return false
			}
		}
	}
	return true
}

// literal reports whether nothing in t is left to link or to report.
func literal(t term) bool {
	switch t := t.(type) {
	case *vector:
		for _, e := range t.elems {
			if !literal(e) {
				return false
			}
		}
		return true
	case value.TBD, *variable, *node, *ref:
		return false
	}
	return true
}

// actImage makes one pass of actions over the image of n, which is sealed, and
// reports what it found. It returns false if n has to be opened.
func (r *resolver) actImage(n *node, prefix string) (found, ok bool) {
	i := n.image
	if r.config != nil {
		return false, false // copies outside sfConfig are not to change
	}
	if i.pass != r.pass {
		i.pass, i.acted = r.pass, nil
		r.quiet++
		before := r.muffled
		i.found = r.actions(i.tree, prefix)
		if t, acted := r.act(i.tree, prefix); acted {
			i.acted, _ = t.(*ref)
		}
		i.unfit = r.muffled != before
		r.quiet--
	}
	return i.found, !i.unfit
}

// become returns what the pass of actions just made makes of n, which is
// sealed.
func (n *node) become() (term, bool) {
	if n.image.acted == nil {
		return nil, false
	}
	t := *n.image.acted
	t.apply = n
	n.data = true
	return &t, true
}

// convertImage gives n, which is sealed, the immutable form of its image, and
// reports whether that could be done.
func (r *resolver) convertImage(n *node, linked bool, depth int) bool {
	i := n.image
	if linked && !r.closed(i) || i.converted && i.linked != linked {
		return false
	}
	i.converted, i.linked = true, linked
	n.out = r.convert(i.tree, linked, depth)
	if n.out == nil {
		return false
	}
	n.size, n.comps, n.paths, n.mark = i.tree.size, i.tree.comps, i.tree.paths, markDone
	return true
}

// schema is what an image that is a schema checks, where that is the same for
// all copies.
type schema struct {
	fixed    bool // the rest holds
	static   bool
	elements []Element

	known []string // the attributes it speaks of
	need  map[string]bool
	names map[string]bool     // those in known
	near  map[string][]string // names asked for, with those of known like them
}

// schemaOf returns what i checks if it is the component of an assertion.
func (r *resolver) schemaOf(i *image) *schema {
	if i.schema == nil {
		i.schema = &schema{fixed: true, need: map[string]bool{}, near: map[string][]string{}}
		i.schema.known = elementNames(i.tree, nil, i.schema.need)
		i.schema.names = setOf(i.schema.known)
		for j := range i.tree.attrs {
			if !i.schema.add(&i.tree.attrs[j]) {
				i.schema.fixed = false
				break
			}
		}
	}
	return i.schema
}

// add takes in the attribute a of a schema, and reports whether it is one that
// every copy evaluates alike.
func (s *schema) add(a *attr) bool {
	switch t := a.v.(type) {
	case value.String:
		s.static = s.static || a.name == assertionPhase && (t == "static" || t == "staticLazy")
		return a.name == syntax.FunctionClass || a.name == assertionPhase && s.static
	case *ref:
		if !isElement(t) || t.lazy {
			return false
		}
		e := newElement()
		for _, p := range attrsOf(t.apply) {
			if !isParameter(p.name) || !slices.Contains(elementParameters, p.name) {
				continue
			}
			if !literal(p.v) || e.set(p.name, frozen(p.v)) != nil {
				return false
			}
		}
		s.elements = append(s.elements, e)
		return true
	}
	return false
}

// nearTo returns the names in s.known, of the schema s, that are much like name.
func (r *resolver) nearTo(s *schema, name string) []string {
	list, asked := s.near[name]
	if !asked {
		list = r.nearest(name, s.known)
		s.near[name] = list
	}
	return list
}

// attrsOf returns the attributes of n, which may be sealed, to be read only.
func attrsOf(n *node) []attr {
	if n.image != nil {
		return n.image.tree.attrs
	}
	return n.attrs
}

// met checks s, a schema in holder. It returns false if something is wrong: the
// check of the schema's own component, element by element, tells what.
func (r *resolver) met(s *schema, holder *node) (met bool, how outcome) {
	for i := range s.elements {
		e := &s.elements[i]
		at := holder.find(e.Name)
		if at < 0 {
			if e.Optional {
				continue
			}
			return false, done
		}
		v, how := r.attr(slot{holder, at})
		if how == failed {
			return false, failed
		}
		if text, _ := e.refuses(v); text != "" {
			return false, done
		}
	}
	return true, done
}
