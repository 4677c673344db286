// Package format rewrites the text of a description in the one usual form: the
// same words, literals and comments in the same order, with blanks, line ends
// and indentation chosen by rule. It changes no meaning, spells nothing anew
// and has no options. It works on the text, not on the tree: what the tree
// does not keep, such as the way a number is written, stays as it is.
//
// What it decides:
//
//   - Two blanks for each level; a } stands under the line that opened it.
//   - One blank between tokens, none inside ( ), before , and around :.
//   - A ; behind every value but a component that ends with }, and nowhere
//     else. The comma before a last body goes, and those between tags.
//   - Lines end where their author ended them, where they may: between items,
//     elements, operands, prototypes and the arms of IF and SWITCH. What goes
//     on over several lines is one level further in when its first line ends
//     behind the bracket, and else under the first element.
//   - A body written on one line stays there if it ends before column 100.
//   - At most one empty line, none at the start and the end of a body.
//   - Comments stay where they are. Those behind the code of successive lines
//     stand under each other.
//   - Lines end with LF and the byte order mark goes; only strings keep what
//     is in them.
//
// It reads no file and starts no goroutine.
package format

import (
	"bytes"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
)

// Source returns text, the content of the file called name, in the usual form.
// If it has mistakes, they are returned, and no text.
func Source(name string, text []byte) ([]byte, diag.List) {
	text, list := checked(name, text)
	if list.Errors() > 0 {
		return nil, list
	}
	return newPrinter(text).print(), list
}

// Edit is the replacement of whole lines of a text: those from line From up to,
// but not including, line To, counted from 1, become Text. LF, CR and CR LF
// end a line.
type Edit struct {
	From, To int
	Text     []byte
}

// Lines is Source for a part of the text: the items that stand on the lines
// from line first to line last. What is around them may be in any form, but
// must be without mistakes.
func Lines(name string, text []byte, first, last int) (Edit, diag.List) {
	text, list := checked(name, text)
	if list.Errors() > 0 {
		return Edit{}, list
	}
	p := newPrinter(text)
	out := bytes.SplitAfter(p.print(), []byte("\n"))
	from, to := sync{1, 1}, sync{len(splitLines(text)) + 1, len(out) + 1}
	for _, s := range p.synced {
		if s.written <= first {
			from = s
		}
		if s.written > last {
			to = s
			break
		}
	}
	return Edit{From: from.written, To: to.written, Text: bytes.Join(out[from.printed-1:to.printed-1], nil)}, list
}

var byteOrderMark = []byte("\uFEFF")

// checked returns text without the byte order mark, and its mistakes.
func checked(name string, text []byte) ([]byte, diag.List) {
	var list diag.List
	text = bytes.TrimPrefix(text, byteOrderMark)
	syntax.Parse(name, text, &list)
	return text, list
}

// splitLines returns the lines of text, each with what ends it.
func splitLines(text []byte) [][]byte {
	var all [][]byte
	for len(text) > 0 {
		n := bytes.IndexAny(text, "\r\n") + 1
		switch {
		case n == 0:
			n = len(text)
		case text[n-1] == '\r' && n < len(text) && text[n] == '\n':
			n++
		}
		all = append(all, text[:n])
		text = text[n:]
	}
	return all
}
