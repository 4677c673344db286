package value

import (
	"math"
	"strings"
)

// Source returns v as text of the language that parses back to an equal value
// when it is resolved in the same place: strings quoted, components over
// several lines. A vector with elements that [| |] cannot hold is written
// [ … ]. A float that is not a number is written as the constant of that name.
func Source(v Value) string {
	w := sourceWriter{}
	w.value(v)
	return w.String()
}

// SourceItems returns the attributes of c, each on a line of its own, without
// braces: the text of a file whose top level is c.
func SourceItems(c *Component) string {
	w := sourceWriter{}
	w.items(c)
	return w.String()
}

type sourceWriter struct {
	strings.Builder
	indent int
}

func (w *sourceWriter) value(v Value) {
	switch v := v.(type) {
	case Long:
		w.WriteString(Text(v) + "L")
	case Float:
		w.float(float64(v), 32, "f")
	case Double:
		w.float(float64(v), 64, "")
	case String:
		w.WriteString(Quote(string(v)))
	case Vector:
		w.vector(v)
	case *Component:
		w.WriteString("extends ")
		if v.Data {
			w.WriteString("DATA ")
		}
		w.body(v)
	case *Reference:
		w.reference(v)
	case TBD:
		w.WriteString("TBD")
	default:
		w.WriteString(Text(v))
	}
}

func (w *sourceWriter) float(f float64, bits int, suffix string) {
	switch {
	case math.IsNaN(f) && bits == 32:
		w.WriteString("CONSTANT java.lang.Float.NaN")
	case math.IsNaN(f):
		w.WriteString("CONSTANT java.lang.Double.NaN")
	case math.IsInf(f, 0): // there is no literal, but what is too large is infinite
		if f < 0 {
			w.WriteByte('-')
		}
		w.WriteString("1.0E999" + suffix)
	default:
		w.WriteString(FloatText(f, bits) + suffix)
	}
}

// vector needs parentheses around components, which only [ ] can hold.
func (w *sourceWriter) vector(v Vector) {
	open, end := "[", "]"
	if isLiteral(v) {
		open, end = "[|", "|]"
	}
	w.WriteString(open)
	for i, e := range v {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte(' ')
		if _, ok := e.(*Component); ok {
			w.WriteByte('(')
			w.value(e)
			w.WriteByte(')')
		} else {
			w.value(e)
		}
	}
	w.WriteString(" " + end)
}

// isLiteral reports whether v can be written between [| and |].
func isLiteral(v Value) bool {
	switch v := v.(type) {
	case *Component:
		return false
	case *Reference:
		return v.Data
	case Float:
		return !math.IsNaN(float64(v))
	case Double:
		return !math.IsNaN(float64(v))
	case Vector:
		for _, e := range v {
			if !isLiteral(e) {
				return false
			}
		}
	}
	return true
}

func (w *sourceWriter) body(c *Component) {
	if c.Len() == 0 {
		w.WriteString("{}")
		return
	}
	w.WriteString("{\n")
	w.indent++
	w.items(c)
	w.indent--
	w.margin()
	w.WriteByte('}')
}

// maxIndent keeps the text of a deeply nested value from growing with the
// square of its depth.
const maxIndent = 32

func (w *sourceWriter) margin() {
	for range min(w.indent, maxIndent) {
		w.WriteString("  ")
	}
}

func (w *sourceWriter) items(c *Component) {
	for _, a := range c.attrs {
		w.margin()
		if len(a.Tags) > 0 {
			w.WriteByte('[')
			for i, t := range a.Tags {
				if i > 0 {
					w.WriteByte(' ')
				}
				w.WriteString(sourceName(t))
			}
			w.WriteString("] ")
		}
		w.WriteString(sourceName(a.Name))
		w.WriteByte(' ')
		w.value(a.Value)
		if _, ok := a.Value.(*Component); !ok {
			w.WriteByte(';')
		}
		w.WriteByte('\n')
	}
}

func (w *sourceWriter) reference(r *Reference) {
	if r.Lazy {
		w.WriteString("LAZY ")
	}
	if r.Data {
		w.WriteString("DATA ")
	}
	if r.Apply != nil {
		w.WriteString(applyWord(r) + " ")
		w.body(r.Apply)
		return
	}
	if r.Optional {
		w.WriteString("OPTIONAL ")
		if r.Default != nil {
			w.WriteByte('(')
			w.value(r.Default)
			w.WriteString(") ")
		}
	}
	w.WriteString(LinkText(r.Parts))
}

// LinkText returns the text of a link, a:b:PARENT, as the language reads it.
func LinkText(parts []Part) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte(':')
		}
		if p.Kind == plainKind(i) && IsWord(p.Name) {
			b.WriteString(p.Name)
			continue
		}
		b.WriteString(p.Kind.String())
		if p.Kind.HasName() {
			b.WriteString(" " + sourceName(p.Name))
		}
	}
	return b.String()
}

func sourceName(name string) string {
	if IsWord(name) {
		return name
	}
	return Quote(name)
}
