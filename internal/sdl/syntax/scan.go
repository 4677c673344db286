package syntax

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// scanner cuts a text into tokens. What is no token is reported and skipped.
type scanner struct {
	file      string
	text      string // after translation of \u escapes
	off       int
	at        cursor
	bad       map[int]bool // offsets of characters already reported
	list      *diag.List
	quiet     bool // report nothing: skipping after a mistake
	tainted   bool // something illegal was skipped since the last token
	swallowed bool // the last token was not closed and may have swallowed others
	comments  []Comment
	lastLine  int32 // of the token before
	tokens    int
	cancelled func() bool // asked now and then; the text ends when it is true
}

func newScanner(file string, src []byte, list *diag.List) *scanner {
	return newScannerUntil(func() bool { return false }, file, src, list)
}

// newScannerUntil returns a scanner for which the text ends when cancelled,
// asked now and then, returns true.
func newScannerUntil(cancelled func() bool, file string, src []byte, list *diag.List) *scanner {
	text, shifts, bad := translate(file, src, list.Add, cancelled)
	s := &scanner{text: string(text), file: file, at: newCursor(src), bad: bad, list: list, cancelled: cancelled}
	if bad == nil {
		s.bad = map[int]bool{}
	}
	s.at.shifts = shifts
	return s
}

// next reads the next token into t; at the end of the text, tEOF for ever.
func (s *scanner) next(t *token) {
	if s.tokens++; s.tokens%512 == 0 && s.cancelled() {
		s.off = len(s.text)
	}
	s.tainted, s.swallowed = s.swallowed, false
	s.blanks()
	t.start = s.at.pos(s.off)
	t.from = s.at.off
	t.first = t.start.line != s.lastLine
	t.tainted = s.tainted
	t.text, t.value = "", nil
	s.scan(t)
	t.end = s.at.pos(s.off)
	t.to = s.at.off
	s.lastLine = t.end.line
}

func (s *scanner) span(from, to place) diag.Span { return spanOf(s.file, from, to) }

func (s *scanner) peek(n int) byte {
	if s.off+n < len(s.text) {
		return s.text[s.off+n]
	}
	return 0
}

// report adds a mistake in the text from offset from to offset to. Offsets
// must grow from call to call.
func (s *scanner) report(code diag.Code, from, to int, message, expected, hint string) {
	if s.quiet {
		return
	}
	if s.list.Full(s.file) {
		s.list.Add(diag.New(code, s.span(s.at.place, place{}), message))
		return
	}
	d := diag.New(code, s.span(s.at.pos(from), s.at.pos(to)), message)
	d.Found = visible(abbreviated(s.text[from:to]))
	s.add(d, expected, hint)
}

// unclosed adds that what began at start has no end before the place here.
func (s *scanner) unclosed(code diag.Code, start place, what, expected, hint string) {
	d := diag.New(code, s.span(start, place{}), what+" that is not closed")
	d.Found = "end of the line"
	if s.off == len(s.text) {
		d.Found = "end of the file"
	}
	s.swallowed = true
	s.add(d, expected, hint)
}

func (s *scanner) add(d diag.Diagnostic, expected, hint string) {
	d.Expected = expected
	d.Hints = []string{hint}
	if !s.quiet {
		s.list.Add(d)
	}
}

// blanks skips what separates tokens: blanks, comments, illegal characters.
func (s *scanner) blanks() {
	for s.off < len(s.text) {
		switch c := s.text[s.off]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			s.off++
		case c == '/' && s.peek(1) == '/':
			end := strings.IndexAny(s.text[s.off:], "\r\n")
			if end < 0 {
				end = len(s.text) - s.off
			}
			s.comment(s.off + end)
		case c == '/' && s.peek(1) == '*':
			if end := strings.Index(s.text[s.off+2:], "*/"); end >= 0 {
				s.comment(s.off + 2 + end + 2)
				continue
			}
			start := s.at.pos(s.off)
			s.off = len(s.text)
			s.unclosed(diag.BadText, start, "comment", "*/", "close it with */; comments do not nest")
			s.tainted = true
		default:
			if !s.illegal() {
				return
			}
		}
	}
}

func (s *scanner) comment(end int) {
	c := Comment{Text: s.text[s.off:end]}
	from := s.at.pos(s.off)
	c.Start = s.at.off
	c.Span = s.span(from, s.at.pos(end))
	c.End = s.at.off
	s.comments = append(s.comments, c)
	s.off = end
}

// illegal skips the character here if no token can begin with it.
func (s *scanner) illegal() bool {
	r, n := utf8.DecodeRuneInString(s.text[s.off:])
	if s.begins(r) {
		return false
	}
	if !s.bad[s.off] {
		s.report(diag.BadText, s.off, s.off+n, "illegal character "+visible(string(r)), "a name, a value or punctuation", illegalHint(r))
		if r == '\'' { // and the quote that belongs to it
			rest := s.text[s.off+1:]
			if i := strings.IndexAny(rest, "'\n"); i >= 0 && rest[i] == '\'' {
				s.bad[s.off+1+i] = true
			}
		}
	}
	s.off += n
	if r == '#' && (s.peek(0) == ' ' || s.peek(0) == '\t') { // meant as a comment
		if end := strings.IndexAny(s.text[s.off:], "\r\n"); end >= 0 {
			s.off += end
		} else {
			s.off = len(s.text)
		}
	}
	s.tainted = true
	return true
}

// begins reports whether a token can begin with the character r, which is the
// one here.
func (s *scanner) begins(r rune) bool {
	switch {
	case r >= utf8.RuneSelf:
		return value.IsWordStart(r)
	case r == '.':
		return digit(s.peek(1))
	case r == '=' || r == '&':
		return rune(s.peek(1)) == r
	case r == '|':
		return s.peek(1) == '|' || s.peek(1) == ']'
	case r == '#':
		return s.hash() != tEOF
	default:
		return r == '"' || digit(byte(r)) || punctuation[r] != nil || value.IsWordStart(r)
	}
}

// illegalHint says what may have been meant by a character.
func illegalHint(r rune) string {
	switch r {
	case '#':
		return `# begins #include, #codebase, ##…# or #HEX#…#; comments begin with //`
	case '=':
		return "values follow their name without a sign: port 80;"
	case '|', '&':
		return fmt.Sprintf("operators are written %c%c, with blanks around them", r, r)
	case '\'', '\u201C', '\u201D':
		return `strings stand between "`
	case '\uFEFF':
		return "save the file without a byte order mark"
	default:
		return "outside strings and comments the language uses Latin letters, digits and punctuation"
	}
}

// hash returns what kind of token begins with the # here; tEOF for none, and
// tBytes for all byte arrays.
func (s *scanner) hash() kind {
	rest := s.text[s.off:]
	switch {
	case strings.HasPrefix(rest, "##"):
		return tMulti
	case strings.HasPrefix(rest, spelling[tMaybeInclude]):
		return tMaybeInclude
	case strings.HasPrefix(rest, spelling[tInclude]):
		return tInclude
	case strings.HasPrefix(rest, spelling[tCodebase]):
		return tCodebase
	}
	if _, ok := baseOf(rest); ok {
		return tBytes
	}
	return tEOF
}

// scan reads the token that begins here into t. The longest one wins (LX4).
func (s *scanner) scan(t *token) {
	if s.off == len(s.text) {
		t.kind = tEOF
		return
	}
	c := s.text[s.off]
	switch {
	case c == '"':
		s.off++
		t.kind = tString
		t.text = s.content(t.start, '"')
	case c == '#':
		t.kind = s.hash()
		switch t.kind {
		case tMulti:
			s.off += 2
			t.text = s.content(t.start, '#')
		case tBytes:
			t.value = s.bytes(t.start)
		default:
			s.off += len(spelling[t.kind])
		}
	case c == 'x' && s.peek(1) == '|':
		t.kind = tXor
		s.off += 2
	case s.numberAhead():
		t.kind = tNumber
		t.value = s.number(t.start)
	case punctuation[c] != nil:
		for _, k := range punctuation[c] {
			if strings.HasPrefix(s.text[s.off:], spelling[k]) {
				t.kind = k
				s.off += len(spelling[k])
				return
			}
		}
	default:
		s.word(t)
	}
}

// punctuation holds the tokens that begin with a character, the longer first.
var punctuation = [256][]kind{
	'{': {tLBrace},
	'}': {tRBrace},
	'[': {tLVector, tLBracket},
	']': {tRBracket},
	'(': {tLParen},
	')': {tRParen},
	',': {tComma},
	':': {tColon},
	';': {tSemicolon},
	'|': {tRVector, tOr},
	'+': {tConcat, tPlus},
	'*': {tTimes},
	'&': {tAnd},
	'=': {tEQ},
	'!': {tNE, tNot},
	'<': {tAppend, tLE, tLT},
	'>': {tGE, tGT},
	'-': {tFresh, tImplies, tMinus},
	'/': {tDivide},
	'%': {tMod},
}

func (s *scanner) word(t *token) {
	start := s.off
	for s.off < len(s.text) {
		if c := s.text[s.off]; c < utf8.RuneSelf {
			if !wordByte[c] {
				break
			}
			s.off++
			continue
		}
		r, n := utf8.DecodeRuneInString(s.text[s.off:])
		if !value.IsWordPart(r) {
			break
		}
		s.off += n
	}
	t.kind = tWord
	t.text = s.text[start:s.off]
	if c := t.text[0]; c < 'a' || c == 'e' || c == 'f' || c == 't' { // what keywords begin with
		if k, ok := keywords[t.text]; ok {
			t.kind = k
		}
	}
}

// wordByte is IsWordPart of ASCII, where the time goes.
var wordByte = func() (is [utf8.RuneSelf]bool) {
	for c := range is {
		is[c] = value.IsWordPart(rune(c))
	}
	return is
}()

func digit(c byte) bool { return '0' <= c && c <= '9' }

// numberAhead reports whether a number begins here: digits, or a point and
// digits, behind an optional minus sign.
func (s *scanner) numberAhead() bool {
	n := 0
	if s.peek(0) == '-' {
		n = 1
	}
	return digit(s.peek(n)) || s.peek(n) == '.' && digit(s.peek(n+1))
}

// number reads a number (LX10, LX11).
func (s *scanner) number(at place) value.Value {
	start := s.off
	if s.peek(0) == '-' {
		s.off++
	}
	s.digits()
	float := false
	if s.peek(0) == '.' {
		float = true
		s.off++
		s.digits()
	}
	if c := s.peek(0); c == 'e' || c == 'E' {
		n := 1
		if c := s.peek(1); c == '+' || c == '-' {
			n = 2
		}
		if digit(s.peek(n)) {
			float = true
			s.off += n
			s.digits()
		}
	}
	text := s.text[start:s.off]
	suffix := s.peek(0) | 0x20 // lower case
	switch {
	case suffix == 'f':
		s.off++
		return value.Float(parseFloat(text, 32))
	case suffix == 'd':
		s.off++
		return value.Double(parseFloat(text, 64))
	case float:
		return value.Double(parseFloat(text, 64))
	case suffix == 'l':
		s.off++
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			s.outOfRange(at, text, 64, "write a double: "+abbreviated(text)+"d")
		}
		return value.Long(n)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		s.outOfRange(at, text, 32, "write a double: "+abbreviated(text)+"d")
	case n < math.MinInt32 || n > math.MaxInt32:
		s.outOfRange(at, text, 32, "write a long: "+text+"L")
	default:
		return value.Integer(n)
	}
	return value.Integer(0)
}

func (s *scanner) digits() {
	for s.off < len(s.text) && digit(s.text[s.off]) {
		s.off++
	}
}

// parseFloat reads digits that are known to be well formed; what is too large
// is infinite, which is what ParseFloat returns beside its error.
func parseFloat(text string, bits int) float64 {
	f, _ := strconv.ParseFloat(text, bits)
	return f
}

func (s *scanner) outOfRange(start place, text string, bits int, hint string) {
	name, expected := "an integer", "-2147483648 to 2147483647"
	if bits == 64 {
		name, expected = "a long", "-9223372036854775808 to 9223372036854775807"
	}
	d := diag.New(diag.NumberRange, s.span(start, s.at.pos(s.off)), fmt.Sprintf("number out of range: %s has %d bits", name, bits))
	d.Found = abbreviated(text)
	s.add(d, expected, hint)
}
