package model

import (
	"context"
	"iter"
	"slices"
	"strings"

	"aloft/value"
)

// Node is one component of a description's tree.
type Node struct {
	Path     value.Path
	Comp     *value.Component
	Parent   *Node // nil for the top
	Children []*Node
	Order    int       // position in the tree's pre-order, 0 for the top
	Pos      value.Pos // where the component was written

	scope *scope
}

// Name returns the attribute that holds the component; "" for the top.
func (n *Node) Name() string { return n.Path.Name() }

// Own ranges over the attributes that are not child components.
func (n *Node) Own() iter.Seq[value.Attr] {
	return func(yield func(value.Attr) bool) {
		for a := range n.Comp.All() {
			if !isChild(a.Value) && !yield(a) {
				return
			}
		}
	}
}

// Child returns the child component called name, or nil.
func (n *Node) Child(name string) *Node {
	if s := n.scope.children[name]; s != nil {
		return s.node
	}
	return nil
}

// Tree is the component tree of a description: the top and, below every
// component, the attributes whose value is an eager component (runtime.md
// CT1). It is read-only, but not for concurrent use.
type Tree struct {
	Root *Node

	nodes  []*Node // pre-order
	byPath map[value.Path]*Node
}

// NewTree returns the component tree below root. A component that the
// description shares between several places becomes a node at each (CT2).
func NewTree(root *value.Component) *Tree {
	t, _ := NewTreeContext(context.Background(), root)
	return t
}

// NewTreeContext is NewTree for trees that may be large: it stops soon after
// ctx is done, and returns its error.
func NewTreeContext(ctx context.Context, root *value.Component) (*Tree, error) {
	t := &Tree{byPath: map[value.Path]*Node{}}
	t.Root = t.add(ctx, root, nil, "", value.Pos{})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Tree) add(ctx context.Context, c *value.Component, parent *Node, name string, pos value.Pos) *Node {
	n := &Node{Comp: c, Parent: parent, Order: len(t.nodes), Pos: pos}
	n.scope = &scope{comp: c, node: n}
	if parent != nil {
		n.Path = parent.Path.Child(name)
		parent.Children = append(parent.Children, n)
		parent.scope.enter(name, n.scope)
	}
	t.nodes = append(t.nodes, n)
	t.byPath[n.Path] = n
	for a := range c.All() {
		if len(t.nodes)%1024 == 0 && ctx.Err() != nil {
			break
		}
		if isChild(a.Value) {
			t.add(ctx, a.Value.(*value.Component), n, a.Name, a.Pos)
		}
	}
	return n
}

// PreOrder ranges over the components, parents before children, siblings in
// definition order.
func (t *Tree) PreOrder() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for _, n := range t.nodes {
			if !yield(n) {
				return
			}
		}
	}
}

func isChild(v value.Value) bool {
	c, ok := v.(*value.Component)
	return ok && !c.Data
}

// scope is a component in its place: a node of the tree, or a data component
// or function body inside one. The same place is always the same scope.
type scope struct {
	comp     *value.Component
	node     *Node // nil below a node
	up       *scope
	name     string            // the attribute of up that holds it, for messages
	children map[string]*scope // made when first entered
}

func (s *scope) enter(name string, c *scope) {
	if s.children == nil {
		s.children = map[string]*scope{}
	}
	c.up, c.name = s, name
	s.children[name] = c
}

// child returns the scope of the component c that attribute name of s holds.
func (s *scope) child(name string, c *value.Component) *scope {
	if k := s.children[name]; k != nil {
		return k
	}
	k := &scope{comp: c}
	s.enter(name, k)
	return k
}

// within returns the node that s is or lies in.
func (s *scope) within() *Node {
	for s.node == nil {
		s = s.up
	}
	return s.node
}

// String returns the place of s as language diagnostics name it; of a very deep
// one the innermost part.
func (s *scope) String() string {
	const most = 200 // names shown
	var names []string
	for ; s.up != nil && len(names) < most; s = s.up {
		names = append(names, s.name)
	}
	if s.up == nil {
		names = append(names, "sfConfig")
	} else {
		names = append(names, "…")
	}
	slices.Reverse(names)
	return strings.Join(names, ":")
}
