package diag

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"aloft/value"
)

// Sources finds the written text of a file by the name positions carry. It
// may return false; the excerpt is then left out.
type Sources func(file string) ([]byte, bool)

// excerptWidth is how many characters of a line an excerpt shows at most.
const excerptWidth = 120

// WriteText writes the diagnostics of l to w for people to read: the line
//
//	FILE:LINE:COL: SEVERITY CODE (PHASE): TEXT
//
// then, indented, an excerpt with the place underlined and what else is known.
func WriteText(w io.Writer, l *List, sources Sources) error {
	p := printer{w: bufio.NewWriter(w), sources: sources, lines: map[string]*lines{}}
	for _, d := range l.All() {
		p.diagnostic(d)
	}
	for _, d := range l.Dropped() {
		fmt.Fprintf(p.w, "%s: %d more not shown\n", clean(d.File), d.Count)
	}
	return p.w.Flush()
}

type printer struct {
	w       *bufio.Writer
	sources Sources
	lines   map[string]*lines // by file; nil if there is no text
}

func (p *printer) diagnostic(d Diagnostic) {
	if at := d.Span.Pos.String(); at != "" {
		fmt.Fprintf(p.w, "%s: ", clean(at))
	}
	fmt.Fprintf(p.w, "%s %s (%s): %s\n", d.Severity, d.Code, d.Phase, clean(d.Message))
	p.excerpt(d.Span)
	switch {
	case d.Path != "" && d.Attribute != "":
		p.detail("in %s, attribute %s", d.Path, d.Attribute)
	case d.Path != "":
		p.detail("in %s", d.Path)
	case d.Attribute != "":
		p.detail("attribute %s", d.Attribute)
	}
	for _, at := range d.IncludedFrom {
		p.detail("included from %s", at)
	}
	if d.Expected != "" {
		p.detail("expected %s", d.Expected)
	}
	if d.Found != "" {
		p.detail("found %s", d.Found)
	}
	for _, r := range d.Related {
		if r.Span.Pos.IsValid() {
			p.detail("%s: %s", r.Span.Pos, r.Message)
		} else {
			p.detail("%s", r.Message)
		}
	}
	for _, h := range d.Hints {
		p.detail("hint: %s", h)
	}
}

func (p *printer) detail(format string, args ...any) {
	fmt.Fprintf(p.w, "    %s\n", clean(fmt.Sprintf(format, args...)))
}

// excerpt writes the line s begins in and underlines s, or its first
// character if its end is not known.
func (p *printer) excerpt(s Span) {
	line, ok := p.line(s.Pos)
	if !ok {
		return
	}
	from := min(s.Pos.Col-1, utf8.RuneCountInString(line))
	width := 1
	switch {
	case int(s.EndLine) == s.Pos.Line:
		width = max(1, int(s.EndCol)-s.Pos.Col)
	case int(s.EndLine) > s.Pos.Line: // to the end of this line
		width = max(1, utf8.RuneCountInString(strings.TrimRight(line, " \t"))-from)
	}
	text, from, width := window(line, from, width)
	fmt.Fprintf(p.w, "%5d | %s\n", s.Pos.Line, text)
	fmt.Fprintf(p.w, "      | %s%s\n", strings.Repeat(" ", from), strings.Repeat("^", width))
}

// window cuts a long line to a part that shows the characters from from on,
// makes every character one column wide, and returns where the part of the
// line to underline lies in it.
func window(line string, from, width int) (text string, start, length int) {
	skip := 0
	if from > excerptWidth*2/3 {
		skip = from - excerptWidth/3
	}
	var b strings.Builder
	n := 0
	if skip > 0 {
		b.WriteString("…")
		n++
	}
	start, i := from, 0
	for _, r := range line {
		if i++; i <= skip {
			continue
		}
		if i-1 == from {
			start = n
		}
		if n++; n > excerptWidth {
			b.WriteString("…")
			break
		}
		b.WriteRune(visible(r))
	}
	if i <= from { // the place is the end of the line
		start = n
	}
	return b.String(), start, min(width, max(1, excerptWidth-start))
}

// visible replaces what would move the cursor or change a terminal's mind.
func visible(r rune) rune {
	if r == '\t' {
		return ' '
	}
	if !unicode.IsPrint(r) {
		return '\uFFFD'
	}
	return r
}

// clean makes a text safe for a terminal and keeps it on one line.
func clean(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return strings.Map(visible, s)
		}
	}
	return s
}

func (p *printer) line(at value.Pos) (string, bool) {
	if !at.IsValid() || p.sources == nil {
		return "", false
	}
	l, known := p.lines[at.File]
	if !known {
		if text, ok := p.sources(at.File); ok {
			l = &lines{text: text}
		}
		p.lines[at.File] = l
	}
	if l == nil {
		return "", false
	}
	return l.get(at.Line)
}

// lines finds the lines of a text by number; LF, CR and CR LF end one.
type lines struct {
	text   []byte
	starts []int // offsets of the lines seen so far
	next   int   // where to look for the start of the next
}

func (l *lines) get(n int) (string, bool) {
	if l.starts == nil {
		l.starts = []int{0}
	}
	for len(l.starts) <= n && l.next < len(l.text) {
		c := l.text[l.next]
		l.next++
		if c == '\n' || c == '\r' && (l.next == len(l.text) || l.text[l.next] != '\n') {
			l.starts = append(l.starts, l.next)
		}
	}
	if n > len(l.starts) {
		return "", false
	}
	end := len(l.text)
	if n < len(l.starts) {
		end = l.starts[n]
	}
	return strings.TrimRight(string(l.text[l.starts[n-1]:end]), "\r\n"), true
}
