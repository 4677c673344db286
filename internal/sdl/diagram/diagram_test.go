package diagram

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// drawn resolves the description in file and returns its graph.
func drawn(t testing.TB, file string) *Graph {
	t.Helper()
	folder, done, err := resolve.OpenFolder(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	res, err := resolve.Resolve(context.Background(), resolve.Source{Name: filepath.Base(file), Folder: folder}, resolve.Options{Now: time.Unix(0, 0)})
	if err != nil || res.Diagnostics.Errors() > 0 {
		t.Fatal(err, res.Diagnostics.All())
	}
	name := strings.TrimSuffix(filepath.Base(file), ".sf")
	return New(name, res.Description.Root, func(class string) (string, bool) { return class, class == "VM" })
}

func TestGoldens(t *testing.T) {
	for _, file := range []string{"../../../examples/hello.sf", "../../../examples/guestbook.sf", "testdata/wicked.sf", "testdata/circle.sf", "testdata/deep.sf"} {
		g := drawn(t, file)
		name := g.Top.Name
		for _, form := range []struct{ ext, text string }{{"dot", g.DOT()}, {"mmd", g.Mermaid()}, {"svg", g.SVG()}} {
			golden := filepath.Join("testdata", name+"."+form.ext)
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, []byte(form.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if form.text != string(want) {
				t.Errorf("%s is drawn as\n%s", golden, form.text)
			}
			if form.ext == "svg" {
				wellFormed(t, form.text)
			}
		}
	}
}

// drawing returns the graph of a description with components and references at
// random.
func drawing(r *rand.Rand) *Graph {
	var names []value.Path
	var all []*value.Component
	var build func(p value.Path, depth int) *value.Component
	build = func(p value.Path, depth int) *value.Component {
		c := value.NewComponent(false)
		names, all = append(names, p), append(all, c)
		if r.IntN(3) == 0 {
			c.Set(value.Attr{Name: "sfClass", Value: value.String([]string{"VM", "File", "a <class>\x00"}[r.IntN(3)])})
		}
		for i := range r.IntN(6) {
			if depth == 0 {
				break
			}
			name := strings.Repeat("n", 1+r.IntN(30)) + string(rune('a'+i))
			c.Set(value.Attr{Name: name, Value: build(p.Child(name), depth-1)})
		}
		return c
	}
	top := build(value.Root, 3)
	for i := range r.IntN(20) {
		parts := []value.Part{{Kind: value.PartRoot}}
		for _, n := range names[r.IntN(len(names))].Names() {
			parts = append(parts, value.Part{Kind: value.PartHere, Name: n})
		}
		parts = append(parts, value.Part{Kind: value.PartHere, Name: "out"})
		all[r.IntN(len(all))].Set(value.Attr{Name: fmt.Sprintf("r%d", i), Value: &value.Reference{Lazy: true, Parts: parts}})
	}
	return New("random", top, func(class string) (string, bool) { return class, class == "VM" })
}

func TestBoxesLieInsideWhatHoldsThemAndApart(t *testing.T) {
	arrows := 0
	for seed := range uint64(300) {
		g := drawing(rand.New(rand.NewPCG(seed, 1)))
		wellFormed(t, g.SVG())
		again := drawing(rand.New(rand.NewPCG(seed, 1)))
		if g.SVG() != again.SVG() || g.DOT() != again.DOT() || g.Mermaid() != again.Mermaid() {
			t.Fatal("drawn twice, it differs")
		}
		l := newLayout(g)
		for _, f := range l.frames {
			for i, p := range f.parts {
				if p.x < f.x || p.y < f.y+f.head || p.x+p.w > f.x+f.w || p.y+p.h > f.y+f.h {
					t.Fatalf("%+v is not inside %+v", p, f)
				}
				for _, q := range f.parts[i+1:] {
					if p.x < q.x+q.w && q.x < p.x+p.w && p.y < max(q.y+q.h, q.bottom) && q.y < max(p.y+p.h, p.bottom) {
						t.Fatalf("%+v and %+v overlap", p, q)
					}
				}
			}
		}
		outOfTheWay(t, l)
		if len(l.routes) != len(g.Arrows) {
			t.Fatalf("%d of %d arrows are drawn", len(l.routes), len(g.Arrows))
		}
		arrows += len(g.Arrows)
	}
	if arrows < 300 {
		t.Errorf("only %d arrows", arrows)
	}
}

// outOfTheWay checks that no arrow crosses a box that neither of its ends is in.
func outOfTheWay(t *testing.T, l *layout) {
	t.Helper()
	w := svg{layout: l}
	from, to := w.ports()
	for _, r := range l.routes {
		path, _ := l.path(r, from[r], to[r])
		for b, f := range l.frames {
			if r.arrow.From.within(b) || r.arrow.To.within(b) || b.within(r.arrow.From) || b.within(r.arrow.To) {
				continue
			}
			for i, q := range path[1:] {
				p := path[i]
				for step := range 21 {
					u := float64(step) / 20
					x := p.x + (q.x-p.x)*u*u*(3-2*u)
					y := p.y + (q.y-p.y)*u
					if x > f.x && x < f.x+f.w && y > f.y+0.01 && y < f.y+f.h-0.01 {
						t.Fatalf("the arrow from %s to %s crosses %s", r.arrow.From.Path, r.arrow.To.Path, b.Path)
					}
				}
			}
		}
	}
}

// TestOnlyWhatAnAttributeItselfRefersToIsDrawn checks that a reference to a
// reference leads to the component that holds the second.
func TestOnlyWhatAnAttributeItselfRefersToIsDrawn(t *testing.T) {
	var got []string
	for _, a := range drawn(t, "testdata/circle.sf").Arrows {
		got = append(got, fmt.Sprintf("%s %s %s", a.From.Path, a.To.Path, strings.Join(a.Labels, " | ")))
	}
	want := []string{
		"a b toB: out", "a:x d:y up: out", "b c toC: out", "c a back: out", "c d all",
		"c:y c:x toX: out", "c:y c:z toZ: out", "c:z c:x toX: n", "d:y b chain: toC",
	}
	if !slices.Equal(got, want) {
		t.Errorf("arrows %q", got)
	}
}

// TestManyComponentsAreDrawnInTime would take minutes if anything cost the
// square of the components or arrows.
func TestManyComponentsAreDrawnInTime(t *testing.T) {
	top := value.NewComponent(false)
	const n = 10_000
	for i := range n {
		c := value.NewComponent(false)
		for _, to := range []int{i / 10, i - 1} {
			c.Set(value.Attr{Name: fmt.Sprintf("to%d", to), Value: &value.Reference{Lazy: true, Parts: []value.Part{
				{Kind: value.PartRoot}, {Kind: value.PartHere, Name: fmt.Sprintf("c%d", max(0, to))}, {Kind: value.PartHere, Name: "out"},
			}}})
			if i%100 != 0 {
				break // chains of every component would need a row each
			}
		}
		top.Set(value.Attr{Name: fmt.Sprintf("c%d", i), Value: c})
	}
	start := time.Now()
	g := New("large", top, func(c string) (string, bool) { return c, false })
	size := len(g.SVG()) + len(g.DOT()) + len(g.Mermaid())
	if d := time.Since(start); d > time.Minute || len(g.Arrows) < n {
		t.Errorf("%v for %d arrows, %d bytes", d, len(g.Arrows), size)
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
}
