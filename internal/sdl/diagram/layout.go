package diagram

import "slices"

// The layout is that of layered drawings (Sugiyama), once for each box that
// holds others, from the inside out. The arrows between what is inside its
// parts count as arrows between the parts. Parts stand in rows so that arrows
// lead down: to what is referred to. An arrow that passes a row does so in a
// gap of its own there; those that come from outside to one part, or leave one,
// share theirs. Parts without arrows among them fill rows below.

// Measures in pixels.
const (
	margin    = 16.0 // around the parts of a box
	between   = 22.0 // of parts in a row
	rowGap    = 18.0 // between rows without arrows
	arrowGap  = 46.0 // between rows with arrows whose label has one line
	lineStep  = 15.0 // of lines of text
	nameSize  = 13.0
	smallSize = 11.0
	lane      = 14.0  // what an arrow needs that passes a row
	wrapWidth = 420.0 // where rows without arrows begin anew, at least
	maxText   = 44    // characters of a line that are shown
	maxLines  = 4     // of a label
	maxDeep   = 6     // labels below each other
)

// frame is where a box, or an arrow passing a row, is drawn.
type frame struct {
	box        *Box // nil for an arrow that passes
	x, y, w, h float64
	bottom     float64 // of its row, where y is the top
	head       float64 // height of the text above the parts
	parts      []*frame
	routes     []*route // between the parts
	passes     []*pass  // from the parts outward

	linked     bool // by a route
	row        int
	up, down   []*frame // in the rows next to this one
	order, key float64
}

// route is an arrow between the parts of one box.
type route struct {
	arrow    *Arrow
	outer    *frame   // of the box
	from, to *frame   // the parts it leads from and to
	lanes    []*frame // between them
	// leave and enter are the ways out of the parts of from, and into those of
	// to, innermost first.
	leave, enter []*pass
}

// down reports whether r leads down.
func (r *route) down() bool { return r.from.row < r.to.row }

// pass is the way between a part of a box and the upper or lower side of that,
// which arrows share that lead in one direction.
type pass struct {
	part    *frame
	lower   bool
	leaving bool
	lanes   []*frame // from the part on
}

// layout is the drawing of a graph.
type layout struct {
	frames map[*Box]*frame
	routes []*route
}

func newLayout(g *Graph) *layout {
	l := &layout{frames: map[*Box]*frame{}}
	l.frame(g.Top)
	for _, a := range g.Arrows {
		outer := a.From
		for !a.To.within(outer) {
			outer = outer.parent
		}
		f := l.frames[outer]
		r := &route{arrow: a, outer: f, from: l.part(a.From, outer), to: l.part(a.To, outer)}
		r.from.linked, r.to.linked = true, true
		f.routes = append(f.routes, r)
		l.routes = append(l.routes, r)
	}
	for _, f := range l.frames {
		ranks(f.parts, f.routes)
	}
	for _, r := range l.routes {
		r.leave = l.out(r.arrow.From, r.outer.box, r.down(), true)
		r.enter = l.out(r.arrow.To, r.outer.box, !r.down(), false)
	}
	top := l.frames[g.Top]
	l.arrange(top)
	top.x, top.y = margin, margin
	settle(top)
	return l
}

func (l *layout) frame(b *Box) *frame {
	f := &frame{box: b}
	l.frames[b] = f
	for _, c := range b.Boxes {
		f.parts = append(f.parts, l.frame(c))
	}
	return f
}

// part returns the part of outer that b is or is in.
func (l *layout) part(b, outer *Box) *frame {
	for b.parent != outer {
		b = b.parent
	}
	return l.frames[b]
}

// out returns the passes from b to the upper or lower side of the part of outer
// that b is in.
func (l *layout) out(b, outer *Box, lower, leaving bool) (way []*pass) {
	for ; b.parent != outer; b = b.parent {
		f, part := l.frames[b.parent], l.frames[b]
		i := slices.IndexFunc(f.passes, func(p *pass) bool { return p.part == part && p.lower == lower && p.leaving == leaving })
		if i < 0 {
			i = len(f.passes)
			f.passes = append(f.passes, &pass{part: part, lower: lower, leaving: leaving})
		}
		way = append(way, f.passes[i])
	}
	return way
}

// settle turns places within a box into places in the drawing.
func settle(f *frame) {
	for _, p := range f.parts {
		p.x += f.x
		p.y += f.y
		p.bottom += f.y
		settle(p)
	}
}

// arrange lays out f and everything in it.
func (l *layout) arrange(f *frame) {
	b := f.box
	for i, line := range shown(b) {
		size := smallSize
		if i == 0 {
			size = nameSize
		}
		f.w = max(f.w, textWidth(line, size))
		f.head += lineStep
	}
	f.w += 2 * margin
	if b.Machine {
		f.w += 26 // its sign
	}
	f.head += margin
	f.h = f.head
	if len(b.Boxes) == 0 {
		f.w = max(f.w, 72)
		return
	}
	for _, p := range f.parts {
		l.arrange(p)
	}
	rows, gaps, label := rowsOf(f)
	f.w = max(f.w, label+2*margin)
	y := f.head + 2
	width := 0.0
	for i, row := range rows {
		height := 0.0
		for _, p := range row {
			height = max(height, p.h)
		}
		for _, p := range row {
			p.y, p.bottom = y, y+height
		}
		if y += height; i < len(rows)-1 {
			y += gaps[i]
		}
		last := row[len(row)-1]
		width = max(width, last.x+last.w)
	}
	shift := max(0, f.w-2*margin-width) / 2
	for _, row := range rows {
		for _, p := range row {
			p.x += margin + shift
			if p.box == nil {
				f.parts = append(f.parts, p)
			}
		}
	}
	f.w = max(f.w, width+2*margin)
	f.h = y + margin
}

// shown returns the lines of text in b as they are drawn.
func shown(b *Box) []string {
	lines := b.lines()
	for i, line := range lines {
		lines[i] = cut(printable(line), maxText)
	}
	return lines
}

// labelLines returns the lines of an arrow's label as they are drawn.
func labelLines(a *Arrow) []string {
	lines := slices.Clone(a.Labels)
	if len(lines) > maxLines {
		lines = append(lines[:maxLines-1], "…")
	}
	for i, line := range lines {
		lines[i] = cut(printable(line), maxText)
	}
	return lines
}
