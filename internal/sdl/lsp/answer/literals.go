package answer

import (
	"fmt"
	"strings"

	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// values completes a value: literals the schema wants, words, keywords.
func (c *completer) values(scopes []resolve.Scope) {
	s := scopes[0]
	if c.levels == 0 && c.name != "" && !c.lazy {
		if strings.TrimSpace(c.name) == "sfClass" {
			c.classes(true)
		}
		f := c.factOf(s, c.name)
		for _, text := range f.values {
			c.add(Completion{Label: text, Kind: ValueCompletion, Detail: f.doc, Rank: 0})
		}
		if f.boolean {
			c.add(Completion{Label: "true", Kind: ValueCompletion, Rank: 0})
			c.add(Completion{Label: "false", Kind: ValueCompletion, Rank: 0})
		}
		if m, ok := s.Member(c.name); ok && f.values == nil && !f.boolean && m.Source != nil && inherited(s, m) {
			if l, isLiteral := m.Source.Value.(*syntax.Literal); isLiteral && l.Value.Kind() == value.KindBool {
				c.add(Completion{Label: "true", Kind: ValueCompletion, Rank: 0})
				c.add(Completion{Label: "false", Kind: ValueCompletion, Rank: 0})
			}
		}
		c.keywords(1, "extends")
	}
	for i, from := range scopes {
		if i >= maxInstances {
			break
		}
		for rank, up := 2, from; ; {
			for _, m := range up.Members() {
				if c.isWord(m) && (rank > 2 || m.Name != c.name) { // not itself
					c.member(m, min(rank, 6))
				}
			}
			next, above := up.Parent()
			if !above {
				break
			}
			rank, up = rank+1, next
		}
	}
	if c.levels == 0 {
		c.keywords(8, "LAZY", "DATA", "OPTIONAL", "APPLY", "ASSERT", "TBD", "NULL", "true", "false", "VAR")
	}
	c.keywords(8, "LAZY", "ATTRIB", "HERE", "PARENT", "ROOT", "THIS", "OPTIONAL", "IF", "SWITCH", "NULL", "true", "false")
	c.keywords(9, "CONSTANT", "ENVPROPERTY", "HOST", "IENVPROPERTY", "IPROPERTY", "PROCESS", "PROPERTY")
	if c.levels > 0 {
		c.keywords(9, "THEN", "ELSE", "FI")
	}
}

// include returns the edit that adds an include: behind those there are, else
// above the first item and the comment that stands directly above it.
func (v *View) include(name string) Edit {
	last, first := 0, 0 // lines, from 1
	for _, t := range v.allTokens() {
		switch sign := t.Sign(); {
		case sign == "#include" || sign == "#include?":
			last = int(t.Line)
		case first == 0 && !t.Comment():
			first = int(t.Line)
		}
	}
	line := fmt.Sprintf("#include %q", name)
	switch {
	case last == v.Text.Lines():
		end := len(v.Text.String())
		return Edit{Range{end, end}, "\n" + line}
	case last > 0:
		at := v.Text.At(last+1, 1)
		return Edit{Range{at, at}, line + "\n"}
	}
	for first > 1 && strings.TrimSpace(v.Text.Line(first-2)) != "" {
		first--
	}
	at := v.Text.At(first, 1)
	return Edit{Range{at, at}, line + "\n"}
}

// classes completes the value of sfClass.
func (c *completer) classes(quoted bool) {
	if c.Known == nil {
		return
	}
	for _, k := range c.Known.Classes {
		doc := c.Known.doc(k.Name)
		x := Completion{Label: k.Name, Kind: ClassCompletion, Detail: catalog.Summary(doc), Doc: doc}
		if quoted {
			x.Edit.Text = value.Quote(k.Name)
		}
		c.add(x)
	}
}

// strings completes between the quotes of the value of an attribute.
func (c *completer) strings(s resolve.Scope) {
	switch {
	case c.word.To-c.word.From < 2 || c.unclosedWord():
		c.word.From++
	default:
		c.word.From++
		c.word.To--
	}
	if c.name == "sfClass" {
		c.classes(false)
		return
	}
	for _, text := range c.factOf(s, c.name).values {
		if inner, quoted := strings.CutPrefix(text, `"`); quoted {
			c.add(Completion{Label: strings.TrimSuffix(inner, `"`), Kind: ValueCompletion})
		}
	}
}

func (c *completer) unclosedWord() bool {
	s := c.Text.String()[c.word.From:c.word.To]
	return len(s) < 2 || !strings.HasSuffix(s, `"`)
}

// includes completes the name of a file.
func (c *completer) includes(files []string) {
	if c.unclosedWord() {
		c.word.From++
	} else {
		c.word.From++
		c.word.To--
	}
	for _, f := range files {
		kind := FileCompletion
		if strings.HasSuffix(f, "/") {
			kind = FolderCompletion
		}
		c.add(Completion{Label: f, Kind: kind})
	}
}
