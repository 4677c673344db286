package syntax

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"aloft/internal/sdl/diag"
)

// seed adds every chunk of the language cases, and every file of them whole.
func seed(f *testing.F) {
	files, err := filepath.Glob("testdata/*.sf")
	if err != nil || len(files) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		for chunk := range bytes.SplitSeq(text, []byte("----\n")) {
			src, printed, _ := bytes.Cut(chunk, []byte("====\n"))
			f.Add(src)
			f.Add(printed)
		}
	}
}

// inside returns a function that reports whether a line and column lie in
// src, or one behind its end.
func inside(src []byte) func(line, col int) bool {
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(src)), "\n")
	return func(line, col int) bool {
		// A carriage return before a new line is a character of its line.
		return line >= 1 && line <= len(lines) && col >= 1 && col <= utf8.RuneCountInString(lines[line-1])+2
	}
}

func after(a, b place) bool { return a.line > b.line || a.line == b.line && a.col >= b.col }

func FuzzScan(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<14 {
			return
		}
		var list diag.List
		s := newScanner("x", src, &list)
		ok := inside(src)
		var tok token
		var last place
		for n := 0; ; n++ {
			s.next(&tok)
			if !ok(int(tok.start.line), int(tok.start.col)) || !after(tok.start, last) || !after(tok.end, tok.start) {
				t.Fatalf("%s from %v to %v, behind %v", tok, tok.start, tok.end, last)
			}
			if n > len(src) {
				t.Fatal("more tokens than characters")
			}
			if last = tok.end; tok.kind == tEOF {
				break
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<14 {
			return
		}
		var list diag.List
		tree := Parse("x", src, &list)
		ok := inside(src)
		for _, d := range list.All() {
			if !ok(d.Span.Pos.Line, d.Span.Pos.Col) {
				t.Fatalf("mistake outside the text: %+v", d)
			}
			if d.Expected == "" || d.Found == "" {
				t.Fatalf("incomplete: %+v", d)
			}
		}
		_ = Print(tree) // whatever could be read can be shown
		var text bytes.Buffer
		if err := diag.WriteText(&text, &list, func(string) ([]byte, bool) { return src, true }); err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(text.Bytes()) || bytes.ContainsRune(text.Bytes(), 0x1b) {
			t.Fatalf("not safe for a terminal: %q", text.Bytes())
		}
	})
}

func FuzzPrintParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		var list diag.List
		tree := Parse("x", src, &list)
		if list.Errors() > 0 {
			return
		}
		text := Print(tree)
		again := Parse("x", []byte(text), &list)
		if list.Errors() > 0 {
			t.Fatalf("printed form has mistakes:\n%s\n%s", text, messages(&list, text))
		}
		if !sameTree(tree, again) {
			t.Fatalf("printed form reads as another tree:\n%s", text)
		}
		if twice := Print(again); twice != text {
			t.Fatalf("printed twice:\n%s\n%s", text, twice)
		}
	})
}
