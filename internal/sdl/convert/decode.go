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

// decode returns the description that root shows, or reports what is no part
// of the form. Comments are those of YAML, in the order of the text.
func decode(name string, root *node, comments []yamlComment, list *diag.List) *Doc {
	d := &decoder{
		doc: &Doc{File: &syntax.File{Name: name}, notes: map[any]*notes{}}, list: list, comments: comments,
	}
	if root.kind != nMap {
		if root.kind != nNull {
			d.wrong(root.at, "a description that is "+kindNames[root.kind], "a mapping of names to values", kindNames[root.kind])
			return nil
		}
		root = &node{kind: nMap, at: root.at, block: true}
	}
	f := d.doc.File
	var extends *entry
	f.Items, extends = d.mapping(root, f, value.Pos{Line: math.MaxInt})
	for _, c := range d.comments { // behind a mapping in braces
		about := d.doc.of(f)
		about.last = append(about.last, c.text)
	}
	if extends != nil {
		f.Wrapped = true
		if extends.val.kind != nString || extends.val.text != "" {
			d.wrong(extends.at, "a file that extends something", `"$extends": ""`, found(extends.val),
				"a file as a whole is a body; write what it extends at a name in it")
		}
	}
	if list.Errors() > 0 {
		return nil
	}
	return d.doc
}

type decoder struct {
	doc      *Doc
	list     *diag.List
	comments []yamlComment
}

func (d *decoder) wrong(at diag.Span, message, expected, found string, hints ...string) {
	x := diag.New(diag.Unexpected, at, message)
	x.Expected, x.Found, x.Hints = expected, found, hints
	d.list.Add(x)
}

// found tells what n is, for people.
func found(n *node) string {
	if n.kind == nString && len(n.text) < 40 {
		return strconv.Quote(n.text)
	}
	return kindNames[n.kind]
}

// mapping returns the items of n, whose comments end before limit, and its
// key $extends. Owner is the body or file they are to be in.
func (d *decoder) mapping(n *node, owner any, limit value.Pos) (items []syntax.Item, extends *entry) {
	seen := map[string]diag.Span{}
	var prev syntax.Item // the last item
	var above []string   // comments that wait for the next one
	add := func(item syntax.Item) {
		if len(above) > 0 {
			about := d.doc.of(item)
			about.above = append(about.above, above...)
			above = nil
		}
		items = append(items, item)
		prev = item
	}
	aside := func(texts []string) {
		if prev == nil || len(above) > 0 {
			above = append(above, texts...)
			return
		}
		about := d.doc.of(prev)
		about.behind = append(about.behind, texts...)
		above = append(above, about.settle()...)
	}
	for i := range n.keys {
		k := &n.keys[i]
		for _, c := range d.before(k.at.Pos) {
			if c.behind {
				aside([]string{c.text})
			} else {
				above = append(above, c.text)
			}
		}
		if first, ok := seen[k.key]; ok {
			x := diag.New(diag.Unexpected, k.at, fmt.Sprintf("key %q given twice", k.key))
			x.Expected, x.Found = "different keys", strconv.Quote(k.key)
			x.Hints = []string{fmt.Sprintf("to give a name twice, write %q", repeated.ReplaceAllString(k.key, "")+" #2")}
			x.Related = []diag.Related{{Span: first, Message: "the first one"}}
			d.list.Add(x)
			continue
		}
		seen[k.key] = k.at
		next := limit
		if i+1 < len(n.keys) {
			next = n.keys[i+1].at.Pos
		}
		key := repeated.ReplaceAllString(k.key, "")
		switch key {
		case keyComment:
			above = append(above, d.commentTexts(k.val)...)
		case keyAside:
			aside(d.commentTexts(k.val))
		case keyExtends:
			if extends != nil {
				d.wrong(k.at, "a second $extends", "one, with commas: A, B", strconv.Quote(k.key))
			}
			extends = k
		case keyInclude, keyMaybe:
			d.includes(k, key == keyMaybe, add)
		default:
			if a := d.attribute(key, k.at); a != nil {
				add(a)
				a.Value = d.value(k.val, a, next)
			}
		}
	}
	if n.block {
		for len(d.comments) > 0 && earlier(d.comments[0].at, limit) {
			c := d.comments[0]
			if c.behind {
				aside([]string{c.text})
			} else if c.at.Col >= n.col || limit.Line == math.MaxInt && n.col <= 1 {
				above = append(above, c.text)
			} else {
				break
			}
			d.comments = d.comments[1:]
		}
	}
	if len(above) > 0 {
		about := d.doc.of(owner)
		about.last = append(about.last, above...)
	}
	return items, extends
}

// before takes the comments before p.
func (d *decoder) before(p value.Pos) []yamlComment {
	n := 0
	for n < len(d.comments) && earlier(d.comments[n].at, p) {
		n++
	}
	taken := d.comments[:n]
	d.comments = d.comments[n:]
	return taken
}

func (d *decoder) commentTexts(n *node) (texts []string) {
	all := []*node{n}
	if n.kind == nList {
		all = n.items
	}
	for _, x := range all {
		ok := x.kind == nString
		if ok {
			var text string
			if text, ok = wellFormed(x.text); ok {
				texts = append(texts, text)
				continue
			}
		}
		d.wrong(x.at, "a comment that is none", "a string such as \"// text\" or \"/* text */\", or a list of them", found(x))
	}
	return texts
}

func (d *decoder) includes(k *entry, optional bool, add func(syntax.Item)) {
	one := func(n *node) {
		for _, c := range d.before(n.at.Pos) { // those between the files of a list
			inc := d.doc.of(d)
			inc.above = append(inc.above, c.text)
		}
		inc := &syntax.Include{Span: n.at, Optional: optional, File: n.text, FileSpan: n.at}
		add(inc)
		if waiting := d.doc.notes[d]; waiting != nil {
			about := d.doc.of(inc)
			about.above = append(about.above, waiting.above...)
			delete(d.doc.notes, d)
		}
	}
	expected := "the name of a file, a list of them, or a mapping with file and codebase"
	switch k.val.kind {
	case nString:
		one(k.val)
	case nList:
		for _, n := range k.val.items {
			if n.kind != nString {
				d.wrong(n.at, "an include that is "+kindNames[n.kind], "the name of a file", found(n))
				continue
			}
			one(n)
		}
	case nMap:
		inc := &syntax.Include{Span: k.at, Optional: optional}
		hasFile := false
		for _, x := range k.val.keys {
			switch {
			case x.key == keyFile && x.val.kind == nString && !hasFile:
				inc.File, inc.FileSpan, hasFile = x.val.text, x.val.at, true
			case x.key == keyCodebase && x.val.kind == nString && !inc.HasCodebase:
				inc.Codebase, inc.HasCodebase = x.val.text, true
			default:
				d.wrong(x.at, "an include that is not understood", expected, strconv.Quote(x.key))
				return
			}
		}
		if !hasFile {
			d.wrong(k.val.at, "an include without file", expected, found(k.val))
			return
		}
		add(inc)
	default:
		d.wrong(k.val.at, "an include that is "+kindNames[k.val.kind], expected, found(k.val))
	}
}

// attribute returns the attribute of a key, without its value, or nil after a
// mistake.
func (d *decoder) attribute(key string, at diag.Span) *syntax.Attribute {
	switch {
	case strings.HasPrefix(key, "$") && !strings.ContainsRune(key, ':'):
		d.wrong(at, "unknown key "+key, "$, $extends, $include, $include?, $comment, $aside or a name", strconv.Quote(key), reservedHint)
		return nil
	case plainKey(key):
		return &syntax.Attribute{Name: key, NameSpan: at}
	}
	var list diag.List
	f := syntax.Parse("", []byte(key+" 0;"), &list)
	if list.Errors() == 0 && len(f.Items) == 1 && len(f.Comments) == 0 {
		if a, ok := f.Items[0].(*syntax.Attribute); ok && isZero(a.Value) {
			a.NameSpan = at
			return a
		}
	}
	d.wrong(at, "a key that is no name", `a name, a path such as a:b, --, or tags and a name: [tag] name`, strconv.Quote(key),
		fmt.Sprintf("a name with : or a leading [ or \" is written in quotes of its own: %s", strconv.Quote(value.Quote(key))))
	return nil
}

func isZero(e syntax.Expr) bool {
	l, ok := e.(*syntax.Literal)
	return ok && l.Value == value.Integer(0)
}

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
