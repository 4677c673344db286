package format

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/txtar"
)

// same reports whether two trees are equal but for positions and comments.
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

func sameTree(a, b *syntax.File) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

// comments returns the comments of src in order, without what formatting may
// change in them: blanks at the ends of lines and the indentation of later ones.
func comments(src []byte) []string {
	var all []string
	src = bytes.TrimPrefix(src, byteOrderMark)
	for _, t := range syntax.Tokens(src) {
		if !t.Comment() {
			continue
		}
		lines := strings.Split(string(unixLines(src[t.Start:t.End])), "\n")
		for i, line := range lines {
			if i > 0 {
				line = strings.TrimLeft(line, " ")
			}
			lines[i] = line
		}
		text := strings.Join(lines, "\n")
		if t.LineComment() {
			text = strings.TrimRight(text, " \t\f")
		}
		all = append(all, text)
	}
	return all
}

// keeps checks everything that formatting promises for src, and returns its
// usual form. It returns false if src has mistakes.
func keeps(t *testing.T, src []byte) ([]byte, bool) {
	t.Helper()
	out, list := Source("x.sf", src)
	if list.Errors() > 0 {
		if out != nil {
			t.Fatal("a text with mistakes was formatted")
		}
		return nil, false
	}
	var found diag.List
	before := syntax.Parse("x.sf", bytes.TrimPrefix(src, byteOrderMark), &found)
	after := syntax.Parse("x.sf", out, &found)
	if found.Errors() > 0 {
		t.Fatalf("has mistakes when formatted:\n%s\nformatted:\n%s\n%v", src, out, found.All())
	}
	if !sameTree(before, after) {
		t.Fatalf("means something else when formatted:\n%s\nformatted:\n%s", src, out)
	}
	if a, b := comments(src), comments(out); !slices.Equal(a, b) {
		t.Fatalf("comments are not kept:\n%q\n%q\n%s", a, b, out)
	}
	if again, _ := Source("x.sf", out); !bytes.Equal(again, out) {
		t.Fatalf("formatting twice makes a difference:\n%s\n%s", src, diff.Diff("once", out, "twice", again))
	}
	return out, true
}

// TestGoldens formats each file NAME of the archives and compares it with
// NAME.want; one without such is in the usual form already.
func TestGoldens(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			updated := &txtar.Archive{Comment: a.Comment}
			for i, f := range a.Files {
				if strings.HasSuffix(f.Name, ".want") {
					continue
				}
				want := f.Data
				if i+1 < len(a.Files) && a.Files[i+1].Name == f.Name+".want" {
					want = a.Files[i+1].Data
				}
				got, ok := keeps(t, f.Data)
				if !ok {
					t.Fatalf("%s has mistakes", f.Name)
				}
				updated.Files = append(updated.Files, f)
				if !bytes.Equal(got, f.Data) {
					updated.Files = append(updated.Files, txtar.File{Name: f.Name + ".want", Data: got})
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s", diff.Diff(f.Name+".want", want, f.Name, got))
				}
			}
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(name, txtar.Format(updated), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// descriptions calls f for every description of the repository.
func descriptions(t testing.TB, f func(path string, text []byte)) {
	n := 0
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".sf" {
			if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules") {
				return fs.SkipDir
			}
			return err
		}
		n++
		text, err := os.ReadFile(path)
		if err == nil {
			f(path, text)
		}
		return err
	})
	if err != nil || n < 50 {
		t.Fatalf("%d descriptions: %v", n, err)
	}
}

func TestDescriptionsOfTheRepositoryAreInTheUsualForm(t *testing.T) {
	descriptions(t, func(path string, text []byte) {
		if strings.Contains(path, "testdata") {
			return
		}
		out, list := Source(path, text)
		if list.Errors() > 0 {
			t.Errorf("%s has mistakes", path)
		} else if !bytes.Equal(out, text) {
			t.Errorf("%s", diff.Diff(path, text, "formatted", out))
		}
	})
}

func TestDescriptionsOfTheRepositoryKeepTheirMeaning(t *testing.T) {
	n := 0
	descriptions(t, func(_ string, text []byte) {
		// Those in testdata hold several, with marks between them.
		for chunk := range bytes.SplitSeq(text, []byte("----\n")) {
			src, printed, _ := bytes.Cut(chunk, []byte("====\n"))
			for _, src := range [][]byte{src, printed} {
				if _, ok := keeps(t, src); ok {
					n++
				}
			}
		}
	})
	if n < 200 {
		t.Errorf("only %d descriptions without mistakes", n)
	}
}
