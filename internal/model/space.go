package model

import (
	"slices"
	"strconv"

	"aloft/value"
)

// space lets references of a resolved description be walked over its tree.
// An output that a class declares counts as a value known only at run time,
// unless the description gives the attribute itself.
type space struct {
	tree    *Tree
	outputs func(*Node, string) bool // nil: none declared
	visits  *int                     // attributes asked for, or nil
}

func (sp space) Attr(s *scope, name string, first bool) (Item[*scope], bool) {
	if sp.visits != nil {
		*sp.visits++
	}
	a, ok := s.comp.Attr(name)
	if !ok {
		if of, c, ok := copyOf(s.comp, name); ok {
			return Item[*scope]{Kind: ItemComponent, Component: s.child(of, c)}, true
		}
		return Item[*scope]{Kind: ItemLazy}, sp.declared(s, name)
	}
	if !first && slices.Contains(a.Tags, "sfLocal") {
		return Item[*scope]{}, false
	}
	switch v := a.Value.(type) {
	case *value.Component:
		return Item[*scope]{Kind: ItemComponent, Component: s.child(name, v)}, true
	case *value.Reference:
		if v.Data || v.Assert {
			return Item[*scope]{Kind: ItemValue}, true
		}
		return Item[*scope]{Kind: ItemLazy}, true
	default:
		return Item[*scope]{Kind: ItemValue}, true
	}
}

// copyOf returns the component of c that the one called name will be a copy of
// (runtime.md UP7), in a description whose copies are not written out yet.
func copyOf(c *value.Component, name string) (of string, _ *value.Component, ok bool) {
	for cut := len(name) - 1; cut > 0 && '0' <= name[cut] && name[cut] <= '9'; cut-- {
		v, _ := c.Get(name[:cut])
		set, is := v.(*value.Component)
		if !is || set.Data {
			continue
		}
		many, _ := set.Get("sfCopies")
		n, whole := many.(value.Integer)
		if i, err := strconv.Atoi(name[cut:]); err == nil && whole && name[cut] != '0' && i <= int(n) {
			return name[:cut], set, true
		}
	}
	return "", nil, false
}

func (sp space) Parent(s *scope) (*scope, bool) { return s.up, s.up != nil }

func (sp space) Root(*scope) *scope { return sp.tree.Root.scope }

// declared reports whether name is an output of the component s.
func (sp space) declared(s *scope, name string) bool {
	return s.node != nil && sp.outputs != nil && sp.outputs(s.node, name)
}
