package syntax

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/quick"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

func TestNestingIsBoundedNotFatal(t *testing.T) {
	forms := map[string][2]string{
		"bodies":      {"a extends {", "}"},
		"parentheses": {"(", ")"},
		"vectors":     {"[", "]"},
		"literals":    {"[|", "|]"},
		"IF":          {"IF 1 THEN 2 ELSE ", " FI"},
		"SWITCH":      {"SWITCH IF 1 THEN ", " ENDSWITCH"},
		"APPLY":       {"APPLY {a ", "}"},
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			nest := func(depth int) (*File, *diag.List) {
				first, last, core := "a ", "; b 1 2;", "1"
				if name == "bodies" {
					first, last, core = "", " b 1 2;", "c 1;"
				}
				return parse(t, first+strings.Repeat(form[0], depth)+core+strings.Repeat(form[1], depth)+last)
			}
			f, list := nest(MaxDepth)
			if ds := list.All(); len(ds) != 1 || ds[0].Code != diag.Unexpected {
				t.Errorf("as deep as allowed, only the 2 behind it is wrong: %v", ds)
			}
			again, more := parse(t, Print(f))
			if more.Errors() > 0 || Print(again) != Print(f) {
				t.Errorf("printed form reads as another tree")
			}
			_, list = nest(MaxDepth + 1)
			if ds := list.All(); len(ds) != 1 || ds[0].Code != diag.TooDeep {
				t.Errorf("one level deeper: %v", ds)
			}
			if _, list = nest(5 * MaxDepth); list.Errors() != 1 {
				t.Errorf("very deep: %d errors", list.Errors())
			}
		})
	}
}

func TestStringOf16MB(t *testing.T) {
	long := strings.Repeat("é\\n0123456789abc", 1<<20)
	f, list := parse(t, "a ##"+long+"#; b \""+long+"\"; c 1 2;")
	if ds := list.All(); len(ds) != 1 || ds[0].Span.Pos.Line != 1 || ds[0].Span.Pos.Col != 2*16<<20+18 {
		t.Fatalf("%d errors, the first at %v", len(ds), ds[0].Span)
	}
	for _, i := range []int{0, 1} {
		s := f.Items[i].(*Attribute).Value.(*Literal).Value.(value.String)
		if len(s) != 16<<20 || s[:5] != "é\n01" {
			t.Errorf("string of %d bytes", len(s))
		}
	}
	if text := messages(list, "a ##"+long+"#; b \""+long+"\"; c 1 2;"); len(text) > 2000 {
		t.Errorf("excerpt of a long line takes %d bytes", len(text))
	}
}

func TestManyMistakesAreCounted(t *testing.T) {
	_, list := parse(t, strings.Repeat("a 1 2;\n", 130))
	if len(list.All()) != diag.MaxPerFile || list.Errors() != 130 {
		t.Errorf("%d kept of %d", len(list.All()), list.Errors())
	}
	if text := messages(list, ""); !strings.HasSuffix(text, "t.sf: 80 more not shown\n") {
		t.Errorf("%s", text[len(text)-100:])
	}
}

func TestPositionsAreOfTheWrittenText(t *testing.T) {
	src := "a 1;\r\nb\r\t日本 \\u0041 x;\n" + `c "\u0042" extends;`
	src = strings.Replace(src, "日本", `"日本"`, 1)
	_, list := parse(t, src)
	var at []string
	for _, d := range list.All() {
		at = append(at, fmt.Sprintf("%v-%d:%d", d.Span.Pos, d.Span.EndLine, d.Span.EndCol))
	}
	if got, want := strings.Join(at, " "), "t.sf:4:12-4:19"; got != want {
		t.Errorf("mistakes at %s, want %s", got, want)
	}
	f, _ := parse(t, src)
	a := f.Items[2].(*Attribute)
	if got := fmt.Sprint(a.Name, a.NameSpan); got != "A{t.sf:3:7 3 13}" {
		t.Errorf("name is %s", got)
	}
}

func TestCommentsAreKept(t *testing.T) {
	f, _ := parse(t, "// one\na /* two */ 1; /** three\n */")
	var got []string
	for _, c := range f.Comments {
		got = append(got, fmt.Sprintf("%d:%d-%d:%d %s", c.Span.Pos.Line, c.Span.Pos.Col, c.Span.EndLine, c.Span.EndCol, c.Text))
	}
	want := "[1:1-1:7 // one 2:3-2:12 /* two */ 2:16-3:4 /** three\n */]"
	if fmt.Sprint(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOperatorsAreComponentsOfSection10(t *testing.T) {
	for src, want := range map[string]string{
		"(x ++ 1)":              "Concatenate -- x; -- 1;",
		"(x - 1)":               "Minus left x; right 1;",
		"(! x)":                 "Not data x;",
		"[x, 1]":                "Vector -- x; -- 1;",
		"IF x THEN 1 ELSE 2 FI": "IfThenElse if x; then 1; else 2;",
		"SWITCH {y 1;} IF x THEN 2 IF y THEN 3 ENDSWITCH": "Switch y 1; IF0 x; THEN0 2; IF1 y; THEN1 3;",
	} {
		var list diag.List
		c, ok := ParseValue("v", []byte(src), &list).(*Component)
		if !ok || !c.Data {
			t.Errorf("%s is no data component", src)
			continue
		}
		plain := &Component{Protos: c.Protos}
		text := strings.Join(strings.Fields(PrintValue(plain)), " ")
		class, rest, _ := strings.Cut(want, " ")
		want := fmt.Sprintf(`extends { phase.function "%s"; sfFunctionClass "%s%s"; %s }`, ConstructFunction, FunctionPackage, class, rest)
		if text != want {
			t.Errorf("%s is\n%s, want\n%s", src, text, want)
		}
	}
}

func TestParseValueAndReference(t *testing.T) {
	var list diag.List
	if e := ParseValue("v", []byte(" extends A {x 1;} "), &list); PrintValue(e) != "extends A {\n  x 1;\n}" {
		t.Errorf("value is %s", PrintValue(e))
	}
	if r := ParseReference("v", []byte("LAZY PARENT:x"), &list); r == nil || PrintValue(r) != "LAZY PARENT:x" {
		t.Errorf("reference is %v", r)
	}
	if list.Errors() > 0 {
		t.Error(messages(&list, ""))
	}
	for _, src := range []string{"", "1 2", "a;", "x:", "\"\\q\""} {
		before := list.Errors()
		if e := ParseValue("v", []byte(src), &list); e != nil || list.Errors() != before+1 {
			t.Errorf("%q: %v, %d errors", src, e, list.Errors()-before)
		}
	}
	for _, src := range []string{"5", "DATA x", "(x)", "x y"} {
		if r := ParseReference("v", []byte(src), &list); r != nil {
			t.Errorf("%q is no reference", src)
		}
	}
}

// TestValueTextReadsBack checks that what value.Source writes for literals is
// what the parser reads.
func TestValueTextReadsBack(t *testing.T) {
	check := func(v value.Value) bool {
		var list diag.List
		l, ok := ParseValue("v", []byte(value.Source(v)), &list).(*Literal)
		return ok && value.Equal(l.Value, v)
	}
	for _, f := range []any{
		func(s string) bool { return check(value.String(s)) },
		func(rs []rune) bool { return check(value.String(rs)) },
		func(b []byte) bool { return check(value.Bytes(b)) },
		func(n int32) bool { return check(value.Integer(n)) },
		func(n int64) bool { return check(value.Long(n)) },
		func(f float32) bool { return check(value.Float(f)) },
		func(f float64) bool { return check(value.Double(f)) },
	} {
		if err := quick.Check(f, nil); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{`\`, `\u0041`, "\\\u2028", "\x00\x7f\u0085\ufeff\U0001F600\U000E0001", "a\r\n\"#"} {
		if !check(value.String(s)) {
			t.Errorf("%q is written %s", s, value.Quote(s))
		}
	}
}

func TestWordHint(t *testing.T) {
	for word, want := range map[string]string{
		"a++b": "(a ++ b)", "a&&b": "(a && b)", "db-port": "(db - port)", "a-": "(a -> …)", "a+b+c": "(a + b+c)", "plain": "", "x.y": "",
	} {
		hint, ok := WordHint(word)
		if ok != (want != "") || !strings.HasSuffix(hint, want) {
			t.Errorf("%s: %q", word, hint)
		}
	}
}

// TestHostileTextsCostNoMoreThanTheirLength feeds texts that would take
// minutes if anything looked at the rest of the text for each of its mistakes.
func TestHostileTextsCostNoMoreThanTheirLength(t *testing.T) {
	const size = 128 << 10
	for _, unit := range []string{
		")", "'", "'x", "\xff", `\u`, `\uD83D`, `\uuuuD83D\uuuu`, "#HEX#x", "#HEX##", "#HEX#x#", "\"\\q", "\"\n", "##", "a ", "a 1 2;", "{", "a:",
		"[", "LAZY ", "x|", "/*/", "//\n", "1", ".1", "-", "1e", "a extends ", "(a ++ ", "/*", "#", "\\", "é", "\u65e5", "[|", "a{", "VAR{",
	} {
		src := []byte(strings.Repeat(unit, size/len(unit)))
		var list diag.List
		Parse("x", src, &list)
		if n := len(list.All()); n > diag.MaxPerFile {
			t.Errorf("%q: %d diagnostics", unit, n)
		}
	}
}

func TestParsingStopsWhenCancelled(t *testing.T) {
	src := large(10_000)
	ctx, cancel := context.WithCancel(t.Context())
	var list diag.List
	if f, err := ParseContext(ctx, "x", src, &list); err != nil || len(f.Items) != 2 || list.Errors() > 0 {
		t.Fatal(err)
	}
	cancel()
	p := newParser("x", src, &list)
	p.s.cancelled = func() bool { return ctx.Err() != nil }
	p.file()
	if p.s.tokens > 2000 {
		t.Errorf("read %d tokens after that", p.s.tokens)
	}
	if _, err := ParseContext(ctx, "x", src, &list); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
