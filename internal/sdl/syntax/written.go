package syntax

import (
	"strings"

	"aloft/internal/sdl/diag"
)

// Token is one token or comment of a text, by where it is written: for those
// who rearrange a text rather than read its meaning.
type Token struct {
	Start, End    int32 // offsets in the written text
	Line, EndLine int32 // of the first character and of the place behind the last
	Col           int32 // of the first character
	kind          kind
}

// Tokens returns the tokens and comments of src in their order. What is no
// token is left out; Parse is who tells of it.
func Tokens(src []byte) []Token {
	var ignored diag.List
	s := newScanner("", src, &ignored)
	s.quiet = true
	tokens := make([]Token, 0, len(src)/6)
	for t := (token{}); ; {
		s.comments = s.comments[:0]
		s.next(&t)
		for _, c := range s.comments {
			k := tBlockComment
			if strings.HasPrefix(c.Text, "//") {
				k = tLineComment
			}
			tokens = append(tokens, Token{
				Start: int32(c.Start), End: int32(c.End),
				Line: int32(c.Span.Pos.Line), EndLine: c.Span.EndLine, Col: int32(c.Span.Pos.Col), kind: k,
			})
		}
		if t.kind == tEOF {
			return tokens
		}
		tokens = append(tokens, Token{
			Start: int32(t.from), End: int32(t.to),
			Line: t.start.line, EndLine: t.end.line, Col: t.start.col, kind: t.kind,
		})
	}
}

// Sign returns the punctuation mark, operator or keyword that t is, and "" for
// words, literals and comments.
func (t Token) Sign() string { return spelling[t.kind] }

// Op returns the operator that t is, or NotOp.
func (t Token) Op() Op { return t.kind.op() }

// Comment reports whether t is a comment.
func (t Token) Comment() bool { return t.kind == tLineComment || t.kind == tBlockComment }

// LineComment reports whether t is a comment that only the end of the line
// ends.
func (t Token) LineComment() bool { return t.kind == tLineComment }

// Word reports whether t is a word.
func (t Token) Word() bool { return t.kind == tWord }

// Text reports whether t is a string of either form.
func (t Token) Text() bool { return t.kind == tString || t.kind == tMulti }

// Bytes reports whether t is a byte array.
func (t Token) Bytes() bool { return t.kind == tBytes }

// LeadsPart reports whether t is a keyword that is, or begins, a part of a
// link; named is set if a name follows.
func (t Token) LeadsPart() (named, ok bool) {
	k, ok := t.kind.part()
	return ok && k.HasName(), ok
}
