package syntax

import (
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// At returns the span of the value of f that begins at pos, of several the
// outermost, or that of pos alone if none does.
func (f *File) At(pos value.Pos) diag.Span {
	if s, ok := itemsAt(f.Items, pos); ok {
		return s
	}
	return diag.At(pos)
}

func itemsAt(items []Item, pos value.Pos) (diag.Span, bool) {
	for _, item := range items {
		if a, ok := item.(*Attribute); ok {
			if s, ok := exprAt(a.Value, pos); ok {
				return s, true
			}
		}
	}
	return diag.Span{}, false
}

func exprAt(e Expr, pos value.Pos) (diag.Span, bool) {
	switch s := e.Span(); {
	case s.Pos == pos:
		return s, true
	case !within(pos, s):
		return diag.Span{}, false
	}
	switch e := e.(type) {
	case *Vector:
		for _, x := range e.Elems {
			if s, ok := exprAt(x, pos); ok {
				return s, true
			}
		}
	case *Reference:
		if e.Apply != nil {
			return itemsAt(e.Apply.Items, pos)
		}
	case *Component:
		for _, p := range e.Protos {
			if p.Body == nil {
				continue
			}
			if s, ok := itemsAt(p.Body.Items, pos); ok {
				return s, true
			}
		}
	}
	return diag.Span{}, false
}

// within reports whether pos lies in s.
func within(pos value.Pos, s diag.Span) bool {
	before := func(line, col, line2, col2 int) bool { return line < line2 || line == line2 && col < col2 }
	return pos.File == s.Pos.File && !before(pos.Line, pos.Col, s.Pos.Line, s.Pos.Col) &&
		before(pos.Line, pos.Col, int(s.EndLine), int(s.EndCol))
}
