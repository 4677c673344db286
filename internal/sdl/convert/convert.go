// Package convert changes the form of a description's source and leaves its
// meaning alone: text of the language, JSON and YAML hold the same tree, and
// the same comments, and each can be made from each other. It also makes a
// description from a Docker Compose file, as far as the meaning carries over,
// and lists what does not.
//
// The forms are of the source, not of what it resolves to: prototypes, links,
// functions, includes, tags and placements are kept (doc/convert.md tells the
// form). Nothing is resolved here, no include is opened, and files are read
// only through the folder that Compose is given. The package starts no
// goroutine. What is wrong with a text is a diagnostic with its place.
package convert

import (
	"fmt"
	"unicode/utf8"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Form is a way to write a description.
type Form string

// The forms.
const (
	SF   Form = "sf"
	JSON Form = "json"
	YAML Form = "yaml"
)

// Doc is a description as a tree, with its comments beside what they are about.
type Doc struct {
	File  *syntax.File
	notes map[any]*notes // of a syntax.Item, a *syntax.Body or a *syntax.File
}

// notes are comments, each with its marks.
type notes struct {
	above  []string // before an item, on lines of their own
	behind []string // on the line on which an item ends
	last   []string // behind the last item of a body or file
}

func (d *Doc) of(x any) *notes {
	n := d.notes[x]
	if n == nil {
		n = &notes{}
		d.notes[x] = n
	}
	return n
}

// look is of for reading only.
func (d *Doc) look(x any) notes {
	if n := d.notes[x]; n != nil {
		return *n
	}
	return notes{}
}

// MaxText bounds a JSON, YAML or Compose text in bytes.
const MaxText = 16 << 20

// Read reads the text src of the file called name, written in the form f.
// Mistakes are added to list; after an error the result is not to be used, and
// may be nil.
func Read(f Form, name string, src []byte, list *diag.List) *Doc {
	if f == SF {
		return comment(syntax.Parse(name, src, list))
	}
	start := diag.At(value.Pos{File: name, Line: 1, Col: 1})
	if len(src) > MaxText {
		d := diag.New(diag.TooDeep, start, fmt.Sprintf("more than %d bytes", MaxText))
		d.Expected, d.Found = fmt.Sprintf("at most %d bytes", MaxText), fmt.Sprintf("%d bytes", len(src))
		d.Hints = []string{"cut it into parts that include each other"}
		list.Add(d)
		return nil
	}
	if !valid(name, src, list) {
		return nil
	}
	var root *node
	var comments []yamlComment
	if f == JSON {
		root = readJSON(name, src, list)
	} else {
		root, comments = readYAML(name, src, list)
	}
	if root == nil {
		return nil
	}
	return decode(name, root, comments, list)
}

// valid reports the first place where src is not UTF-8.
func valid(name string, src []byte, list *diag.List) bool {
	if utf8.Valid(src) {
		return true
	}
	c := cursor{file: name, src: src}
	for off := 0; off < len(src); {
		r, n := utf8.DecodeRune(src[off:])
		if r == utf8.RuneError && n == 1 {
			d := diag.New(diag.BadText, c.at(off), "text that is not UTF-8")
			d.Expected, d.Found = "UTF-8", fmt.Sprintf("the byte %02x", src[off])
			d.Hints = []string{"save the file as UTF-8"}
			list.Add(d)
			return false
		}
		off += n
	}
	return false
}

// Write returns d in the form f. It ends with a new line, unless it is empty.
func (d *Doc) Write(f Form) []byte {
	switch f {
	case JSON:
		return writeJSON(encode(d))
	case YAML:
		return writeYAML(encode(d))
	default:
		return writeSF(d)
	}
}

// cursor finds the line and column of offsets that grow from call to call.
type cursor struct {
	file      string
	src       []byte
	off       int
	line, col int // of off, counted from 0
}

func (c *cursor) at(off int) diag.Span {
	for c.off < off && c.off < len(c.src) {
		switch b := c.src[c.off]; {
		case b == '\n':
			c.line, c.col = c.line+1, 0
		case utf8.RuneStart(b):
			c.col++
		}
		c.off++
	}
	return diag.At(value.Pos{File: c.file, Line: c.line + 1, Col: c.col + 1})
}
