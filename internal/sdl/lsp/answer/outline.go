package answer

import (
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// SymbolKind says what a Symbol is.
type SymbolKind uint8

// The kinds of symbols.
const (
	AttributeSymbol SymbolKind = iota
	ComponentSymbol
	PrototypeSymbol // a component at the top of a file
)

// Symbol is an attribute of a file's outline.
type Symbol struct {
	Name, Detail string
	Kind         SymbolKind
	At, NameAt   Range
	Inside       []Symbol
}

// Outline returns the attributes of the file called name with text t, those of
// components inside them.
func Outline(name string, t *text.Text) []Symbol {
	var ignored diag.List
	o := outline{t}
	return o.items(syntax.Parse(name, syntax.Closed([]byte(t.String())), &ignored).Items, true)
}

type outline struct{ text *text.Text }

func (o outline) items(items []syntax.Item, top bool) []Symbol {
	var list []Symbol
	for _, item := range items {
		a, ok := item.(*syntax.Attribute)
		if !ok || !a.NameSpan.Pos.IsValid() {
			continue
		}
		s := Symbol{NameAt: offsets(o.text, a.NameSpan), Name: nameText(a)}
		s.At = s.NameAt
		if v := a.Value.Span(); v.EndLine > 0 {
			s.At.To = max(s.At.To, offsets(o.text, v).To)
		}
		// What operators stand for is a value, though the tree has a component.
		if c, ok := a.Value.(*syntax.Component); !ok || c.Op != syntax.NotOp {
			s.Detail = short(syntax.PrintValue(a.Value))
		} else {
			s.Kind, s.Detail = ComponentSymbol, extendsText(c)
			if top && s.Name != "sfConfig" {
				s.Kind = PrototypeSymbol
			}
			for _, p := range c.Protos {
				if p.Body != nil {
					s.Inside = append(s.Inside, o.items(p.Body.Items, false)...)
				}
			}
		}
		list = append(list, s)
	}
	return list
}

// nameText is the path name of a.
func nameText(a *syntax.Attribute) string {
	name := a.Name
	switch {
	case a.Fresh:
		name = "--"
	case !value.IsWord(name):
		name = value.Quote(name)
	}
	for i := len(a.Path) - 1; i >= 0; i-- {
		name = a.Path[i] + ":" + name
	}
	return name
}

// Lens is an action on what is described, shown above a place.
type Lens struct {
	At     Range
	Action string // "plan", "deploy" or "terminate"
	Title  string
}

// Lenses returns the actions of the file called name: those on sfConfig.
func Lenses(name string, t *text.Text) []Lens {
	for _, s := range Outline(name, t) {
		if s.Name == "sfConfig" {
			return []Lens{{s.NameAt, "plan", "Plan"}, {s.NameAt, "deploy", "Deploy"}, {s.NameAt, "terminate", "Terminate"}}
		}
	}
	return nil
}

// FoldKind says what a Fold hides.
type FoldKind uint8

// The kinds of folds.
const (
	RegionFold FoldKind = iota
	CommentFold
	ImportFold
)

// Fold is a range of lines, from 0, that can be hidden but for the first.
type Fold struct {
	From, To int
	Kind     FoldKind
}

// Folds returns what can be folded in t: what is between brackets, comments,
// and includes, over several lines.
func Folds(t *text.Text) []Fold {
	var list []Fold
	var open []syntax.Token
	run := Fold{From: -1}
	end := func() {
		if run.From >= 0 && run.To > run.From {
			list = append(list, run)
		}
		run.From = -1
	}
	// grow adds the lines of a token to the run of its kind.
	grow := func(k FoldKind, token syntax.Token) {
		from, to := int(token.Line)-1, int(token.EndLine)-1
		if run.From < 0 || run.Kind != k || from > run.To+1 {
			end()
			run = Fold{from, to, k}
			return
		}
		run.To = to
	}
	for _, token := range syntax.Tokens([]byte(t.String())) {
		sign := token.Sign()
		switch {
		case token.Comment():
			grow(CommentFold, token)
			continue
		case sign == "#include" || sign == "#include?":
			grow(ImportFold, token)
			continue
		case run.From >= 0 && run.Kind == ImportFold && int(token.Line)-1 == run.To:
			continue // the name of the file
		}
		end()
		switch sign {
		case "{", "(", "[", "[|":
			open = append(open, token)
		case "}", ")", "]", "|]":
			if len(open) == 0 {
				continue
			}
			from := open[len(open)-1]
			open = open[:len(open)-1]
			if to := int(token.Line) - 2; to > int(from.Line)-1 { // the closing line stays
				list = append(list, Fold{int(from.Line) - 1, to, RegionFold})
			}
		default:
			if token.Text() && token.EndLine > token.Line {
				list = append(list, Fold{int(token.Line) - 1, int(token.EndLine) - 1, RegionFold})
			}
		}
	}
	end()
	return list
}
