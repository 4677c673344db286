package model

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"aloft/value"
)

// Target is a component that a LAZY reference leads to, or into.
type Target struct {
	Path value.Path
	Attr string // the attribute read; "" for the component as a whole
	// Given is set where the description gives the attribute, so that reading
	// it waits for nothing.
	Given bool
}

// Problem is a LAZY reference that can never resolve.
type Problem struct {
	Path    value.Path // the component that holds the reference
	Attr    string     // its attribute
	Pos     value.Pos
	Message string
	Hints   []string

	order int // of the component
}

// maxProblems is how many problems Check looks for, and maxVisits how many
// attributes it asks for on the way: references climb, and a tree may be deep.
const (
	maxProblems = 1000
	maxVisits   = 20_000_000
)

// Bounds on what one value may need: without them a short description could
// ask for a value of any size (forty attributes, each twice the one before).
const (
	maxChain = 10_000  // references that need each other
	maxSteps = 100_000 // attributes and elements rewritten
)

// Absolute returns the value of attr, an attribute of holder, with every LAZY
// reference in it rewritten so that it no longer depends on where it stands: a
// reference to a value that the description gives becomes that value, one to
// an output becomes LAZY ROOT:path:attr, one to a component LAZY ROOT:path. A
// reference through something known only at run time (a function, PROCESS,
// HOST, PROPERTY) stays as it is. Where OPTIONAL cannot resolve, its default
// takes its place.
//
// Outputs reports whether the class of a component declares an output. If it
// is nil nothing is known of classes, and a name missing from a component at
// the end of a path is taken for an output (RX3).
//
// Targets holds every component referred to, in order and without repetition.
// A mistake is a problem only of the attribute it was written in.
func Absolute(t *Tree, holder *Node, attr value.Attr, outputs func(*Node, string) bool) (value.Value, []Target, []Problem) {
	a := absolute{
		sp:     space{tree: t, outputs: outputs},
		holder: holder,
		attr:   attr,
		seen:   map[Target]bool{},
		active: map[place]bool{},
		leads:  map[place]lead{},
	}
	v := a.follow(place{holder.scope, attr.Name}, attr.Value)
	return v, a.targets, a.problems
}

// Check returns the LAZY references of the whole tree that can never resolve,
// in the order of the components, each once. Outputs is as for Absolute. Its
// cost is linear in the size of the tree. Where there is too much to look at it
// returns what it has found.
func Check(t *Tree, outputs func(*Node, string) bool) []Problem {
	return CheckContext(context.Background(), t, outputs)
}

// CheckContext is Check for trees that may be large: it ends soon after ctx is
// done, with what it has found.
func CheckContext(ctx context.Context, t *Tree, outputs func(*Node, string) bool) []Problem {
	visits := 0
	a := absolute{
		sp:     space{tree: t, outputs: outputs, visits: &visits},
		seen:   map[Target]bool{},
		active: map[place]bool{},
		leads:  map[place]lead{},
		done:   map[place]bool{},
	}
	for n := range t.PreOrder() {
		if len(a.problems) >= maxProblems || visits > maxVisits || n.Order%256 == 0 && ctx.Err() != nil {
			break
		}
		for at := range n.Own() {
			if visits > maxVisits || len(a.problems) >= maxProblems {
				break
			}
			if visits++; visits%1024 == 0 && ctx.Err() != nil {
				return a.problems
			}
			if hasReference(at.Value) {
				a.follow(place{n.scope, at.Name}, at.Value)
			}
		}
	}
	slices.SortStableFunc(a.problems, func(p, q Problem) int {
		return cmp.Compare(p.order, q.order)
	})
	return a.problems
}

// place is an attribute of a component.
type place struct {
	s    *scope
	name string
}

func (p place) String() string { return p.s.String() + ":" + p.name }

// before orders places by component, then by name.
func (p place) before(q place) bool {
	if i, j := p.s.within().Order, q.s.within().Order; i != j {
		return i < j
	}
	return p.String() < q.String()
}

// absolute is one call of Absolute.
type absolute struct {
	sp       space
	holder   *Node
	attr     value.Attr
	targets  []Target
	problems []Problem

	seen   map[Target]bool
	active map[place]bool // the attributes being rewritten
	trail  []place        // the same, in order
	leads  map[place]lead // what through found
	steps  int

	// done is set for Check, which enters each attribute once.
	done map[place]bool
}

// lead is what a lazy attribute leads to: a component, or why to none.
type lead struct {
	s    *scope
	kind OutcomeKind
}

// follow rewrites v, the value of the attribute at p, unless that is under way.
func (a *absolute) follow(p place, v value.Value) value.Value {
	if a.done[p] && !a.active[p] || !a.enter(p) {
		return v
	}
	defer a.leave(p)
	if a.done != nil {
		a.done[p] = true
	}
	return a.value(p, v)
}

func (a *absolute) enter(p place) bool {
	if a.active[p] {
		a.cycle(p)
		return false
	}
	if len(a.trail) == maxChain {
		a.once(a.trail[0], fmt.Sprintf("needs a chain of more than %d references", maxChain))
		return false
	}
	if !a.spend() {
		return false
	}
	a.active[p] = true
	a.trail = append(a.trail, p)
	return true
}

func (a *absolute) leave(p place) {
	delete(a.active, p)
	a.trail = a.trail[:len(a.trail)-1]
}

// spend counts a step and reports whether it may be taken.
func (a *absolute) spend() bool {
	a.steps++
	if a.steps > maxSteps && a.done == nil {
		a.once(a.trail[0], fmt.Sprintf("value of more than %d elements", maxSteps))
		return false
	}
	return true
}

// value rewrites v, which stands in the attribute at p.
func (a *absolute) value(p place, v value.Value) value.Value {
	switch v := v.(type) {
	case value.Vector:
		return a.vector(p, v)
	case *value.Component:
		return a.component(p.s.child(p.name, v))
	case *value.Reference:
		return a.reference(p, v)
	default:
		return v
	}
}

func (a *absolute) vector(p place, v value.Vector) value.Value {
	if !hasReference(v) {
		return v
	}
	w := make(value.Vector, len(v))
	for i, e := range v {
		if !a.spend() {
			return v
		}
		w[i] = a.value(place{p.s, fmt.Sprintf("%s[%d]", p.name, i)}, e)
	}
	return w
}

func (a *absolute) component(s *scope) value.Value {
	if !hasReference(s.comp) {
		return s.comp
	}
	c := value.NewComponent(s.comp.Data)
	for at := range s.comp.All() {
		at.Value = a.follow(place{s, at.Name}, at.Value)
		c.Set(at)
	}
	return c
}

func (a *absolute) reference(p place, r *value.Reference) value.Value {
	if r.Data {
		return r
	}
	abs := *r
	if r.Apply != nil {
		// A function is a component of its own inside its holder (LK14).
		abs.Apply = a.component(p.s.child(p.name, r.Apply)).(*value.Component)
		return &abs
	}
	out := a.walk(p.s, r.Parts)
	switch out.Kind {
	case Found:
		return a.given(out)
	case Lazy:
		if _, ok := out.In.comp.Attr(out.Name); ok {
			return a.given(out)
		}
		return a.output(&abs, out.In.node, out.Name)
	case Whole:
		c := out.Component
		if c.node == nil {
			return a.inner(r, c)
		}
		a.target(Target{Path: c.node.Path})
		abs.Parts = absoluteParts(c.node.Path)
		return &abs
	case Missing:
		if n := out.In.node; n != nil && a.sp.outputs == nil {
			return a.output(&abs, n, out.Name)
		}
		if n := p.s.within(); out.At == 0 && r.Parts[0].Kind == value.PartAttrib && a.sp.outputs == nil {
			return a.output(&abs, n, out.Name)
		}
	case External, Failed:
		return r
	}
	if r.Optional {
		if r.Default == nil {
			return value.Null{}
		}
		return r.Default
	}
	a.unresolved(p, r, out)
	return r
}

// given returns the rewritten value of an attribute the description gives.
func (a *absolute) given(out Outcome[*scope]) value.Value {
	a.target(Target{Path: out.In.within().Path, Attr: topName(out.In, out.Name), Given: true})
	at, _ := out.In.comp.Attr(out.Name)
	return a.follow(place{out.In, out.Name}, at.Value)
}

// output makes r refer to an output of n.
func (a *absolute) output(r *value.Reference, n *Node, name string) value.Value {
	a.target(Target{Path: n.Path, Attr: name})
	r.Parts = append(absoluteParts(n.Path), value.Part{Kind: value.PartHere, Name: name})
	return r
}

// inner returns the value of a reference to s, a data component.
func (a *absolute) inner(r *value.Reference, s *scope) value.Value {
	if s.up == nil || s.name == "" {
		return r
	}
	at, ok := s.up.comp.Attr(s.name)
	if c, isComp := at.Value.(*value.Component); !ok || !isComp || c != s.comp {
		return r // THIS in a function or in an element of a vector
	}
	return a.given(Outcome[*scope]{In: s.up, Name: s.name})
}

// walk follows parts from s, and through the lazy references on the way.
func (a *absolute) walk(s *scope, parts []value.Part) Outcome[*scope] {
	out := Walk(a.sp, s, parts)
	for out.Kind == Lazy && out.At < len(parts)-1 {
		c, kind := a.through(out)
		if kind != Whole {
			out.Kind = kind
			if kind == NotComponent {
				out.At++
			}
			return out
		}
		out = WalkOn(a.sp, c, parts, out.At+1)
	}
	return out
}

// through returns the component that the lazy attribute at the end of out
// leads to, or Whole's opposite: why it leads to none.
func (a *absolute) through(out Outcome[*scope]) (*scope, OutcomeKind) {
	at, ok := out.In.comp.Attr(out.Name)
	if !ok {
		return nil, NotComponent // an output
	}
	r := at.Value.(*value.Reference)
	if r.Apply != nil {
		return nil, External
	}
	p := place{out.In, out.Name}
	if l, known := a.leads[p]; known {
		return l.s, l.kind
	}
	if !a.enter(p) {
		return nil, Failed
	}
	defer a.leave(p)
	l := lead{kind: Failed} // reported where that reference is written
	switch next := a.walk(out.In, r.Parts); next.Kind {
	case Whole:
		l = lead{next.Component, Whole}
	case Lazy:
		l.s, l.kind = a.through(next)
	case Found:
		l.kind = NotComponent
	case External:
		l.kind = External
	}
	a.leads[p] = l
	return l.s, l.kind
}

func (a *absolute) target(t Target) {
	if a.done == nil && !a.seen[t] {
		a.seen[t] = true
		a.targets = append(a.targets, t)
	}
}

// absoluteParts returns the parts of a reference to the component at p.
func absoluteParts(p value.Path) []value.Part {
	names := p.Names()
	parts := make([]value.Part, 1, len(names)+2)
	parts[0] = value.Part{Kind: value.PartRoot}
	for _, n := range names {
		parts = append(parts, value.Part{Kind: value.PartHere, Name: n})
	}
	return parts
}

// topName returns the attribute of the enclosing node in which attribute name
// of s lies.
func topName(s *scope, name string) string {
	for s.node == nil {
		s, name = s.up, s.name
	}
	return name
}

// hasReference reports whether something in v may have to be rewritten.
func hasReference(v value.Value) bool {
	switch v := v.(type) {
	case *value.Reference:
		return v.Apply == nil || hasReference(v.Apply)
	case value.Vector:
		if slices.ContainsFunc(v, hasReference) {
			return true
		}
	case *value.Component:
		for a := range v.All() {
			if hasReference(a.Value) {
				return true
			}
		}
	}
	return false
}
