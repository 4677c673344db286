// Package text holds the text of a document as an editor edits it: lines, the
// units in which editors count columns, and replacements. It knows nothing of
// the language or of any protocol, and starts no goroutine.
package text

import (
	"sort"
	"unicode/utf8"
)

// Encoding is the unit in which a client counts the characters of a line.
type Encoding uint8

// The encodings of LSP 3.17. UTF16 is what every client can do.
const (
	UTF16 Encoding = iota
	UTF8
	UTF32
)

// Position is a place between two characters, as clients name it: line and
// column from 0, columns in units of an Encoding.
type Position struct{ Line, Char int }

// Text is the immutable text of a document. LF, CR LF and CR end a line.
type Text struct {
	content string
	starts  []int // offsets at which lines begin; starts[0] is 0
}

// New returns the text content.
func New(content string) *Text {
	t := &Text{content: content, starts: make([]int, 1, len(content)/24+1)}
	for i := 0; i < len(content); i++ {
		if c := content[i]; c == '\n' || c == '\r' && (i+1 == len(content) || content[i+1] != '\n') {
			t.starts = append(t.starts, i+1)
		}
	}
	return t
}

// String returns the whole text.
func (t *Text) String() string { return t.content }

// Lines returns the number of lines; a text that ends with the end of a line
// has an empty one behind it.
func (t *Text) Lines() int { return len(t.starts) }

// Line returns line n, from 0, without its end.
func (t *Text) Line(n int) string {
	from, to := t.lineBounds(n)
	return t.content[from:to]
}

// lineBounds returns where line n begins, and where its content ends.
func (t *Text) lineBounds(n int) (from, to int) {
	if n < 0 {
		return 0, 0
	}
	if n >= len(t.starts) {
		return len(t.content), len(t.content)
	}
	from, to = t.starts[n], len(t.content)
	if n+1 < len(t.starts) {
		to = t.starts[n+1]
		for to > from && (t.content[to-1] == '\n' || t.content[to-1] == '\r') {
			to--
		}
	}
	return from, to
}

// Offset returns the offset of p. A column behind the end of its line means
// that end, and one inside a character the start of that.
func (t *Text) Offset(p Position, enc Encoding) int {
	from, to := t.lineBounds(p.Line)
	if enc == UTF8 {
		off := min(max(from+p.Char, from), to)
		for off > from && off < to && !utf8.RuneStart(t.content[off]) {
			off--
		}
		return off
	}
	units := 0
	for off := from; off < to; {
		r, n := utf8.DecodeRuneInString(t.content[off:to])
		if units += width(r, n, enc); units > p.Char {
			return off
		}
		off += n
	}
	return to
}

// Position returns the place of the offset off, which may not lie inside a
// character.
func (t *Text) Position(off int, enc Encoding) Position {
	line := t.lineOf(off)
	p := Position{Line: line}
	off = min(off, len(t.content))
	if enc == UTF8 {
		p.Char = off - t.starts[line]
		return p
	}
	for i := t.starts[line]; i < off; {
		r, n := utf8.DecodeRuneInString(t.content[i:])
		p.Char += width(r, n, enc)
		i += n
	}
	return p
}

func (t *Text) lineOf(off int) int {
	return sort.Search(len(t.starts), func(i int) bool { return t.starts[i] > off }) - 1
}

// width is how many units the character r, of n bytes, takes.
func width(r rune, n int, enc Encoding) int {
	switch {
	case enc == UTF8:
		return n
	case enc == UTF16 && r > 0xFFFF:
		return 2
	default:
		return 1
	}
}

// Place returns the line and column of the offset off as the language's
// positions count them: from 1, in characters.
func (t *Text) Place(off int) (line, col int) {
	n := t.lineOf(off)
	col = 1
	for i := t.starts[n]; i < min(off, len(t.content)); i++ {
		if utf8.RuneStart(t.content[i]) {
			col++
		}
	}
	return n + 1, col
}

// At returns the offset of a place of the language: line and column from 1,
// columns in characters. It is never outside the text.
func (t *Text) At(line, col int) int {
	if line < 1 {
		return 0
	}
	if line > len(t.starts) {
		return len(t.content)
	}
	off, end := t.starts[line-1], len(t.content)
	if line < len(t.starts) {
		end = t.starts[line]
	}
	for ; off < end; off++ {
		if utf8.RuneStart(t.content[off]) {
			if col--; col < 1 {
				break
			}
		}
	}
	return off
}

// Replace returns the text with the bytes from offset from to offset to
// replaced by s.
func (t *Text) Replace(from, to int, s string) *Text {
	from = min(max(from, 0), len(t.content))
	to = min(max(to, from), len(t.content))
	return New(t.content[:from] + s + t.content[to:])
}
