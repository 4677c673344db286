package catalog

import (
	"aloft/component"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// Schema returns what the built-in library says of the attributes of a class.
// The library is read at the first use. A class that it does not describe is a
// mistake of this program.
func Schema(class string) component.Schema { return schema(class) }

// schema is the name of a class in the library. It implements component.Schema
// by what is found there.
type schema string

func (s schema) component() *Component {
	lib, err := library()
	if err != nil {
		panic(err)
	}
	c, ok := lib.Component(string(s))
	if !ok {
		panic("catalog: the library has no component " + string(s))
	}
	return c
}

func (s schema) Names() []string                 { return s.component().Names() }
func (s schema) Has(name string) bool            { return s.component().Has(name) }
func (s schema) Default(name string) value.Value { return s.component().Default(name) }
func (s schema) Required(name string) bool       { return s.component().Required(name) }

func (s schema) Wrong(name string, v value.Value) *component.Problem {
	return s.component().Wrong(name, v)
}

func (s schema) Slip(name string, given func(string) bool) string {
	return s.component().Slip(name, given)
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
