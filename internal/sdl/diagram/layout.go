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
// gap of its own there. Parts without arrows among them fill rows below.

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
	parts      []*frame
	head       float64 // height of the text above the parts

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
}

// layout is the drawing of a graph.
type layout struct {
	frames map[*Box]*frame
	within map[*Box][]*Arrow // by the innermost box that holds both ends
	routes []*route
}

func newLayout(g *Graph) *layout {
	l := &layout{frames: map[*Box]*frame{}, within: map[*Box][]*Arrow{}}
	for _, a := range g.Arrows {
		outer := a.From
		for !a.To.within(outer) {
			outer = outer.parent
		}
		l.within[outer] = append(l.within[outer], a)
	}
	top := l.arrange(g.Top)
	top.x, top.y = margin, margin
	settle(top)
	return l
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

// arrange lays out b and everything in it.
func (l *layout) arrange(b *Box) *frame {
	f := &frame{box: b}
	l.frames[b] = f
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
		return f
	}
	for _, c := range b.Boxes {
		f.parts = append(f.parts, l.arrange(c))
	}
	rows, gaps, label := l.rows(f)
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
	return f
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

// rows places the parts of f in rows, from left to right, and says how far the
// rows are apart, and how wide the labels of the arrows between them are.
func (l *layout) rows(f *frame) (rows [][]*frame, gaps []float64, label float64) {
	part := func(b *Box) *frame {
		for b.parent != f.box {
			b = b.parent
		}
		return l.frames[b]
	}
	linked := map[*frame]bool{}
	var routes []*route
	for _, a := range l.within[f.box] {
		r := &route{arrow: a, outer: f, from: part(a.From), to: part(a.To)}
		linked[r.from], linked[r.to] = true, true
		routes = append(routes, r)
	}
	var with, without []*frame
	for _, p := range f.parts {
		if linked[p] {
			with = append(with, p)
		} else {
			without = append(without, p)
		}
	}
	if len(with) > 0 {
		rows, gaps, label = layered(with, routes)
		l.routes = append(l.routes, routes...)
	}
	area := 0.0
	for _, p := range without {
		area += (p.w + between) * (p.h + rowGap)
	}
	limit := max(wrapWidth, math.Sqrt(2*area))
	for i, p := range without {
		if i > 0 {
			if before := without[i-1]; before.x+before.w+between+p.w <= limit {
				p.x = before.x + before.w + between
				rows[len(rows)-1] = append(rows[len(rows)-1], p)
				continue
			}
		}
		if len(rows) > 0 {
			gaps = append(gaps, rowGap)
		}
		rows = append(rows, []*frame{p})
	}
	return rows, gaps, label
}

// layered places parts that routes lead between.
func layered(parts []*frame, routes []*route) (rows [][]*frame, gaps []float64, label float64) {
	ranks(parts, routes)
	for _, p := range parts {
		for len(rows) <= p.row {
			rows = append(rows, nil)
		}
		rows[p.row] = append(rows[p.row], p)
	}
	type room struct{ width, lines float64 }
	labels := make([]room, len(rows)-1) // what all of them need side by side
	for _, r := range routes {
		upper, lower := r.from, r.to
		if upper.row > lower.row {
			upper, lower = lower, upper
		}
		first := r.from.row // the gap that has the label
		if r.from == lower {
			first--
		}
		w, lines := labelSize(labelLines(r.arrow))
		label = max(label, w)
		labels[first] = room{labels[first].width + w + between, max(labels[first].lines, lines)}
		last := upper
		for row := upper.row + 1; row < lower.row; row++ {
			p := &frame{w: lane, row: row}
			rows[row] = append(rows[row], p)
			link(last, p)
			r.lanes = append(r.lanes, p)
			last = p
		}
		link(last, lower)
		if r.from == lower {
			slices.Reverse(r.lanes)
		}
	}
	order(rows)
	align(rows)
	for i, l := range labels {
		width := max(rowWidth(rows[i]), rowWidth(rows[i+1]), label)
		deep := min(math.Ceil(l.width/(width+between)), maxDeep)
		gaps = append(gaps, arrowGap+lineStep*max(0, deep*l.lines-1))
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
