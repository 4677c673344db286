package text

import (
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestPositionsAreCountedInTheClientsUnits(t *testing.T) {
	txt := New("a\u00e9\U0001F600z\r\nsecond\rthird\n")
	for _, c := range []struct {
		enc  Encoding
		p    Position
		rest string // of the line, from p on
	}{
		{UTF16, Position{0, 0}, "a\u00e9\U0001F600z"},
		{UTF16, Position{0, 2}, "\U0001F600z"},
		{UTF16, Position{0, 4}, "z"},
		{UTF8, Position{0, 3}, "\U0001F600z"},
		{UTF8, Position{0, 7}, "z"},
		{UTF32, Position{0, 3}, "z"},
		{UTF16, Position{1, 3}, "ond"},
		{UTF16, Position{2, 4}, "d"},
		{UTF16, Position{3, 0}, ""},
	} {
		off := txt.Offset(c.p, c.enc)
		line := txt.Line(c.p.Line)
		if got := txt.String()[off : txt.At(c.p.Line+1, 1)+len(line)]; got != c.rest {
			t.Errorf("%v in encoding %d: the rest of the line is %q, want %q", c.p, c.enc, got, c.rest)
		}
		if back := txt.Position(off, c.enc); back != c.p {
			t.Errorf("offset %d in encoding %d is %v, want %v", off, c.enc, back, c.p)
		}
	}
}

func TestWrongPositionsMeanTheNearestPlace(t *testing.T) {
	txt := New("\U0001F600b\nc")
	for _, c := range []struct {
		p    Position
		enc  Encoding
		want int
	}{
		{Position{0, 1}, UTF16, 0}, // inside a pair of surrogates
		{Position{0, 2}, UTF8, 0},  // inside a character
		{Position{0, 99}, UTF16, 5},
		{Position{0, 99}, UTF8, 5},
		{Position{9, 9}, UTF16, 7},
		{Position{-1, -1}, UTF16, 0},
	} {
		if got := txt.Offset(c.p, c.enc); got != c.want {
			t.Errorf("%v in encoding %d: offset %d, want %d", c.p, c.enc, got, c.want)
		}
	}
}

func TestEveryOffsetHasOnePositionInEachEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.SampledFrom([]rune("ab\u00e9\u20ac\U0001F600\n\r "))).Draw(t, "text")
		txt := New(s)
		for off := 0; off <= len(s); off++ {
			if off < len(s) && (!utf8.RuneStart(s[off]) || off > 0 && s[off-1] == '\r' && s[off] == '\n') {
				continue // no place a client can name
			}
			for _, enc := range []Encoding{UTF16, UTF8, UTF32} {
				if got := txt.Offset(txt.Position(off, enc), enc); got != off {
					t.Fatalf("offset %d of %q in encoding %d comes back as %d", off, s, enc, got)
				}
			}
			if line, col := txt.Place(off); txt.At(line, col) != off {
				t.Fatalf("offset %d of %q is %d:%d, which is offset %d", off, s, line, col, txt.At(line, col))
			}
		}
	})
}
