package resolve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Element is what a schema says of one attribute. Whether an attribute is
// right, while resolving or while planning, only an Element says.
type Element struct {
	Name        string
	Description string
	Optional    bool
	Binding     string   // "anyBinding", "eager" or "lazy"
	Types       []string // names of types, as in class; see Kinds

	Unit             string       // of a number, for people
	Values           value.Vector // the values it may have; nil: all
	Minimum, Maximum value.Value  // of a number; nil: none
	Elements         []string     // types of what is in a vector or component; nil: any
	Example          value.Value  // for people; nil: none
	Details          string       // for people: what a description has no room for
	Pos              value.Pos    // where the schema says so
}

// newElement returns an element that accepts everything.
func newElement() Element {
	return Element{Binding: "anyBinding", Types: []string{"anyClass"}}
}

// ElementOf returns the element that an attribute of a schema is, in the form
// it has after the phase function; false if it is none.
func ElementOf(attr value.Attr) (Element, bool) {
	f, isRef := attr.Value.(*value.Reference)
	if !isRef || f.Apply == nil {
		return Element{}, false
	}
	class, _ := f.Apply.Get(syntax.FunctionClass)
	if text, _ := class.(value.String); native(string(text)) != schemaElement {
		return Element{}, false
	}
	e := newElement()
	e.Pos = attr.Pos
	for a := range f.Apply.All() {
		if wrong := e.set(a.Name, a.Value); wrong != nil {
			return Element{}, false
		}
	}
	return e, true
}

// schemaElement is the function class of schema elements.
const schemaElement = "CheckSchemaElement"

// elementParameters are those that the check of an element reads; the others
// are for whoever else reads schemas.
var elementParameters = []string{"name", "optional", "binding", "class", "description", "unit", "values", "minimum", "maximum", "elements"}

// set sets a parameter, which is evaluated. It leaves alone those it does not
// know.
func (e *Element) set(name string, v value.Value) *fault {
	wrong := func(expected string) *fault {
		return &fault{
			code: diag.OperandType, param: name, expected: expected, found: kindAndText(v),
			text: fmt.Sprintf("%s of a schema element has the wrong type", name),
		}
	}
	text, isString := v.(value.String)
	switch name {
	case "optional":
		b, isBool := v.(value.Bool)
		if !isBool {
			return wrong("true or false")
		}
		e.Optional = bool(b)
		return nil
	case "class", "elements":
		list, ok := strs(v)
		if !ok {
			return wrong("the name of a type, or a vector of them")
		}
		for _, class := range list {
			if types[class] == nil {
				return &fault{code: diag.SchemaFailed, param: name, text: fmt.Sprintf("unknown type %q in a schema", class), hints: nearestOf(class, typeNames)}
			}
		}
		if name == "class" {
			e.Types = list
		} else {
			e.Elements = list
		}
		return nil
	case "values":
		list, isVector := v.(value.Vector)
		if !isVector {
			return wrong("a vector of values")
		}
		e.Values = list
		return nil
	case "minimum", "maximum":
		if rank(v) == 0 {
			return wrong("a number")
		}
		if name == "minimum" {
			e.Minimum = v
		} else {
			e.Maximum = v
		}
		return nil
	case "name":
		e.Name = string(text)
	case "binding":
		e.Binding = string(text)
		if isString && !slices.Contains([]string{"anyBinding", "eager", "lazy"}, e.Binding) {
			return &fault{code: diag.SchemaFailed, param: name, text: fmt.Sprintf("unknown binding %q in a schema", e.Binding), expected: `"anyBinding", "eager" or "lazy"`}
		}
	case "example":
		e.Example = v
		return nil
	case "description":
		e.Description = string(text)
	case "details":
		e.Details = string(text)
	case "unit":
		e.Unit = string(text)
	default:
		return nil
	}
	if !isString {
		return wrong("a string")
	}
	return nil
}

// strs returns a string, or the strings of a vector.
func strs(v value.Value) ([]string, bool) {
	if s, isString := v.(value.String); isString {
		return []string{string(s)}, true
	}
	list, isVector := v.(value.Vector)
	texts := make([]string, 0, len(list))
	for _, x := range list {
		s, isString := x.(value.String)
		if !isString {
			return nil, false
		}
		texts = append(texts, string(s))
	}
	return texts, isVector
}

// Wrong returns what is wrong with v as the value of the attribute; of a
// missing one v is nil. The place, and names like the one that is missing, are
// for the caller to add.
func (e *Element) Wrong(v value.Value) (diag.Diagnostic, bool) {
	if v == nil {
		return e.wrong(nil)
	}
	return e.wrong(v)
}

// wrong is Wrong for terms.
func (e *Element) wrong(v term) (diag.Diagnostic, bool) {
	d := diag.New(diag.SchemaFailed, diag.Span{}, "")
	d.Attribute = e.Name
	if e.Pos.IsValid() {
		d.Related = []diag.Related{{Span: diag.At(e.Pos), Message: "the schema says so here"}}
	}
	d.Expected, d.Found = e.Expected(), "nothing"
	if v == nil {
		if e.Optional {
			return diag.Diagnostic{}, false
		}
		d.Message = fmt.Sprintf("mandatory attribute %s is missing", e.Name)
	} else {
		text, what := e.refuses(v)
		if text == "" {
			return diag.Diagnostic{}, false
		}
		d.Message, d.Found = fmt.Sprintf("attribute %s %s", e.Name, text), kindAndText(what)
		d.Hints = e.nearValues(v)
	}
	if e.Description != "" {
		d.Message += " (" + e.Description + ")"
	}
	return d, true
}

// refuses says what is wrong with v, or "", and with what: v or something in it.
func (e *Element) refuses(v term) (text string, what term) {
	kind, isRef := kindOf(v)
	if isRef {
		if e.Binding != "eager" || accepts(e.Types, value.KindReference) {
			return "", nil
		}
		return "is a reference, but must be known when the description is parsed", v
	}
	if e.Binding == "lazy" {
		return "must be a LAZY reference", v
	}
	if !accepts(e.Types, kind) && !(isSecret(v) && accepts(e.Types, value.KindString)) {
		return "has the wrong type", v
	}
	if e.Values != nil && !slices.ContainsFunc(e.Values, func(x value.Value) bool { return isValue(v, x) }) {
		return "cannot have this value", v
	}
	if rank(v) > 0 {
		switch {
		case e.Minimum != nil && compareNumbers(v, e.Minimum) < 0:
			return "is too small", v
		case e.Maximum != nil && compareNumbers(v, e.Maximum) > 0:
			return "is too large", v
		}
	}
	if e.Elements == nil {
		return "", nil
	}
	for name, x := range inside(v) {
		if kind, isRef := kindOf(x); !isRef && !accepts(e.Elements, kind) && !(isSecret(x) && accepts(e.Elements, value.KindString)) {
			return fmt.Sprintf("has %s of the wrong type", name), x
		}
	}
	return "", nil
}

func isValue(v term, x value.Value) bool {
	w, isPlain := v.(value.Value)
	return isPlain && value.Equal(w, x)
}

// inside returns what is in a vector or component, each with its name for
// people.
func inside(v term) func(yield func(string, term) bool) {
	return func(yield func(string, term) bool) {
		position := func(i int) string { return fmt.Sprintf("element %d", i) }
		switch v := v.(type) {
		case *vector:
			for i, x := range v.elems {
				if !yield(position(i), x) {
					return
				}
			}
		case value.Vector:
			for i, x := range v {
				if !yield(position(i), x) {
					return
				}
			}
		case *node:
			for _, a := range attrsOf(v) {
				if !yield(a.name, a.v) {
					return
				}
			}
		case *value.Component:
			for a := range v.All() {
				if !yield(a.Name, a.Value) {
					return
				}
			}
		}
	}
}

// kindOf returns the kind of a linked term or value, and whether it is a
// reference.
func kindOf(t term) (kind value.Kind, isRef bool) {
	switch t := t.(type) {
	case *ref:
		if !t.assert {
			return value.KindReference, true
		}
	case *vector:
		return value.KindVector, false
	case *value.Reference:
		return value.KindReference, true
	case value.Value:
		return t.Kind(), false
	}
	return value.KindComponent, false
}

// isSecret reports whether t stands for a text that is known by its name alone.
func isSecret(t term) bool {
	switch t := t.(type) {
	case *node:
		return t.data && slices.ContainsFunc(attrsOf(t), func(a attr) bool {
			return a.name == value.SecretMark && a.v == term(value.Bool(true))
		})
	case value.Value:
		_, is := value.AsSecret(t)
		return is
	}
	return false
}

// nearValues proposes values for a string that is none of them.
func (e *Element) nearValues(v term) []string {
	text, isString := v.(value.String)
	if !isString || e.Values == nil {
		return nil
	}
	var texts []string
	for _, x := range e.Values {
		if s, isString := x.(value.String); isString {
			texts = append(texts, string(s))
		}
	}
	var hints []string
	for _, near := range diag.Nearest(string(text), texts) {
		hints = append(hints, fmt.Sprintf("did you mean %q?", near))
	}
	return hints
}

// Kinds returns the kinds of value that the attribute may be of, in order; nil
// if it may be of any.
func (e *Element) Kinds() []value.Kind {
	if accepts(e.Types, value.KindTBD) {
		return nil // anyClass
	}
	return kindsOf(e.Types)
}

func kindsOf(classes []string) (kinds []value.Kind) {
	for k := range value.KindTBD {
		if accepts(classes, k) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// Expected says in a few words what the attribute has to be.
func (e *Element) Expected() string {
	if e.Values != nil {
		texts := make([]string, len(e.Values))
		for i, x := range e.Values {
			texts[i] = value.Source(x)
		}
		return either(texts)
	}
	text := e.Type()
	switch {
	case e.Minimum != nil && e.Maximum != nil:
		text += fmt.Sprintf(" from %s to %s", value.Text(e.Minimum), value.Text(e.Maximum))
	case e.Minimum != nil:
		text += " of at least " + value.Text(e.Minimum)
	case e.Maximum != nil:
		text += " of at most " + value.Text(e.Maximum)
	}
	return text
}

func either(texts []string) string {
	if last := len(texts) - 1; last > 0 {
		return strings.Join(texts[:last], ", ") + " or " + texts[last]
	}
	return strings.Join(texts, "")
}

// Type says in a few words what the attribute may be, such as "number" or
// "vector of string".
func (e *Element) Type() string {
	text := kindsText(e.Kinds())
	if e.Elements != nil {
		text += " of " + kindsText(kindsOf(e.Elements))
	}
	return text
}

func kindsText(kinds []value.Kind) string {
	if kinds == nil {
		return "any value"
	}
	numbers := []value.Kind{value.KindInteger, value.KindLong, value.KindFloat, value.KindDouble}
	isNumber := func(k value.Kind) bool { return slices.Contains(numbers, k) }
	all := !slices.ContainsFunc(numbers, func(k value.Kind) bool { return !slices.Contains(kinds, k) })
	var names []string
	for _, k := range kinds {
		switch name := k.String(); {
		case k == value.KindNull:
			names = append(names, "NULL")
		case !all || !isNumber(k):
			names = append(names, name)
		case !slices.Contains(names, "number"):
			names = append(names, "number")
		}
	}
	return either(names)
}

// compareNumbers compares two numbers of any kinds.
func compareNumbers(a, b term) int {
	wide := max(rank(a), rank(b))
	if wide <= 2 {
		return cmp.Compare(toLong(a), toLong(b))
	}
	return cmp.Compare(toDouble(a, wide), toDouble(b, wide))
}
