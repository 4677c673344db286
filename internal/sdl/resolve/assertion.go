package resolve

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// assertion checks the assertion t in the attribute at s and says what becomes
// of it: one for run time stays as it was written, the others leave no trace
// (AS2).
func (r *resolver) assertion(s slot, t *ref) (term, outcome) {
	warned := false
	if t.apply.image != nil {
		if same := r.schemaOf(t.apply.image); same.fixed {
			if warned = same.static; warned {
				r.warnSlips(s)
			}
			met, how := r.met(same, t.apply.parent)
			switch {
			case how == failed:
				return nil, failed
			case met && same.static:
				return dropped{}, done
			case met:
				kept := *t
				kept.lazy = true
				return &kept, done
			}
		}
		r.open(t.apply)
	}
	phase := term(value.String("dynamic"))
	if i := t.apply.find(assertionPhase); i >= 0 {
		v, how := r.attr(slot{t.apply, i})
		if how == failed {
			return nil, failed
		}
		phase = v
	}
	switch phase {
	case term(value.String("static")), term(value.String("staticLazy")):
		if !warned {
			r.warnSlips(s)
		}
		how := r.checkAssertion(s, t.apply)
		if how == lazy && phase == term(value.String("static")) {
			d := r.attrDiagnostic(diag.AssertionFailed, s, "a static assertion needs a value that is known only at run time")
			d.Hints = []string{assertionPhase + ` "staticLazy" leaves it out then, "dynamic" checks it at run time`}
			r.report(nil, d)
		}
		if how == failed {
			return nil, failed
		}
		return dropped{}, done
	case term(value.String("dynamic")):
		// It is checked on a copy: what stays is the form that was written.
		if r.checkAssertion(s, r.copyNode(t.apply, t.apply.parent, t.apply.name)) == failed {
			return nil, failed
		}
		if i := t.apply.find(assertionPhase); i >= 0 {
			t.apply.setAttrs(slices.Delete(slices.Clone(t.apply.attrs), i, i+1))
		}
		kept := *t
		kept.lazy = true
		return &kept, done
	}
	d := r.attrDiagnostic(diag.AssertionFailed, s, "unknown "+assertionPhase)
	d.Expected, d.Found = `"static", "staticLazy" or "dynamic"`, kindAndText(phase)
	r.report(nil, d)
	return nil, failed
}

// checkAssertion evaluates the assertions of n, all of which must be true, and
// reports those that are not.
func (r *resolver) checkAssertion(s slot, n *node) outcome {
	r.open(n)
	how, bad := done, false
	var wrong []string
	for i := range n.attrs {
		a := &n.attrs[i]
		if a.name == syntax.FunctionClass || strings.HasPrefix(a.name, "sf") && !isElement(a.v) {
			continue
		}
		v, was := r.attr(slot{n, i})
		switch {
		case was == failed:
			bad = true // and reported; there may be more
		case was == lazy:
			how = lazy
		case v != term(value.Bool(true)):
			text := a.name + " is false"
			if v != term(value.Bool(false)) {
				text = a.name + " is not a boolean but " + kindAndText(v)
			}
			wrong = append(wrong, text)
		}
	}
	if how == lazy || len(wrong) == 0 {
		if bad {
			return failed
		}
		return how
	}
	d := r.attrDiagnostic(diag.AssertionFailed, s, "assertion failed: "+strings.Join(wrong, ", "))
	d.Expected = "every assertion to be true"
	r.report(nil, d)
	return failed
}

// isAssertionBody reports whether n is what an assertion or a schema holds.
func isAssertionBody(n *node) bool {
	i := n.find(syntax.FunctionClass)
	if i < 0 {
		return false
	}
	class, _ := n.attrs[i].v.(value.String)
	return native(string(class)) == "CheckAssertions"
}

// strayElement is the fault of a schema element in holder, which is no schema;
// nil if it has been told of another one there.
func (r *resolver) strayElement(holder *node) *fault {
	if r.strays[holder] {
		return nil
	}
	if r.strays == nil {
		r.strays = map[*node]bool{}
	}
	r.strays[holder] = true
	return &fault{
		code: diag.SchemaFailed, text: holder.name + " holds an element of a schema, and is no schema",
		hints: []string{fmt.Sprintf("write %s extends Schema { … }, or give the attribute a value", holder.name)},
	}
}

// isElement reports whether t is an element of a schema.
func isElement(t term) bool {
	f, isRef := t.(*ref)
	if !isRef || f.apply == nil {
		return false
	}
	for _, a := range attrsOf(f.apply) {
		if a.name == syntax.FunctionClass {
			class, _ := a.v.(value.String)
			return native(string(class)) == schemaElement
		}
	}
	return false
}

// types holds the names that a schema element's class may have.
var types = map[string]func(value.Kind) bool{
	"anyClass": func(value.Kind) bool { return true },
	"any":      func(value.Kind) bool { return true },

	"java.lang.Integer": is(value.KindInteger), "integer": is(value.KindInteger),
	"java.lang.Long": is(value.KindLong), "long": is(value.KindLong),
	"java.lang.Float": is(value.KindFloat), "float": is(value.KindFloat),
	"java.lang.Double": is(value.KindDouble), "double": is(value.KindDouble),
	"java.lang.String": is(value.KindString), "java.net.InetAddress": is(value.KindString), "string": is(value.KindString),
	"java.lang.Boolean": is(value.KindBool), "boolean": is(value.KindBool),
	"java.util.Vector": is(value.KindVector), "vector": is(value.KindVector),
	"bytes":                              is(value.KindBytes),
	"org.smartfrog.sfcore.common.SFNull": is(value.KindNull), "null": is(value.KindNull),

	"org.smartfrog.sfcore.componentdescription.ComponentDescription": is(value.KindComponent), "component": is(value.KindComponent),

	"org.smartfrog.sfcore.languages.sf.sfreference.SFReference":      is(value.KindReference),
	"org.smartfrog.sfcore.languages.sf.sfreference.SFApplyReference": is(value.KindReference),
	"org.smartfrog.sfcore.reference.SFReference":                     is(value.KindReference),
	"reference": is(value.KindReference),
}

func is(k value.Kind) func(value.Kind) bool {
	return func(l value.Kind) bool { return k == l }
}

// typeNames lists the names in types that are the language's own.
var typeNames = func() []string {
	var list []string
	for name := range types {
		if !strings.Contains(name, ".") {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}()

// accepts reports whether a value of kind k is of one of the types.
func accepts(classes []string, k value.Kind) bool {
	return slices.ContainsFunc(classes, func(class string) bool { return types[class](k) })
}

// checkElement is the function of a schema element: true if the attribute it
// names, of the component that holds the schema, is as it says.
func checkElement(c *call) (term, outcome, *fault) {
	if c.site == nil {
		return nil, failed, &fault{code: diag.SchemaFailed, text: "schema elements are checked where the description is parsed"}
	}
	if holder := c.site.s.n; !isAssertionBody(holder) {
		return nil, failed, c.site.r.strayElement(holder)
	}
	e, how, wrong := c.element()
	if how != done || wrong != nil {
		return nil, how, wrong
	}
	r, holder := c.site.r, c.site.n.parent.parent
	if holder == nil {
		return nil, failed, &fault{code: diag.SchemaFailed, text: "a schema element outside a schema"}
	}
	e.Pos = c.site.s.attr().span().Pos
	i := holder.find(e.Name)
	if i < 0 {
		w, missing := e.wrong(nil)
		if !missing {
			return value.Bool(true), done, nil
		}
		d := r.diagnostic(diag.SchemaFailed, holder.at, holder, w.Message)
		var hints []string // which take longer than the rest
		if r.wanted(d) {
			for _, given := range r.similar(holder, e.Name) {
				hints = append(hints, given+" is given: should it be "+e.Name+"?")
			}
		}
		r.refuse(d, w, hints)
		return nil, failed, nil
	}
	v, how := r.attr(slot{holder, i})
	if how == failed {
		return nil, failed, nil
	}
	if w, bad := e.wrong(v); bad {
		r.refuse(r.attrDiagnostic(diag.SchemaFailed, slot{holder, i}, w.Message), w, w.Hints)
		return nil, failed, nil
	}
	return value.Bool(true), done, nil
}

// refuse reports d, which has the place, with what a schema element found
// wrong.
func (r *resolver) refuse(d, w diag.Diagnostic, hints []string) {
	d.Attribute, d.Expected, d.Found, d.Hints = w.Attribute, w.Expected, w.Found, hints
	d.Related = append(d.Related, w.Related...)
	r.report(nil, d)
}

// element returns the schema element that is called.
func (c *call) element() (e Element, how outcome, wrong *fault) {
	e = newElement()
	for i, name := range c.names {
		if !slices.Contains(elementParameters, name) {
			continue
		}
		t, how := c.get(i)
		if how != done {
			return e, how, nil
		}
		v, isPlain := t.(value.Value)
		if !isPlain {
			v = c.freeze(t)
		}
		if wrong := e.set(name, v); wrong != nil {
			return e, failed, wrong
		}
	}
	return e, done, nil
}
