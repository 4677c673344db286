package model

import "aloft/value"

// Space is a tree of components that references are walked over. The resolver
// walks its unfinished tree, the planner a Tree; the rules of the walk
// (sdl.md section 12) are the same and stand in Walk alone.
type Space[C comparable] interface {
	// Attr returns what c's own attribute called name holds, with eager
	// references already followed to their value. First is set for the first
	// part of a reference, which alone sees attributes tagged sfLocal.
	Attr(c C, name string, first bool) (Item[C], bool)
	// Parent returns the component that holds c; false at the top.
	Parent(c C) (C, bool)
	// Root returns the component that ROOT means for c.
	Root(c C) C
}

// ItemKind says what an attribute met on a walk holds.
type ItemKind uint8

// The kinds of items.
const (
	ItemValue     ItemKind = iota // a value that is not a component
	ItemComponent                 // a component: the walk can go on in it
	ItemLazy                      // a value known only at run time
	ItemFailed                    // its own resolution failed and was reported
)

// Item is what an attribute met on a walk holds.
type Item[C comparable] struct {
	Kind      ItemKind
	Component C // of ItemComponent
}

// OutcomeKind says how a walk ended.
type OutcomeKind uint8

// The ends of a walk.
const (
	// Found: the last part led to attribute Name of component In, which is
	// not a component.
	Found OutcomeKind = iota
	// Whole: the walk ended at component In as a whole. Name is "" if the
	// last part was not a name.
	Whole
	// Lazy: attribute Name of In, reached by part At, is known only at run
	// time. The parts after At are still to be walked.
	Lazy
	// Missing: the last part, a name, is no attribute of component In. A
	// manager may set it at run time.
	Missing
	// NotFound: part At, not the last, is no attribute of component In.
	NotFound
	// NotComponent: part At stands after attribute Name of In, whose value is
	// not a component.
	NotComponent
	// AboveTop: part At is a PARENT and In is the top.
	AboveTop
	// External: part At leads out of the tree (PROCESS, HOST, PROPERTY,
	// IPROPERTY, ENVPROPERTY, IENVPROPERTY, CONSTANT).
	External
	// Failed: attribute Name of In could not be resolved, which was reported.
	Failed
)

// Outcome is the end of a walk.
type Outcome[C comparable] struct {
	Kind OutcomeKind
	At   int // index of the part at which the walk ended
	In   C
	Name string
	// Component is the component reached, for Whole.
	Component C
}

// Walk follows parts from the component that holds the reference.
func Walk[C comparable](s Space[C], from C, parts []value.Part) Outcome[C] {
	return walk(s, from, parts, 0)
}

// WalkOn follows parts[at:] from a component reached by the parts before, so
// that words do not climb (LK1).
func WalkOn[C comparable](s Space[C], from C, parts []value.Part, at int) Outcome[C] {
	return walk(s, from, parts, at)
}

func walk[C comparable](s Space[C], cur C, parts []value.Part, at int) Outcome[C] {
	out := Outcome[C]{Kind: Whole, At: at, In: cur, Component: cur}
	for i := at; i < len(parts); i++ {
		p := parts[i]
		out = Outcome[C]{Kind: Whole, At: i, In: cur}
		switch p.Kind {
		case value.PartThis:
		case value.PartParent:
			up, ok := s.Parent(cur)
			if !ok {
				out.Kind = AboveTop
				return out
			}
			cur, out.In = up, up
		case value.PartRoot:
			cur = s.Root(cur)
			out.In = cur
		case value.PartAttrib, value.PartHere:
			in := cur
			item, ok := s.Attr(in, p.Name, i == 0)
			for !ok && p.Kind == value.PartAttrib {
				up, above := s.Parent(in)
				if !above {
					break
				}
				in = up
				item, ok = s.Attr(in, p.Name, i == 0)
			}
			out.Name = p.Name
			if !ok {
				if out.Kind = NotFound; i == len(parts)-1 {
					out.Kind = Missing
				}
				return out
			}
			out.In = in
			switch item.Kind {
			case ItemLazy:
				out.Kind = Lazy
				return out
			case ItemFailed:
				out.Kind = Failed
				return out
			case ItemValue:
				if out.Kind = Found; i < len(parts)-1 {
					out.Kind, out.At = NotComponent, i+1
				}
				return out
			case ItemComponent:
				cur = item.Component
			}
		default:
			out.Kind = External
			return out
		}
		out.Component = cur
	}
	return out
}
