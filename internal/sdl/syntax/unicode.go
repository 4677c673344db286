package syntax

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// shift says that the text from offset at on was written from offset written
// on, up to the next shift.
type shift struct{ at, written int }

// cursor turns offsets in a written text into lines and columns. It goes
// forward only, so that all positions of a text together cost one pass.
type cursor struct {
	text   []byte // as written
	off    int
	place  place
	shifts []shift // of the translated text, those passed dropped
	at     shift
}

func newCursor(text []byte) cursor { return cursor{text: text, place: place{1, 1}} }

// pos returns the place of the character at offset off of the translated text.
// It must not be less than at the call before.
func (c *cursor) pos(off int) place {
	for len(c.shifts) > 0 && c.shifts[0].at <= off {
		c.at, c.shifts = c.shifts[0], c.shifts[1:]
	}
	written := min(c.at.written+off-c.at.at, len(c.text))
	for _, b := range c.text[min(c.off, written):written] {
		c.off++
		switch {
		case b == '\n', b == '\r' && (c.off == len(c.text) || c.text[c.off] != '\n'):
			c.place.line++
			c.place.col = 1
		case utf8.RuneStart(b):
			c.place.col++
		}
	}
	return c.place
}

// maxBad is after how many characters that are none a file is taken for
// something else than text, and not read further.
const maxBad = 1000

// translate replaces \uXXXX by the characters meant (LX2) and what is not
// UTF-8 by U+FFFD. The offsets of replacements for mistakes it has reported
// are returned in bad.
func translate(file string, src []byte, report func(diag.Diagnostic), cancelled func() bool) (text []byte, shifts []shift, bad map[int]bool) {
	valid := utf8.Valid(src)
	if valid && !bytes.Contains(src, []byte(`\u`)) {
		return src, nil, nil
	}
	at := newCursor(src)
	bad = map[int]bool{}
	text = make([]byte, 0, len(src))
	mistake := func(from, to int, message, expected, hint string) {
		d := diag.New(diag.BadText, spanOf(file, at.pos(from), at.pos(to)), message)
		d.Expected = expected
		d.Found = visible(string(bytes.ToValidUTF8(src[from:to], []byte("\uFFFD"))))
		d.Hints = []string{hint}
		report(d)
	}
	replace := func(r rune, end int) {
		text = utf8.AppendRune(text, r)
		shifts = append(shifts, shift{len(text), end})
	}
	slashes := 0 // written one after the other just before i
	for i, checked := 0, 0; i < len(src) && len(bad) < maxBad; {
		if i-checked > 1<<16 {
			if checked = i; cancelled() {
				break
			}
		}
		c := src[i]
		if c == '\\' && slashes%2 == 0 && i+1 < len(src) && src[i+1] == 'u' {
			r, end, ok := unescape(src, i)
			if !ok {
				r = utf8.RuneError
				bad[len(text)] = true
				mistake(i, end, `malformed \u escape`, `\u and four hexadecimal digits`,
					`write \u and four hexadecimal digits, characters beyond U+FFFF as a pair of surrogates`)
			}
			replace(r, end)
			i, slashes = end, 0
			continue
		}
		if c == '\\' {
			slashes++
		} else {
			slashes = 0
		}
		if valid || c < utf8.RuneSelf {
			text = append(text, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			bad[len(text)] = true
			for i+n < len(src) && !utf8.RuneStart(src[i+n]) {
				n++
			}
			if len(bad) == 1 { // the rest has the same cause
				mistake(i, i+1, "text that is not UTF-8", "UTF-8", "save the file as UTF-8")
			}
			replace(utf8.RuneError, i+n)
		} else {
			text = append(text, src[i:i+n]...)
		}
		i += n
	}
	return text, shifts, bad
}

// unescape reads the escape at src[i:], which begins with \u, or two that form
// a surrogate pair, and returns where it ends.
func unescape(src []byte, i int) (r rune, end int, ok bool) {
	r, end, ok = hex4(src, i)
	if !ok || !utf16.IsSurrogate(r) {
		return r, end, ok
	}
	if end+1 < len(src) && src[end] == '\\' && src[end+1] == 'u' {
		if low, end2, ok := hex4(src, end); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, end2, true
			}
		}
	}
	return 0, end, false // half a pair is no character
}

func hex4(src []byte, i int) (r rune, end int, ok bool) {
	end = i + 1
	for end < len(src) && src[end] == 'u' {
		end++
	}
	for range 4 {
		if end == len(src) {
			return 0, end, false
		}
		d := hexDigit(src[end])
		if d < 0 {
			return 0, end, false
		}
		r = r<<4 | rune(d)
		end++
	}
	return r, end, true
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	default:
		return -1
	}
}

// spanOf returns a span of file; to is zero if the end is not known.
func spanOf(file string, from, to place) diag.Span {
	return diag.Span{
		Pos:     value.Pos{File: file, Line: int(from.line), Col: int(from.col)},
		EndLine: to.line, EndCol: to.col,
	}
}
