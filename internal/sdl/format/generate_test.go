package format

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/test/plain"
)

// author writes descriptions of every shape the grammar has, laid out and
// commented at random.
type author struct {
	strings.Builder
	*rand.Rand
	wild  int // how many of 100 tokens have an odd blank or comment before them
	notes int
}

func description(seed uint64, wild int) []byte {
	a := author{Rand: rand.New(rand.NewPCG(seed, 1)), wild: wild}
	if a.IntN(20) == 0 {
		a.write("extends {")
		a.items(3)
		a.write("}")
	} else {
		a.items(4)
	}
	a.blanks()
	return []byte(a.String())
}

// write adds tokens, which are parted by blanks in text; ␣ is a blank in one.
func (a *author) write(text string) {
	for token := range strings.FieldsSeq(text) {
		a.blanks()
		a.WriteString(strings.ReplaceAll(token, "␣", " "))
	}
}

func (a *author) blanks() {
	a.WriteByte(' ')
	if a.IntN(100) >= a.wild {
		return
	}
	for range 1 + a.IntN(3) {
		a.WriteString(a.one(" ", "\n", "\n", "\n", "\n\n\n", "\t", "\r\n", "\f", "\n    "))
		if a.IntN(3) > 0 {
			continue
		}
		a.notes++
		fmt.Fprintf(a, a.one("// %d\n", "//%d \n", "/* %d */", "/* %d\n   more */", "/**%d*/", "// %d\r\n", "\n     // %d\n"), a.notes)
	}
}

func (a *author) one(of ...string) string { return of[a.IntN(len(of))] }

func (a *author) name() string {
	return a.one("a", "b", "port", "sfConfig", "a-rather-long-name-for-an-attribute", "x.y", `\u0061b`)
}

func (a *author) items(depth int) {
	for range a.IntN(5) {
		switch a.IntN(12) {
		case 0:
			a.write(a.one("", `#codebase "c"`) + a.one(` #include "f.sf"`, ` #include? ##f# ;`))
			continue
		case 1:
			a.write(a.one("[ a , b ]", "[ ]", `[ "x␣y" z , ]`))
		}
		for range a.IntN(6) / 4 {
			a.write(a.name() + " :")
		}
		a.write(a.one("--", `"a␣name"`, a.name(), a.name(), a.name()))
		switch a.IntN(8) {
		case 0:
			a.write(";")
			continue
		case 1, 2, 3:
			a.component(depth)
		default:
			a.simple(depth)
		}
		a.write(a.one("", ";", ";", "; ;"))
	}
}

func (a *author) body(depth int) {
	a.write("{")
	if depth > 0 {
		a.items(depth - 1)
	}
	a.write("}")
}

func (a *author) component(depth int) {
	a.write(a.one("extends", "extends", "extends : default") + " " + a.one("", "", "DATA", "LAZY"))
	n := 1 + a.IntN(3)
	for i := range n {
		before := ""
		if i > 0 {
			before = ","
		}
		switch a.IntN(5) {
		case 0:
			a.write(before + " NULL")
		case 1, 2:
			a.write(before)
			a.link()
		default:
			if i == n-1 && i > 0 {
				before = a.one("", ",")
			}
			a.write(before)
			a.body(depth)
		}
	}
}

func (a *author) link() {
	a.write(a.one("PARENT", "ROOT", "THIS", a.name(), "ATTRIB b", `HERE "c␣d"`, "HOST ##h#", "PROPERTY p"))
	for range a.IntN(3) {
		a.write(":")
		a.write(a.one("PARENT", "HERE x", a.name()))
	}
}

func (a *author) reference(depth int) {
	a.write(a.one("", "LAZY"))
	a.target(depth)
}

func (a *author) target(depth int) {
	switch a.IntN(6) {
	case 0:
		a.write(a.one("APPLY", "ASSERT"))
		a.body(depth)
		return
	case 1:
		a.write("OPTIONAL")
		if a.IntN(2) == 0 {
			a.write("(")
			a.literal(depth)
			a.write(")")
		}
	}
	a.link()
}

func (a *author) literal(depth int) {
	switch a.IntN(10) {
	case 0, 1:
		a.write("[|")
		a.several(depth, a.literal)
		a.write("|]")
	case 2:
		a.write("DATA")
		a.target(depth)
	case 3:
		a.write(a.one(`VAR "v"`, "VAR v : w", `VAR { "v" , "1..3" }`, "VAR { LAZY v , 7 }"))
	case 4:
		a.blanks()
		a.WriteString(a.one("##two\nlines\r\n#", "##one \\# #", `"with // marks"`, `"and /* more"`, "#HEX#0a\n ff#", "#DEC# 001\r\n#"))
	default:
		a.write(a.one("1", "-1", "007", "2L", "0.5f", ".5", "1e3", "NULL", "TBD", "true", `"\u0041\n"`, `"text"`,
			`"a␣text␣of␣some␣length␣that␣takes␣much␣of␣the␣room␣that␣there␣is␣on␣a␣line"`, "#B64#AAEC#"))
	}
}

func (a *author) several(depth int, one func(int)) {
	if depth <= 0 {
		return
	}
	for i := range a.IntN(4) {
		if i > 0 {
			a.write(",")
		}
		one(depth - 1)
	}
}

func (a *author) simple(depth int) {
	if depth <= 0 {
		a.literal(0)
		return
	}
	depth--
	switch a.IntN(9) {
	case 0:
		a.write("(")
		a.component(depth)
		a.write(")")
	case 1:
		a.write("( !")
		a.simple(depth)
		a.write(")")
	case 2, 3:
		op := a.one("<>", "++", "+", "*", "&&", "||", "x|", "->")
		a.write("(")
		a.simple(depth)
		for range a.IntN(4) {
			a.write(op)
			a.simple(depth)
		}
		a.write(")")
	case 4:
		a.write("IF")
		a.simple(depth)
		a.write("THEN")
		a.simple(depth)
		a.write("ELSE")
		a.simple(depth)
		a.write("FI")
	case 5:
		a.write("SWITCH")
		if a.IntN(2) == 0 {
			a.body(depth)
		}
		for range 1 + a.IntN(2) {
			a.write("IF")
			a.simple(depth)
			a.write("THEN")
			a.simple(depth)
		}
		a.write("ENDSWITCH")
	case 6:
		a.write("[")
		a.several(depth, a.simple)
		a.write("]")
	case 7:
		a.reference(depth)
	default:
		a.literal(depth)
	}
}

func TestGeneratedDescriptionsKeepTheirMeaning(t *testing.T) {
	for seed := range uint64(700) {
		for _, wild := range []int{0, 10, 60} {
			checkGenerated(t, seed, wild)
		}
	}
}

func checkGenerated(t *testing.T, seed uint64, wild int) {
	t.Helper()
	src := description(seed, wild)
	out, ok := keeps(t, src)
	var list diag.List
	tree := syntax.Parse("x.sf", src, &list)
	if !ok {
		t.Fatalf("has mistakes: %v\n%s", list.All(), src)
	}
	checkPrint(t, tree)
	if seed%16 == 0 { // costs the square of the lines
		checkLines(t, src, out)
	}
}

// checkPrint checks that what is printed of a tree reads back as an equal tree,
// and is in the usual form.
func checkPrint(t *testing.T, tree *syntax.File) {
	t.Helper()
	printed := syntax.Print(tree)
	var list diag.List
	again := syntax.Parse("x.sf", []byte(printed), &list)
	if list.Errors() > 0 || !sameTree(tree, again) {
		t.Fatalf("reads as another tree when printed:\n%s\n%v", printed, list.All())
	}
	if usual, _ := Source("x.sf", []byte(printed)); string(usual) != printed {
		t.Fatalf("a tree is not printed in the usual form:\n%s\nusual:\n%s", printed, usual)
	}
}

// checkLines formats parts of src and checks that each means the same, and that
// the parts together are the whole.
func checkLines(t *testing.T, src, out []byte) {
	t.Helper()
	var list diag.List
	tree := syntax.Parse("x.sf", src, &list)
	lines := splitLines(src)
	var whole []byte
	for at := 1; at <= len(lines); {
		e, list := Lines("x.sf", src, at, at)
		if list.Errors() > 0 || e.From > at || e.To <= at || e.To > len(lines)+1 {
			t.Fatalf("line %d: %d to %d of %d, %v", at, e.From, e.To, len(lines), list.All())
		}
		edited := slices.Concat(bytes.Join(lines[:e.From-1], nil), e.Text, bytes.Join(lines[e.To-1:], nil))
		again := syntax.Parse("x.sf", edited, &list)
		if list.Errors() > 0 || !sameTree(tree, again) || !slices.Equal(comments(src), comments(edited)) {
			t.Fatalf("means something else when lines %d to %d are formatted:\n%s\nformatted:\n%s", e.From, e.To, src, edited)
		}
		whole = append(whole, e.Text...)
		at = e.To
	}
	if !bytes.Equal(whole, out) {
		t.Fatalf("the parts:\n%s\nare not the whole:\n%s", whole, out)
	}
}

func FuzzSource(f *testing.F) {
	descriptions(f, func(_ string, text []byte) {
		if len(text) < 2000 {
			f.Add(text)
		}
	})
	for seed := range uint64(20) {
		f.Add(description(seed, 30))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<13 {
			return
		}
		out, ok := keeps(t, src)
		if !ok {
			return
		}
		src = bytes.TrimPrefix(src, byteOrderMark)
		var list diag.List
		checkPrint(t, syntax.Parse("x.sf", src, &list))
		if len(src) < 1<<10 {
			checkLines(t, src, out)
		}
	})
}

func FuzzGenerated(f *testing.F) {
	f.Add(uint64(1), 10)
	f.Fuzz(func(t *testing.T, seed uint64, wild int) { checkGenerated(t, seed, wild) })
}

// large is a description of n components like those people write, none of them
// in the usual form.
func large(n int) []byte {
	var b strings.Builder
	b.WriteString("Web extends Prim { port 80; host LAZY PARENT:ip }\nsfConfig extends\n{\n")
	for i := range n {
		fmt.Fprintf(&b, "web%d extends Web { // one of many\n    name \"web-%d\"; port %d; weight 0.5;\n"+
			"    url (\"http://\" ++host ++ \":\"\n ++port); db ATTRIB sfConfig:db%d; // its own\n  };\n", i, i, 1024+i, i%7)
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

func BenchmarkSource(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} { // the last has 16 MB
		src := large(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, list := Source("x.sf", src); list.Errors() > 0 {
					b.Fatal(list.All())
				}
			}
		})
	}
}

// TestNothingCostsTheSquare formats texts that are large in one way each. A
// quadratic algorithm would take a minute or more for any of them.
func TestNothingCostsTheSquare(t *testing.T) {
	if plain.Ran(t) {
		return
	}
	const n = 200_000
	repeat := strings.Repeat
	deep := syntax.MaxDepth - 1
	for name, src := range map[string]string{
		"one line":        "a extends { " + repeat("b 1; ", n) + "}",
		"items":           repeat("b 1; // c\n", n),
		"elements":        "a [ 1" + repeat(", 1", n) + " ];",
		"lines":           "a [| 1" + repeat(",\n1", n) + " |];",
		"comments":        "a " + repeat("/* c */", n) + " 1;",
		"line comments":   "a extends { " + repeat("b 1; // c\n // d\n", n/2) + "}",
		"empty":           repeat(";\n", n),
		"deep bodies":     repeat("a extends { ", deep) + repeat("}", deep),
		"deep and broken": repeat("a extends {\n", deep) + "b 1;" + repeat("}", deep),
		"deep vectors":    "a " + repeat("[ 1, ", deep) + "2" + repeat("]", deep),
		"deep operations": "a " + repeat("(1 +\n", deep) + "2" + repeat(")", deep),
		"deep IFs":        "a " + repeat("IF\nx THEN\n", deep) + "2" + repeat("\nELSE 3\nFI", deep),
		"one string":      "a \"" + repeat("x", 1<<24) + "\";",
		"strings":         "a extends { " + repeat("b \""+repeat("x", 1000)+"\"; ", n/100) + "}",
		"long comment":    "  /*" + repeat("\n  c", n) + "*/",
		"name":            "a" + repeat(":a", n) + " 1;",
		"prototypes":      "a extends b" + repeat(",\nb", n) + ";",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			out, list := Source("x.sf", []byte(src))
			if list.Errors() > 0 {
				t.Fatal(list.All())
			}
			if d := time.Since(start); d > 40*time.Second {
				t.Errorf("%v for %d bytes", d, len(src))
			}
			if len(out) > 20*len(src) {
				t.Errorf("%d bytes became %d", len(src), len(out))
			}
		})
	}
}
