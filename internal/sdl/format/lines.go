package format

import (
	"bytes"
	"unicode/utf8"
)

// gap is how many blanks at least part a comment from the code before it.
const gap = 3

// lines puts what is printed together to lines. The comments behind the code
// of successive lines of one indentation it puts under each other.
type lines struct {
	out    []byte
	run    []row // lines with such comments, not in out yet
	at     row   // the line begun
	column int   // where it goes on, from 0
	number int   // of the line begun, from 1; line ends in strings count, too
}

// row is one line, or more of them where a string or comment goes over several.
type row struct {
	indent int
	text   []byte // without the indentation
	cell   int    // where in text the comment begins that ends it; -1 for none
	tall   bool   // a line ends in text
	remark bool   // there are comments only
}

// fresh reports whether nothing is printed on the line begun.
func (l *lines) fresh() bool { return len(l.at.text) == 0 }

// trailing reports whether the line begun ends with a comment under which
// another can go on.
func (l *lines) trailing() bool { return l.at.cell >= 0 && !l.at.tall }

// next begins a line, with an empty one before it if wanted.
func (l *lines) next(indent int, skip bool) {
	if l.number > 0 {
		l.finish()
	}
	if skip {
		l.flush()
		l.out = append(l.out, '\n')
		l.number++
	}
	l.number++
	l.at = row{indent: indent, text: l.at.text[:0], cell: -1}
	l.column = indent
}

// under begins a line for a comment that goes on with the one before it.
func (l *lines) under() {
	l.next(l.at.indent, false)
	l.at.cell = 0
}

// token adds what is no comment.
func (l *lines) token(text []byte, blank bool) {
	l.at.cell, l.at.remark = -1, false
	l.add(text, blank)
}

// comment adds a comment.
func (l *lines) comment(text []byte, blank bool) {
	switch {
	case bytes.IndexByte(text, '\n') >= 0: // what moves it would change it
		l.at.remark, l.at.cell = l.fresh(), -1
	case l.fresh():
		l.at.remark = l.at.cell < 0
	case !l.at.remark && l.at.cell < 0:
		l.at.cell = len(l.at.text)
	}
	l.add(text, blank)
}

func (l *lines) add(text []byte, blank bool) {
	if blank && !l.fresh() {
		l.at.text = append(l.at.text, ' ')
		l.column++
	}
	l.at.text = append(l.at.text, text...)
	if n := bytes.Count(text, []byte{'\n'}); n > 0 {
		l.at.tall = true
		l.number += n
		l.column = 0
		text = text[bytes.LastIndexByte(text, '\n')+1:]
	}
	l.column += utf8.RuneCount(text)
}

// finish ends the line begun.
func (l *lines) finish() {
	switch {
	case l.at.cell < 0:
		l.flush()
		l.write(l.at, 0)
	case l.at.tall:
		l.flush()
		l.write(l.at, gap)
	default:
		if len(l.run) > 0 && l.run[0].indent != l.at.indent {
			l.flush()
		}
		r := l.at
		r.text = bytes.Clone(r.text)
		l.run = append(l.run, r)
	}
}

// flush writes the lines of the run.
func (l *lines) flush() {
	longest := 0
	for _, r := range l.run {
		longest = max(longest, utf8.RuneCount(r.text[:r.cell]))
	}
	for _, r := range l.run {
		l.write(r, longest-utf8.RuneCount(r.text[:r.cell])+gap)
	}
	l.run = l.run[:0]
}

// write adds r to the result, with so many blanks before its comment.
func (l *lines) write(r row, blanks int) {
	l.blanks(r.indent)
	if r.cell >= 0 {
		l.out = append(l.out, r.text[:r.cell]...)
		l.blanks(blanks)
		r.text = bytes.TrimPrefix(r.text[r.cell:], []byte{' '})
	}
	l.out = append(append(l.out, r.text...), '\n')
}

func (l *lines) blanks(n int) {
	for range n {
		l.out = append(l.out, ' ')
	}
}

// end returns the whole text.
func (l *lines) end() []byte {
	if !l.fresh() {
		l.finish()
		l.flush()
	}
	return l.out
}
