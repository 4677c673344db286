package convert

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

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

// FuzzCompose: whatever is read becomes a description without mistakes, and
// what is refused has a place.
func FuzzCompose(f *testing.F) {
	files, err := filepath.Glob("testdata/compose/*/compose.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	for _, s := range []string{
		"services:\n  a: &a {image: redis, command: 'redis-server --port 1'}\n  b: {<<: *a, ports: ['1-3:4-6/udp']}\n",
		"services: {a: {environment: [X=a:1, Y, 'Z=${Q:?no}'], env_file: [{path: x.env, required: false}]}}",
		"services: {a: {healthcheck: {test: x, interval: 1h2m}, deploy: {replicas: 0}}, web: {extends: a}}",
		"services: {a: {configs: [c, {source: c, target: /x, mode: 0444}], volumes: [{type: bind, source: ./x, target: /y}]}}\nconfigs: {c: {content: '${a:-${b:-c}}'}}",
		"a: &a [*a]\nservices: {x: *a}", "services: {? [a] : b}", "services:\n  a: 1\n",
	} {
		f.Add([]byte(s))
	}
	folder := fstest.MapFS{"x.env": {Data: []byte("A=1\nB=${A}\n")}, "x": {Data: []byte("text")}, "d/y": {Data: nil}}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<13 {
			return
		}
		var list diag.List
		d := Compose("compose.yaml", src, ComposeOptions{Folder: folder, Environment: map[string]string{"X": "web:1"}}, &list)
		for _, x := range list.All() {
			if x.Span.Pos.Line < 1 || x.Span.Pos.Col < 1 || x.Message == "" {
				t.Fatalf("%+v", x)
			}
		}
		if (d == nil) != (list.Errors() > 0) {
			t.Fatalf("%d errors, and a result is %v", list.Errors(), d != nil)
		}
		if d != nil {
			checkForms(t, read(t, SF, d.Write(SF)))
		}
	})
}
