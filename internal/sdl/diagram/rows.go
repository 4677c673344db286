package diagram

import (
	"cmp"
	"math"
	"slices"
)

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
