package resolve

import (
	"fmt"
	"slices"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// linkState says how far linking of an attribute has come.
type linkState uint8

const (
	linkNew linkState = iota
	linkActive
	linkDone
	linkFailed
)

// outcome says what became of a term that was asked for.
type outcome uint8

const (
	done   outcome = iota
	lazy           // known only at run time
	failed         // reported, or quiet
)

// linking is the state of the link phase.
type linking struct {
	trail []slot // attributes under way
	env   *ambient
	// strays holds the components that were told to have a schema element
	// without being a schema.
	strays map[*node]bool
	late   bool // a LAZY reference is in the result

	frames []*frame // of function calls; the first calls of them are under way
	calls  int

	scratch []value.Attr           // of the components being converted
	written map[string]syntax.Expr // values of properties by their text; nil for what is none
}

// slot is an attribute in its place.
type slot struct {
	n *node
	i int
}

func (s slot) attr() *attr { return &s.n.attrs[s.i] }

func (s slot) String() string {
	if p := s.n.path(); p != "" {
		return p + ":" + s.attr().name
	}
	return s.attr().name
}

// configPhase makes the value of sfConfig the top (CF1).
func (r *resolver) configPhase() {
	i := r.root.find("sfConfig")
	if i < 0 {
		r.configMissing()
		return
	}
	v, how := r.attr(slot{r.root, i})
	if how == failed {
		return
	}
	n, isNode := v.(*node)
	if how == lazy || !isNode {
		d := r.diagnostic(diag.ConfigNotComponent, r.root.attrs[i].span(), r.root, "sfConfig is not a component")
		d.Attribute, d.Expected, d.Found = "sfConfig", "a component", kindText(v)
		r.report(nil, d)
		return
	}
	r.config = n
}

// configMissing reports that there is no sfConfig, at what is nearly called so.
func (r *resolver) configMissing() {
	d := diag.New(diag.ConfigMissing, diag.Span{Pos: value.Pos{File: r.rootName(), Line: 1, Col: 1}}, "sfConfig is missing")
	names := make([]string, len(r.root.attrs))
	for i := range r.root.attrs {
		names[i] = r.root.attrs[i].name
	}
	if near := diag.Nearest("sfConfig", names); len(near) > 0 {
		if a := &r.root.attrs[r.root.find(near[0])]; a.src != nil {
			d.Span = a.src.NameSpan
		}
		d.Hints = []string{"is " + near[0] + " meant to be sfConfig?"}
	}
	d.Hints = append(d.Hints, "a description deploys the component called sfConfig: sfConfig extends { … }")
	r.report(nil, d)
}

// linkPhase replaces references by values in all that the top reaches.
func (r *resolver) linkPhase() {
	r.walk(r.top(), 0)
}

// walk links the attributes of n in order, and then what lies in each.
func (r *resolver) walk(n *node, depth int) {
	if n.walked {
		return
	}
	if depth > maxDepth {
		r.tooDeep(n.at, n)
		return
	}
	n.walked = true
	r.busy = n
	if n.image != nil && r.closed(n.image) {
		return
	}
	r.open(n)
	for i := range n.attrs {
		if !r.spend(1) {
			return
		}
		if v, how := r.attr(slot{n, i}); how != failed {
			r.walkTerm(v, depth)
		}
	}
}

func (r *resolver) walkTerm(t term, depth int) {
	switch t := t.(type) {
	case *node:
		r.walk(t, depth+1)
	case *vector:
		if t.walked || depth > maxDepth || !r.spend(len(t.elems)) {
			return
		}
		t.walked = true
		for _, e := range t.elems {
			r.walkTerm(e, depth+1)
		}
	case *ref:
		if t.apply != nil && !t.assert {
			r.walk(t.apply, depth+1)
		}
	}
}

// attr returns the value of the attribute at s, which it links at the first
// use.
func (r *resolver) attr(s slot) (term, outcome) {
	a := s.attr()
	switch a.state {
	case linkDone:
		return a.v, lateness(a.v)
	case linkFailed:
		return nil, failed
	case linkActive:
		r.linkCycle(s)
		return nil, failed
	}
	switch v := a.v.(type) {
	case *node:
		a.state = linkDone
		return v, done
	case *vector, *ref, *variable, value.TBD:
	default:
		a.state = linkDone
		return v, done
	}
	if len(r.trail) > maxDepth {
		r.tooDeep(a.span(), s.n)
		return nil, failed
	}
	if !r.spend(1) {
		return nil, failed
	}
	a.state = linkActive
	r.trail = append(r.trail, s)
	v, how := r.settle(s, a.v)
	r.trail = r.trail[:len(r.trail)-1]
	a = s.attr() // the attributes may have moved
	switch {
	case how != failed:
		a.v, a.state = v, linkDone
	case r.quiet > 0:
		a.state = linkNew // to be reported when it is needed
	default:
		a.state = linkFailed
	}
	return v, how
}

// lateness says whether the linked term t is known only at run time.
func lateness(t term) outcome {
	if v, isRef := t.(*ref); isRef && v.lazy && !v.data && !v.assert {
		return lazy
	}
	return done
}

// settle returns the value of t, which stands in the attribute at s.
func (r *resolver) settle(s slot, t term) (term, outcome) {
	switch t := t.(type) {
	case value.TBD:
		d := r.attrDiagnostic(diag.StillTBD, s, "still to be defined")
		d.Hints = []string{fmt.Sprintf("give %s a value where the component is used", s.attr().name)}
		r.report(nil, d)
		return nil, failed
	case *variable:
		r.report(nil, r.attrDiagnostic(diag.Constraint, s, "constraint variables are not supported"))
		return nil, failed
	case *vector:
		for _, e := range t.elems {
			if v, isVariable := e.(*variable); isVariable {
				return r.settle(s, v)
			}
		}
	case *ref:
		switch {
		case t.assert:
			return r.assertion(s, t)
		case t.data:
			return t, done
		case t.apply != nil && !t.lazy:
			return r.function(s, t)
		case t.lazy:
			return t, lazy
		}
		return r.reference(s, t)
	}
	return t, done
}

// reference returns what the eager reference t in the attribute at s refers to.
func (r *resolver) reference(s slot, t *ref) (term, outcome) {
	if t.optional {
		r.quiet++
	}
	v, how := r.lookUp(s, t)
	if t.optional {
		r.quiet--
	}
	if how == lazy && !t.optional {
		late := *t
		late.lazy = true
		return &late, lazy
	}
	if how == done || !t.optional {
		return v, how
	}
	if how == lazy {
		d := r.attrDiagnostic(diag.OptionalLazy, s, fmt.Sprintf("OPTIONAL takes its default: %s is known only at run time", linkText(t.parts)))
		d.Hints = []string{"LAZY OPTIONAL keeps the reference for run time"}
		r.report(nil, d)
	}
	if t.def == nil {
		return value.Null{}, done
	}
	return t.def, done
}

// lookUp walks the parts of t from the component of s.
func (r *resolver) lookUp(s slot, t *ref) (term, outcome) {
	out := model.Walk(links{r}, s.n, t.parts)
	switch out.Kind {
	case model.Found:
		a := &out.In.attrs[out.In.find(out.Name)]
		r.warnOwnParameter(s, t, out)
		if v, isVector := a.v.(*vector); isVector {
			return r.elements(slot{out.In, out.In.find(out.Name)}, s, t, v)
		}
		return a.v, done
	case model.Whole:
		r.warnOwnParameter(s, t, out)
		in, levels := s.n.climb(out.Component)
		if !r.spend(levels / 16) {
			return nil, failed
		}
		if in {
			r.ancestorLink(s, t, out.Component)
			return nil, failed
		}
		return out.Component, done
	case model.Lazy:
		return nil, lazy
	case model.External:
		return r.external(s, t, out.At)
	case model.Failed:
		return nil, failed
	}
	r.notFound(s, t, out)
	return nil, failed
}

// elements resolves the references among the elements of v, the value of the
// attribute at holder (LK3).
func (r *resolver) elements(holder, s slot, t *ref, v *vector) (term, outcome) {
	switch {
	case v.plain || !r.spend(len(v.elems)):
		return v, done
	case v.active:
		r.linkCycle(holder)
		return nil, failed
	case len(r.trail) > maxDepth:
		r.tooDeep(v.at, holder.n)
		return nil, failed
	}
	v.active = true
	r.trail = append(r.trail, holder)
	defer func() {
		r.trail = r.trail[:len(r.trail)-1]
		v.active = false
	}()
	var resolved *vector
	for i, e := range v.elems {
		x := e
		switch e := e.(type) {
		case *ref:
			if e.lazy && !e.data || e.apply != nil {
				d := r.attrDiagnostic(diag.ReferenceNotFound, s, fmt.Sprintf("element %d of the vector %s is known only at run time", i, linkText(t.parts)))
				r.report(nil, d)
				return nil, failed
			}
			plain := *e
			plain.data, plain.lazy = false, false
			w, how := r.reference(holder, &plain)
			if how != done {
				if how == lazy {
					r.report(nil, r.attrDiagnostic(diag.ReferenceNotFound, s, fmt.Sprintf("element %d of the vector %s is known only at run time", i, linkText(t.parts))))
				}
				return nil, failed
			}
			x = w
		case *vector:
			w, how := r.elements(holder, s, t, e)
			if how != done {
				return nil, how
			}
			x = w
		default:
			continue
		}
		if _, isVector := e.(*vector); isVector && x == e {
			continue // nothing to resolve in it
		}
		if resolved == nil {
			if !r.spend(len(v.elems)) {
				return nil, failed
			}
			resolved = &vector{elems: append([]term(nil), v.elems...), at: v.at}
		}
		resolved.elems[i] = x
	}
	if resolved == nil {
		v.plain = true
		return v, done
	}
	resolved.plain = true
	return resolved, done
}

// links is the space in which the link phase looks up references: every
// attribute met is linked first.
type links struct{ r *resolver }

func (l links) Attr(n *node, name string, first bool) (model.Item[*node], bool) {
	l.r.open(n)
	i := n.find(name)
	if i < 0 || !first && slices.Contains(n.attrs[i].tags, "sfLocal") {
		if !l.r.spend(1) {
			return model.Item[*node]{Kind: model.ItemFailed}, true
		}
		return model.Item[*node]{}, false
	}
	v, how := l.r.attr(slot{n, i})
	switch how {
	case failed:
		return model.Item[*node]{Kind: model.ItemFailed}, true
	case lazy:
		return model.Item[*node]{Kind: model.ItemLazy}, true
	}
	if c, isNode := v.(*node); isNode {
		return model.Item[*node]{Kind: model.ItemComponent, Component: c}, true
	}
	return model.Item[*node]{}, true
}

func (l links) Parent(n *node) (*node, bool) { return n.parent, n.parent != nil }

func (l links) Root(*node) *node { return l.r.root }

// ownParameters are the words that a binary operator, !, and IF use for their
// operands, and so hide from them (LK14).
var ownParameters = map[string]bool{"left": true, "right": true, "data": true, "if": true, "then": true, "else": true}

// warnOwnParameter warns of a word in an operand that found another operand.
func (r *resolver) warnOwnParameter(s slot, t *ref, out model.Outcome[*node]) {
	if !r.findsOwnParameter(s, t) || len(t.parts) == 1 && out.In != s.n {
		return
	}
	d := r.attrDiagnostic(diag.OperatorParameter, s, fmt.Sprintf("%s means the operator's own parameter here", t.parts[0].Name))
	d.Hints = []string{"did you mean PARENT:" + t.parts[0].Name + "?"}
	r.report(nil, d)
}

func (r *resolver) findsOwnParameter(s slot, t *ref) bool {
	p := t.parts[0]
	return s.n.op != syntax.NotOp && p.Kind == value.PartAttrib && ownParameters[p.Name] && s.n.find(p.Name) >= 0
}
