package answer

import (
	"slices"
	"sort"
	"strings"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// use is a word of a text that names an attribute: where it is given, in a path
// name, or in a link.
type use struct {
	file  string
	at    Range
	name  string
	given *syntax.Attribute // that this is the name of; nil elsewhere
	finds []finding         // what it means, one for each instance that differs
}

// finding is what a word means in one instance of the component it is in.
type finding struct {
	source *syntax.Attribute // nil: nothing that is written
	in     resolve.Scope     // the component that has the attribute
	to     resolve.Scope     // the component that is its value; zero for none
}

// fileView is one file of the description.
type fileView struct {
	name   string
	text   *text.Text
	tree   *syntax.File
	tokens []syntax.Token
}

// file returns the file called name, or nil if there is no text of it.
func (v *View) file(name string) *fileView {
	f := &fileView{name: name, tree: v.Tree.File(name)}
	if name == v.Name {
		f.text, f.tokens = v.Text, v.allTokens()
	} else if v.Source != nil {
		if f.text = v.Source(name); f.text != nil {
			f.tokens = syntax.Tokens([]byte(f.text.String()))
		}
	}
	if f.text == nil || f.tree == nil {
		return nil
	}
	return f
}

// span returns the tokens in a span of f.
func (f *fileView) span(at diag.Span) []syntax.Token {
	r := offsets(f.text, at)
	from := sort.Search(len(f.tokens), func(i int) bool { return int(f.tokens[i].Start) >= r.From })
	to := sort.Search(len(f.tokens), func(i int) bool { return int(f.tokens[i].Start) >= r.To })
	tokens := f.tokens[from:max(from, to)]
	if slices.ContainsFunc(tokens, syntax.Token.Comment) {
		tokens = slices.DeleteFunc(slices.Clone(tokens), syntax.Token.Comment)
	}
	return tokens
}

// visitor is told what names something in a tree.
type visitor struct {
	name      func(a *syntax.Attribute)
	reference func(r *syntax.Reference)
	prototype func(c *syntax.Component, p *syntax.Proto)
	include   func(inc *syntax.Include)
}

func (w *visitor) items(items []syntax.Item) {
	for _, item := range items {
		switch item := item.(type) {
		case *syntax.Include:
			w.include(item)
		case *syntax.Attribute:
			if item.NameSpan.Pos.IsValid() {
				w.name(item)
			}
			w.expr(item.Value)
		}
	}
}

func (w *visitor) expr(e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.Vector:
		for _, x := range e.Elems {
			w.expr(x)
		}
	case *syntax.Reference:
		if len(e.Parts) > 0 {
			w.reference(e)
		}
		if e.Apply != nil {
			w.items(e.Apply.Items)
		}
	case *syntax.Component:
		for i := range e.Protos {
			p := &e.Protos[i]
			if p.Link != nil {
				w.prototype(e, p)
			}
			if p.Body != nil {
				w.items(p.Body.Items)
			}
		}
	}
}

// uses returns the words of the file f that name attributes and lie in r, in
// the order of the tree.
func (v *View) uses(f *fileView, r Range) []use {
	var list []use
	lines := Range{lineOf(f.text, r.From), lineOf(f.text, r.To)}
	near := func(at diag.Span) bool {
		return at.Pos.IsValid() && at.Pos.Line <= lines.To && (at.EndLine == 0 || int(at.EndLine) >= lines.From)
	}
	placed := v.placed()
	w := visitor{
		name: func(a *syntax.Attribute) {
			if near(a.NameSpan) && !a.Fresh {
				list = append(list, v.nameUses(f, a, placed[a.NameSpan])...)
			}
		},
		reference: func(ref *syntax.Reference) {
			if near(ref.At) {
				list = append(list, v.linkUses(f, ref.At, ref.Parts, false)...)
			}
		},
		prototype: func(_ *syntax.Component, p *syntax.Proto) {
			if near(p.At) {
				list = append(list, v.linkUses(f, p.At, p.Link, true)...)
			}
		},
		include: func(*syntax.Include) {},
	}
	w.items(f.tree.Items)
	return slices.DeleteFunc(list, func(u use) bool { return u.at.To < r.From || u.at.From > r.To })
}

func lineOf(t *text.Text, off int) int {
	line, _ := t.Place(off)
	return line
}

// placed returns the placements by the name they are written with.
func (v *View) placed() map[diag.Span][]resolve.Placement {
	m := map[diag.Span][]resolve.Placement{}
	for _, p := range v.Tree.Placements() {
		m[p.Source.NameSpan] = append(m[p.Source.NameSpan], p)
	}
	return m
}

// nameUses returns the words of the name of a.
func (v *View) nameUses(f *fileView, a *syntax.Attribute, placements []resolve.Placement) []use {
	var words []syntax.Token
	for _, t := range f.span(a.NameSpan) {
		if t.Sign() != ":" {
			words = append(words, t)
		}
	}
	if len(words) != len(a.Path)+1 {
		return nil
	}
	var list []use
	for i, word := range a.Path {
		u := use{file: f.name, at: Range{int(words[i].Start), int(words[i].End)}, name: word}
		for _, p := range placements {
			if i < len(p.Steps) {
				u.add(finding{source: p.Steps[i]})
			}
		}
		list = append(list, u)
	}
	last := words[len(words)-1]
	u := use{file: f.name, at: Range{int(last.Start), int(last.End)}, name: a.Name, given: a}
	line, col := a.NameSpan.Pos.Line, a.NameSpan.Pos.Col
	for _, p := range placements {
		u.add(finding{source: a, in: p.Target})
	}
	for _, s := range v.Tree.At(f.name, line, col) {
		m, ok := s.Member(a.Name)
		if ok && len(a.Path) == 0 && m.Source == a {
			u.add(finding{a, s, m.Inside})
		}
	}
	if len(u.finds) == 0 {
		u.finds = []finding{{source: a}}
	}
	return append(list, u)
}

// add adds x unless it is there.
func (u *use) add(x finding) {
	if !slices.Contains(u.finds, x) {
		u.finds = append(u.finds, x)
	}
}

// linkUses returns the words of a link, written at the end of the text at.
func (v *View) linkUses(f *fileView, at diag.Span, parts []value.Part, prototype bool) []use {
	words := partTokens(f.span(at), len(parts))
	if words == nil {
		return nil
	}
	scopes := v.Tree.At(f.name, at.Pos.Line, at.Pos.Col)
	list := make([]use, len(parts))
	for i, p := range parts {
		list[i] = use{file: f.name, at: Range{int(words[i].Start), int(words[i].End)}, name: p.Name}
	}
	for _, s := range scopes {
		if prototype && s.Copy() {
			continue // looked up where it is written alone
		}
		steps := s.Walk(parts)
		for i, step := range steps {
			to := step.To
			if prototype && i == len(parts)-1 {
				for _, p := range s.Prototypes() {
					if p.Span == at && p.Found.Valid() {
						to = p.Found
						step.In, step.Source = holder(to)
					}
				}
			}
			// What is missing may be set at run time.
			if step.Source != nil || to.Valid() || step.Kind == model.Missing && i > 0 {
				list[i].add(finding{step.Source, step.In, to})
			}
		}
		if prototype {
			break
		}
	}
	return list
}

// holder returns the component that holds s, and what gives s there.
func holder(s resolve.Scope) (resolve.Scope, *syntax.Attribute) {
	up, ok := s.Parent()
	if !ok {
		return resolve.Scope{}, nil
	}
	m, _ := up.Member(s.Name())
	return up, m.Source
}

// partTokens returns, for each of the n parts of the link that tokens end in,
// the token that names it, or nil.
func partTokens(tokens []syntax.Token, n int) []syntax.Token {
	i := 0
	for i < len(tokens) {
		switch tokens[i].Sign() {
		case "LAZY", "DATA", "OPTIONAL":
			i++
			continue
		case "(":
			for depth := 0; i < len(tokens); {
				switch tokens[i].Sign() {
				case "(", "[|":
					depth++
				case ")", "|]":
					depth--
				}
				if i++; depth == 0 {
					break
				}
			}
			continue
		}
		break
	}
	words := make([]syntax.Token, 0, n)
	for ; i < len(tokens) && len(words) < n; i++ {
		if named, leads := tokens[i].LeadsPart(); leads && named && i+1 < len(tokens) {
			i++
		}
		words = append(words, tokens[i])
		if i+1 < len(tokens) && tokens[i+1].Sign() == ":" {
			i++
		}
	}
	if len(words) != n {
		return nil
	}
	return words
}

// useAt returns the word at the offset off that names an attribute.
func (v *View) useAt(off int) (use, bool) {
	f := v.file(v.Name)
	if f == nil {
		return use{}, false
	}
	var best use
	found := false
	for _, u := range v.uses(f, Range{off, off}) {
		if u.at.has(off) && (!found || u.at.To-u.at.From < best.at.To-best.at.From) {
			best, found = u, true
		}
	}
	return best, found
}

// overridden returns what the attribute that u gives takes the place of.
func (v *View) overridden(u use) []*syntax.Attribute {
	var list []*syntax.Attribute
	put := func(a *syntax.Attribute) {
		if a != nil && a != u.given && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	for _, p := range v.placed()[u.given.NameSpan] {
		put(p.Over)
	}
	for _, x := range u.finds {
		if !x.in.Valid() {
			continue
		}
		for _, p := range slices.Backward(x.in.Prototypes()) {
			if !p.Found.Valid() {
				continue
			}
			if m, ok := p.Found.Member(u.name); ok {
				put(m.Source)
				break
			}
		}
	}
	return list
}

// isLibrary reports whether a file is the library's.
func isLibrary(file string) bool { return strings.HasPrefix(file, "library/") }
