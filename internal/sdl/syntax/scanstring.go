package syntax

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// content reads the rest of a string up to the closing character: " for a
// string of one line (LX8), # for one of many (LX9).
func (s *scanner) content(at place, end byte) string {
	start := s.off
	var b strings.Builder // used once an escape has been seen
	escapes := 0
	stops := "\"\\\r\n"
	if end == '#' {
		stops = "#\\"
	}
	for {
		n := strings.IndexAny(s.text[s.off:], stops)
		if n < 0 {
			s.off = len(s.text)
			break
		}
		s.off += n
		c := s.text[s.off]
		if c == end {
			s.off++
			if b.Len() == 0 {
				return s.text[start : s.off-1]
			}
			return b.String() + s.text[start:s.off-1]
		}
		if c != '\\' { // the end of the line
			break
		}
		b.WriteString(s.text[start:s.off])
		s.escape(&b, end)
		start = s.off
		if escapes++; escapes%4096 == 0 && s.cancelled() {
			s.off = len(s.text)
			break
		}
	}
	if end == '#' {
		s.unclosed(diag.BadText, at, "multi-line string", "#", `close it with #; a # inside is written \#`)
	} else {
		s.unclosed(diag.BadText, at, "string", `"`, `close it with " on the same line, or write ##…#`)
	}
	return b.String() + s.text[start:s.off]
}

// escape reads the escape that begins here.
func (s *scanner) escape(b *strings.Builder, quote byte) {
	const short = `n` + "\n" + `t` + "\t" + `b` + "\b" + `r` + "\r" + `f` + "\f" + `\\''`
	start := s.off
	c := s.peek(1)
	for i := 0; i < len(short); i += 2 {
		if c == short[i] {
			b.WriteByte(short[i+1])
			s.off += 2
			return
		}
	}
	if c == quote {
		b.WriteByte(c)
		s.off += 2
		return
	}
	s.off++
	if '0' <= c && c <= '3' && octal(s.peek(1)) && octal(s.peek(2)) {
		b.WriteRune(rune(c-'0')<<6 | rune(s.peek(1)-'0')<<3 | rune(s.peek(2)-'0'))
		s.off += 3
		return
	}
	if s.off == len(s.text) || quote == '"' && (c == '\n' || c == '\r') {
		return // the string is not closed, and that is said once
	}
	known := s.bad[s.off]
	_, n := utf8.DecodeRuneInString(s.text[s.off:])
	s.off += n
	if !known {
		s.report(diag.BadText, start, s.off, "illegal escape "+visible(s.text[start:s.off]), "an escape",
			fmt.Sprintf(`known are \n \t \b \r \f \\ \' \%c, three octal digits and \uXXXX; a backslash itself is written \\`, quote))
	}
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

// visible returns s with what cannot be printed as escapes.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "U+%04X", r)
		}
	}
	return b.String()
}

// base is a way to write bytes.
type base struct {
	name   string
	digits int // for one byte; 0 for base 64
	radix  int
}

var bases = []base{{"HEX", 2, 16}, {"DEC", 3, 10}, {"OCT", 3, 8}, {"BIN", 8, 2}, {"B64", 0, 0}}

// baseOf returns the base of the byte array that text begins with.
func baseOf(text string) (base, bool) {
	for _, b := range bases {
		if len(text) >= 5 && text[0] == '#' && text[1:4] == b.name && text[4] == '#' {
			return b, true
		}
	}
	return base{}, false
}

// bytes reads a byte array (LX13). After a mistake it goes on behind the
// closing # if that is on the same line.
func (s *scanner) bytes(start place) value.Value {
	b, _ := baseOf(s.text[s.off:])
	s.off += 5
	var digits []byte
	for ; s.off < len(s.text); s.off++ {
		switch c := s.text[s.off]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		case c == '#':
			s.off++
			return s.decode(start, b, string(digits))
		case b.accepts(c):
			digits = append(digits, c)
		default:
			_, n := utf8.DecodeRuneInString(s.text[s.off:])
			s.report(diag.BadBytes, s.off, s.off+n,
				fmt.Sprintf("%s is not a digit of #%s#…#", visible(s.text[s.off:s.off+n]), b.name), b.digit(), b.hint())
			rest := s.text[s.off:]
			if i := strings.IndexAny(rest, "#\n"); i >= 0 && rest[i] == '#' {
				s.off += i + 1
			}
			s.swallowed = true
			return value.Bytes{}
		}
	}
	s.unclosed(diag.BadBytes, start, "byte array", "#", "close it with #")
	return value.Bytes{}
}

func (b base) accepts(c byte) bool {
	if b.radix == 0 {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || digit(c) || c == '+' || c == '/' || c == '='
	}
	d := hexDigit(c)
	return d >= 0 && d < b.radix
}

func (b base) digit() string {
	if b.radix == 0 {
		return "a digit of base 64"
	}
	return fmt.Sprintf("a digit of base %d", b.radix)
}

func (b base) hint() string {
	if b.radix == 0 {
		return "base 64 is written with A-Z a-z 0-9 + / and padded with = to groups of four"
	}
	return fmt.Sprintf("each byte is %d digits of base %d, at most 255", b.digits, b.radix)
}

func (s *scanner) decode(start place, b base, digits string) value.Value {
	mistake := func(message, expected, found string) value.Value {
		d := diag.New(diag.BadBytes, s.span(start, s.at.pos(s.off)), message)
		d.Found = found
		s.add(d, expected, b.hint())
		return value.Bytes{}
	}
	if b.radix == 0 {
		data, err := base64.StdEncoding.Strict().DecodeString(digits)
		if err != nil {
			return mistake("malformed base 64 in #B64#…#", "groups of four digits, padded with =", abbreviated(digits))
		}
		return value.Bytes(data)
	}
	if len(digits)%b.digits != 0 {
		return mistake(fmt.Sprintf("wrong number of digits in #%s#…#", b.name),
			fmt.Sprintf("a multiple of %d digits", b.digits), fmt.Sprintf("%d digits", len(digits)))
	}
	data := make(value.Bytes, 0, len(digits)/b.digits)
	for i := 0; i < len(digits); i += b.digits {
		n, err := strconv.ParseUint(digits[i:i+b.digits], b.radix, 8)
		if err != nil {
			return mistake("byte out of range", "at most 255", "base "+strconv.Itoa(b.radix)+" "+digits[i:i+b.digits])
		}
		data = append(data, byte(n))
	}
	return data
}
