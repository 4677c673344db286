package convert

import (
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// relocate gives e, which was parsed from a piece of text and belongs to
// nobody yet, its places in the whole text.
func relocate(e syntax.Expr, at func(value.Pos) diag.Span) {
	switch e := e.(type) {
	case *syntax.Literal:
		e.At = at(e.At.Pos)
	case *syntax.Vector:
		e.At = at(e.At.Pos)
		for _, x := range e.Elems {
			relocate(x, at)
		}
	case *syntax.Reference:
		e.At = at(e.At.Pos)
		if e.Default != nil {
			relocate(e.Default, at)
		}
		if e.Apply != nil {
			relocateBody(e.Apply, e.Apply.Items, at)
		}
	case *syntax.Var:
		e.At = at(e.At.Pos)
		if e.Name != nil {
			relocate(e.Name, at)
		}
		if e.Range != nil {
			relocate(e.Range, at)
		}
	case *syntax.Component:
		e.At = at(e.At.Pos)
		for i := range e.Protos {
			p := &e.Protos[i]
			p.At = at(p.At.Pos)
			if p.Body == nil {
				continue
			}
			items := p.Body.Items
			if e.Op != syntax.NotOp {
				items = e.Operands() // what stands before is shared by all of them
			}
			relocateBody(p.Body, items, at)
		}
	}
}

func relocateBody(b *syntax.Body, items []syntax.Item, at func(value.Pos) diag.Span) {
	b.At = at(b.At.Pos)
	for _, item := range items {
		switch item := item.(type) {
		case *syntax.Attribute:
			if item.NameSpan.Pos.IsValid() {
				item.NameSpan = at(item.NameSpan.Pos)
			}
			relocate(item.Value, at)
		case *syntax.Include:
			item.Span, item.FileSpan = at(item.Span.Pos), at(item.FileSpan.Pos)
		}
	}
}
