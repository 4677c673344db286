package resolve

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

func resolveText(tb testing.TB, text string, opts Options) *Result {
	tb.Helper()
	res, err := Resolve(context.Background(), Source{Folder: Folder{FS: fstest.MapFS{}}, Name: "t.sf", Text: []byte(text)}, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

func TestGeneratedDescriptionResolves(t *testing.T) {
	res := resolveText(t, string(co2.text(1000)), Options{})
	if res.Description == nil {
		t.Fatal(res.Diagnostics.All())
	}
	c, _ := res.Tree.Get("c7")
	got := value.TypedJSON(c)
	want := `{"$cd":"eager","attrs":[["port",80],["proto","https"],["path","/"],["weight",1],` +
		`["url","https://n7"],["up","shop"],["name","n7"]]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// No text makes the resolver run without end, use unbounded memory or overflow
// its stack; each of these would.
func TestHostileDescriptionsEndInADiagnostic(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.NewReplacer("#1", fmt.Sprint(i+1), "#", fmt.Sprint(i)).Replace(format))
		}
		return b.String()
	}
	for _, c := range []struct {
		name, text string
		code       diag.Code
	}{
		{"components doubled by extends", "a0 extends { x 1; }\n" + repeat(60, "a#1 extends { l extends a#; r extends a#; }\n") + "sfConfig extends a60;", diag.TooDeep},
		{"components doubled by links", "a0 extends { x 1; }\n" + repeat(60, "a#1 extends { l a#; r a#; }\n") + "sfConfig extends { x a60; }", diag.TooDeep},
		{"vectors doubled by links", "a0 1;\n" + repeat(60, "a#1 [ a#, a# ];\n") + "sfConfig extends { x a60; }", diag.TooDeep},
		{"vectors doubled by <>", "a0 [| 1 |];\n" + repeat(60, "a#1 (a# <> a#);\n") + "sfConfig extends { x a60; }", diag.TooDeep},
		{"text doubled", "a0 \"x\";\n" + repeat(60, "a#1 (a# ++ a#);\n") + "sfConfig extends { x a60; }", diag.TooDeep},
		{"vectors compared", "a0 1; b0 1;\n" + repeat(60, "a#1 [ a#, a# ]; b#1 [ b#, b# ];\n") + "sfConfig extends { x (a60 == b60); }", diag.TooDeep},
		{"a long chain of references", "a0 1;\n" + repeat(30_000, "a#1 a#;\n") + "sfConfig extends { x a30000; }", diag.TooDeep},
		{"a long chain of prototypes", "a0 extends {}\n" + repeat(30_000, "a#1 extends a#;\n") + "sfConfig extends a30000;", ""},
		{"a long chain of prototypes, last first", "sfConfig extends a0;\n" + repeat(30_000, "a# extends a#1;\n") + "a30000 extends {}", diag.TooDeep},
		{"a long chain of links to components", "a0 extends {}\n" + repeat(30_000, "a#1 extends { l a#; }\n") + "sfConfig extends { x a30000; }", diag.TooDeep},
		{"a long cycle", repeat(10_000, "a# a#1;\n") + "a10000 a0; sfConfig extends { x a0; }", diag.ReferenceCycle},
		{"a template that contains its heir by a link", "sfConfig extends { a extends { l b; } b extends a; }", diag.ReferenceCycle},
		{"lazy vectors doubled", "sfConfig extends { a0 1;\n" + repeat(60, "a#1 [ LAZY a#, LAZY a# ];\n") + "}", ""},
		{"path names that wait for one another", "sfConfig extends {\n" + repeat(2_000, "a#:b 1;\n") + "}", diag.PlaceNotFound},
		{"nested deep", "sfConfig " + strings.Repeat("extends { a ", 9_900) + "1;" + strings.Repeat("}", 9_900), ""},
		{"many names below a deep nest", "sfConfig " + strings.Repeat("extends { a ", 9_900) + "extends { " + repeat(50_000, "b# extends {} ") + " x LAZY y; }" + strings.Repeat("}", 9_900), diag.TooDeep},
		{"many links below a deep nest", "sfConfig " + strings.Repeat("extends { a ", 9_900) + "extends { b extends {} " + repeat(50_000, "c# b; ") + "}" + strings.Repeat("}", 9_900), diag.TooDeep},
		{"a large Set of Sets", "#include \"functions.sf\"\nsfConfig extends { s extends Set { setSize 100000; setElem extends { v extends Set { setSize 100000; setElem extends {} } } } }", diag.TooDeep},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			res := resolveText(t, c.text, Options{MaxSteps: 500_000})
			if c.code == "" {
				if res.Description == nil {
					t.Errorf("does not resolve: %v", first(res))
				}
				return
			}
			if res.Description != nil {
				t.Fatal("resolves")
			}
			if d := first(res); d.Code != c.code {
				t.Errorf("got %s %s, want %s", d.Code, d.Message, c.code)
			}
		})
	}
}

func first(res *Result) diag.Diagnostic {
	for _, d := range res.Diagnostics.All() {
		if d.Severity == diag.Error {
			return d
		}
	}
	return diag.Diagnostic{}
}

func TestResolvingStopsWhenItsContextIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Resolve(ctx, Source{Folder: Folder{FS: fstest.MapFS{}}, Name: "t.sf", Text: co2.text(20_000)}, Options{})
	if err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestParsingStopsWhenTheContextEndsAndReportsNoHalfText(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fetch := func(context.Context, string) ([]byte, error) {
		cancel()
		return append(co2.text(20_000), "a extends"...), nil
	}
	r := &resolver{
		ctx: ctx, opts: Options{Fetch: fetch}, main: &Folder{FS: fstest.MapFS{}}, budget: DefaultMaxSteps,
		texts: map[string][]byte{}, trees: map[string]*syntax.File{}, chains: map[string][]value.Pos{},
	}
	r.run(&file{name: "t.sf", folder: r.main}, []byte(`#include "test://x/large.sf"; a 1;`))
	if _, parsed := r.trees["test://x/large.sf"]; parsed || !r.stopped || r.res.Diagnostics.Errors() > 0 {
		t.Errorf("parsed %v, stopped %v, reported %v", parsed, r.stopped, r.res.Diagnostics.All())
	}
}

// Whether copies are sealed or whole, and how often a text is resolved, it
// means the same, after every phase.
func FuzzResolve(f *testing.F) {
	for _, chunk := range caseChunks(f) {
		f.Add(chunk)
	}
	f.Fuzz(func(t *testing.T, text string) {
		opts := Options{MaxSteps: 30_000, Now: time.Unix(0, 0)}
		a, b := resolveText(t, text, opts), resolveText(t, text, opts)
		if a.Text() != b.Text() || !bytes.Equal(typed(a.Tree), typed(b.Tree)) || told(a) != told(b) {
			t.Errorf("twice the same text, two results:\n%s\n%s", a.Text(), b.Text())
		}
		if (a.Description == nil) == (a.Diagnostics.Errors() == 0) && !strings.Contains(text, "phaseList") {
			t.Errorf("a description and %d errors", a.Diagnostics.Errors())
		}
		compareWhole(t, text)
	})
}

func TestSealedCopiesMeanWhatWholeOnesDo(t *testing.T) {
	for _, chunk := range caseChunks(t) {
		compareWhole(t, chunk)
	}
	for _, s := range shapes {
		compareWhole(t, string(s.text(3)))
	}
}

// compareWhole compares the results of text with those of whole copies, which
// cost more and so may exceed the budget alone.
func compareWhole(t *testing.T, text string) {
	t.Helper()
	for _, p := range append([]Phase{""}, Phases...) {
		opts := Options{MaxSteps: 30_000, Now: time.Unix(0, 0), Until: p}
		sealed := resolveText(t, text, opts)
		opts.whole = true
		whole := resolveText(t, text, opts)
		if first(sealed).Code == diag.TooDeep || first(whole).Code == diag.TooDeep {
			continue
		}
		if sealed.Text() != whole.Text() || !bytes.Equal(typed(sealed.Tree), typed(whole.Tree)) {
			t.Errorf("until %q, sealed copies give\n%s\nand whole ones\n%s\nof\n%s", p, sealed.Text(), whole.Text(), text)
		}
		if told(sealed) != told(whole) {
			t.Errorf("until %q, sealed copies tell\n%s\nand whole ones\n%s\nof\n%s", p, told(sealed), told(whole), text)
		}
	}
}

// told lists the diagnostics of res.
func told(res *Result) string {
	var b strings.Builder
	for _, d := range res.Diagnostics.All() {
		fmt.Fprintf(&b, "%v %s %s %q %q\n", d.Span.Pos, d.Code, d.Message, d.Hints, d.Related)
	}
	return b.String()
}
