package resolve

import (
	"fmt"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// What a phase attribute may name.
const (
	constructFunction   = syntax.ConstructFunction
	constructAssertions = "org.smartfrog.sfcore.languages.sf.ConstructAssertions"
	constructSchema     = "org.smartfrog.sfcore.languages.sf.ConstructSchema"
)

// phasePrefix begins the names of attributes that ask for an action.
const phasePrefix = "phase."

// functionPhase replaces every component that has an attribute phase.function
// by the reference its action makes of it, innermost first.
func (r *resolver) functionPhase() {
	r.pass++
	r.actions(r.top(), syntax.PhaseFunction)
}

// namedPhase runs the actions of a phase that only descriptions know (PH3).
func (r *resolver) namedPhase(p Phase) {
	r.pass++
	if r.actions(r.top(), phasePrefix+string(p)) {
		return
	}
	d := diag.New(diag.PhaseNoEffect, r.phasesAt,
		fmt.Sprintf("phase %q has no effect: no attribute begins with phase.%s", string(p), string(p)))
	d.Hints = []string{"the phases are type, place, function, sfConfig, link, print"}
	r.report(nil, d)
}

// actions visits what lies in n, innermost first, and reports whether an
// attribute begins with prefix.
func (r *resolver) actions(n *node, prefix string) (found bool) {
	if r.busy = n; !r.spend(1) {
		return false
	}
	if n.image != nil {
		if found, ok := r.actImage(n, prefix); ok {
			return found
		}
		r.open(n)
	}
	for i := range n.attrs {
		a := &n.attrs[i]
		switch v := a.v.(type) {
		case *node:
			found = r.actions(v, prefix) || found
			t, asked := r.act(v, prefix)
			if t != nil {
				n.attrs[i].v = t
			}
			found = found || asked
		case *ref:
			if v.apply != nil {
				found = r.actions(v.apply, prefix) || found
			}
		}
	}
	return found
}

// act carries out the action of n, if one is asked for, and returns what n
// becomes; nil after a mistake.
func (r *resolver) act(n *node, prefix string) (t term, asked bool) {
	if n.image != nil {
		return n.become()
	}
	for i := range n.attrs {
		a := &n.attrs[i]
		if !strings.HasPrefix(a.name, prefix) {
			continue
		}
		action, _ := a.v.(value.String)
		switch string(action) {
		case constructFunction:
			t = r.construct(n, prefix)
		case constructAssertions:
			t = r.constructAssert(n, false)
		case constructSchema:
			t = r.constructAssert(n, true)
		default:
			d := r.diagnostic(diag.NoFunctionClass, a.span(), n, fmt.Sprintf("unknown phase action %s", kindAndText(a.v)))
			d.Attribute = a.name
			d.Expected = "one of " + strings.Join([]string{constructFunction, constructAssertions, constructSchema}, ", ")
			r.report(nil, d)
		}
		return t, true
	}
	return nil, false
}

// construct makes a function of n, without the attributes that asked for it.
func (r *resolver) construct(n *node, prefix string) term {
	if n.find(syntax.FunctionClass) < 0 {
		r.report(nil, r.diagnostic(diag.NoFunctionClass, n.at, n, "function without sfFunctionClass"))
		return nil
	}
	f := r.newRef()
	*f = ref{apply: n, at: n.at}
	kept := n.attrs[:0]
	class := 0
	for _, a := range n.attrs {
		if strings.HasPrefix(a.name, syntax.PhaseFunction) || strings.HasPrefix(a.name, prefix) {
			continue
		}
		switch a.name {
		case syntax.FunctionClass:
			class = len(kept)
		case "sfFunctionLazy":
			f.lazy = a.v == term(value.Bool(true))
		}
		kept = append(kept, a)
	}
	c := kept[class]
	copy(kept[1:class+1], kept[:class])
	kept[0] = c
	n.data = true
	n.setAttrs(kept)
	return f
}

// constructAssert makes an assertion of n; of a schema, every element gets the
// name of the attribute it speaks of.
func (r *resolver) constructAssert(n *node, schema bool) term {
	kept := make([]attr, 0, len(n.attrs)+1)
	class := attr{name: syntax.FunctionClass, v: value.String(syntax.FunctionPackage + "CheckAssertions")}
	if !schema {
		kept = append(kept, class)
	}
	var phase *attr
	for i, a := range n.attrs {
		switch {
		case strings.HasPrefix(a.name, phasePrefix), a.name == syntax.FunctionClass:
			continue
		case a.name == assertionPhase && schema:
			phase = &n.attrs[i]
			continue
		case schema:
			element, ok := a.v.(*ref)
			if !ok || element.apply == nil {
				if strings.HasPrefix(a.name, "sf") {
					break
				}
				d := r.diagnostic(diag.SchemaFailed, a.span(), n, fmt.Sprintf("schema element %s is not a component", a.name))
				d.Phase, d.Attribute, d.Expected, d.Found = string(Function), a.name, "a component such as extends String", kindText(a.v)
				r.report(nil, d)
				return nil
			}
			r.open(element.apply)
			named := attr{name: "name", v: value.String(a.name), src: a.src}
			if i := element.apply.find("name"); i >= 0 {
				element.apply.attrs[i] = named
			} else {
				element.apply.add(named)
			}
		}
		kept = append(kept, a)
	}
	if schema {
		kept = append(kept, class)
		if phase != nil {
			kept = append(kept, *phase)
		}
	}
	n.data = true
	n.setAttrs(kept)
	return &ref{assert: true, apply: n, at: n.at}
}

// assertionPhase is the attribute that says when an assertion is checked.
const assertionPhase = "sfAssertionPhase"
