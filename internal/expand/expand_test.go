package expand

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/value"

	"pgregory.net/rapid"
)

// resolved returns what the language makes of a text.
func resolved(t testing.TB, text string) *value.Component {
	t.Helper()
	source := resolve.Source{Name: "t.sf", Folder: resolve.Folder{FS: fstest.MapFS{"t.sf": {Data: []byte(text)}}}}
	res, err := resolve.Resolve(context.Background(), source, resolve.Options{Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range res.Diagnostics.All() {
		t.Error(d.Message)
	}
	if t.Failed() {
		t.FailNow()
	}
	return res.Description.Root
}

// TestCases reads testdata/RULE-what.txt: a description, a line of dashes, and
// the description with the copies written out, or what is wrong with it.
// UPDATE=1 writes the second half.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, want, _ := strings.Cut(string(golden), "----\n")
			root := resolved(t, text)
			before := value.Digest(root)
			got := shown(Copies(root, nil))
			if value.Digest(root) != before {
				t.Error("the description itself was changed")
			}
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, []byte(text+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func shown(root *value.Component, _ Binds, problems *diag.List) string {
	if problems.Errors() > 0 {
		var b strings.Builder
		if err := diag.WriteText(&b, problems, nil); err != nil {
			return err.Error()
		}
		return b.String()
	}
	return value.Source(root) + "\n"
}

func TestDescriptionWithoutCopiesPassesUnchanged(t *testing.T) {
	root := resolved(t, `sfConfig extends { a extends { x 1; } b LAZY a:y; }`)
	if out, _, _ := Copies(root, nil); out != root {
		t.Errorf("%s became %s", value.Source(root), value.Source(out))
	}
}

// TestUP7ReferencesFromInsideLeadToTheOwnCopy has each copy refer to its set in all
// ways; planning finds what they lead to.
func TestUP7ReferencesFromInsideLeadToTheOwnCopy(t *testing.T) {
	root := resolved(t, `sfConfig extends {
		web extends {
			sfCopies 3;
			up LAZY PARENT:web:in;
			word LAZY web:in;
			top LAZY ROOT:web:in;
			in extends { back LAZY PARENT:PARENT:web:in; }
		}
	}`)
	out, binds, _ := Copies(root, nil)
	tree := model.NewTree(out)
	for node := range tree.PreOrder() {
		for a := range node.Own() {
			_, targets, problems := model.Absolute(tree, node, a, nil)
			if len(problems) > 0 {
				t.Errorf("%s: %v", node.Path, problems)
			}
			for _, to := range targets {
				if to.Path.Names()[0] != node.Path.Names()[0] {
					t.Errorf("%s of %s leads to %s", a.Name, node.Path, to.Path)
				}
			}
		}
	}
	if len(binds) > 0 {
		t.Errorf("bound: %v", binds)
	}
}

func TestLocalSetIsReachedByThoseWhoSawIt(t *testing.T) {
	root := resolved(t, `sfConfig extends { a extends { [sfLocal] web extends { sfCopies 2; } x LAZY web:ip; } }`)
	out, _, _ := Copies(root, nil)
	tree := model.NewTree(out)
	node := tree.Root.Child("a")
	x, _ := node.Comp.Attr("x")
	_, targets, problems := model.Absolute(tree, node, x, nil)
	if len(problems) > 0 || len(targets) != 2 {
		t.Errorf("leads to %v: %v", targets, problems)
	}
}

func TestUP7ReferencesFromOutsideAreBound(t *testing.T) {
	root := resolved(t, `sfConfig extends {
		a extends { plain LAZY db:out; all LAZY web:out; some extends DATA { x LAZY web; } alias LAZY web; far LAZY alias:out; list ([| 1 |] ++ LAZY web:out); }
		db extends {}
		web extends { sfCopies 2; }
	}`)
	_, binds, _ := Copies(root, nil)
	for _, attr := range []string{"all", "some", "alias", "far", "list"} {
		for _, to := range []value.Path{"web1", "web2"} {
			if !binds[Bind{"a", attr, to}] {
				t.Errorf("%s is not bound to %s: %v", attr, to, binds)
			}
		}
	}
	if len(binds) != 10 {
		t.Errorf("bound: %v", binds)
	}
}

func TestBoundsAreDiagnostics(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"components": {`sfConfig extends { a extends { sfCopies 10; b extends { sfCopies 100; c extends { sfCopies 10000; } } } }`, "at most 100000 components"},
		"values":     {`sfConfig extends { a extends { sfCopies 500; x LAZY b:out; } b extends { sfCopies 500; } }`, "at most 200000 values"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, problems := Copies(resolved(t, c.text), nil)
			if problems.Errors() != 1 || !strings.Contains(shown(nil, nil, problems), c.says) {
				t.Errorf("%d problems: %s", problems.Errors(), shown(nil, nil, problems))
			}
		})
	}
}

// description draws a tree of components with copies and references.
func description(t *rapid.T) string {
	words := rapid.SampledFrom([]string{"a", "b", "c"})
	var body func(depth int) string
	body = func(depth int) string {
		var b strings.Builder
		if depth > 0 && rapid.Bool().Draw(t, "copied") {
			fmt.Fprintf(&b, "sfCopies %d; ", rapid.IntRange(0, 3).Draw(t, "n"))
		}
		for range rapid.IntRange(0, 2).Draw(t, "references") {
			var parts []string
			for range rapid.IntRange(0, depth).Draw(t, "up") {
				parts = append(parts, "PARENT")
			}
			for range rapid.IntRange(1, 3).Draw(t, "down") {
				parts = append(parts, words.Draw(t, "word"))
			}
			fmt.Fprintf(&b, "r%d LAZY %s; ", b.Len(), strings.Join(parts, ":"))
		}
		if depth < 3 {
			for _, w := range []string{"a", "b", "c"} {
				if rapid.Bool().Draw(t, w) {
					fmt.Fprintf(&b, "%s extends { %s} ", w, body(depth+1))
				}
			}
		}
		return b.String()
	}
	return "sfConfig extends { " + body(0) + "}"
}

func TestExpandingTwiceIsExpandingOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := description(rt)
		source := resolve.Source{Name: "t.sf", Folder: resolve.Folder{FS: fstest.MapFS{"t.sf": {Data: []byte(text)}}}}
		res, err := resolve.Resolve(context.Background(), source, resolve.Options{Now: time.Unix(0, 0)})
		if err != nil || res.Diagnostics.Errors() > 0 {
			rt.Skip()
		}
		once, _, problems := Copies(res.Description.Root, nil)
		if problems.Errors() > 0 {
			rt.Fatalf("%s\n%s", text, shown(nil, nil, problems))
		}
		again, binds, problems := Copies(once, nil)
		if again != once || len(binds) > 0 || problems.Errors() > 0 {
			rt.Errorf("%s\nonce\n%s\ntwice\n%s", text, value.Source(once), value.Source(again))
		}
		for node := range model.NewTree(once).PreOrder() {
			if _, ok := node.Comp.Attr(attrCopies); ok {
				rt.Errorf("%s is still a set", node.Path)
			}
		}
	})
}

// TestMoreCopiesChangeNoOther compares the copies of n with those of n+1.
func TestMoreCopiesChangeNoOther(t *testing.T) {
	text := `sfConfig extends { web extends { sfCopies %d; x LAZY db:out; own LAZY web:in; in extends { y LAZY PARENT:sfCopyIndex; } } db extends {} }`
	few, _, _ := Copies(resolved(t, fmt.Sprintf(text, 3)), nil)
	more, _, _ := Copies(resolved(t, fmt.Sprintf(text, 4)), nil)
	for a := range few.All() {
		if b, ok := more.Get(a.Name); !ok || !value.Equal(a.Value, b) {
			t.Errorf("%s: %s became %s", a.Name, value.Source(a.Value), value.Source(b))
		}
	}
	if few.Len()+1 != more.Len() {
		t.Errorf("%d attributes became %d", few.Len(), more.Len())
	}
}

func TestCopiesAreBoundedInSize(t *testing.T) {
	many := value.NewComponent(false, value.Attr{Name: "sfCopies", Value: value.Integer(maxCopies)})
	for i := range 2000 {
		many.Set(value.Attr{Name: fmt.Sprint("attribute", i), Value: value.Integer(i)})
	}
	long := value.NewComponent(false,
		value.Attr{Name: "sfCopies", Value: value.Integer(maxCopies)},
		value.Attr{Name: "text", Value: value.Vector{value.String(strings.Repeat("x", maxSize/maxCopies))}})
	for name, c := range map[string]*value.Component{"attributes": many, "text": long} {
		t.Run(name, func(t *testing.T) {
			out, _, problems := Copies(value.NewComponent(false, value.Attr{Name: "a", Value: c}), nil)
			if out != nil || problems.Errors() != 1 || !strings.Contains(problems.All()[0].Expected, "32 MiB of description") {
				t.Errorf("%d errors: %v", problems.Errors(), problems.All())
			}
		})
	}
}

func BenchmarkOwnReferences(b *testing.B) {
	c := value.NewComponent(false, value.Attr{Name: "sfCopies", Value: value.Integer(maxCopies)}, value.Attr{Name: "x", Value: value.Integer(1)})
	own := &value.Reference{Lazy: true, Parts: []value.Part{{Kind: value.PartHere, Name: "a"}, {Kind: value.PartHere, Name: "x"}}}
	for i := range 20 {
		c.Set(value.Attr{Name: fmt.Sprint("r", i), Value: own})
	}
	root := value.NewComponent(false, value.Attr{Name: "a", Value: c})
	for b.Loop() {
		Copies(root, nil)
	}
}
