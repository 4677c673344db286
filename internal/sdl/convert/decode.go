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
			x.Hints = []string{fmt.Sprintf("to give a name twice, write %q", repeated().ReplaceAllString(k.key, "")+" #2")}
			x.Related = []diag.Related{{Span: first, Message: "the first one"}}
			d.list.Add(x)
			continue
		}
		seen[k.key] = k.at
		next := limit
		if i+1 < len(n.keys) {
			next = n.keys[i+1].at.Pos
		}
		key := repeated().ReplaceAllString(k.key, "")
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
