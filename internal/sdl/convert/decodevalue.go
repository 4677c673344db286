package convert

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// value returns the value that n shows, which is item's or a part of it. After
// a mistake it returns NULL.
func (d *decoder) value(n *node, item syntax.Item, limit value.Pos) syntax.Expr {
	lit := func(v value.Value) syntax.Expr { return &syntax.Literal{At: n.at, Value: v} }
	switch n.kind {
	case nBool:
		return lit(value.Bool(n.text == "true"))
	case nNumber:
		return lit(d.number(n))
	case nString:
		return lit(value.String(n.text))
	case nList:
		return d.sequence(n, item, limit)
	case nMap:
		if len(n.keys) > 0 && n.keys[0].key == keyText {
			return d.source(n, item)
		}
		return d.component(n, limit)
	default:
		return lit(value.Null{})
	}
}

func (d *decoder) sequence(n *node, item syntax.Item, limit value.Pos) syntax.Expr {
	literals := true
	elems := make([]syntax.Expr, len(n.items))
	for i, x := range n.items {
		next := limit
		if i+1 < len(n.items) {
			next = n.items[i+1].at.Pos
		}
		for _, c := range d.before(x.at.Pos) {
			about := d.doc.of(item)
			about.above = append(about.above, c.text)
		}
		elems[i] = d.value(x, item, next)
		literals = literals && literalOnly(elems[i])
	}
	if literals {
		return &syntax.Vector{At: n.at, Elems: elems}
	}
	return vectorOf(n.at, elems)
}

// vectorOf returns [ elems ] as the parser does.
func vectorOf(at diag.Span, elems []syntax.Expr) *syntax.Component {
	c := syntax.ParseValue("", []byte("[1]"), &diag.List{}).(*syntax.Component)
	body := c.Protos[0].Body
	body.Items = body.Items[:2]
	for _, e := range elems {
		body.Items = append(body.Items, &syntax.Attribute{Fresh: true, Value: e})
	}
	c.At, c.Protos[0].At, body.At = at, at, at
	return c
}

// number reads an integer or a double.
func (d *decoder) number(n *node) value.Value {
	if strings.ContainsAny(n.text, ".eE") {
		f, _ := strconv.ParseFloat(n.text, 64) // what is too large is infinite
		return value.Double(f)
	}
	i, err := strconv.ParseInt(n.text, 10, 64)
	if err == nil && i >= math.MinInt32 && i <= math.MaxInt32 {
		return value.Integer(i)
	}
	x := diag.New(diag.NumberRange, n.at, "number out of range: an integer has 32 bits")
	x.Expected, x.Found = "-2147483648 to 2147483647", shortened(n.text)
	if err == nil {
		x.Hints = []string{fmt.Sprintf(`write a long: {"$": "%sL"}`, n.text)}
	} else {
		x.Hints = []string{"write a double, with a point or an exponent"}
	}
	d.list.Add(x)
	return value.Integer(0)
}

func shortened(s string) string {
	if len(s) > 40 {
		return s[:37] + "…"
	}
	return s
}

// source reads a value in the language's own text.
func (d *decoder) source(n *node, item syntax.Item) syntax.Expr {
	if len(n.keys) > 1 || n.keys[0].val.kind != nString {
		d.wrong(n.at, "$ that does not stand alone with a text", `one key: {"$": "LAZY PARENT:ip"}`, found(n.keys[0].val))
		return &syntax.Literal{At: n.at, Value: value.Null{}}
	}
	return d.parse("x ", n.keys[0].val, item)
}

// parse reads the text of n behind lead, x or x extends, as one attribute, and
// returns its value. Comments in it are given to item.
func (d *decoder) parse(lead string, n *node, item syntax.Item) syntax.Expr {
	at := func(p value.Pos) diag.Span { return n.at }
	if n.plain {
		at = func(p value.Pos) diag.Span { return shifted(n.at, p, len(lead)) }
	}
	var list diag.List
	f := syntax.Parse(n.at.Pos.File, []byte(lead+n.text), &list)
	for _, x := range list.All() {
		x.Span = at(x.Span.Pos)
		for i := range x.Related {
			x.Related[i].Span = at(x.Related[i].Span.Pos)
		}
		d.list.Add(x)
	}
	if list.Errors() > 0 {
		return &syntax.Literal{At: n.at, Value: value.Null{}}
	}
	if len(f.Items) == 1 {
		if a, ok := f.Items[0].(*syntax.Attribute); ok && a.Name == "x" && len(a.Path) == 0 {
			for _, c := range f.Comments {
				if item != nil {
					about := d.doc.of(item)
					about.above = append(about.above, c.Text)
				}
			}
			relocate(a.Value, at)
			return a.Value
		}
	}
	d.wrong(n.at, "a text that is more than a value", "one value of the language", found(n))
	return &syntax.Literal{At: n.at, Value: value.Null{}}
}

// shifted is the place in the text at of what was read at p, behind lead.
// Of further lines it is not known how far in they stand.
func shifted(at diag.Span, p value.Pos, lead int) diag.Span {
	if p.Line > 1 {
		return at
	}
	s := diag.At(at.Pos)
	s.Pos.Col = max(at.Pos.Col, at.Pos.Col+p.Col-1-lead)
	return s
}

// component reads a mapping that is a component.
func (d *decoder) component(n *node, limit value.Pos) syntax.Expr {
	body := &syntax.Body{At: n.at}
	items, extends := d.mapping(n, body, limit)
	body.Items = items
	full := len(items) > 0 || len(d.doc.look(body).last) > 0
	c := &syntax.Component{At: n.at, Protos: []syntax.Proto{{At: n.at, Body: body}}}
	if extends == nil {
		return c
	}
	if extends.val.kind != nString {
		d.wrong(extends.val.at, "$extends that is "+kindNames[extends.val.kind],
			"a string as it stands behind extends: \"A, B\", \"DATA A\", \"NULL\"", found(extends.val))
		return c
	}
	t := *extends.val
	trimmed := strings.TrimSpace(t.text)
	if full || trimmed == "" || trimmed == "DATA" || trimmed == "LAZY" {
		t.text += "\n{}" // on a line of its own: the text may end with a comment
	}
	var about syntax.Item
	if len(items) > 0 {
		about = items[0]
	}
	parsed, ok := d.parse("x extends ", &t, about).(*syntax.Component)
	if !ok {
		return c
	}
	if full {
		parsed.Protos[len(parsed.Protos)-1] = syntax.Proto{At: n.at, Body: body}
	}
	return parsed
}
