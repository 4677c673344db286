package answer

import (
	"fmt"
	"strings"

	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Triggers are the characters after which completions are asked for.
var Triggers = []string{":", "\"", "/", " "}

// CompletionKind says what a completion is.
type CompletionKind uint8

// The kinds of completions.
const (
	KeywordCompletion CompletionKind = iota
	AttributeCompletion
	ComponentCompletion
	PrototypeCompletion
	OutputCompletion
	ValueCompletion
	FileCompletion
	FolderCompletion
	ClassCompletion
	TagCompletion
)

// Completion is one thing that can stand at a place.
type Completion struct {
	Label  string
	Kind   CompletionKind
	Detail string // one line
	Doc    string
	Edit   Edit   // what is put in
	Also   []Edit // made elsewhere in the text at the same time
	// Rank orders completions: lower first, then by label.
	Rank int
}

// Question is a completion that is asked for. Finding out what belongs at the
// cursor needs the text alone; the description is then that of Text, in which
// what is being written is left out if the text has mistakes.
type Question struct {
	view  View
	place place
	off   int
}

// Ask finds out what belongs at the offset off of the text of v, which needs no
// description yet.
func Ask(v View, off int) *Question {
	q := &Question{view: v, off: off}
	q.place = q.view.at(off)
	return q
}

// Wanted reports whether there can be completions.
func (q *Question) Wanted() bool { return q.place.what != nothing }

// IncludePrefix returns the beginning of the file name in an #include, if that
// is what is being written.
func (q *Question) IncludePrefix() (string, bool) {
	if q.place.what != anInclude {
		return "", false
	}
	return strings.Trim(q.view.Text.String()[q.place.word.From:q.off], `"`), true
}

// Without returns the text with a blank in place of the item that is being
// written, so that what is around it can be read. Lines keep their numbers. It
// stays the same while the item is written.
func (q *Question) Without() *text.Text {
	s := q.view.Text.String()
	end := max(q.off, q.place.word.To)
	for end < len(s) && !strings.ContainsRune("{}\r\n", rune(s[end])) {
		end++
		if s[end-1] == ';' {
			break
		}
	}
	from := min(q.place.item, q.off)
	blank := []byte{' '}
	for _, c := range []byte(s[from:end]) {
		if c == '\n' || c == '\r' {
			blank = append(blank, c)
		}
	}
	return text.New(s[:from] + string(blank) + s[end:])
}

// Completions returns what can stand at the place; tree is the description of
// the text read, which is the text or the text without the item being written.
// files are the names that an #include can have, folders with a slash at the
// end.
func (q *Question) Completions(tree *resolve.Inspection, read *text.Text, files []string) []Completion {
	q.view.Tree, q.view.read = tree, read
	c := completer{View: &q.view, place: q.place}
	if c.what == anInclude {
		c.includes(files)
		return c.list
	}
	at := c.item
	scopes := c.scopes(at)
	if len(scopes) == 0 {
		scopes = []resolve.Scope{tree.Root()}
	}
	switch c.what {
	case anItem:
		c.items(scopes[0])
	case aPath:
		c.members(scopes, false)
	case aTag:
		for _, tag := range []string{"sfFinal", "sfLocal", "sfOverride", "sfTemp"} {
			c.add(Completion{Label: tag, Kind: TagCompletion})
		}
	case aValue:
		c.values(scopes)
	case aString:
		c.strings(scopes[0])
	case aPart:
		c.members(scopes, false)
	case aProto:
		c.prototypes(scopes[0])
	case protoPart:
		c.members(scopes, true)
	}
	return c.list
}

// completer collects completions.
type completer struct {
	*View
	place
	list []Completion
	seen map[string]bool
}

// add appends x, unless there is one of its name. What it puts in is its label,
// or else what the edit says.
func (c *completer) add(x Completion) {
	if c.seen[x.Label] {
		return
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	c.seen[x.Label] = true
	x.Edit.Range = c.word
	if x.Edit.Text == "" {
		x.Edit.Text = x.Label
	}
	c.list = append(c.list, x)
}

func (c *completer) keywords(rank int, words ...string) {
	for _, w := range words {
		c.add(Completion{Label: w, Kind: KeywordCompletion, Rank: rank})
	}
}

// items completes the name of an attribute of s.
func (c *completer) items(s resolve.Scope) {
	facts := c.facts(s)
	given := func(m resolve.Member) bool {
		return m.Source == nil || !inherited(s, m)
	}
	for _, f := range facts {
		m, there := s.Member(f.name)
		if f.output || there && given(m) {
			continue
		}
		if there {
			f.text = written(m)
		}
		rank := 2
		switch {
		case strings.HasPrefix(f.name, "sf"):
			rank = 4
		case !there && !f.optional:
			rank = 1
		}
		c.add(Completion{Label: f.name, Kind: AttributeCompletion, Detail: f.detail(), Doc: f.doc, Rank: rank, Edit: named(f.name)})
	}
	for _, m := range s.Members() {
		if given(m) || m.Pending || strings.HasPrefix(m.Name, "phase.") || m.Inside.Valid() && isFunction(m.Inside) && isSchema(m.Inside) {
			continue
		}
		x := Completion{Label: m.Name, Kind: AttributeCompletion, Detail: written(m), Doc: c.commentOf(m), Rank: 2, Edit: named(m.Name)}
		if m.Inside.Valid() {
			x.Kind = ComponentCompletion
		}
		if strings.HasPrefix(m.Name, "sf") {
			x.Rank = 4
		}
		c.add(x)
	}
	if _, above := s.Parent(); !above {
		if _, there := s.Member("sfConfig"); !there {
			c.add(Completion{
				Label: "sfConfig", Kind: ComponentCompletion, Detail: "the component that is deployed", Rank: 1,
				Edit: Edit{Text: "sfConfig extends {\n\n}"},
			})
		}
	}
	c.add(Completion{Label: "#include", Kind: KeywordCompletion, Rank: 5, Edit: Edit{Text: `#include "`}})
}

// named puts in a name, in quotes if it is no word.
func named(name string) Edit {
	if value.IsWord(name) {
		return Edit{Text: name}
	}
	return Edit{Text: value.Quote(name)}
}

// inherited reports whether m of s is written outside of the text of s.
func inherited(s resolve.Scope, m resolve.Member) bool {
	at, pos := s.Span(), m.Source.NameSpan.Pos
	if !at.Pos.IsValid() {
		return false // at the top
	}
	if at.Pos.File != pos.File || pos.Line < at.Pos.Line || pos.Line == at.Pos.Line && pos.Col < at.Pos.Col {
		return true
	}
	return at.EndLine > 0 && (pos.Line > int(at.EndLine) || pos.Line == int(at.EndLine) && pos.Col > int(at.EndCol))
}

// commentOf returns the comment beside where m is written.
func (c *View) commentOf(m resolve.Member) string {
	if m.Source == nil {
		return ""
	}
	file := m.Source.NameSpan.Pos.File
	t := c.Text
	if c.read != nil {
		t = c.read
	}
	if file != c.Name {
		if c.Source == nil {
			return ""
		}
		t = c.Source(file)
	}
	return comment(t, c.Tree.File(file), m.Source)
}

// maxInstances bounds how many instances of a prototype are looked at.
const maxInstances = 8

func (c *completer) isWord(m resolve.Member) bool {
	return !m.Pending && !strings.HasPrefix(m.Name, "phase.") && m.Name != syntax.FunctionClass &&
		(!m.Inside.Valid() || !isSchema(m.Inside))
}

// member adds the attribute m, which a word can find.
func (c *completer) member(m resolve.Member, rank int) {
	x := Completion{Label: m.Name, Kind: AttributeCompletion, Detail: written(m), Rank: rank}
	if m.Inside.Valid() && !isFunction(m.Inside) {
		x.Kind = ComponentCompletion
	}
	if strings.HasPrefix(m.Name, "sf") {
		x.Rank += 10
	}
	if !value.IsWord(m.Name) {
		x.Edit.Text = "HERE " + value.Quote(m.Name)
	}
	c.add(x)
}

// members completes a later part of a link from each of scopes, by the rules of
// the walk: a word is looked for in what was reached alone.
func (c *completer) members(scopes []resolve.Scope, prototypes bool) {
	for i, s := range scopes {
		if i >= maxInstances {
			break
		}
		parts := c.parts
		// An operator around the place is a component of its own.
		for n := c.levels; n > 0 && len(parts) > 0 && parts[0].Kind == value.PartParent; n-- {
			parts = parts[1:]
		}
		to := s
		if len(parts) > 0 {
			steps := s.Walk(parts)
			if len(steps) < len(parts) || !steps[len(steps)-1].To.Valid() {
				continue
			}
			to = steps[len(steps)-1].To
		}
		for _, m := range to.Members() {
			if c.isWord(m) && (!prototypes || m.Inside.Valid()) {
				c.member(m, 0)
			}
		}
		if prototypes {
			continue
		}
		for _, f := range c.facts(to) {
			if f.output {
				c.add(Completion{Label: f.name, Kind: OutputCompletion, Detail: f.detail(), Doc: f.doc, Rank: 1})
			}
		}
	}
	if !prototypes && c.what == aPart {
		c.keywords(5, "PARENT", "HERE", "ATTRIB", "THIS")
	}
}

// prototypes completes what can be extended from inside s: what can be seen
// from there, and what an include brings.
func (c *completer) prototypes(s resolve.Scope) {
	rank := 0
	for up, ok := s, true; ok; up, ok = up.Parent() {
		for _, m := range up.Members() {
			if !m.Inside.Valid() || m.Inside.Operator() != syntax.NotOp || strings.HasPrefix(m.Name, "sf") || m.Name == c.name && up == s {
				continue
			}
			x := Completion{Label: m.Name, Kind: PrototypeCompletion, Detail: written(m), Doc: c.commentOf(m), Rank: rank + 1}
			if c.Known != nil && c.Known.Catalogue != nil {
				if k, known := c.Known.Catalogue.Component(m.Name); known && k.Name == m.Name {
					x.Detail, x.Doc, x.Rank = catalog.Summary(k.Doc), k.Doc, rank
				}
			}
			if m.Inside.Data() || isFunction(m.Inside) {
				x.Rank += 5
			}
			if name := classOf(m.Inside); c.Known.lacks(name) {
				x.Detail, x.Rank = fmt.Sprintf("unknown component: no manager of %s", name), x.Rank+8
			}
			c.add(x)
		}
		rank++
	}
	c.keywords(9, "DATA", "LAZY", "NULL")
	if c.Known == nil || c.Known.Catalogue == nil {
		return
	}
	for _, k := range c.Known.Catalogue.Components() {
		c.add(Completion{
			Label: k.Name, Kind: PrototypeCompletion, Detail: strings.TrimSpace(fmt.Sprintf("%s (adds #include %q)", catalog.Summary(k.Doc), k.Include)),
			Doc: k.Doc, Rank: rank + 3, Also: []Edit{c.include(k.Include)},
		})
	}
}
