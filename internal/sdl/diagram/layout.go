package diagram

import (
	"cmp"
	"math"
	"slices"
)

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

// rowsOf places the parts of f in rows, from left to right, and says how far
// the rows are apart, and how wide the labels of the arrows between them are.
func rowsOf(f *frame) (rows [][]*frame, gaps []float64, label float64) {
	var with, without []*frame
	for _, p := range f.parts {
		if p.linked {
			with = append(with, p)
		} else {
			without = append(without, p)
		}
	}
	if len(with) > 0 {
		rows, gaps, label = layered(with, f.routes, f.passes)
	}
	first := len(rows) // without arrows
	area := 0.0
	for _, p := range without {
		area += (p.w + between) * (p.h + rowGap)
	}
	limit := max(wrapWidth, math.Sqrt(2*area))
	for i, p := range without {
		if i > 0 {
			if before := without[i-1]; before.x+before.w+between+p.w <= limit {
				p.x, p.row = before.x+before.w+between, before.row
				rows[p.row] = append(rows[p.row], p)
				continue
			}
		}
		if len(rows) > 0 {
			gaps = append(gaps, rowGap)
		}
		p.row = len(rows)
		rows = append(rows, []*frame{p})
	}
	// At the right ends of those rows there are lanes that all passes share.
	type shared struct {
		row            int
		lower, leaving bool
	}
	buses := map[shared]*frame{}
	for _, p := range f.passes {
		var lanes []*frame
		beside := func(row int) {
			bus := buses[shared{row, p.lower, p.leaving}]
			if bus == nil {
				last := rows[row][len(rows[row])-1]
				bus = &frame{w: lane, row: row, x: last.x + last.w + between}
				buses[shared{row, p.lower, p.leaving}] = bus
				rows[row] = append(rows[row], bus)
			}
			lanes = append(lanes, bus)
		}
		if p.lower {
			for row := max(first, p.part.row+1); row < len(rows); row++ {
				beside(row)
			}
			p.lanes = append(p.lanes, lanes...)
		} else {
			for row := p.part.row - 1; row >= first; row-- {
				beside(row)
			}
			p.lanes = append(lanes, p.lanes...)
		}
	}
	return rows, gaps, label
}

// layered places parts that routes lead between, which have their rows.
func layered(parts []*frame, routes []*route, passes []*pass) (rows [][]*frame, gaps []float64, label float64) {
	for _, p := range parts {
		for len(rows) <= p.row {
			rows = append(rows, nil)
		}
		rows[p.row] = append(rows[p.row], p)
	}
	pass := func(row int) *frame {
		p := &frame{w: lane, row: row}
		rows[row] = append(rows[row], p)
		return p
	}
	type room struct{ width, lines, arrows float64 }
	labels := make([]room, len(rows)-1) // what all of them need side by side
	for _, r := range routes {
		upper, lower := r.from, r.to
		first := upper.row // the gap that has the label
		if !r.down() {
			upper, lower = lower, upper
			first = lower.row - 1
		}
		w, lines := labelSize(labelLines(r.arrow))
		label = max(label, w)
		labels[first] = room{labels[first].width + w + between, max(labels[first].lines, lines), labels[first].arrows + 1}
		last := upper
		for row := upper.row + 1; row < lower.row; row++ {
			p := pass(row)
			link(last, p)
			r.lanes = append(r.lanes, p)
			last = p
		}
		link(last, lower)
		if !r.down() {
			slices.Reverse(r.lanes)
		}
	}
	for _, p := range passes {
		last := p.part
		switch {
		case p.lower && last.linked:
			for row := last.row + 1; row < len(rows); row++ {
				q := pass(row)
				link(last, q)
				p.lanes = append(p.lanes, q)
				last = q
			}
		case !p.lower:
			row := last.row - 1
			if !last.linked { // it comes below all these
				row = len(rows) - 1
			}
			for ; row >= 0; row-- {
				q := pass(row)
				if last != p.part || last.linked {
					link(q, last)
				}
				p.lanes = append(p.lanes, q)
				last = q
			}
		}
	}
	order(rows)
	align(rows)
	for i, l := range labels {
		width := max(rowWidth(rows[i]), rowWidth(rows[i+1]), label)
		deep := min(math.Ceil(l.width/(width+between)), maxDeep)
		gaps = append(gaps, arrowGap+lineStep*max(0, deep*l.lines-1)+lineStep/2*min(max(0, l.arrows-2), maxDeep))
	}
	return rows, gaps, label
}

func rowWidth(row []*frame) float64 {
	last := row[len(row)-1]
	return last.x + last.w - row[0].x
}

// labelSize returns the width of a label, and how many lines it has.
func labelSize(lines []string) (width, count float64) {
	for _, line := range lines {
		width = max(width, textWidth(line, smallSize))
	}
	return width, float64(len(lines))
}

func link(upper, lower *frame) {
	upper.down = append(upper.down, lower)
	lower.up = append(lower.up, upper)
}

// ranks gives each part its row: below all that refer to it, where that does
// not go round in a circle.
func ranks(parts []*frame, routes []*route) {
	next := map[*frame][]*frame{}
	for _, r := range routes {
		next[r.from] = append(next[r.from], r.to)
	}
	// Depth first; the reverse of the order of leaving is an order in which only
	// arrows that close a circle lead back.
	const entered, left = 1, 2
	state := map[*frame]int{}
	var sorted []*frame
	var visit func(p *frame)
	visit = func(p *frame) {
		state[p] = entered
		for _, q := range next[p] {
			if state[q] == 0 {
				visit(q)
			}
		}
		state[p] = left
		sorted = append(sorted, p)
	}
	for _, p := range parts {
		if state[p] == 0 {
			visit(p)
		}
	}
	slices.Reverse(sorted)
	place := map[*frame]int{}
	for i, p := range sorted {
		place[p] = i
	}
	for i, p := range sorted {
		for _, q := range next[p] {
			if place[q] > i {
				q.row = max(q.row, p.row+1)
			}
		}
	}
}

// order sorts each row so that few arrows cross: by the mean place of the
// neighbours in the row above, then below, a few times.
func order(rows [][]*frame) {
	number := func(row []*frame) {
		for i, p := range row {
			p.order = float64(i) - float64(len(row)-1)/2
		}
	}
	for _, row := range rows {
		number(row)
	}
	sweep := func(row []*frame, near func(*frame) []*frame) {
		for _, p := range row {
			p.key = mean(near(p), p.order, func(q *frame) float64 { return q.order })
		}
		slices.SortStableFunc(row, func(p, q *frame) int { return cmp.Compare(p.key, q.key) })
		number(row)
	}
	for range 4 {
		for _, row := range rows {
			sweep(row, func(p *frame) []*frame { return p.up })
		}
		for _, row := range slices.Backward(rows) {
			sweep(row, func(p *frame) []*frame { return p.down })
		}
	}
}

func mean(of []*frame, otherwise float64, what func(*frame) float64) float64 {
	if len(of) == 0 {
		return otherwise
	}
	sum := 0.0
	for _, p := range of {
		sum += what(p)
	}
	return sum / float64(len(of))
}

func (f *frame) middle() float64 { return f.x + f.w/2 }

// align places the parts of rows, which are in order, near the middle of their
// neighbours.
func align(rows [][]*frame) {
	for _, row := range rows {
		pack(row, func(*frame) float64 { return 0 })
	}
	for range 4 {
		for _, row := range rows {
			pack(row, func(p *frame) float64 { return mean(p.up, p.middle(), (*frame).middle) })
		}
		for _, row := range slices.Backward(rows) {
			pack(row, func(p *frame) float64 { return mean(p.down, p.middle(), (*frame).middle) })
		}
	}
	left := math.Inf(1)
	for _, row := range rows {
		left = min(left, row[0].x)
	}
	for _, row := range rows {
		for _, p := range row {
			p.x -= left
		}
	}
}

// pack places the parts of a row with their middles as near as may be to where
// they want to be. Parts that are too near to each other become a block, which
// goes to the mean of what its parts want.
func pack(row []*frame, wanted func(*frame) float64) {
	type block struct {
		from  int
		sum   float64 // of where each wants the block to begin
		count float64
		width float64
	}
	var blocks []block
	for i, p := range row {
		b := block{from: i, sum: wanted(p) - p.w/2, count: 1, width: p.w + between}
		for len(blocks) > 0 {
			before := blocks[len(blocks)-1]
			if before.sum/before.count+before.width <= b.sum/b.count {
				break
			}
			b = block{
				from: before.from, sum: before.sum + b.sum - before.width*b.count,
				count: before.count + b.count, width: before.width + b.width,
			}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	for i, b := range blocks {
		end := len(row)
		if i+1 < len(blocks) {
			end = blocks[i+1].from
		}
		x := b.sum / b.count
		for _, p := range row[b.from:end] {
			p.x = x
			x += p.w + between
		}
	}
}
