package convert

import (
	"strings"

	"aloft/internal/sdl/syntax"
)

// writeSF is syntax.Print with the comments in their places, and a blank line
// around what takes several lines at the top.
func writeSF(d *Doc) []byte {
	p := sfPrinter{d: d}
	if d.File.Wrapped {
		p.WriteString("extends {\n")
		p.indent++
	}
	p.items(d.File.Items)
	p.comments(d.look(d.File).last)
	if d.File.Wrapped {
		p.WriteString("}\n")
	}
	return []byte(p.String())
}

type sfPrinter struct {
	strings.Builder
	d      *Doc
	indent int
}

// maxIndent keeps a text from growing with the square of its depth.
const maxIndent = 32

func (p *sfPrinter) margin() string { return strings.Repeat("  ", min(p.indent, maxIndent)) }

func (p *sfPrinter) comments(list []string) {
	for _, text := range list {
		p.WriteString(p.margin() + text + "\n")
	}
}

func (p *sfPrinter) items(items []syntax.Item) {
	tall := false
	for i, item := range items {
		n := p.d.look(item)
		isTall := len(n.above) > 0 || multiline(item)
		if p.indent == 0 && i > 0 && (isTall || tall) {
			p.WriteByte('\n')
		}
		tall = multiline(item)
		p.comments(n.above)
		p.WriteString(p.margin())
		p.item(item)
		for _, text := range n.behind {
			p.WriteString("  " + text)
		}
		p.WriteByte('\n')
	}
	if p.indent == 0 && tall && len(p.d.look(p.d.File).last) > 0 {
		p.WriteByte('\n')
	}
}

// multiline reports whether item takes more than one line.
func multiline(item syntax.Item) bool {
	a, ok := item.(*syntax.Attribute)
	if !ok {
		return false
	}
	c, ok := a.Value.(*syntax.Component)
	if !ok || c.Op != syntax.NotOp {
		return false
	}
	b := lastBody(c)
	return b != nil && len(b.Items) > 0
}

func (p *sfPrinter) item(item syntax.Item) {
	a, ok := item.(*syntax.Attribute)
	if !ok {
		p.WriteString(itemText(item))
		return
	}
	p.WriteString(head(a) + " ")
	p.value(a.Value)
	if c, ok := a.Value.(*syntax.Component); !ok || c.Op != syntax.NotOp {
		p.WriteByte(';')
	}
}

// value prints e. What holds no items with comments is left to package syntax;
// its text has line breaks only where blanks may be.
func (p *sfPrinter) value(e syntax.Expr) {
	c, ok := e.(*syntax.Component)
	switch {
	case ok && c.Op == syntax.NotOp && lastBody(c) != nil:
		p.component(c)
	case ok && c.Op == syntax.OpVector:
		p.WriteByte('[')
		for i, x := range c.Operands() {
			if i > 0 {
				p.WriteString(", ")
			}
			e := x.(*syntax.Attribute).Value
			if c, ok := e.(*syntax.Component); ok && c.Op == syntax.NotOp {
				p.WriteByte('(')
				p.value(e)
				p.WriteByte(')')
			} else {
				p.value(e)
			}
		}
		p.WriteByte(']')
	default:
		p.WriteString(strings.ReplaceAll(syntax.PrintValue(e), "\n", "\n"+p.margin()))
	}
}

func (p *sfPrinter) component(c *syntax.Component) {
	text := protoText(c)
	p.WriteString("extends ")
	if text != "" {
		p.WriteString(strings.ReplaceAll(text, "\n", "\n"+p.margin()) + " ")
	}
	b := lastBody(c)
	last := p.d.look(b).last
	if len(b.Items) == 0 && len(last) == 0 {
		p.WriteString("{}")
		return
	}
	p.WriteString("{\n")
	p.indent++
	p.items(b.Items)
	p.comments(last)
	p.indent--
	p.WriteString(p.margin() + "}")
}

// protoText is what stands between extends and the last body of c.
func protoText(c *syntax.Component) string {
	short := *c
	short.Protos = append(append([]syntax.Proto(nil), c.Protos[:len(c.Protos)-1]...), syntax.Proto{Body: &syntax.Body{}})
	text := syntax.PrintValue(&short)
	text = strings.TrimPrefix(text, "extends ")
	text = strings.TrimSuffix(text, "{}")
	return strings.TrimRight(text, " ")
}

// itemText is the text of one item.
func itemText(item syntax.Item) string {
	return strings.TrimSuffix(syntax.Print(&syntax.File{Items: []syntax.Item{item}}), "\n")
}

// head is what stands before the value of a.
func head(a *syntax.Attribute) string {
	short := *a
	short.Value = &syntax.Reference{}
	text := itemText(&short)
	return strings.TrimSuffix(text, " ;")
}
