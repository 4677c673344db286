// Package answer computes what to show in an editor: completions, hovers,
// definitions, references, renames, symbols, folds, tokens and lenses. Its
// functions are pure: they get a file's text, what is known of the description
// it belongs to, and a place. They know nothing of the protocol or of open
// documents.
package answer

import (
	"slices"
	"sort"
	"strings"

	"aloft/component"
	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
)

// View is a file and what is known of the description it is part of.
type View struct {
	Name string // as positions carry it
	Text *text.Text
	Tree *resolve.Inspection
	// Values is the resolved description, of the last text without mistakes;
	// nil if there is none.
	Values *resolve.Result
	// Source returns the text of another file of the description, or nil.
	Source func(name string) *text.Text
	Known  *Known

	read   *text.Text // what Tree has of this file, if it is not Text
	tokens []syntax.Token
}

// Known is what is known beside descriptions.
type Known struct {
	Catalogue *catalog.Catalogue // of the library; may be nil
	Classes   []component.Class
}

// doc is what the catalogue says of the component of a class.
func (k *Known) doc(class string) string {
	if k == nil || k.Catalogue == nil {
		return ""
	}
	if listed, ok := k.Catalogue.Component(class); ok {
		return listed.Doc
	}
	return ""
}

// class returns the component class of a name in sfClass.
func (k *Known) class(name string) (component.Class, bool) {
	if k == nil || name == "" {
		return component.Class{}, false
	}
	for _, c := range k.Classes {
		if c.Name == name || slices.Contains(c.Aliases, name) {
			return c, true
		}
	}
	return component.Class{}, false
}

// lacks reports whether name, in sfClass, is of no class that there is.
func (k *Known) lacks(name string) bool {
	if k == nil || len(k.Classes) == 0 || name == "" || catalog.IsScripts(name) {
		return false
	}
	_, known := k.class(name)
	return !known
}

// Range is a part of a file, by offsets.
type Range struct{ From, To int }

// Location is a part of a file of the description.
type Location struct {
	File string
	Span diag.Span
}

// Edit is the replacement of a part of the text.
type Edit struct {
	Range
	Text string
}

func (v *View) allTokens() []syntax.Token {
	if v.tokens == nil {
		v.tokens = syntax.Tokens([]byte(v.Text.String()))
	}
	return v.tokens
}

// spelled returns how t is written.
func (v *View) spelled(t syntax.Token) string { return v.Text.String()[t.Start:t.End] }

// tokenAt returns the token around the offset off: the one before it where two
// meet, if that is one with a name or text in it.
func (v *View) tokenAt(off int) (syntax.Token, bool) {
	tokens := v.allTokens()
	i := sort.Search(len(tokens), func(i int) bool { return int(tokens[i].End) >= off })
	if i < len(tokens) && int(tokens[i].End) == off && i+1 < len(tokens) && int(tokens[i+1].Start) == off && !tokens[i].Word() {
		i++
	}
	if i == len(tokens) || int(tokens[i].Start) > off {
		return syntax.Token{}, false
	}
	return tokens[i], true
}

// scopes returns the components whose text is around the offset off, the one
// that stands there first.
func (v *View) scopes(off int) []resolve.Scope {
	line, col := v.Text.Place(off)
	return v.Tree.At(v.Name, line, col)
}

// offsets returns the range of a span of this file.
func (v *View) offsets(at diag.Span) Range { return offsets(v.Text, at) }

func offsets(t *text.Text, at diag.Span) Range {
	r := Range{From: t.At(at.Pos.Line, at.Pos.Col)}
	r.To = r.From
	if at.EndLine > 0 {
		r.To = max(r.From, t.At(int(at.EndLine), int(at.EndCol)))
	}
	return r
}

func (r Range) has(off int) bool { return r.From <= off && off <= r.To }

// comment returns the comment that stands directly above the attribute a, or
// behind it on its line, as text without marks.
func comment(t *text.Text, tree *syntax.File, a *syntax.Attribute) string {
	if t == nil || tree == nil || a == nil || !a.NameSpan.Pos.IsValid() {
		return ""
	}
	line := a.NameSpan.Pos.Line
	end := line
	if s := a.Value.Span(); s.Pos.IsValid() {
		end = s.Pos.Line
	}
	i := sort.Search(len(tree.Comments), func(i int) bool { return tree.Comments[i].Span.Pos.Line >= line })
	if i < len(tree.Comments) && tree.Comments[i].Span.Pos.Line <= end && tree.Comments[i].Span.Pos.Line == line {
		return strings.TrimSpace(clean(tree.Comments[i].Text))
	}
	var lines []string
	for i--; i >= 0; i-- {
		c := tree.Comments[i]
		// It must have its lines for itself, and end directly above.
		if int(c.Span.EndLine) != line-1 || strings.TrimSpace(t.Line(c.Span.Pos.Line - 1)[:len(t.Line(c.Span.Pos.Line-1))-lineRest(t, c)]) != "" {
			break
		}
		lines = append(lines, clean(c.Text))
		line = c.Span.Pos.Line
	}
	slices.Reverse(lines)
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// lineRest is how many bytes of its first line c and what is behind it take.
func lineRest(t *text.Text, c syntax.Comment) int {
	start := t.At(c.Span.Pos.Line, 1)
	return max(0, len(t.Line(c.Span.Pos.Line-1))-(c.Start-start))
}

// clean takes the marks off a comment. A line keeps what it is indented by: it may
// be of an example.
func clean(s string) string {
	if rest, isLine := strings.CutPrefix(s, "//"); isLine {
		return strings.TrimRight(strings.TrimPrefix(rest, " "), " \t\r")
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "/*"), "*/")
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(l), "*"))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
