// Package diagram draws a resolved description: its components as boxes inside
// each other, and its LAZY references as arrows between them, as text for
// Graphviz (DOT) and Mermaid, and as SVG. The layout of the SVG is its own; no
// other program is needed. The same description always gives the same bytes.
// It resolves nothing, knows no class, reads no file and starts no goroutine.
package diagram

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/model"
	"aloft/value"
)

// Graph is a description to be drawn.
type Graph struct {
	Top    *Box
	Arrows []*Arrow // by the order of From, then by what is referred to first
}

// Box is a component.
type Box struct {
	Path    value.Path
	Name    string // as it is written, with the number of its copies
	Class   string // "" without sfClass
	Machine bool
	// Notes are references to components that the box is in, or that are in it,
	// as "sfProcessHost ← vm:ip": no arrow could show them.
	Notes []string
	Boxes []*Box

	parent *Box
	depth  int
	number int // in pre-order, the top having 0
}

// Arrow says that From refers to To.
type Arrow struct {
	From, To *Box
	Labels   []string // each an attribute of From, as "env: host, port"
}

// Classes returns the name that a class given in sfClass is known by, and
// whether its components are machines.
type Classes func(class string) (name string, machine bool)

// New returns the graph of the description of the system called name, whose
// top is root.
func New(name string, root *value.Component, classes Classes) *Graph {
	tree := model.NewTree(root)
	g := &Graph{}
	boxes := map[value.Path]*Box{}
	for n := range tree.PreOrder() {
		b := &Box{Path: n.Path, Name: written(n.Name()), number: n.Order}
		if n.Parent == nil {
			b.Name = name
			g.Top = b
		} else {
			b.parent = boxes[n.Parent.Path]
			b.depth = b.parent.depth + 1
			b.parent.Boxes = append(b.parent.Boxes, b)
		}
		if many, ok := n.Comp.Get("sfCopies"); ok {
			if many, ok := many.(value.Integer); ok {
				b.Name += fmt.Sprintf(" ×%d", many)
			}
		}
		if class, ok := n.Comp.Get("sfClass"); ok {
			if class, ok := class.(value.String); ok {
				b.Class, b.Machine = classes(string(class))
			}
		}
		boxes[n.Path] = b
	}
	r := reader{tree: tree, nodes: map[value.Path]*model.Node{}, targets: map[model.Target][]model.Target{}}
	for n := range tree.PreOrder() {
		r.nodes[n.Path] = n
	}
	for n := range tree.PreOrder() {
		g.refer(&r, n, boxes)
	}
	return g
}

// written returns name as descriptions write it.
func written(name string) string {
	if value.IsWord(name) {
		return name
	}
	return value.Quote(name)
}

// refer adds what the attributes of n refer to.
func (g *Graph) refer(r *reader, n *model.Node, boxes map[value.Path]*Box) {
	from := boxes[n.Path]
	arrows := map[*Box]*Arrow{}
	for a := range n.Own() {
		var order []*Box
		reads := map[*Box][]string{}
		for _, t := range r.direct(n, a) {
			to := boxes[t.Path]
			switch {
			case to == from:
			case from.within(to) || to.within(from):
				from.Notes = append(from.Notes, written(a.Name)+" ← "+place(t))
			default:
				if reads[to] == nil {
					order = append(order, to)
				}
				reads[to] = append(reads[to], t.Attr)
			}
		}
		for _, to := range order {
			if arrows[to] == nil {
				arrows[to] = &Arrow{From: from, To: to}
				g.Arrows = append(g.Arrows, arrows[to])
			}
			arrows[to].Labels = append(arrows[to].Labels, label(a.Name, reads[to]))
		}
	}
}

// reader finds what attributes refer to.
type reader struct {
	tree    *model.Tree
	nodes   map[value.Path]*model.Node
	targets map[model.Target][]model.Target // of attributes, by where they are
}

// all returns whatever the value of attribute a of n needs.
func (r *reader) all(n *model.Node, a value.Attr) []model.Target {
	at := model.Target{Path: n.Path, Attr: a.Name}
	targets, known := r.targets[at]
	if !known {
		_, targets, _ = model.Absolute(r.tree, n, a, nil)
		r.targets[at] = targets
	}
	return targets
}

// direct returns what attribute a of n refers to itself, without what is needed
// there in turn. A reference to something that is needed there anyway is taken
// for one of those.
func (r *reader) direct(n *model.Node, a value.Attr) []model.Target {
	var targets []model.Target
	indirect := map[model.Target]bool{}
	for _, t := range r.all(n, a) {
		if indirect[t] {
			continue
		}
		targets = append(targets, t)
		if !t.Given || t.Path == n.Path && t.Attr == a.Name {
			continue
		}
		to := r.nodes[t.Path]
		if given, ok := to.Comp.Attr(t.Attr); ok {
			for _, next := range r.all(to, given) {
				indirect[next] = true
			}
		}
	}
	return targets
}

// place names what is read.
func place(t model.Target) string {
	if t.Attr == "" {
		return t.Path.String()
	}
	return t.Path.String() + ":" + written(t.Attr)
}

// label names an attribute and what it reads: attributes, or "" for a component
// as a whole.
func label(attr string, reads []string) string {
	var names []string
	for _, r := range reads {
		if r != "" && r != attr {
			names = append(names, written(r))
		}
	}
	if len(names) == 0 {
		return written(attr)
	}
	return fmt.Sprintf("%s: %s", written(attr), strings.Join(names, ", "))
}

// within reports whether b is a part of outer.
func (b *Box) within(outer *Box) bool {
	for b != nil && b.depth > outer.depth {
		b = b.parent
	}
	return b == outer
}

// ends returns the boxes that the arrows lead from or to.
func (g *Graph) ends() map[*Box]bool {
	ends := map[*Box]bool{}
	for _, a := range g.Arrows {
		ends[a.From], ends[a.To] = true, true
	}
	return ends
}

// lines returns what is written in b.
func (b *Box) lines() []string {
	lines := []string{b.Name}
	if b.Class != "" {
		lines = append(lines, b.Class)
	}
	return slices.Concat(lines, b.Notes)
}
