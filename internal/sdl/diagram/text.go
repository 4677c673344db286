package diagram

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable returns s with everything that no text of a picture may hold
// replaced: control characters other than the new line, and what is not
// Unicode or not allowed in XML.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			return r
		default:
			return utf8.RuneError
		}
	}, s)
}

// cut returns s shortened to n characters.
func cut(s string, n int) string {
	i := 0
	for at := range s {
		if i++; i > n {
			return s[:at] + "…"
		}
	}
	return s
}

// textWidth returns how wide s is at most in a sans-serif font of the given
// size: no less than in any usual one.
func textWidth(s string, size float64) float64 {
	w := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune(" .,:;'|!ijlIft()[]/", r):
			w += 0.40
		case strings.ContainsRune("mwMW@%", r):
			w += 1.0
		case r >= 'A' && r <= 'Z':
			w += 0.77
		case r < utf8.RuneSelf:
			w += 0.65
		case unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic):
			w += 0.85
		case unicode.In(r, unicode.Mn, unicode.Me):
		default: // wide ones, arrows, pictures
			w += 1.15
		}
	}
	return w * size
}
