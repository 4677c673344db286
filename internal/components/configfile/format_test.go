package configfile

import (
	"testing"
	"unicode/utf8"
)

// What is set is read back, and removing it leaves nothing of it; whatever the
// file, the key and the value are.
func fuzzFormat(f *testing.F, name string, docs ...string) {
	for _, d := range append(docs, "") {
		f.Add(d, "a.b", "v")
	}
	fm := formats[name]
	f.Fuzz(func(t *testing.T, doc, key, v string) {
		if !utf8.ValidString(doc+"\x00"+key) || !utf8.ValidString(v) {
			return // the language's strings are Unicode text
		}
		next, err := fm.set([]byte(doc), key, v)
		if err != nil {
			return
		}
		got, ok, err := fm.get(next, key)
		if err != nil || !ok || !same(got, v) {
			t.Fatalf("set %q to %q in %q:\n%q\nget %v %v %v", key, v, doc, next, got, ok, err)
		}
		gone, err := fm.remove(next, key)
		if err != nil {
			return
		}
		if got, ok, err := fm.get(gone, key); err == nil && ok && name != "xml" && name != "ini" {
			t.Errorf("%q after its removal from %q: %v\n%q", key, next, got, gone)
		}
	})
}

func FuzzINI(f *testing.F)        { fuzzFormat(f, "ini", "[a]\nb=1\n", "x", "[a]\n;c\n[b]") }
func FuzzProperties(f *testing.F) { fuzzFormat(f, "properties", "a.b=1\\\n 2\n", "a\\:b c", "\\") }
func FuzzJSON(f *testing.F) {
	fuzzFormat(f, "json", `{"a":{"b":[1,{"x":"}"}]},"c":0}`, `{"a":{}}`, `[]`)
}
func FuzzYAML(f *testing.F) { fuzzFormat(f, "yaml", "a:\n  b: 1 # c\n", "a: {b: 1}", "- x") }
func FuzzXML(f *testing.F) {
	fuzzFormat(f, "xml", `<a x="1"><b/></a>`, "<a><b>1</b><b>2</b></a>", "<a><c><b>1</b></c></a>")
}
