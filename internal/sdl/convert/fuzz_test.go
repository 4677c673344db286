package convert

import (
	"bytes"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
)

// FuzzForms: a text of the language without mistakes survives every form.
func FuzzForms(f *testing.F) {
	sources(f, func(_ string, src []byte) { f.Add(src) })
	f.Add([]byte("a extends { // x\n} // y\n/* z\n w */ \"b\\u0001\" \"\\u2028\"; // \\\\u000a\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<13 {
			return
		}
		var list diag.List
		d := Read(SF, "t.sf", src, &list)
		if list.Errors() > 0 {
			return
		}
		checkForms(t, d)
	})
}

// fuzzRead: whatever a reader accepts survives every form, and what it refuses
// has a place in the text.
func fuzzRead(f *testing.F, form Form, seeds ...string) {
	sources(f, func(_ string, src []byte) {
		var list diag.List
		if d := Read(SF, "t.sf", src, &list); list.Errors() == 0 {
			f.Add(d.Write(form))
		}
	})
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<13 {
			return
		}
		var list diag.List
		d := Read(form, "t", src, &list)
		var text bytes.Buffer
		if err := diag.WriteText(&text, &list, func(string) ([]byte, bool) { return src, true }); err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(src, []byte("\n")) + bytes.Count(src, []byte("\r")) + 2 + 2*bytes.Count(src, []byte("\xe2\x80")) + 2*bytes.Count(src, []byte("\xc2\x85"))
		for _, x := range list.All() {
			if x.Span.Pos.Line < 1 || x.Span.Pos.Line > lines || x.Span.Pos.Col < 1 || x.Expected == "" || x.Found == "" {
				t.Fatalf("%+v in %d lines", x, lines)
			}
		}
		if list.Errors() == 0 {
			checkForms(t, d)
		} else if d != nil && form != SF {
			t.Fatal("a result beside mistakes")
		}
	})
}

func FuzzJSON(f *testing.F) {
	fuzzRead(f, JSON,
		`{"a":1,"a":2}`, `{"a":1e400,"b":99999999999}`, `{"$":"x"}`, `{"a":{"$":"x; y 1"},"$comment":["// a","/* b */"],"$aside":"c"}`,
		`{"$extends":"","$include":["a","b"],"[t] a:b":{"$extends":"A, {x 1;}","b":null}}`, "{\"a\":\"\x00\"}", `{"\ud800":1}`, `[`, `{} {}`,
		`{"a":{"$extends":"A // x","$aside":"// y"}}`, strings.Repeat(`{"a":`, 50)+"1"+strings.Repeat("}", 50))
}

func FuzzYAML(f *testing.F) {
	fuzzRead(f, YAML,
		"a: &x [1]\nb: *x\n", "<<: {a: 1}\n", "a: 0644\nb: .inf\nc: 0x1f\nd: 1_000\n", "# one\na: 1 # two\n# three\n", "a:\n  b: 1\n  # in\n# out\nc: |\n  # no comment\n\n  x\n",
		"a: !!binary AAAA\n", "--- \na: 1\n---\nb: 2\n", "a: 'it''s # no' # yes\n", "a: >2\n   folded\n  # x\n", "? [a]\n: b\n", "{a: 1, # x\n b: 2}\n", "#/* a\n# b */\nx: 1\n",
		"a: b\n  # c\n  d: 1\n", "a:\n- b: 1 # x\n  # y\n- 2\n# z\n", "\ufeffa: 1\n", "%YAML 1.2\n---\na: 1\n...\n", "a: \"\\\n  # no\"\n", "$include:\n- a # x\n# y\n- b\n")
}
