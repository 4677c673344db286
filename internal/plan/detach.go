package plan

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Apart returns the description of the component at path alone: what is around it
// is there as far as it says how components inside are to be run. It is what
// Graft takes. ok is false where there is no component at path.
func Apart(root *value.Component, path value.Path) (alone *value.Component, ok bool) {
	return apart(root, path.Names())
}

func apart(c *value.Component, names []string) (*value.Component, bool) {
	if len(names) == 0 {
		return c, true
	}
	a, _ := c.Attr(names[0])
	in, is := a.Value.(*value.Component)
	if !is || in.Data {
		return nil, false
	}
	inside, ok := apart(in, names[1:])
	if !ok {
		return nil, false
	}
	var kept []value.Attr
	for around := range c.All() {
		if rules(around) {
			kept = append(kept, around)
		}
	}
	a.Value = inside
	return value.Compose(c.Data, append(kept, a)), true
}

// rules reports whether an attribute of a component says something about what is
// inside of it.
func rules(a value.Attr) bool {
	switch a.Value.Kind() {
	case value.KindComponent, value.KindReference, value.KindVector:
		return false
	}
	return strings.HasPrefix(a.Name, "sf") && !strings.HasPrefix(a.Name, "sfShould")
}

// Graft returns a description with a part that was taken apart from an earlier
// one, at its old place: what the description does not have around it is there as
// it was. ok is false where the description has something else at path, or copies
// around it.
func Graft(root, alone *value.Component, path value.Path) (whole *value.Component, ok bool) {
	if root.Len() == 0 {
		return alone, true
	}
	return graft(root, alone, path.Names())
}

func graft(c, alone *value.Component, names []string) (*value.Component, bool) {
	part, _ := alone.Attr(names[0])
	attrs := slices.Collect(c.All())
	i := slices.IndexFunc(attrs, func(a value.Attr) bool { return a.Name == names[0] })
	if i < 0 {
		return value.Compose(c.Data, append(attrs, part)), true
	}
	in, is := attrs[i].Value.(*value.Component)
	if !is || in.Data || len(names) == 1 {
		return nil, false
	}
	if _, copied := in.Attr(attrCopies); copied {
		return nil, false // it would be in each
	}
	inside, ok := graft(in, part.Value.(*value.Component), names[1:])
	attrs[i].Value = inside
	return value.Compose(c.Data, attrs), ok
}

// Has reports whether a description has a component at path.
func Has(root *value.Component, path value.Path) bool { return at(root, path) != nil }

// at returns the component at path in a description, nil where there is none.
func at(root *value.Component, path value.Path) *value.Component {
	for _, name := range path.Names() {
		v, _ := root.Get(name)
		in, is := v.(*value.Component)
		if !is || in.Data {
			return nil
		}
		root = in
	}
	return root
}

// DetachesItself reports whether a component with these attributes is to leave
// its system once it has started.
func DetachesItself(attrs *value.Component) bool {
	v, _ := attrs.Get(attrDetach)
	return v == value.Bool(true)
}

// Detaches reports whether a description has a component at path that is to leave
// its system once it has started.
func Detaches(root *value.Component, path value.Path) bool {
	return DetachesItself(at(root, path))
}

const (
	attrDetach = "sfShouldDetach" // has a component leave its system once it has started
	attrCopies = "sfCopies"
)

// detach notes which components are tops of their own, and
// refuses what would tie them to others: neither may refer to the other, or be
// processed by a machine of the other, since each can end without the other. What
// is around a top must be the owner's to answer for: a machine would go on ending
// the one with the other. Those that are to detach themselves are tops already.
func (s *Survey) detach(tops []value.Path) {
	s.tops = slices.Clone(tops)
	for _, c := range s.parts {
		if s.mayDetach(c) {
			s.tops = append(s.tops, c.node.Path)
		}
	}
	if len(s.tops) == 0 {
		return
	}
	for _, c := range s.parts {
		if slices.Contains(s.tops, c.node.Path) {
			s.checkTop(c)
		}
		s.checkApart(c)
	}
}

// mayDetach reports whether c, which is to detach itself, still has to, and
// refuses what cannot.
func (s *Survey) mayDetach(c *surveyed) bool {
	a, given := c.attrs.Attr(attrDetach)
	if !given || a.Value == value.Bool(false) || a.Value.Kind() == value.KindNull {
		return false
	}
	refuse := func(message string, hints ...string) bool {
		s.problem(c, attrDetach, a.Pos, diag.AttributeKind, message, "false, which is the default", value.Source(a.Value), hints...)
		return false
	}
	copied := func(n *model.Node) bool {
		for ; n != nil; n = n.Parent {
			if _, is := n.Comp.Attr(attrIndex); is {
				return true
			}
		}
		return false
	}
	switch around := s.top(c.node.Path); {
	case slices.Contains(s.tops, c.node.Path):
		return false
	case a.Value != value.Bool(true):
		return refuse("whether a component leaves its system has to be known before")
	case c.node.Parent == nil:
		return refuse("the whole of a system cannot leave it")
	case around != value.Root:
		return refuse(fmt.Sprintf("%s lies in %s, which is a system of its own: it cannot leave that as well", c.node.Path, around))
	case copied(c.node):
		return refuse("a copy, or what is inside of one, cannot leave its system", "detach all of it by a component around the copies")
	}
	return true
}

// top returns the path of the top that the component at path is in.
func (s *Survey) top(path value.Path) value.Path {
	for _, top := range s.tops {
		if top.Contains(path) {
			return top
		}
	}
	return value.Root
}

// checkTop refuses a top whose end is answered by what is around it.
func (s *Survey) checkTop(c *surveyed) {
	parent := s.byPath[c.node.Parent.Path]
	switch what := c.node.Path.String(); {
	case c.creator != nil || c.flow != nil:
		s.problem(c, "", c.node.Pos, diag.AttributeWrong, fmt.Sprintf("%s is created by a workflow component, which ends it as well: it cannot be a system of its own", what), "", "", "detach a whole machine, or a component of a host")
	case c.machine != value.Root && s.top(c.machine) != c.node.Path:
		s.problem(c, "", c.node.Pos, diag.NoHost, fmt.Sprintf("%s runs on machine %s, which ends with its system: it cannot be a system of its own", what, c.machine), "", "", fmt.Sprintf("detach %s, the whole machine", c.machine))
	case !parent.owner || parent.isMachine():
		s.problem(c, "", c.node.Pos, diag.NoHost, fmt.Sprintf("%s lies in %s, which is processed by a daemon that ends both together: it cannot be a system of its own", what, parent.node.Path), "", "", fmt.Sprintf("detach %s as a whole", parent.node.Path))
	}
}

// checkApart refuses what c has of the other side of a cut.
func (s *Survey) checkApart(c *surveyed) {
	own := s.top(c.node.Path)
	if c.machine != value.Root && s.top(c.machine) != own && !slices.Contains(s.tops, c.node.Path) {
		s.problem(c, "sfProcessHost", c.node.Pos, diag.NoHost, fmt.Sprintf("%s runs on machine %s of another system", c.node.Path, c.machine), "", "",
			s.side(own, s.top(c.machine)))
	}
	for a := range c.attrs.All() {
		for _, t := range c.targets[a.Name] {
			if other := s.top(t.Path); other != own {
				s.problem(c, a.Name, a.Pos, diag.AttributeWrong, fmt.Sprintf("%s of %s refers to %s, which is of another system", a.Name, c.node.Path, farEnd(t)), "", "",
					s.side(own, other))
				break
			}
		}
	}
}

// farEnd names what is referred to.
func farEnd(t model.Target) string {
	if t.Attr == "" {
		return t.Path.String()
	}
	return t.Path.Child(t.Attr).String()
}

// side says which of two parts is the one that is detached.
func (s *Survey) side(own, other value.Path) string {
	if own == value.Root {
		own = other
	}
	return fmt.Sprintf("%s is detached, and may end without the rest, as the rest without it: give the value itself", own)
}
