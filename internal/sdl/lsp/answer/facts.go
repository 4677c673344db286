package answer

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// fact is what schemas, the class and the prototype say of an attribute.
type fact struct {
	name     string
	types    string // in a few words; "" if nothing is known
	doc      string
	unit     string
	text     string   // the default as written; "" if there is none
	values   []string // as written; nil: any
	boolean  bool
	optional bool
	secret   bool
	output   bool // set at run time
}

// detail is the fact on one line.
func (f *fact) detail() string {
	var parts []string
	if f.types != "" {
		parts = append(parts, f.types)
	}
	if f.unit != "" {
		parts = append(parts, f.unit)
	}
	switch {
	case f.output:
		parts = append(parts, "set at run time")
	case f.text != "":
		parts = append(parts, "default "+f.text)
	case !f.optional && f.types != "":
		parts = append(parts, "required")
	}
	return strings.Join(parts, ", ")
}

// facts returns what is known of the attributes of s: those its schemas and
// class speak of, in their order.
func (v *View) facts(s resolve.Scope) []fact {
	var list []fact
	put := func(f fact) *fact {
		for i := range list {
			if list[i].name == f.name {
				return &list[i]
			}
		}
		list = append(list, f)
		return &list[len(list)-1]
	}
	for _, m := range s.Members() {
		if m.Inside.Valid() && isSchema(m.Inside) {
			for _, e := range m.Inside.Members() {
				if e.Inside.Valid() && !strings.HasPrefix(e.Name, "sfAssertion") {
					put(element(e))
				}
			}
		}
	}
	class, known := v.Known.class(classOf(s))
	if !known {
		return list
	}
	if v.Known.Catalogue != nil {
		if k, listed := v.Known.Catalogue.Component(class.Name); listed {
			for i := range k.Attributes {
				put(catalogued(&k.Attributes[i]))
			}
		}
	}
	for _, a := range class.Attributes {
		f := put(fact{name: a.Name, optional: true})
		f.secret = a.Secret
	}
	for _, o := range class.Outputs {
		f := put(fact{name: o.Name, types: o.Kind.String(), doc: o.Doc, optional: true})
		f.output = true
	}
	return list
}

// catalogued is what the catalogue knows of a.
func catalogued(a *catalog.Attribute) fact {
	f := fact{
		name: a.Name, types: a.Type(), doc: a.Description, unit: a.Unit, optional: !a.Required(),
		boolean: slices.Equal(a.Kinds(), []value.Kind{value.KindBool}),
	}
	if a.Default != nil {
		f.text = short(value.Source(a.Default))
	}
	for _, e := range a.Values {
		f.values = append(f.values, value.Source(e))
	}
	return f
}

// factOf returns what is known of the attribute name of s.
func (v *View) factOf(s resolve.Scope, name string) fact {
	for _, f := range v.facts(s) {
		if f.name == name {
			return f
		}
	}
	return fact{name: name, optional: true}
}

// classOf returns the component class of s, or "".
func classOf(s resolve.Scope) string {
	text, _ := literal(s, "sfClass").(value.String)
	return strings.TrimSpace(string(text))
}

// literal returns the value that the attribute name of s is written as, or nil.
func literal(s resolve.Scope, name string) value.Value {
	m, ok := s.Member(name)
	if !ok || m.Source == nil {
		return nil
	}
	switch e := m.Source.Value.(type) {
	case *syntax.Literal:
		return e.Value
	case *syntax.Vector:
		var list value.Vector
		for _, x := range e.Elems {
			if l, isLiteral := x.(*syntax.Literal); isLiteral {
				list = append(list, l.Value)
			}
		}
		return list
	}
	return nil
}

// isSchema reports whether s becomes a schema.
func isSchema(s resolve.Scope) bool {
	_, ok := s.Member("phase.functionSchema")
	return ok
}

// isFunction reports whether s becomes something else than a component.
func isFunction(s resolve.Scope) bool {
	if s.Operator() != syntax.NotOp {
		return true
	}
	for _, m := range s.Members() {
		if strings.HasPrefix(m.Name, syntax.PhaseFunction) {
			return true
		}
	}
	return false
}

// element reads the schema element m.
func element(m resolve.Member) fact {
	s := m.Inside
	f := fact{name: m.Name}
	if text, ok := literal(s, "description").(value.String); ok {
		f.doc = string(text)
	}
	if text, ok := literal(s, "unit").(value.String); ok {
		f.unit = string(text)
	}
	if b, ok := literal(s, "optional").(value.Bool); ok {
		f.optional = bool(b)
	}
	if list, ok := literal(s, "values").(value.Vector); ok {
		for _, x := range list {
			f.values = append(f.values, value.Source(x))
		}
	}
	if x := literal(s, "default"); x != nil {
		f.text = short(value.Source(x))
	}
	f.types = typeNames(literal(s, "class"))
	f.boolean = f.types == "boolean"
	return f
}

// typeNames says in a few words which types a schema accepts.
func typeNames(v value.Value) string {
	var names []string
	add := func(v value.Value) {
		text, ok := v.(value.String)
		if !ok {
			return
		}
		name := strings.ToLower(string(text[strings.LastIndexByte(string(text), '.')+1:]))
		switch name {
		case "anyclass", "inetaddress", "":
			return
		case "componentdescription":
			name = "component"
		case "sfreference", "sfapplyreference":
			name = "reference"
		case "sfnull":
			name = "null"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if list, isVector := v.(value.Vector); isVector {
		for _, x := range list {
			add(x)
		}
	} else {
		add(v)
	}
	if slices.Contains(names, "double") && slices.Contains(names, "integer") {
		return "number"
	}
	return strings.Join(names, " or ")
}

// short cuts a text to what fits beside a name.
func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 60
	if n := len([]rune(s)); n > most {
		return string([]rune(s)[:most]) + "…"
	}
	return s
}

// written returns the value of m as it is written, in short.
func written(m resolve.Member) string {
	if m.Source == nil {
		return ""
	}
	if c, isComponent := m.Source.Value.(*syntax.Component); isComponent && c.Op == syntax.NotOp {
		return extendsText(c)
	}
	return short(syntax.PrintValue(m.Source.Value))
}

// extendsText is what c extends, without its bodies.
func extendsText(c *syntax.Component) string {
	var names []string
	for _, p := range c.Protos {
		if p.Link != nil {
			names = append(names, value.LinkText(p.Link))
		} else if p.Body != nil {
			names = append(names, "{ … }")
		}
	}
	data := ""
	if c.Data {
		data = "DATA "
	}
	return fmt.Sprintf("extends %s%s", data, strings.Join(names, ", "))
}
