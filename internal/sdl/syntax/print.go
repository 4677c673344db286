package syntax

import (
	"strings"

	"aloft/value"
)

// Print returns the text of f in the form that format gives a text, with an
// item on each line. It parses to an equal tree, positions and comments apart;
// what a tree does not keep, such as needless parentheses or the form of a
// number, is not printed.
func Print(f *File) string { return PrintWith(f, nil) }

// Beside is what a text has beside an item, a body or a file: lines above it
// and behind it, of a body or file the last lines in it. They are comments, with
// their marks.
type Beside struct{ Above, Behind, Last []string }

// PrintWith is Print with what beside returns for each *Attribute, *Include,
// *Body and *File in its place, and a blank line at the top around what has
// several lines.
func PrintWith(f *File, beside func(any) Beside) string {
	p := treePrinter{beside: beside}
	last := p.look(f).Last
	if f.Wrapped {
		p.WriteString("extends ")
		p.body(f.Items, last)
		p.WriteByte('\n')
	} else {
		p.items(f.Items, last)
	}
	return p.String()
}

// PrintValue returns the text of e as it stands behind a name.
func PrintValue(e Expr) string {
	p := treePrinter{}
	p.value(e)
	return p.String()
}

type treePrinter struct {
	strings.Builder
	indent int
	beside func(any) Beside // nil if there is nothing beside
}

func (p *treePrinter) look(x any) Beside {
	if p.beside == nil {
		return Beside{}
	}
	return p.beside(x)
}

// maxIndent keeps the text of a deeply nested tree from growing with the
// square of its depth.
const maxIndent = 32

func (p *treePrinter) margin() {
	for range min(p.indent, maxIndent) {
		p.WriteString("  ")
	}
}

func (p *treePrinter) items(items []Item, last []string) {
	apart := p.beside != nil && p.indent == 0
	tall := false // the item before has several lines
	for i, item := range items {
		b := p.look(item)
		wasTall := tall
		tall = multiline(item)
		if apart && i > 0 && (wasTall || tall || len(b.Above) > 0) {
			p.WriteByte('\n')
		}
		p.lines(b.Above)
		p.margin()
		switch item := item.(type) {
		case *Include:
			p.include(item)
		case *Attribute:
			p.attribute(item)
		}
		for _, text := range b.Behind {
			p.WriteString("  " + text)
		}
		p.WriteByte('\n')
	}
	if apart && tall && len(last) > 0 {
		p.WriteByte('\n')
	}
	p.lines(last)
}

func (p *treePrinter) lines(list []string) {
	for _, text := range list {
		p.margin()
		p.WriteString(text + "\n")
	}
}

// multiline reports whether item takes several lines for its last body.
func multiline(item Item) bool {
	a, ok := item.(*Attribute)
	if !ok || !endsWithBody(a.Value) {
		return false
	}
	protos := a.Value.(*Component).Protos
	return len(protos[len(protos)-1].Body.Items) > 0
}

func (p *treePrinter) include(inc *Include) {
	if inc.HasCodebase {
		p.WriteString("#codebase " + value.Quote(inc.Codebase) + " ")
	}
	p.WriteString("#include")
	if inc.Optional {
		p.WriteByte('?')
	}
	p.WriteString(" " + value.Quote(inc.File))
}

func (p *treePrinter) attribute(a *Attribute) {
	if len(a.Tags) > 0 {
		p.WriteByte('[')
		for i, t := range a.Tags {
			p.comma(i, " ")
			p.WriteString(quoteName(t))
		}
		p.WriteString("] ")
	}
	p.WriteString(nameText(a))
	p.WriteByte(' ')
	p.value(a.Value)
	if !endsWithBody(a.Value) {
		p.WriteByte(';')
	}
}

// endsWithBody reports whether e is a component that ends with }, which needs
// no semicolon.
func endsWithBody(e Expr) bool {
	c, ok := e.(*Component)
	return ok && c.Op == NotOp && c.Protos[len(c.Protos)-1].Body != nil
}

// nameText is the path name of a as it is written.
func nameText(a *Attribute) string {
	last := "--"
	if !a.Fresh {
		last = quoteName(a.Name)
	}
	if len(a.Path) == 0 {
		return last
	}
	return strings.Join(a.Path, ":") + ":" + last
}

func quoteName(name string) string {
	if value.IsWord(name) {
		return name
	}
	return value.Quote(name)
}

func (p *treePrinter) comma(i int, sep string) {
	if i > 0 {
		p.WriteString(sep)
	}
}

func (p *treePrinter) body(items []Item, last []string) {
	if len(items) == 0 && len(last) == 0 {
		p.WriteString("{}")
		return
	}
	p.WriteString("{\n")
	p.indent++
	p.items(items, last)
	p.indent--
	p.margin()
	p.WriteByte('}')
}

func (p *treePrinter) value(e Expr) {
	switch e := e.(type) {
	case *Literal:
		p.WriteString(value.Source(e.Value))
	case *Vector:
		p.WriteString("[|")
		for i, x := range e.Elems {
			p.comma(i, ",")
			p.WriteByte(' ')
			p.value(x)
		}
		p.WriteString(" |]")
	case *Reference:
		p.reference(e)
	case *Var:
		p.variable(e)
	case *Component:
		if e.Op == NotOp {
			p.component(e)
		} else {
			p.operation(e)
		}
	}
}

// operand prints e where a component needs parentheses.
func (p *treePrinter) operand(item Item) {
	e := item.(*Attribute).Value
	if c, ok := e.(*Component); ok && c.Op == NotOp {
		p.WriteByte('(')
		p.component(c)
		p.WriteByte(')')
		return
	}
	p.value(e)
}

func (p *treePrinter) component(c *Component) {
	p.WriteString("extends ")
	if c.Data {
		p.WriteString("DATA ")
	}
	for i, proto := range c.Protos {
		switch {
		case i == 0:
		case i == len(c.Protos)-1 && proto.Body != nil:
			p.WriteByte(' ')
		default:
			p.WriteString(", ")
		}
		switch {
		case proto.Body != nil:
			p.body(proto.Body.Items, p.look(proto.Body).Last)
		case proto.Link != nil:
			p.WriteString(value.LinkText(proto.Link))
		default:
			p.WriteString("NULL")
		}
	}
}

func (p *treePrinter) reference(r *Reference) {
	if r.Lazy {
		p.WriteString("LAZY ")
	}
	if r.Data {
		p.WriteString("DATA ")
	}
	if r.Apply != nil {
		if r.Assert {
			p.WriteString("ASSERT ")
		} else {
			p.WriteString("APPLY ")
		}
		p.body(r.Apply.Items, p.look(r.Apply).Last)
		return
	}
	if r.Optional {
		p.WriteString("OPTIONAL ")
		if r.Default != nil {
			p.WriteByte('(')
			p.value(r.Default)
			p.WriteString(") ")
		}
	}
	p.WriteString(value.LinkText(r.Parts))
}

func (p *treePrinter) variable(v *Var) {
	p.WriteString("VAR")
	switch {
	case v.Range != nil:
		p.WriteString(" {")
		p.value(v.Name)
		p.WriteString(", ")
		p.value(v.Range)
		p.WriteByte('}')
	case v.Name != nil:
		p.WriteByte(' ')
		p.value(v.Name)
	}
}

func (p *treePrinter) operation(c *Component) {
	list := c.Operands()
	switch c.Op {
	case OpNot:
		p.WriteString("(! ")
		p.operand(list[0])
		p.WriteByte(')')
	case OpIf:
		for i, word := range []string{"IF ", " THEN ", " ELSE "} {
			p.WriteString(word)
			p.operand(list[i])
		}
		p.WriteString(" FI")
	case OpSwitch:
		p.WriteString("SWITCH ")
		arms := list[len(list)-2*c.Arms:]
		if body := list[:len(list)-2*c.Arms]; len(body) > 0 {
			p.body(body, nil)
			p.WriteByte(' ')
		}
		for i := 0; i < len(arms); i += 2 {
			p.WriteString("IF ")
			p.operand(arms[i])
			p.WriteString(" THEN ")
			p.operand(arms[i+1])
			p.WriteByte(' ')
		}
		p.WriteString("ENDSWITCH")
	case OpVector:
		if len(list) == 0 {
			p.WriteString("[]")
			return
		}
		for i, x := range list {
			p.WriteString([]string{"[ ", ", "}[min(i, 1)])
			p.operand(x)
		}
		p.WriteString(" ]")
	default:
		p.WriteByte('(')
		for i, x := range list {
			p.comma(i, " "+c.Op.String()+" ")
			p.operand(x)
		}
		p.WriteByte(')')
	}
}
