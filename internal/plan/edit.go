package plan

import (
	"strings"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/value"
)

// mask stands for the content of a secret, which no plan shows.
const mask = "(secret)"

// edit records, for people, what the plan does to a wanted component.
func (m *maker) edit(c *surveyed, f fate, reason string, old inventory.Component) {
	e := Edit{Path: c.node.Path, Class: c.class.Name, Machine: c.machine, Reason: reason}
	switch f {
	case add:
		e.Sign = Add
		e.Attributes = m.differences(c, "", nil)
	case renew:
		e.Sign = Replace
		e.Attributes = m.differences(c, old.Class, old.Attrs)
	case change:
		e.Sign = Change
		e.Attributes = m.differences(c, old.Class, old.Attrs)
	case begin:
		e.Sign = Change
	}
	m.plan.Edits = append(m.plan.Edits, e)
}

// differences compares attributes with those that a component of class was had,
// by name: the new ones in definition order,
// then those that are gone. Attributes of the language's own are left out.
func (m *maker) differences(c *surveyed, was string, old *value.Component) []Difference {
	var ds []Difference
	before, _ := m.in.Survey.classOf(was, old)
	show := func(name string, v value.Value, ok bool) (text string, secret bool) {
		for _, class := range [2]component.Class{c.class, before} { // the class may change with the attribute
			if line, known := class.Attribute(name); known && line.Secret {
				secret = true
			}
		}
		switch {
		case !ok:
			return "", secret
		case secret:
			return mask, secret
		default:
			return value.Source(v), secret
		}
	}
	for a := range c.attrs.All() {
		was, had := old.Get(a.Name)
		if core(a.Name) || had && value.Equal(was, a.Value) {
			continue
		}
		d := Difference{Name: a.Name}
		d.New, d.Secret = show(a.Name, a.Value, true)
		d.Old, _ = show(a.Name, was, had)
		ds = append(ds, d)
	}
	if old == nil {
		return ds
	}
	for a := range old.All() {
		if _, has := c.attrs.Get(a.Name); has || core(a.Name) {
			continue
		}
		d := Difference{Name: a.Name}
		d.Old, d.Secret = show(a.Name, a.Value, true)
		ds = append(ds, d)
	}
	return ds
}

// core reports whether an attribute says nothing to a reader of a plan.
func core(name string) bool {
	return name == "sfClass" || name == "sfCodeBase" || strings.HasPrefix(name, "unique")
}
