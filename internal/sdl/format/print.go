package format

import (
	"bytes"
	"math"
	"unicode/utf8"
)

const (
	// width is the column that lines joined by rule do not pass. Lines that
	// their author wrote longer stay so.
	width = 100
	// level is the indentation of one level.
	level = 2
	// maxIndent keeps the text of deep nesting from growing with the square of
	// the depth.
	maxIndent = 64
	// maxHang is the last column under which other elements may stand.
	maxHang = 60
)

// printer prints marked pieces.
type printer struct {
	text   []byte
	pieces []piece
	lines  lines
	groups []group
	last   int   // the piece printed last, -1 at the start
	carry  uint8 // of the pieces dropped since
	ahead  int   // where after looks next
	synced []sync
}

// group is a body, list or branch that has been opened and not closed.
type group struct {
	mark   mark
	base   int // indentation of what closes it
	indent int // indentation of lines inside
	flat   bool
	split  bool // a body that was on one line but is too long for that
	items  int  // begun in a body
	line   int  // of the start of the last of them; 0 if that is on its own
}

// sync says that line written of the text and line printed of the result begin
// with the same item or }.
type sync struct{ written, printed int }

func newPrinter(text []byte) *printer {
	p := &printer{text: text, pieces: shape(text), last: -1}
	p.groups = []group{{mark: body}}
	return p
}

func (p *printer) top() *group { return &p.groups[len(p.groups)-1] }

// print prints all pieces and returns the result.
func (p *printer) print() []byte {
	if len(p.pieces) > 0 {
		p.lines.next(0, false)
	}
	for i := range p.pieces {
		c := &p.pieces[i]
		if c.mark&dropped != 0 {
			p.carry = max(p.carry, c.breaks)
			continue
		}
		breaks := max(p.carry, c.breaks)
		p.carry = 0
		if c.Comment() {
			p.comment(i, breaks)
		} else {
			p.token(i, breaks)
		}
		p.last = i
	}
	return p.lines.end()
}

// token prints the token i, behind so many line ends as written.
func (p *printer) token(i int, breaks uint8) {
	c, g := &p.pieces[i], p.top()
	whole := c.mark&item != 0 // what comes before is a row of whole items
	commented := p.last >= 0 && p.pieces[p.last].Comment()
	forced := commented && (breaks > 0 || p.pieces[p.last].LineComment())
	switch {
	case c.mark&closer != 0:
		if p.closes(breaks, forced) {
			p.lines.next(g.base, false)
		}
		whole = g.mark&body != 0
		p.groups = p.groups[:len(p.groups)-1]
	case c.mark&item != 0 && !g.flat:
		if p.begins(i, breaks) {
			p.next(g.indent, breaks)
		}
		g.items++
		if g.line = p.lines.number; c.mark&sole != 0 {
			g.line = 0
		}
	case forced || c.mark&free != 0 && breaks > 0 && !g.flat:
		if c.mark&airy == 0 {
			breaks = 1
		}
		p.next(p.margin(c), breaks)
	}
	if whole && c.breaks > 0 && p.lines.fresh() {
		p.synced = append(p.synced, sync{int(c.Line), p.lines.number})
	}
	text := p.text[c.Start:c.End]
	if c.Bytes() {
		text = unixLines(text)
	}
	p.lines.token(text, p.parted(p.last, i))
	if c.mark&ended != 0 {
		p.lines.token([]byte{';'}, false)
	}
	if c.mark&opener != 0 {
		p.open(i)
	}
}

// next begins a line, with an empty one before it if its author had it so and
// there is something to part.
func (p *printer) next(indent int, breaks uint8) {
	p.lines.next(indent, breaks > 1 && p.last >= 0 && p.pieces[p.last].mark&opener == 0)
}

// margin is the indentation of a line that begins with c.
func (p *printer) margin(c *piece) int {
	g := p.top()
	switch {
	case c.mark&(item|closer) != 0:
		return g.indent
	case c.mark&free != 0:
		return g.indent + int(c.indent)
	default:
		return g.indent + continued
	}
}

// parted reports whether a blank parts the piece i from last, the one before.
func (p *printer) parted(last, i int) bool {
	c := &p.pieces[i]
	switch {
	case last < 0:
		return false
	case c.mark&closer != 0 && last >= 0 && p.pieces[last].mark&body != 0: // {}
		return false
	case c.Comment():
		return p.pieces[last].mark&list == 0 || p.text[p.pieces[last].Start] != '('
	case p.pieces[last].Comment() && c.mark&glued != 0:
		switch c.Sign() {
		case ")", "}", ",", ":":
			return false
		}
		return c.mark&closer != 0 || c.Sign() != "]"
	}
	return c.mark&glued == 0
}

// closes reports whether what closes the group at the top goes on a line of its
// own.
func (p *printer) closes(breaks uint8, forced bool) bool {
	g := p.top()
	switch {
	case g.flat:
		return false
	case g.mark&body != 0:
		return true
	case g.mark&branch != 0:
		return breaks > 0 || forced
	default:
		return g.mark&broken != 0 || forced
	}
}

// begins reports whether the item that begins with the token i goes on a line
// of its own.
func (p *printer) begins(i int, breaks uint8) bool {
	c, g := &p.pieces[i], p.top()
	switch {
	case p.last < 0:
		return false
	case breaks > 0 || p.pieces[p.last].LineComment():
		return true
	case p.lines.at.remark && p.pieces[p.last].Comment(): // its line is its own already
		return false
	case g.items == 0 || g.split || g.line != p.lines.number || c.mark&sole != 0:
		return true
	case c.Line != p.pieces[c.last].EndLine:
		return true
	}
	return !p.fits(i, int(c.last))
}

// fits reports whether the pieces from i to j can be printed on the line begun.
func (p *printer) fits(i, j int) bool {
	column := p.lines.column
	last := p.last
	for ; i <= j; i++ {
		c := &p.pieces[i]
		if c.mark&dropped != 0 {
			continue
		}
		if p.parted(last, i) {
			column++
		}
		if int(c.End-c.Start) > width*utf8.UTFMax {
			return false
		}
		column += utf8.RuneCount(p.text[c.Start:c.End])
		if c.mark&ended != 0 {
			column++
		}
		if column > width {
			return false
		}
		last = i
	}
	return true
}

// open begins the group of the opener i, which has just been printed.
func (p *printer) open(i int) {
	p.last = i
	c, outer := &p.pieces[i], p.top()
	g := group{mark: c.mark, base: outer.indent, flat: outer.flat}
	if outer.mark&branch != 0 {
		g.base = max(g.base, p.lines.at.indent)
	}
	g.indent = g.base
	switch {
	case c.mark&body != 0:
		g.indent += level
		if !g.flat {
			g.flat = p.flat(i)
			g.split = c.Line == p.pieces[c.last].EndLine
		}
	case c.mark&branch != 0:
	case c.mark&broken != 0:
		g.indent += level
	case c.mark&hung != 0:
		if g.indent = p.lines.column; p.parted(i, i+1) {
			g.indent++
		}
		if g.indent > maxHang {
			g.indent = g.base + continued
		}
	}
	g.base, g.indent = min(g.base, maxIndent), min(g.indent, maxIndent)
	p.groups = append(p.groups, g)
}

// flat reports whether the body that the token i opens is printed on one line:
// it is empty, or was on one line and has the room.
func (p *printer) flat(i int) bool {
	end := int(p.pieces[i].last)
	for j := i + 1; p.pieces[j].mark&dropped != 0 || j == end; j++ {
		if j == end {
			return true
		}
	}
	return p.pieces[i].Line == p.pieces[end].EndLine && p.fits(i+1, end)
}

// comment prints the comment i.
func (p *printer) comment(i int, breaks uint8) {
	c, g := &p.pieces[i], p.top()
	after := p.after(i)
	if p.last < 0 {
		breaks = 0
	}
	above := p.last >= 0 && p.pieces[p.last].Comment()
	switch {
	case breaks == 1 && above && p.pieces[p.last].LineComment() && c.LineComment() &&
		p.pieces[p.last].Col == c.Col && p.lines.trailing():
		p.lines.under()
	case breaks > 0 || above && p.pieces[p.last].LineComment():
		if after.mark&(item|airy|closer) == 0 {
			breaks = 1
		}
		if after.mark&closer != 0 && g.mark&branch != 0 {
			breaks = 1
		}
		p.next(p.margin(after), breaks)
	}
	text := p.text[c.Start:c.End]
	blank := p.parted(p.last, i)
	if c.LineComment() {
		text = bytes.TrimRight(text, " \t\f")
	} else {
		column := p.lines.column + 1
		if blank && !p.lines.fresh() {
			column++
		}
		text = shifted(unixLines(text), column-int(c.Col))
	}
	p.lines.comment(text, blank)
}

// after returns the token that the comment i stands before.
func (p *printer) after(i int) *piece {
	for p.ahead = max(p.ahead, i+1); p.ahead < len(p.pieces); p.ahead++ {
		if c := &p.pieces[p.ahead]; !c.Comment() && c.mark&dropped == 0 {
			return c
		}
	}
	return &piece{mark: item}
}

// unixLines returns text with LF for every line end.
func unixLines(text []byte) []byte {
	if bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte{'\n'})
	return bytes.ReplaceAll(text, []byte{'\r'}, []byte{'\n'})
}

// shifted returns a comment with the indentation of its later lines changed by
// so many blanks, as that of its first is.
func shifted(text []byte, by int) []byte {
	if by == 0 || bytes.IndexByte(text, '\n') < 0 {
		return text
	}
	var out []byte
	for i, line := range bytes.SplitAfter(text, []byte{'\n'}) {
		if i > 0 {
			bare := bytes.TrimLeft(line, " ")
			switch {
			case len(bare) > 0 && (bare[0] == '\t' || bare[0] == '\n'):
				bare = line
			default:
				margin := min(max(0, len(line)-len(bare)+by), math.MaxInt16)
				out = append(out, bytes.Repeat([]byte{' '}, margin)...)
			}
			line = bare
		}
		out = append(out, line...)
	}
	return out
}
