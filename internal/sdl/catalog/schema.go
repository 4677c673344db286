package catalog

import (
	"slices"

	"aloft/component"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// Schema returns what the built-in library says of the attributes of a class.
// A class that it does not describe is a mistake of this program.
//
// A machine's daemon asks it about every operation, but never whether a value
// is right: that was asked while planning. So all but Wrong is answered from
// the table in schema_table.go, and the library is read when Wrong is first
// called.
func Schema(class string) component.Schema { return schema(class) }

// schema is the name of a class in the library. It implements component.Schema
// by what is found there.
type schema string

// line is what the table says of an attribute.
type line struct {
	name     string
	required bool
	standard value.Value // its default, or nil if there is none or a reference
}

func (s schema) lines() []line {
	lines, ok := table[string(s)]
	if !ok {
		panic("catalog: the library has no component " + string(s))
	}
	return lines
}

func (s schema) line(name string) (line, bool) {
	lines := s.lines()
	i := slices.IndexFunc(lines, func(l line) bool { return l.name == name })
	if i < 0 {
		return line{}, false
	}
	return lines[i], true
}

func (s schema) Names() []string {
	lines := s.lines()
	names := make([]string, len(lines))
	for i, l := range lines {
		names[i] = l.name
	}
	return names
}

func (s schema) Has(name string) bool {
	_, ok := s.line(name)
	return ok
}

func (s schema) Default(name string) value.Value {
	l, _ := s.line(name)
	return l.standard
}

func (s schema) Required(name string) bool {
	l, _ := s.line(name)
	return l.required
}

func (s schema) Wrong(name string, v value.Value) *component.Problem {
	lib, err := prototypes()
	if err != nil {
		panic(err)
	}
	c, ok := lib.Component(string(s))
	if !ok {
		panic("catalog: the library has no component " + string(s))
	}
	return c.Wrong(name, v)
}

func (s schema) Slip(name string, given func(string) bool) string {
	return resolve.Slip(name, s.Names(), given)
}

var _ component.Schema = (*Component)(nil)

// Names returns the names of the attributes, in order.
func (c *Component) Names() []string {
	names := make([]string, len(c.Attributes))
	for i := range c.Attributes {
		names[i] = c.Attributes[i].Name
	}
	return names
}

// Has reports whether there is an attribute called name.
func (c *Component) Has(name string) bool {
	_, ok := c.Attribute(name)
	return ok
}

// Default returns the value that the prototype gives the attribute, or nil.
func (c *Component) Default(name string) value.Value {
	if a, ok := c.Attribute(name); ok {
		return a.Default
	}
	return nil
}

// Required reports whether a description must give the attribute.
func (c *Component) Required(name string) bool {
	a, ok := c.Attribute(name)
	return ok && a.Required()
}

// Wrong says what is wrong with v as the attribute, or nil. Of an attribute
// that is not given v is nil.
func (c *Component) Wrong(name string, v value.Value) *component.Problem {
	a, ok := c.Attribute(name)
	if !ok || v == nil && !a.Required() {
		return nil
	}
	d, bad := a.Wrong(v)
	if !bad {
		return nil
	}
	p := &component.Problem{Attr: name, Message: d.Message, Expected: d.Expected, Found: d.Found, Rule: a.Pos}
	if len(d.Hints) > 0 {
		p.Remedy = d.Hints[0]
	}
	return p
}

// Slip returns the attribute that name was probably meant to be, or "".
func (c *Component) Slip(name string, given func(string) bool) string {
	return resolve.Slip(name, c.Names(), given)
}
