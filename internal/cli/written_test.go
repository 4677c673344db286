package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"aloft/api"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// What a description was made from makes the same again without its files, its
// folders, its environment and its answers.
func TestDescriptionIsMadeAgainFromWhatWasNoted(t *testing.T) {
	dir, more := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	file := write(dir, "a.sf", `#include "b.sf"
#include "c.sf"
sfConfig extends B { here PROPERTY p; there ENVPROPERTY v; sum (here ++ there); n 1; twice (2*n); }`)
	write(dir, "b.sf", `B extends { x 1; }`)
	write(more, "c.sf", `C extends {}`)
	a := &app{Deps: Deps{Getenv: func(string) string { return "" }}}
	f := &describeFlags{include: []string{more}, properties: []string{"p=of it"}, environment: []string{"v=around", "other=hidden"}, diag: "text"}
	res, w, err := a.resolveQuietly(t.Context(), file, f)
	if err != nil || res.Description == nil || w == nil {
		t.Fatalf("%v, %v, %+v", err, w, res.Diagnostics.All())
	}
	if _, kept := w.Environment["other"]; kept || w.Environment["v"] != "around" {
		t.Errorf("of the environment is kept %v", w.Environment)
	}
	again := func() *value.Component {
		t.Helper()
		root, err := a.resolveWritten(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	for _, d := range []string{dir, more} {
		if err := os.RemoveAll(d); err != nil {
			t.Fatal(err)
		}
	}
	if was, is := value.Source(res.Description.Root), value.Source(again()); was != is {
		t.Errorf("%s became %s", was, is)
	}
	w.Set = []api.WrittenSet{{Path: "n", Value: "4"}, {Path: "x", Value: `"it's; } here"`}}
	root := again()
	for name, want := range map[string]value.Value{"n": value.Integer(4), "twice": value.Integer(8), "x": value.String("it's; } here")} {
		if v, _ := root.Get(name); v == nil || !value.Equal(v, want) {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}

// What is set is one value: no text ends the attribute and begins another.
func TestSetValueIsOneValue(t *testing.T) {
	for text, want := range map[string]string{
		"1": "1", "true": "true", "hello": `"hello"`, `"a b"`: `"a b"`, "a b": `"a b"`, "[| 1, 2 |]": "[| 1, 2 |]", "web:ip": `"web:ip"`,
		"LAZY web:ip": "LAZY web:ip", "1; b 2": `"1; b 2"`, "} x extends {": `"} x extends {"`, "/etc/x.conf": `"/etc/x.conf"`, "": `""`, "$(id)": `"$(id)"`,
	} {
		got := written(text)
		if got != want {
			t.Errorf("%q is written %s, want %s", text, got, want)
		}
		src, _, err := rewritten(&api.Written{Name: "a.sf", Folders: []api.WrittenFolder{{Role: roleFirst}}, Set: []api.WrittenSet{{Path: "a:b", Value: got}}})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if f := syntax.Parse("x", src.Text, &diag.List{}); len(f.Items) != 2 {
			t.Errorf("%q gives %s", text, src.Text)
		}
	}
}

// FuzzWrittenValue: whatever is set stays one attribute of the text.
func FuzzWrittenValue(f *testing.F) {
	for _, seed := range []string{"1", "hello", `"`, "extends {", "(1 + 2)", "LAZY a:b", "[| [", "#include \"x\"", "a;b", "-- 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		src, _, err := rewritten(&api.Written{Name: "a.sf", Folders: []api.WrittenFolder{{Role: roleFirst}}, Set: []api.WrittenSet{{Path: "a", Value: written(text)}}})
		if err != nil {
			return
		}
		folder := resolve.Folder{FS: texts{"a.sf": "sfConfig extends { a 1; }"}}
		src.Folder = folder
		res, err := resolve.Resolve(t.Context(), src, resolve.Options{MaxSteps: 100_000})
		if err != nil {
			t.Fatal(err)
		}
		if res.Description == nil {
			return
		}
		var names []string
		for a := range res.Description.Root.All() {
			names = append(names, a.Name)
		}
		if !slices.Equal(names, []string{"a"}) {
			t.Errorf("%q gives %s", text, src.Text)
		}
	})
}
