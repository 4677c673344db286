package diagram

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// style holds for light and for dark surroundings; the drawing has a ground of
// its own.
const style = `
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1a202c; }
  .name { font-size: 13px; font-weight: 600; }
  .class, .note, .label { font-size: 11px; fill: #4a5568; }
  .box { fill: #ffffff; stroke: #a0aec0; }
  .group { fill: #f6f7f9; stroke: #a0aec0; }
  .machine { fill: #e3eefa; stroke: #2b6cb0; stroke-width: 1.6; }
  .sign { fill: none; stroke: #2b6cb0; stroke-width: 1.4; }
  .arrow { fill: none; stroke: #4a5568; stroke-width: 1.3; }
  .tip { fill: #4a5568; }
  .label { text-anchor: middle; }
  .name, .class, .note { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }
  .in-group text { stroke: #f6f7f9; }
  .in-machine text { stroke: #e3eefa; }
  .plate { fill: #f6f7f9; fill-opacity: 0.9; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e2e8f0; }
    .class, .note, .label { fill: #a8b5c7; }
    .box { fill: #2a3342; stroke: #5d6b80; }
    .group { fill: #1b222d; stroke: #5d6b80; }
    .machine { fill: #1d3350; stroke: #63a4e8; }
    .sign { stroke: #63a4e8; }
    .arrow { stroke: #a8b5c7; }
    .tip { fill: #a8b5c7; }
    .name, .class, .note { stroke: #2a3342; }
    .in-group text { stroke: #1b222d; }
    .in-machine text { stroke: #1d3350; }
    .plate { fill: #1b222d; }
  }
`

// SVG returns g as a picture.
func (g *Graph) SVG() string {
	l := newLayout(g)
	top := l.frames[g.Top]
	w := svg{layout: l}
	width, height := number(top.w+2*margin), number(top.h+2*margin)
	w.line(`<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" role="img">`, width, height, width, height)
	w.line("<title>%s</title>", xmlText(g.Top.Name))
	w.line("<style>%s</style>", style)
	w.line(`<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path class="tip" d="M0 0 10 5 0 10z"/></marker></defs>`)
	w.box(g.Top)
	placed := w.arrows()
	w.texts(g.Top) // above the arrows
	placed.write(&w)
	w.line("</svg>")
	return w.String()
}

type svg struct {
	strings.Builder
	layout *layout
}

func (w *svg) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// number returns a length with at most one decimal.
func number(f float64) string { return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) }

// xmlText returns s as text of an element or attribute.
func xmlText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(printable(s))) // a Builder takes everything
	return b.String()
}

// kind is the class of b in style.
func kind(b *Box) string {
	switch {
	case b.Machine:
		return "machine"
	case len(b.Boxes) > 0:
		return "group"
	default:
		return "box"
	}
}

func (w *svg) box(b *Box) {
	f := w.layout.frames[b]
	tip := b.Path.String()
	if b.Class != "" {
		tip += " (" + b.Class + ")"
	}
	w.line(`<rect class="%s" x="%s" y="%s" width="%s" height="%s" rx="6"><title>%s</title></rect>`,
		kind(b), number(f.x), number(f.y), number(f.w), number(f.h), xmlText(tip))
	if b.Machine { // a computer in its rack
		x, y := f.x+f.w-margin-14, f.y+10
		w.line(`<path class="sign" d="M%s %sh16v6h-16zm0 8h16v6h-16zm3 -5h2m-2 8h2"/>`, number(x), number(y))
	}
	for _, c := range b.Boxes {
		w.box(c)
	}
}

func (w *svg) texts(b *Box) {
	f := w.layout.frames[b]
	w.line(`<g class="in-%s">`, kind(b))
	for i, line := range shown(b) {
		class := "note"
		switch {
		case i == 0:
			class = "name"
		case i == 1 && b.Class != "":
			class = "class"
		}
		w.line(`<text class="%s" x="%s" y="%s">%s</text>`, class, number(f.x+margin), number(f.y+21+float64(i)*lineStep), xmlText(line))
	}
	w.line("</g>")
	for _, c := range b.Boxes {
		w.texts(c)
	}
}

// side is the upper or lower side of a box.
type side struct {
	frame *frame
	lower bool
}

// ports spreads the arrows that begin or end at one side of a box over it, by
// where they come from or go.
func (w *svg) ports() (from, to map[*route]float64) {
	l := w.layout
	from, to = map[*route]float64{}, map[*route]float64{}
	type end struct {
		route *route
		other float64
		x     map[*route]float64
		back  map[*route]float64 // of the other end
	}
	ends := map[side][]end{}
	var sides []side
	add := func(s side, e end) {
		if ends[s] == nil {
			sides = append(sides, s)
		}
		ends[s] = append(ends[s], e)
	}
	for _, r := range l.routes {
		f, t := l.frames[r.arrow.From], l.frames[r.arrow.To]
		down := r.down()
		add(side{f, down}, end{r, t.middle(), from, to})
		add(side{t, !down}, end{r, f.middle(), to, from})
	}
	for _, s := range sides {
		all := ends[s]
		slices.SortStableFunc(all, func(a, b end) int { return cmp.Compare(a.other, b.other) })
		for i, e := range all {
			e.x[e.route] = s.frame.x + s.frame.w*float64(i+1)/float64(len(all)+1)
		}
	}
	// What ends at a box keeps clear of what goes on to something inside it.
	passing := map[side][]float64{}
	for _, r := range l.routes {
		if r.from.box != r.arrow.From {
			s := side{r.from, r.down()}
			passing[s] = append(passing[s], outside(from[r], r.leave))
		}
		if r.to.box != r.arrow.To {
			s := side{r.to, !r.down()}
			passing[s] = append(passing[s], outside(to[r], r.enter))
		}
	}
	for _, s := range sides {
		for _, e := range ends[s] {
			e.x[e.route] = clear(e.x[e.route], s.frame, passing[s])
		}
	}
	for _, s := range sides { // and once more in the order of the other ends
		all := ends[s]
		var xs []float64
		for _, e := range all {
			xs = append(xs, e.x[e.route])
		}
		slices.Sort(xs)
		slices.SortStableFunc(all, func(a, b end) int { return cmp.Compare(a.back[a.route], b.back[b.route]) })
		for i, e := range all {
			e.x[e.route] = xs[i]
		}
	}
	return from, to
}

// outside returns where a way that begins at x comes out.
func outside(x float64, way []*pass) float64 {
	for _, p := range way {
		if n := len(p.lanes); n > 0 {
			x = p.lanes[n-1].middle()
		}
	}
	return x
}

// clear returns the place next to x on f that is not near any of taken; x if
// there is none.
func clear(x float64, f *frame, taken []float64) float64 {
	const near = 14
	for i := range 20 {
		step := float64((i+1)/2) * near
		if i%2 == 0 {
			step = -step
		}
		y := x + step
		if y < f.x+near || y > f.x+f.w-near {
			continue
		}
		if !slices.ContainsFunc(taken, func(t float64) bool { return math.Abs(t-y) < near-1 }) {
			return y
		}
	}
	return x
}

// point is a place in the drawing.
type point struct{ x, y float64 }

// arrows draws them, and places their labels.
func (w *svg) arrows() *labels {
	from, to := w.ports()
	placed := &labels{}
	for _, r := range w.layout.routes {
		path, gap := w.layout.path(r, from[r], to[r])
		var d strings.Builder
		for i, p := range path {
			switch {
			case i == 0:
				fmt.Fprintf(&d, "M%s %s", number(p.x), number(p.y))
			case p.x == path[i-1].x:
				fmt.Fprintf(&d, "V%s", number(p.y))
			default: // upright at both ends
				middle := number((path[i-1].y + p.y) / 2)
				fmt.Fprintf(&d, "C%s %s %s %s %s %s", number(path[i-1].x), middle, number(p.x), middle, number(p.x), number(p.y))
			}
		}
		w.line(`<path class="arrow" marker-end="url(#tip)" d="%s"/>`, d.String())
		placed.add(labelLines(r.arrow), path[gap], path[gap+1], r.outer)
	}
	return placed
}

// path returns the corners of the way that r takes, and which stretch of it
// crosses the first gap between rows of the box that it is a route of.
func (l *layout) path(r *route, from, to float64) (path []point, gap int) {
	path = l.way(l.frames[r.arrow.From], from, r.leave, r.from, r.down())
	gap = len(path) - 1
	for _, p := range r.lanes {
		path = append(path, sides(p, r.down())...)
	}
	back := l.way(l.frames[r.arrow.To], to, r.enter, r.to, !r.down())
	slices.Reverse(back)
	return append(path, back...), gap
}

// way returns the corners from f, at x, out of the row of part, which f is or is
// in, down or up.
func (l *layout) way(f *frame, x float64, passes []*pass, part *frame, down bool) []point {
	path := []point{{x, f.y}}
	if down {
		path[0].y += f.h
	}
	for _, p := range passes {
		path = append(path, point{x, sides(p.part, down)[1].y})
		for _, lane := range p.lanes {
			path = append(path, sides(lane, down)...)
			x = lane.middle()
		}
	}
	return append(path, point{x, sides(part, down)[1].y})
}

// sides returns where a line through the middle of p enters and leaves the row
// of p.
func sides(p *frame, down bool) []point {
	s := []point{{p.middle(), p.y}, {p.middle(), p.bottom}}
	if !down {
		slices.Reverse(s)
	}
	return s
}

// labels places labels so that they do not cover each other.
type labels struct{ placed []labelBox }

type labelBox struct {
	x, y, w, h float64
	lines      []string
}

// recent is how many labels a new one is kept clear of: those of the arrows
// drawn before it, which as a rule are the near ones.
const recent = 200

// add places lines on the curve between two points, inside f.
func (l *labels) add(lines []string, p, q point, f *frame) {
	b := labelBox{h: lineStep * float64(len(lines)), lines: lines}
	b.w, _ = labelSize(lines)
	free := func() bool {
		return !slices.ContainsFunc(l.placed[max(0, len(l.placed)-recent):], func(o labelBox) bool {
			return b.x < o.x+o.w && o.x < b.x+b.w && b.y < o.y+o.h && o.y < b.y+b.h
		})
	}
	at := func(t float64) {
		s := t * t * (3 - 2*t) // of the curve that arrows draws
		middle := (p.y + q.y) / 2
		y := (1-t)*(1-t)*(1-t)*p.y + 3*t*(1-t)*middle + t*t*t*q.y
		x := p.x + (q.x-p.x)*s - b.w/2
		b.x, b.y = max(f.x+4, min(x, f.x+f.w-4-b.w)), y-b.h/2
	}
	for _, t := range []float64{0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9} {
		if at(t); free() {
			break
		}
	}
	if !free() {
		at(0.5)
	}
	l.placed = append(l.placed, b)
}

// write writes the labels, which lie above all else.
func (l *labels) write(w *svg) {
	for _, b := range l.placed {
		w.line(`<rect class="plate" x="%s" y="%s" width="%s" height="%s" rx="3"/>`, number(b.x), number(b.y), number(b.w), number(b.h))
		for i, line := range b.lines {
			w.line(`<text class="label" x="%s" y="%s">%s</text>`, number(b.x+b.w/2), number(b.y+11+float64(i)*lineStep), xmlText(line))
		}
	}
}
