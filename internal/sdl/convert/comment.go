package convert

import (
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// comment puts the comments of f, a tree as it was parsed, beside the items
// they are about: one on the line on which an item ends belongs to that item,
// any other to the item it stands before or in.
func comment(f *syntax.File) *Doc {
	d := &Doc{File: f, notes: map[any]*notes{}}
	if len(f.Comments) == 0 {
		return d
	}
	c := commenter{d: d, rest: f.Comments}
	c.items(f.Items)
	c.last(f, f.Items)
	return d
}

type commenter struct {
	d    *Doc
	rest []syntax.Comment
}

// before takes the comments that begin before p.
func (c *commenter) before(p value.Pos) []syntax.Comment {
	n := 0
	for n < len(c.rest) && earlier(c.rest[n].Span.Pos, p) {
		n++
	}
	taken := c.rest[:n]
	c.rest = c.rest[n:]
	return taken
}

func earlier(a, b value.Pos) bool { return a.Line < b.Line || a.Line == b.Line && a.Col < b.Col }

func (c *commenter) items(items []syntax.Item) {
	for i, item := range items {
		var prev syntax.Item
		if i > 0 {
			prev = items[i-1]
		}
		start := start(item)
		c.above(item, prev, c.before(start.Pos))
		if a, ok := item.(*syntax.Attribute); ok {
			c.value(item, a.Value)
		} else {
			c.inside(item, c.before(endOf(start)))
		}
	}
}

// above gives comments before item to it, or to the item before if they stand
// on the line on which that ends.
func (c *commenter) above(item any, prev syntax.Item, list []syntax.Comment) {
	list = c.behind(prev, list)
	for _, x := range list {
		n := c.d.of(item)
		n.above = append(n.above, x.Text)
	}
}

// behind takes from list what stands on the line on which prev ends.
func (c *commenter) behind(prev syntax.Item, list []syntax.Comment) []syntax.Comment {
	if prev == nil {
		return list
	}
	line := end(prev).Line
	for len(list) > 0 && list[0].Span.Pos.Line == line {
		n := c.d.of(prev)
		n.behind = append(n.behind, list[0].Text)
		if strings.ContainsRune(list[0].Text, '\n') {
			return list[1:]
		}
		list = list[1:]
	}
	return list
}

func (c *commenter) inside(item syntax.Item, list []syntax.Comment) {
	for _, x := range list {
		n := c.d.of(item)
		n.above = append(n.above, x.Text)
	}
}

// value handles the comments within e, the value of item or a part of it.
func (c *commenter) value(item syntax.Item, e syntax.Expr) {
	if comp, ok := e.(*syntax.Component); ok {
		switch comp.Op {
		case syntax.NotOp:
			if b := lastBody(comp); b != nil {
				c.inside(item, c.before(b.At.Pos))
				c.body(b)
			}
		case syntax.OpVector:
			for _, x := range comp.Operands() {
				c.value(item, x.(*syntax.Attribute).Value)
			}
		}
	}
	c.inside(item, c.before(endOf(e.Span())))
}

func (c *commenter) body(b *syntax.Body) {
	within := c.rest
	n := 0
	for n < len(within) && earlier(within[n].Span.Pos, endOf(b.At)) {
		n++
	}
	inner := commenter{d: c.d, rest: within[:n]}
	inner.items(b.Items)
	inner.last(b, b.Items)
	c.rest = within[n:]
}

// last gives what is left to the end of a body or file.
func (c *commenter) last(owner any, items []syntax.Item) {
	var prev syntax.Item
	if len(items) > 0 {
		prev = items[len(items)-1]
	}
	for _, x := range c.behind(prev, c.rest) {
		n := c.d.of(owner)
		n.last = append(n.last, x.Text)
	}
	c.rest = nil
}

// lastBody returns the body that the items of a component's JSON and YAML form
// are those of, or nil.
func lastBody(c *syntax.Component) *syntax.Body {
	return c.Protos[len(c.Protos)-1].Body
}

func start(item syntax.Item) diag.Span {
	if a, ok := item.(*syntax.Attribute); ok {
		return a.NameSpan
	}
	return item.(*syntax.Include).Span
}

func end(item syntax.Item) value.Pos {
	if a, ok := item.(*syntax.Attribute); ok {
		return endOf(a.Value.Span())
	}
	return endOf(item.(*syntax.Include).Span)
}

// endOf is the place behind s.
func endOf(s diag.Span) value.Pos {
	if s.EndLine == 0 {
		return s.Pos
	}
	return value.Pos{File: s.Pos.File, Line: int(s.EndLine), Col: int(s.EndCol)}
}

// lineComment reports whether a comment goes to the end of its line.
func lineComment(text string) bool { return strings.HasPrefix(text, "//") }

// settle makes the comments behind an item such that they can stand on one
// line, in which a line comment comes last; it returns the others.
func (n *notes) settle() (rest []string) {
	for i, text := range n.behind {
		if lineComment(text) || strings.ContainsAny(text, "\r\n") {
			rest = slices.Clone(n.behind[i+1:])
			n.behind = n.behind[:i+1]
			return rest
		}
	}
	return nil
}

// wellFormed returns text, a comment that was not written in the language, as
// the language reads it, or false if it is none.
func wellFormed(text string) (string, bool) {
	text = plainBackslashes(text)
	var list diag.List
	f := syntax.Parse("", []byte(text), &list)
	ok := list.Errors() == 0 && len(f.Items) == 0 && len(f.Comments) == 1 && f.Comments[0].Text == text
	return text, ok
}

// plainBackslashes keeps \u in text from being read as a character (LX2).
func plainBackslashes(text string) string {
	if !strings.Contains(text, `\u`) {
		return text
	}
	var b strings.Builder
	odd := false
	for i := range len(text) {
		switch {
		case text[i] == '\\':
			odd = !odd
		case text[i] == 'u' && odd:
			b.WriteByte('\\')
			odd = false
		default:
			odd = false
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
