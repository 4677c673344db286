package resolve

import (
	"strings"

	"aloft/value"
)

// text writes the tree below n in a form that parses back, prototypes and path
// names that are still there included.
func (r *resolver) text(n *node) string {
	p := printer{r: r}
	if n == r.config {
		p.b.WriteString("sfConfig ")
		p.node(n)
		p.b.WriteByte('\n')
	} else {
		p.attrs(n.attrs)
	}
	return p.b.String()
}

type printer struct {
	r      *resolver
	b      strings.Builder
	indent int
}

func (p *printer) attrs(attrs []attr) {
	for i := range attrs {
		a := &attrs[i]
		if !p.r.spend(1) {
			return
		}
		p.b.WriteString(strings.Repeat("  ", p.indent))
		if len(a.tags) > 0 {
			p.b.WriteString("[")
			for j, t := range a.tags {
				if j > 0 {
					p.b.WriteByte(' ')
				}
				p.b.WriteString(nameSource(t))
			}
			p.b.WriteString("] ")
		}
		if a.path {
			p.b.WriteString(strings.Join(a.src.Path, ":") + ":" + nameSource(a.src.Name))
		} else {
			p.b.WriteString(nameSource(a.name))
		}
		p.b.WriteByte(' ')
		p.term(a.v)
		if _, isNode := a.v.(*node); !isNode {
			p.b.WriteByte(';')
		}
		p.b.WriteByte('\n')
	}
}

func (p *printer) term(t term) {
	switch t := t.(type) {
	case *node:
		p.node(t)
	case *vector:
		if !p.r.spend(len(t.elems)) {
			return
		}
		open, end := "[| ", " |]"
		for _, e := range t.elems {
			if _, isNode := e.(*node); isNode {
				open, end = "[ ", " ]"
			}
		}
		p.b.WriteString(open)
		for i, e := range t.elems {
			if i > 0 {
				p.b.WriteString(", ")
			}
			if n, isNode := e.(*node); isNode {
				p.b.WriteByte('(')
				p.node(n)
				p.b.WriteByte(')')
				continue
			}
			p.term(e)
		}
		p.b.WriteString(end)
	case *ref:
		p.ref(t)
	case *variable:
		p.b.WriteString("VAR")
	case value.Value:
		p.b.WriteString(value.Source(t))
	case dropped:
		p.b.WriteString("NULL")
	}
}

func (p *printer) ref(t *ref) {
	if t.lazy {
		p.b.WriteString("LAZY ")
	}
	if t.optional {
		p.b.WriteString("OPTIONAL ")
		if t.def != nil {
			p.b.WriteByte('(')
			p.term(t.def)
			p.b.WriteString(") ")
		}
	}
	if t.data {
		p.b.WriteString("DATA ")
	}
	if t.apply == nil {
		p.b.WriteString(value.Source(&value.Reference{Parts: t.parts}))
		return
	}
	word := "APPLY "
	if t.assert {
		word = "ASSERT "
	}
	p.b.WriteString(word)
	p.r.open(t.apply)
	p.body(t.apply.attrs)
}

func (p *printer) node(n *node) {
	p.b.WriteString("extends ")
	if n.data {
		p.b.WriteString("DATA ")
	}
	if n.protos == nil {
		p.r.open(n)
		p.body(n.attrs)
		return
	}
	for i, proto := range n.protos {
		if i > 0 {
			p.b.WriteString(", ")
		}
		switch {
		case proto.src.Link != nil:
			p.b.WriteString(value.Source(&value.Reference{Parts: proto.src.Link}))
		case proto.src.Body != nil:
			p.body(proto.body)
			continue
		default:
			p.b.WriteString("NULL")
		}
	}
	if last := n.protos[len(n.protos)-1]; last.src.Body == nil {
		p.b.WriteByte(';')
	}
}

func (p *printer) body(attrs []attr) {
	if len(attrs) == 0 {
		p.b.WriteString("{}")
		return
	}
	p.b.WriteString("{\n")
	p.indent++
	p.attrs(attrs)
	p.indent--
	p.b.WriteString(strings.Repeat("  ", p.indent) + "}")
}

// nameSource writes a name or tag, quoted where the language needs it.
func nameSource(name string) string {
	if value.IsWord(name) && !value.IsKeyword(name) {
		return name
	}
	return value.Quote(name)
}
