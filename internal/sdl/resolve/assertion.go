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
	how := done
	var wrong []string
	for i := range n.attrs {
		a := &n.attrs[i]
		if a.name == syntax.FunctionClass || strings.HasPrefix(a.name, "sf") && !isElement(a.v) {
			continue
		}
		v, was := r.attr(slot{n, i})
		switch {
		case was == failed:
			return failed
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
		return how
	}
	d := r.attrDiagnostic(diag.AssertionFailed, s, "assertion failed: "+strings.Join(wrong, ", "))
	d.Expected = "every assertion to be true"
	r.report(nil, d)
	return failed
}

// isElement reports whether t is an element of a schema.
func isElement(t term) bool {
	f, isRef := t.(*ref)
	if !isRef || f.apply == nil {
		return false
	}
	i := f.apply.find(syntax.FunctionClass)
	if i < 0 {
		return false
	}
	class, _ := f.apply.attrs[i].v.(value.String)
	return native(string(class)) == "CheckSchemaElement"
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

// element is what a schema says of one attribute.
type element struct {
	name, binding, description string
	optional                   bool
	classes                    []string
}

// checkElement is the function of a schema element: true if the attribute it
// names, of the component that holds the schema, is as it says.
func checkElement(c *call) (term, outcome, *fault) {
	if c.site == nil {
		return nil, failed, &fault{code: diag.SchemaFailed, text: "schema elements are checked where the description is parsed"}
	}
	e, how, wrong := c.element()
	if how != done || wrong != nil {
		return nil, how, wrong
	}
	r, holder := c.site.r, c.site.n.parent.parent
	if holder == nil {
		return nil, failed, &fault{code: diag.SchemaFailed, text: "a schema element outside a schema"}
	}
	fail := func(d diag.Diagnostic) (term, outcome, *fault) {
		d.Attribute = e.name
		if e.description != "" {
			d.Message += " (" + e.description + ")"
		}
		if at := c.site.s.attr().span(); at.Pos.IsValid() {
			d.Related = append(d.Related, diag.Related{Span: at, Message: "the schema says so here"})
		}
		r.report(nil, d)
		return nil, failed, nil
	}
	i := holder.find(e.name)
	if i < 0 {
		if e.optional {
			return value.Bool(true), done, nil
		}
		d := r.diagnostic(diag.SchemaFailed, holder.at, holder, fmt.Sprintf("mandatory attribute %s is missing", e.name))
		d.Expected, d.Hints = e.expected(), nearest(e.name, holder)
		return fail(d)
	}
	v, how := r.attr(slot{holder, i})
	if how == failed {
		return nil, failed, nil
	}
	if text := e.refuses(v); text != "" {
		d := r.attrDiagnostic(diag.SchemaFailed, slot{holder, i}, fmt.Sprintf("attribute %s %s", e.name, text))
		d.Expected, d.Found = e.expected(), kindAndText(v)
		return fail(d)
	}
	return value.Bool(true), done, nil
}

// element returns the parameters of a schema element.
func (c *call) element() (e element, how outcome, wrong *fault) {
	e.binding, e.classes = "anyBinding", []string{"anyClass"}
	for i, name := range c.names {
		if !slices.Contains([]string{"name", "optional", "binding", "class", "description"}, name) {
			continue
		}
		v, how := c.get(i)
		if how != done {
			return e, how, nil
		}
		text, isString := v.(value.String)
		switch name {
		case "optional":
			b, isBool := v.(value.Bool)
			if !isBool {
				return e, failed, c.wrongType(name, "true or false", v)
			}
			e.optional = bool(b)
			continue
		case "class":
			if list, isVector := v.(*vector); isVector {
				e.classes = nil
				for _, x := range list.elems {
					if text, isString = x.(value.String); !isString {
						break
					}
					e.classes = append(e.classes, string(text))
				}
			} else {
				e.classes = []string{string(text)}
			}
			for _, class := range e.classes {
				if isString && types[class] == nil {
					return e, failed, &fault{code: diag.SchemaFailed, param: name, text: fmt.Sprintf("unknown type %q in a schema", class)}
				}
			}
		case "name":
			e.name = string(text)
		case "binding":
			e.binding = string(text)
			if isString && !slices.Contains([]string{"anyBinding", "eager", "lazy"}, e.binding) {
				return e, failed, &fault{code: diag.SchemaFailed, param: name, text: fmt.Sprintf("unknown binding %q in a schema", e.binding), expected: `"anyBinding", "eager" or "lazy"`}
			}
		case "description":
			e.description = string(text)
		}
		if !isString {
			return e, failed, c.wrongType(name, "a string", v)
		}
	}
	return e, done, nil
}

// accepts reports whether a value of kind k is of one of the types.
func (e element) accepts(k value.Kind) bool {
	return slices.ContainsFunc(e.classes, func(class string) bool { return types[class](k) })
}

// refuses says what is wrong with v, or "".
func (e element) refuses(v term) string {
	if t, isRef := v.(*ref); isRef && !t.assert {
		if e.binding != "eager" || e.accepts(value.KindReference) {
			return ""
		}
		return "is a reference, but must be known when the description is parsed"
	}
	if e.binding == "lazy" {
		return "must be a LAZY reference"
	}
	kind := value.KindComponent
	switch v := v.(type) {
	case *vector:
		kind = value.KindVector
	case value.Value:
		kind = v.Kind()
	}
	if !e.accepts(kind) {
		return "has the wrong type"
	}
	return ""
}

// expected names the types.
func (e element) expected() string {
	var names []string
	for _, class := range e.classes {
		name := class[strings.LastIndexByte(class, '.')+1:]
		if name == "InetAddress" || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
	}
	return strings.Join(names, " or ")
}
