// Package catalog lists what a description can be made of: the components and
// ready systems of the built-in library and of folders it is given, with what
// their schemas say of each attribute. From any of them it writes a starter, a
// description that is right as it stands.
//
// What it lists comes from texts in the language alone; what only the program
// knows of a component class, such as its outputs, is handed in (Join). It
// deploys nothing, writes no file and starts no goroutine.
package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"aloft/component"
	"aloft/examples"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// Catalogue is what the library and some folders offer.
type Catalogue struct {
	// Problems are the mistakes in files of the folders. Such files are left
	// out.
	Problems diag.List

	components []*Component
	systems    []*System
}

// Kind says what a component is for.
type Kind string

// Kinds of components.
const (
	Plain     Kind = "component" // what is deployed with the tree
	Workflow  Kind = "workflow"  // creates its children itself, while it runs
	Condition Kind = "condition" // is asked by those of workflow
)

// Component is a prototype that has a component class: what stands behind
// extends.
type Component struct {
	Name    string // of the prototype
	Kind    Kind
	Class   string // sfClass; several components may share one
	Include string // the file to include
	Doc     string // what it is, in a sentence or a few
	Pos     value.Pos
	// Attributes are those its schemas speak of, in their order. The core
	// attributes, which every component has, come first.
	Attributes []Attribute

	// Of its class, once joined: the attributes its manager adds at run time,
	// whether components may stand inside, and where it acts.
	Outputs  []component.Output
	Children bool
	Site     component.Site
	// Around is a component that it can stand inside of, where it must stand
	// inside of one; nil otherwise.
	Around *Component
}

// Attribute is what is known of one attribute of a component.
type Attribute struct {
	resolve.Element
	Default value.Value // given by the prototype; nil: none

	// Of the class, once joined: a change means replacement, the content is
	// never shown, it names a file or folder beside the description.
	Fixed, Secret, Source bool
}

// Core reports whether every component has the attribute.
func (a *Attribute) Core() bool { return strings.HasPrefix(a.Name, "sf") }

// Required reports whether a description must give the attribute.
func (a *Attribute) Required() bool { return !a.Optional && a.Default == nil }

// System is a description that can be deployed as it is.
type System struct {
	Name string // of its file, without ".sf"
	File string // its name below the folder
	Doc  string
	Pos  value.Pos

	folder resolve.Folder
}

// Load reads the built-in library and then folders: the files in each and in
// its sub-folders of one level. Later names hide earlier ones. The error is
// that of ctx or of reading a folder.
func Load(ctx context.Context, folders ...resolve.Folder) (*Catalogue, error) {
	lib, err := library()
	if err != nil {
		return nil, err
	}
	c := &Catalogue{}
	for _, x := range lib.components {
		c.components = append(c.components, x.clone())
	}
	c.systems = slices.Clone(lib.systems)
	for i := range folders {
		if err := c.read(ctx, folders[i], folders); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// prototypes is the catalogue of the built-in library's components alone. It
// is shared and must not be changed.
var prototypes = sync.OnceValues(func() (*Catalogue, error) {
	c := &Catalogue{}
	if err := c.readLibrary(context.Background()); err != nil {
		return nil, err
	}
	return c, c.sound()
})

// library is prototypes with the ready systems. It is shared and must not be
// changed.
var library = sync.OnceValues(func() (*Catalogue, error) {
	lib, err := prototypes()
	if err != nil {
		return nil, err
	}
	c := &Catalogue{components: lib.components}
	if err := c.read(context.Background(), resolve.Folder{Name: "examples", FS: examples.FS}, nil); err != nil {
		return nil, err
	}
	return c, c.sound()
})

// sound returns an error where what is built in has mistakes.
func (c *Catalogue) sound() error {
	if c.Problems.Errors() > 0 {
		return fmt.Errorf("the built-in library: %s", c.Problems.All()[0].Message)
	}
	return nil
}

// Components returns the components, sorted by name.
func (c *Catalogue) Components() []*Component { return c.components }

// Systems returns the ready systems, sorted by name.
func (c *Catalogue) Systems() []*System { return c.systems }

// Component returns the component called name, else the first one of the class
// called name.
func (c *Catalogue) Component(name string) (*Component, bool) {
	for _, x := range c.components {
		if x.Name == name {
			return x, true
		}
	}
	for _, x := range c.components {
		if x.Class == name {
			return x, true
		}
	}
	return nil, false
}

// System returns the ready system called name.
func (c *Catalogue) System(name string) (*System, bool) {
	for _, s := range c.systems {
		if s.Name == name {
			return s, true
		}
	}
	return nil, false
}

// Nearest returns names of components and systems much like name.
func (c *Catalogue) Nearest(name string) []string {
	var names []string
	for _, x := range c.components {
		names = append(names, x.Name)
	}
	for _, s := range c.systems {
		names = append(names, s.Name)
	}
	near := diag.Nearest(name, names)
	for _, n := range names {
		if strings.EqualFold(n, name) && !slices.Contains(near, n) {
			near = append([]string{n}, near...)
		}
	}
	return near
}

// Join adds to every component what class knows of its class.
func (c *Catalogue) Join(class func(name string) (component.Class, bool)) {
	for _, x := range c.components {
		known, ok := class(x.Class)
		if !ok {
			continue
		}
		x.Outputs, x.Children, x.Site = known.Outputs, known.Children, known.Site
		for i := range x.Attributes {
			a := &x.Attributes[i]
			line, _ := known.Attribute(a.Name)
			a.Fixed, a.Secret, a.Source = line.Fixed, line.Secret, line.Source
		}
	}
	for _, x := range c.components {
		known, _ := class(x.Class)
		for _, line := range known.Attributes {
			if line.Around != "" {
				x.Around = c.container(line.Around)
			}
		}
	}
}

// container returns the first component on a machine that others can stand
// inside of, and that has an output.
func (c *Catalogue) container(output string) *Component {
	for _, x := range c.components {
		has := func(o component.Output) bool { return o.Name == output }
		if x.Children && x.Site == component.SiteMachine && slices.ContainsFunc(x.Outputs, has) {
			return x
		}
	}
	return nil
}

// Attribute returns what is known of the attribute called name.
func (c *Component) Attribute(name string) (*Attribute, bool) {
	for i := range c.Attributes {
		if c.Attributes[i].Name == name {
			return &c.Attributes[i], true
		}
	}
	return nil, false
}

func (c *Component) clone() *Component {
	d := *c
	d.Attributes = slices.Clone(c.Attributes)
	return &d
}

// put adds x, or replaces the component of its name.
func (c *Catalogue) put(x *Component) {
	i, found := slices.BinarySearchFunc(c.components, x, func(a, b *Component) int { return cmp.Compare(a.Name, b.Name) })
	if found {
		c.components[i] = x
		return
	}
	c.components = slices.Insert(c.components, i, x)
}

// putSystem adds s, or replaces the system of its name.
func (c *Catalogue) putSystem(s *System) {
	i, found := slices.BinarySearchFunc(c.systems, s, func(a, b *System) int { return cmp.Compare(a.Name, b.Name) })
	if found {
		c.systems[i] = s
		return
	}
	c.systems = slices.Insert(c.systems, i, s)
}

// Summary returns the first statement of a text, on one line.
func Summary(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, end := range []string{". ", ": ", "; "} {
		if before, _, found := strings.Cut(text, end); found {
			text = before
		}
	}
	return strings.TrimRight(text, ".")
}

// Remark is the description with what else there is to know of the attribute.
func (a *Attribute) Remark() string {
	text := a.Description
	if a.Secret {
		text += "; never shown"
	}
	if a.Fixed {
		text += "; a change means replacement"
	}
	return text
}
