package convert

import (
	"math"
	"slices"
	"strconv"

	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// encode returns d as JSON and YAML show it.
func encode(d *Doc) *node {
	e := encoder{d: d}
	n := &node{kind: nMap}
	if d.File.Wrapped {
		n.keys = append(n.keys, entry{key: keyExtends, val: text("")})
	}
	e.items(n, d.File.Items, d.look(d.File).last)
	return n
}

type encoder struct{ d *Doc }

func text(s string) *node { return &node{kind: nString, text: s} }

// source is a value that only the language can express.
func source(s string) *node {
	return &node{kind: nMap, keys: []entry{{key: keyText, val: text(s)}}}
}

// items adds items to the mapping n, and the comments behind the last one.
func (e *encoder) items(n *node, items []syntax.Item, last []string) {
	seen := map[string]int{}
	add := func(key string, val *node, about notes) {
		seen[key]++
		if times := seen[key]; times > 1 {
			key += " #" + strconv.Itoa(times)
		}
		n.keys = append(n.keys, entry{key: key, val: val, notes: about})
	}
	for i := 0; i < len(items); i++ {
		about := e.d.look(items[i])
		inc, ok := items[i].(*syntax.Include)
		if !ok {
			a := items[i].(*syntax.Attribute)
			add(keyOf(a), e.value(a.Value), about)
			continue
		}
		key := keyInclude
		if inc.Optional {
			key = keyMaybe
		}
		if inc.HasCodebase {
			add(key, &node{kind: nMap, keys: []entry{
				{key: keyFile, val: text(inc.File)}, {key: keyCodebase, val: text(inc.Codebase)},
			}}, about)
			continue
		}
		// Includes that follow each other are one list, if that loses no comment.
		files := []*node{text(inc.File)}
		for i+1 < len(items) && len(about.behind) == 0 {
			next, ok := items[i+1].(*syntax.Include)
			if !ok || next.HasCodebase || next.Optional != inc.Optional || len(e.d.look(next).above) > 0 {
				break
			}
			i++
			files = append(files, text(next.File))
			about.behind = e.d.look(next).behind
		}
		if len(files) == 1 {
			add(key, files[0], about)
		} else {
			add(key, &node{kind: nList, items: files}, about)
		}
	}
	if len(last) > 0 {
		n.keys = append(n.keys, entry{last: last})
	}
}

// value returns x as plain values where they mean the same, and as the
// language's own text elsewhere.
func (e *encoder) value(x syntax.Expr) *node {
	switch x := x.(type) {
	case *syntax.Literal:
		return literal(x)
	case *syntax.Vector:
		n := &node{kind: nList}
		for _, elem := range x.Elems {
			n.items = append(n.items, e.value(elem))
		}
		return n
	case *syntax.Component:
		switch {
		case x.Op == syntax.NotOp:
			return e.component(x)
		case x.Op == syntax.OpVector && slices.ContainsFunc(x.Operands(), notLiteral):
			n := &node{kind: nList}
			for _, item := range x.Operands() {
				n.items = append(n.items, e.value(item.(*syntax.Attribute).Value))
			}
			return n
		}
	}
	return source(syntax.PrintValue(x))
}

// notLiteral reports whether the element item of [ ] could not stand in [| |],
// so that the list needs no word about which it is.
func notLiteral(item syntax.Item) bool { return !literalOnly(item.(*syntax.Attribute).Value) }

func literalOnly(x syntax.Expr) bool {
	switch x := x.(type) {
	case *syntax.Component:
		return false
	case *syntax.Reference:
		return x.Data
	default:
		return true
	}
}

func literal(x *syntax.Literal) *node {
	switch v := x.Value.(type) {
	case value.Null:
		return &node{kind: nNull, text: "null"}
	case value.Bool:
		return &node{kind: nBool, text: strconv.FormatBool(bool(v))}
	case value.Integer:
		return &node{kind: nNumber, text: value.Text(v)}
	case value.Double:
		if !math.IsInf(float64(v), 0) {
			return &node{kind: nNumber, text: value.Text(v)}
		}
	case value.String:
		return text(string(v))
	}
	return source(syntax.PrintValue(x))
}

func (e *encoder) component(c *syntax.Component) *node {
	n := &node{kind: nMap}
	b := lastBody(c)
	var last []string
	if b != nil {
		last = e.d.look(b).last
	}
	if b == nil || len(b.Items) == 0 && len(last) == 0 {
		if len(c.Protos) == 1 && b != nil && !c.Data {
			return n // extends {}
		}
		whole := syntax.PrintValue(c)[len("extends "):]
		if whole == "DATA {}" {
			whole = "DATA"
		}
		n.keys = append(n.keys, entry{key: keyExtends, val: text(whole)})
		return n
	}
	if proto := protoText(c); proto != "" {
		n.keys = append(n.keys, entry{key: keyExtends, val: text(proto)})
	}
	e.items(n, b.Items, last)
	return n
}
