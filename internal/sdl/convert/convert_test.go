package convert

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
)

// same compares trees, places and comments apart; floats by their bits.
func same(a, b reflect.Value) bool {
	if a.IsValid() != b.IsValid() || !a.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Type() {
	case reflect.TypeFor[diag.Span](), reflect.TypeFor[[]syntax.Comment]():
		return true
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.Kind() == reflect.Pointer && a.Pointer() == b.Pointer() {
			return true
		}
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if a.Type() == reflect.TypeFor[syntax.File]() && a.Type().Field(i).Name == "Name" {
				continue
			}
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Float32, reflect.Float64:
		return a.Float() == b.Float()
	default:
		return a.Interface() == b.Interface()
	}
}

// said are all comments of d with what they are about, in the order of its
// items.
func said(d *Doc) []string {
	var out []string
	var items func(list []syntax.Item)
	expr := func(e syntax.Expr) {
		c, ok := e.(*syntax.Component)
		if !ok {
			return
		}
		for _, p := range c.Protos {
			if p.Body != nil {
				items(p.Body.Items)
				for _, t := range d.look(p.Body).last {
					out = append(out, "} "+t)
				}
			}
		}
	}
	items = func(list []syntax.Item) {
		for _, item := range list {
			n := d.look(item)
			what := "include"
			if a, ok := item.(*syntax.Attribute); ok {
				what = head(a)
			}
			for _, t := range n.above {
				out = append(out, what+" above "+t)
			}
			if a, ok := item.(*syntax.Attribute); ok {
				expr(a.Value)
			}
			for _, t := range n.behind {
				out = append(out, what+" behind "+t)
			}
		}
	}
	items(d.File.Items)
	for _, t := range d.look(d.File).last {
		out = append(out, "end "+t)
	}
	return out
}

// tester is a test, one of rapid's too.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func read(t tester, f Form, src []byte) *Doc {
	t.Helper()
	var list diag.List
	d := Read(f, "t."+string(f), src, &list)
	if list.Errors() > 0 || d == nil {
		t.Fatalf("%s form has mistakes:\n%s\n%s", f, messages(&list, src), src)
	}
	return d
}

func messages(l *diag.List, src []byte) string {
	var b strings.Builder
	_ = diag.WriteText(&b, l, func(string) ([]byte, bool) { return src, true })
	return b.String()
}

// checkForms checks that d survives every form, and every way between them.
func checkForms(t tester, d *Doc) {
	t.Helper()
	texts := map[Form][]byte{}
	for _, f := range []Form{SF, JSON, YAML} {
		texts[f] = d.Write(f)
	}
	for _, f := range []Form{SF, JSON, YAML} {
		again := read(t, f, texts[f])
		if !same(reflect.ValueOf(d.File), reflect.ValueOf(again.File)) {
			t.Fatalf("%s form reads as another tree:\n%s\n%s\nfrom\n%s", f, texts[f], again.Write(SF), texts[SF])
		}
		if a, b := said(d), said(again); !reflect.DeepEqual(a, b) {
			t.Fatalf("%s form has other comments:\n%q\n%q\n%s\n%s", f, a, b, texts[f], texts[SF])
		}
		for _, g := range []Form{SF, JSON, YAML} {
			if text := again.Write(g); string(text) != string(texts[g]) {
				t.Fatalf("%s by way of %s differs:\n%s\n%s", g, f, text, texts[g])
			}
		}
	}
}

// sources calls f with each description of the repository, and each chunk of
// the cases of the language that has no mistakes.
func sources(t testing.TB, f func(name string, src []byte)) {
	root := filepath.Join("..", "..", "..")
	n := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if e.IsDir() || filepath.Ext(path) != ".sf" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for chunk := range strings.SplitSeq(string(text), "----\n") {
			for part := range strings.SplitSeq(chunk, "====\n") {
				n++
				f(path, []byte(part))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 100 {
		t.Fatalf("only %d texts", n)
	}
}

func TestEveryDescriptionOfTheRepositorySurvivesEveryForm(t *testing.T) {
	good := 0
	sources(t, func(name string, src []byte) {
		var list diag.List
		d := Read(SF, name, src, &list)
		if list.Errors() > 0 {
			return
		}
		good++
		checkForms(t, d)
	})
	if good < 100 {
		t.Errorf("only %d texts without mistakes", good)
	}
}
