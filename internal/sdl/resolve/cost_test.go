package resolve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/test/plain"
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

// Whatever is under way, resolving ends within a tenth of a second of the
// processor once its context is cancelled (CO4).
func TestEveryStageStopsSoonAfterItsContextIsCancelled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	if plain.Ran(t) {
		return
	}
	lazies := shape{"lazies", "", "Web", `name LAZY PARENT:PARENT:x:name; url ("a" ++ name); at LAZY nowhere:x;`}
	lazies.head = twoLevels
	texts := map[string][]byte{
		"functions": shapes[1].text(50_000),
		"schemas":   shapes[2].text(50_000),
		"lazies":    lazies.text(10_000),
		"printing":  append([]byte("phaseList [| \"type\", \"print\", \"place\", \"print\", \"function\", \"print\", \"sfConfig\", \"link\" |];\n"), shapes[1].text(50_000)...),
		"escapes":   []byte("a \"" + strings.Repeat("\\n", 8<<20) + "\\u0041\"; sfConfig extends {}"),
		"nesting":   []byte("sfConfig extends { a " + nestText(9_900, "(", "1", ")") + "; b " + strings.Repeat("(1 + 2); b ", 500_000) + "1; }"),
		"doubling":  []byte("a0 extends {}\n" + repeat(60, "a#1 extends { l a#; r a#; }\n") + "sfConfig extends { x (a60 == a59); }"),
		"text":      []byte("a0 \"x\";\n" + repeat(60, "a#1 (a# ++ a#);\n") + "sfConfig extends { x a60; }"),
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			opts := Options{Print: func(string) {}}
			src := Source{Folder: Folder{FS: fstest.MapFS{}}, Name: "t.sf", Text: text}
			start := time.Now()
			if _, err := Resolve(t.Context(), src, opts); err != nil {
				t.Fatal(err)
			}
			whole := time.Since(start)
			worst := time.Duration(0)
			for range 3 {
				// What others do to the machine does not happen three times at
				// the same place.
				at := time.Duration(random.Int64N(int64(whole)))
				used := cancelledAt(t, src, opts, at)
				for again := 0; used > 100*time.Millisecond && again < 2; again++ {
					used = min(used, cancelledAt(t, src, opts, at))
				}
				worst = max(worst, used)
			}
			t.Logf("the whole takes %v; ends %v after it was cancelled, at worst", whole.Round(time.Millisecond), worst)
			if worst > 100*time.Millisecond {
				t.Errorf("used the processor for %v after it was cancelled", worst)
			}
		})
	}
}

// cancelledAt resolves src, cancels that after a while, and returns how much of
// the processor it used from then on.
func cancelledAt(t *testing.T, src Source, opts Options, after time.Duration) time.Duration {
	t.Helper()
	runtime.GC()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var before time.Duration
	called := make(chan struct{})
	timer := time.AfterFunc(after, func() {
		defer close(called)
		cancel()
		before = processorTime(t)
	})
	_, err := Resolve(ctx, src, opts)
	end := processorTime(t)
	if timer.Stop() {
		return 0 // it was sooner than that
	}
	<-called
	if !errors.Is(err, context.Canceled) {
		return 0
	}
	return end - before
}

func TestParsingStopsWhenTheContextEndsAndReportsNoHalfText(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fetch := func(context.Context, string) ([]byte, error) {
		cancel()
		return append(co2.text(20_000), "a extends"...), nil
	}
	r := &resolver{
		ctx: ctx, opts: Options{Fetch: fetch}, main: &Folder{FS: fstest.MapFS{}}, budget: DefaultMaxSteps,
		texts: map[string][]byte{}, trees: map[string]*syntax.File{}, files: map[string]*file{},
	}
	r.run(&file{name: "t.sf", folder: r.main}, []byte(`#include "test://x/large.sf"; a 1;`))
	if _, parsed := r.trees["test://x/large.sf"]; parsed || !r.stopped || r.res.Diagnostics.Errors() > 0 {
		t.Errorf("parsed %v, stopped %v, reported %v", parsed, r.stopped, r.res.Diagnostics.All())
	}
}

// Whether copies are sealed or whole, and how often a text is resolved, it
// means the same, after every phase.
func FuzzResolve(f *testing.F) {
	n := 0
	for _, chunk := range caseChunks(f) {
		if n++; n%10 == 0 || !testing.Short() {
			f.Add(chunk)
		}
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

// FuzzResolve compares them for the language cases.
func TestSealedCopiesMeanWhatWholeOnesDo(t *testing.T) {
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
