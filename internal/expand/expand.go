// Package expand writes out what a description says in short. So far that is
// sets of copies: a component with sfCopies stands for as many siblings
// (runtime.md UP7). It is pure, and a description without copies passes
// unchanged. It chooses no machine and knows no classes; it starts no
// goroutine.
//
// It works in two passes. The first makes the tree of scopes as it will be:
// one for each component, several where one is copied. The second writes a
// component for each scope; references are walked over the new tree then, and
// the walk stops wherever the old name of a copied component is met. From
// inside a copy that name means this copy; from outside it means all of them,
// and the reference becomes a vector of references.
package expand

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// The attributes of copies.
const (
	attrCopies = "sfCopies"
	attrIndex  = "sfCopyIndex"
)

// Bounds on what a short text may ask for.
const (
	maxCopies     = 10_000   // of one component
	maxComponents = 100_000  // of all of a description, copies counted
	maxElements   = 200_000  // of all vectors that references become
	maxSize       = 32 << 20 // of all copies, about as many bytes as they are written with
)

// Bind is a reference to a set of copies: what reads it gets values, and is
// not ordered by it (runtime.md LZ4).
type Bind struct {
	Holder value.Path // the component that holds the reference
	Attr   string     // its attribute
	Copy   value.Path // what the reference leads to, or into
}

// Binds are the references to sets of copies.
type Binds map[Bind]bool

// Further are copies beside those of which sfCopies gives the number, by the
// path that their set has in the description: their numbers, above it.
type Further map[value.Path][]int

// Copies returns the description below root with every set of copies written
// out, in its place: copy 1 to n of component NAME are called NAME1 to NAMEn
// and have their number as sfCopyIndex, and no sfCopies. Further copies, if
// any, come behind them. The list holds what is wrong with them; with errors in
// it there is no result.
func Copies(root *value.Component, further Further) (*value.Component, Binds, *diag.List) {
	x := &expander{further: further, binds: Binds{}, sizes: map[*value.Component]int{}, problems: &diag.List{}}
	if a, ok := root.Attr(attrCopies); ok {
		x.problem(a, "", "the top of a system cannot be copied", "sfCopies on a component inside it", "", "to have the system several times, deploy it under several names")
	}
	if !copied(root) {
		return root, x.binds, x.problems
	}
	x.root = x.scope(&scope{comp: root})
	if x.problems.Errors() > 0 {
		return nil, nil, x.problems
	}
	out := x.write(x.root)
	if x.problems.Errors() > 0 {
		return nil, nil, x.problems
	}
	return out, x.binds, x.problems
}

// copied reports whether anything below c is a set of copies.
func copied(c *value.Component) bool {
	for a := range c.All() {
		child, ok := eager(a.Value)
		if !ok {
			continue
		}
		if _, is := child.Attr(attrCopies); is || copied(child) {
			return true
		}
	}
	return false
}

func eager(v value.Value) (*value.Component, bool) {
	c, ok := v.(*value.Component)
	return c, ok && !c.Data
}

type expander struct {
	root       *scope
	further    Further
	components int                      // in copies
	size       int                      // of copies
	sizes      map[*value.Component]int // of components as the description has them
	elements   int
	over       bool // a bound was passed and told
	binds      Binds
	problems   *diag.List
}

// scope is a component in its place in the description written out: a node of
// its tree, or a data component or function inside one.
type scope struct {
	comp     *value.Component // as the description has it
	up       *scope
	name     string              // in up
	path     value.Path          // of a node
	way      []value.Part        // to a node from the top; made when asked for
	node     bool                // whether it is one
	set      string              // of a copy: the name it had
	index    int                 // of a copy, from 1; else 0
	of       int                 // copies in its set
	copied   bool                // whether it is or lies in a copy
	children map[string]*scope   // by the names they get
	sets     map[string][]*scope // the copies, by the name they had
}

// scope completes the scope of a component and makes those of the components
// below it.
func (x *expander) scope(s *scope) *scope {
	s.node = true
	if s.up != nil {
		s.path = s.up.path.Child(s.name)
		s.copied = s.index > 0 || s.up.copied
		s.up.enter(s)
	}
	if s.copied {
		x.components++
		if x.size += x.own(s.comp); x.full() {
			return s
		}
	}
	for a := range s.comp.All() {
		child, ok := eager(a.Value)
		if !ok {
			continue
		}
		many, is := child.Attr(attrCopies)
		if !is {
			x.scope(&scope{comp: child, up: s, name: a.Name})
			continue
		}
		n, ok := x.number(many, s.path.Child(a.Name))
		if !ok {
			continue
		}
		further := x.further[s.path.Child(a.Name)]
		s.begin(a.Name, n+len(further))
		for i := 1; i <= n+len(further) && !x.full(); i++ {
			index := i
			if i > n {
				index = further[i-n-1]
			}
			copyName := fmt.Sprint(a.Name, index)
			if _, taken := s.comp.Attr(copyName); taken || s.children[copyName] != nil {
				x.taken(a, s.path.Child(a.Name), copyName)
				continue
			}
			s.sets[a.Name] = append(s.sets[a.Name], x.scope(&scope{comp: child, up: s, name: copyName, set: a.Name, index: index, of: n}))
		}
		x.bound(many, s.path.Child(a.Name))
	}
	return s
}

func (s *scope) enter(c *scope) {
	if s.children == nil {
		s.children = map[string]*scope{}
	}
	s.children[c.name] = c
}

// full reports whether the copies are too many, or too much in all.
func (x *expander) full() bool { return x.components > maxComponents || x.size > maxSize }

// bound tells once that a bound was passed.
func (x *expander) bound(a value.Attr, at value.Path) {
	if x.over || !x.full() {
		return
	}
	x.over = true
	expected := fmt.Sprintf("at most %d components in a system, all copies counted", maxComponents)
	if x.components <= maxComponents {
		expected = fmt.Sprintf("at most %d MiB of description, all copies counted", maxSize>>20)
	}
	x.problem(a, at, "too many copies", expected, "more")
}

// own returns the size of what a component holds beside other components.
func (x *expander) own(c *value.Component) int {
	size, known := x.sizes[c]
	if !known {
		for a := range c.All() {
			if _, ok := eager(a.Value); !ok {
				size += len(a.Name) + sizeOf(a.Value)
			}
		}
		x.sizes[c] = size
	}
	return size
}

// sizeOf returns about how many bytes a value is written with.
func sizeOf(v value.Value) int {
	size := 8
	switch v := v.(type) {
	case value.String:
		size += len(v)
	case value.Vector:
		for _, e := range v {
			size += sizeOf(e)
		}
	case *value.Component:
		for a := range v.All() {
			size += len(a.Name) + sizeOf(a.Value)
		}
	case *value.Reference:
		for _, p := range v.Parts {
			size += len(p.Name) + 1
		}
		if v.Apply != nil {
			size += sizeOf(v.Apply)
		}
	}
	return size
}

func (s *scope) begin(name string, n int) {
	if s.sets == nil {
		s.sets = map[string][]*scope{}
	}
	s.sets[name] = make([]*scope, 0, n)
}

// inside returns the scope of the component c that attribute name of s holds.
func (s *scope) inside(name string, c *value.Component) *scope {
	if k := s.children[name]; k != nil {
		return k
	}
	k := &scope{comp: c, up: s, name: name}
	s.enter(k)
	return k
}

// holder returns the node that s is or lies in, and the attribute of the node
// that holds what is called name in s.
func (s *scope) holder(name string) (*scope, string) {
	for !s.node {
		s, name = s.up, s.name
	}
	name, _, _ = strings.Cut(name, "[") // an element of a vector
	return s, name
}

// number reads sfCopies.
func (x *expander) number(a value.Attr, at value.Path) (int, bool) {
	wanted := fmt.Sprintf("a whole number from 0 to %d", maxCopies)
	var n int64
	switch v := a.Value.(type) {
	case value.Integer:
		n = int64(v)
	case value.Long:
		n = int64(v)
	case *value.Reference:
		x.problem(a, at, "the number of copies is not known while planning", wanted, "a LAZY value",
			"write the number, or an expression of attributes that the description gives")
		return 0, false
	default:
		x.problem(a, at, "sfCopies is not a number of copies", wanted, value.Source(a.Value))
		return 0, false
	}
	if n < 0 || n > maxCopies {
		x.problem(a, at, "sfCopies is out of range", wanted, fmt.Sprint(n))
		return 0, false
	}
	return int(n), true
}

func (x *expander) problem(a value.Attr, at value.Path, message, expected, found string, hints ...string) {
	d := diag.New(diag.CopyNumber, diag.At(a.Pos), message)
	d.Path, d.Attribute, d.Expected, d.Found, d.Hints = at.String(), attrCopies, expected, found, hints
	x.problems.Add(d)
}

func (x *expander) taken(a value.Attr, at value.Path, name string) {
	d := diag.New(diag.CopyName, diag.At(a.Pos), fmt.Sprintf("copy %s of %s has the name of something else beside it", name, a.Name))
	d.Path, d.Hints = at.String(), []string{"give one of them another name"}
	x.problems.Add(d)
}

// write returns the component of a node as it is written out.
func (x *expander) write(s *scope) *value.Component {
	out := value.NewComponent(false)
	for a := range s.comp.All() {
		if _, ok := eager(a.Value); !ok {
			switch {
			case s.index > 0 && a.Name == attrCopies:
				a.Name, a.Value = attrIndex, value.Integer(s.index)
			case s.index > 0 && a.Name == attrIndex:
				continue
			default:
				a.Value = x.value(s, a.Name, a.Value)
			}
			out.Set(a)
			continue
		}
		set, is := s.sets[a.Name]
		if !is {
			a.Value = x.write(s.children[a.Name])
			out.Set(a)
			continue
		}
		// What is tagged sfLocal is found by single words only. Copies are
		// referred to by their paths.
		a.Tags = slices.DeleteFunc(slices.Clone(a.Tags), func(t string) bool { return t == "sfLocal" })
		for _, c := range set {
			a.Name, a.Value = c.name, x.write(c)
			out.Set(a)
		}
	}
	return out
}
