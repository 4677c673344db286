package answer

import (
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/syntax"
)

// TokenKind says how a token is coloured.
type TokenKind uint8

// The kinds of tokens.
const (
	KeywordToken TokenKind = iota
	CommentToken
	StringToken
	NumberToken
	OperatorToken
	AttributeToken // the name of an attribute, where it is given
	ComponentToken // the name of one that is a component
	PrototypeToken // in what is extended
	LinkToken      // in a link
	TagToken
)

// TokenNames are the names of the kinds, in their order, as editors know them.
var TokenNames = []string{
	"keyword", "comment", "string", "number", "operator", "property", "class", "type", "variable", "decorator",
}

// Coloured is a token with its kind. It lies in one line.
type Coloured struct {
	Range
	Kind  TokenKind
	Given bool // the name of an attribute where it is given
}

// Colours returns the tokens of the file called name with text t in their order.
func Colours(name string, t *text.Text) []Coloured {
	tokens := syntax.Tokens([]byte(t.String()))
	words := wordKinds(name, t, tokens)
	var list []Coloured
	for i, token := range tokens {
		c := Coloured{Range: Range{int(token.Start), int(token.End)}}
		sign := token.Sign()
		known, isName := words[int(token.Start)]
		switch {
		case token.Comment():
			c.Kind = CommentToken
		case isName && (token.Word() || token.Text()):
			c.Kind = known
			c.Given = known == AttributeToken || known == ComponentToken
		case token.Text():
			c.Kind = StringToken
		case token.Word():
			c.Kind = LinkToken
			if inTags(tokens, i) {
				c.Kind = TagToken
			}
		case token.Op() != syntax.NotOp:
			c.Kind = OperatorToken
		case isKeyword(sign), sign == "--", len(sign) > 1 && sign[0] == '#':
			c.Kind = KeywordToken
		case sign != "": // punctuation
			continue
		default:
			c.Kind = NumberToken
		}
		list = split(list, t, c)
	}
	return list
}

// inTags reports whether the word at i stands between the [ ] before a name: [
// begins an item there.
func inTags(tokens []syntax.Token, i int) bool {
	for i--; i >= 0; i-- {
		switch sign := tokens[i].Sign(); {
		case sign == "[":
			return i == 0 || tokens[i-1].Sign() == ";" || tokens[i-1].Sign() == "{" || tokens[i-1].Sign() == "}"
		case sign != "," && !tokens[i].Word() && !tokens[i].Text():
			return false
		}
	}
	return false
}

// wordKinds returns what the words are that the tree knows, by their offsets.
func wordKinds(name string, t *text.Text, tokens []syntax.Token) map[int]TokenKind {
	var ignored diag.List
	f := &fileView{name: name, text: t, tokens: tokens, tree: syntax.Parse(name, syntax.Closed([]byte(t.String())), &ignored)}
	kinds := map[int]TokenKind{}
	w := visitor{
		name: func(a *syntax.Attribute) {
			kind := AttributeToken
			if c, isComponent := a.Value.(*syntax.Component); isComponent && c.Op == syntax.NotOp {
				kind = ComponentToken
			}
			words := f.span(a.NameSpan)
			for i, word := range words {
				kinds[int(word.Start)] = LinkToken
				if i == len(words)-1 {
					kinds[int(word.Start)] = kind
				}
			}
		},
		reference: func(*syntax.Reference) {},
		prototype: func(_ *syntax.Component, p *syntax.Proto) {
			for _, word := range f.span(p.At) {
				kinds[int(word.Start)] = PrototypeToken
			}
		},
		include: func(*syntax.Include) {},
	}
	w.items(f.tree.Items)
	return kinds
}

// split appends c, a line at a time.
func split(list []Coloured, t *text.Text, c Coloured) []Coloured {
	s := t.String()
	from := c.From
	for i := c.From; i < c.To; i++ {
		if s[i] == '\n' || s[i] == '\r' {
			if i > from {
				part := c
				part.From, part.To = from, i
				list = append(list, part)
			}
			from = i + 1
		}
	}
	if c.To > from {
		c.From = from
		list = append(list, c)
	}
	return list
}
