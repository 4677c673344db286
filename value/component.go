package value

import (
	"iter"
	"slices"
)

// Attr is one attribute of a component.
type Attr struct {
	Name  string
	Value Value
	Tags  []string // sorted by code point, or nil
	Pos   Pos      // where the value was written
}

// Component is an ordered list of uniquely named attributes. Data components
// are plain values; the others ("eager") are deployed.
type Component struct {
	Data bool

	attrs []Attr
	index map[string]int // nil while attrs is short enough to scan
}

// scanLimit is the length up to which a linear look-up beats a map.
const scanLimit = 8

// NewComponent returns a component with the given attributes; a later one of
// the same name replaces an earlier one in its place.
func NewComponent(data bool, attrs ...Attr) *Component {
	c := &Component{Data: data, attrs: slices.Grow([]Attr(nil), len(attrs))}
	for _, a := range attrs {
		c.Set(a)
	}
	return c
}

// Compose returns a component with a copy of attrs, no two of which may have
// the same name. It costs less than NewComponent.
func Compose(data bool, attrs []Attr) *Component {
	c := &Component{Data: data, attrs: slices.Clone(attrs)}
	if len(attrs) > scanLimit {
		c.index = make(map[string]int, 2*len(attrs))
		for i := range attrs {
			c.index[attrs[i].Name] = i
		}
	}
	return c
}

// Without returns c without the component at path, which may be deep inside; c
// itself where there is none.
func (c *Component) Without(path Path) *Component {
	names := path.Names()
	if len(names) == 0 {
		return c
	}
	var rest []Attr
	for a := range c.All() {
		switch in, is := a.Value.(*Component); {
		case a.Name != names[0]:
		case len(names) == 1:
			continue
		case is:
			a.Value = in.Without(PathOf(names[1:]...))
		}
		rest = append(rest, a)
	}
	return Compose(c.Data, rest)
}

// Len returns the number of attributes.
func (c *Component) Len() int { return len(c.attrs) }

// All ranges over the attributes in definition order.
func (c *Component) All() iter.Seq[Attr] { return slices.Values(c.attrs) }

// At returns the i-th attribute in definition order.
func (c *Component) At(i int) Attr { return c.attrs[i] }

// Attr returns the attribute called name.
func (c *Component) Attr(name string) (Attr, bool) {
	if i := c.find(name); i >= 0 {
		return c.attrs[i], true
	}
	return Attr{}, false
}

// Get returns the value called name, or nil and false.
func (c *Component) Get(name string) (Value, bool) {
	if i := c.find(name); i >= 0 {
		return c.attrs[i].Value, true
	}
	return nil, false
}

// Set puts a in the place of the attribute of its name, or at the end. Only
// the maker of a component calls it, before handing the component on.
func (c *Component) Set(a Attr) {
	if i := c.find(a.Name); i >= 0 {
		c.attrs[i] = a
		return
	}
	c.attrs = append(c.attrs, a)
	if c.index != nil {
		c.index[a.Name] = len(c.attrs) - 1
	} else if len(c.attrs) > scanLimit {
		c.index = make(map[string]int, 2*len(c.attrs))
		for i, a := range c.attrs {
			c.index[a.Name] = i
		}
	}
}

func (c *Component) find(name string) int {
	if c == nil {
		return -1
	}
	if c.index != nil {
		if i, ok := c.index[name]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(c.attrs, func(a Attr) bool { return a.Name == name })
}

func (c *Component) equal(d *Component) bool {
	if c == d {
		return true
	}
	if c == nil || d == nil || c.Data != d.Data || len(c.attrs) != len(d.attrs) {
		return false
	}
	for i, a := range c.attrs {
		b := d.attrs[i]
		if a.Name != b.Name || !slices.Equal(a.Tags, b.Tags) || !Equal(a.Value, b.Value) {
			return false
		}
	}
	return true
}
