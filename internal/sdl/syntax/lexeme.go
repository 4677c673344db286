package syntax

import (
	"cmp"
	"slices"

	"aloft/internal/sdl/diag"
)

// LexemeKind says what a lexeme is.
type LexemeKind uint8

// The kinds of lexemes.
const (
	CommentLexeme LexemeKind = iota
	WordLexeme
	KeywordLexeme
	StringLexeme
	NumberLexeme // byte arrays, too
	OperatorLexeme
	DirectiveLexeme // #include and its like
	PunctuationLexeme
)

// Lexeme is a token or comment as it stands in a text.
type Lexeme struct {
	Kind LexemeKind
	Span diag.Span
}

// Lexemes returns the tokens and comments of a text in their order, for those
// who show it. It goes over what is illegal.
func Lexemes(name string, src []byte) []Lexeme {
	var mistakes diag.List
	s := newScanner(name, src, &mistakes)
	var all []Lexeme
	var t token
	for s.next(&t); t.kind != tEOF; s.next(&t) {
		all = append(all, Lexeme{t.kind.lexeme(), s.span(t.start, t.end)})
	}
	for _, c := range s.comments {
		all = append(all, Lexeme{CommentLexeme, c.Span})
	}
	slices.SortStableFunc(all, func(a, b Lexeme) int {
		return cmp.Or(cmp.Compare(a.Span.Pos.Line, b.Span.Pos.Line), cmp.Compare(a.Span.Pos.Col, b.Span.Pos.Col))
	})
	return all
}

func (k kind) lexeme() LexemeKind {
	switch k {
	case tWord:
		return WordLexeme
	case tString, tMulti:
		return StringLexeme
	case tNumber, tBytes:
		return NumberLexeme
	case tInclude, tMaybeInclude, tCodebase:
		return DirectiveLexeme
	case tFresh:
		return OperatorLexeme
	}
	switch {
	case k.keyword():
		return KeywordLexeme
	case k.op() != NotOp:
		return OperatorLexeme
	default:
		return PunctuationLexeme
	}
}
