package syntax

import (
	"context"
	"fmt"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// MaxDepth is how deep braces, brackets, parentheses and IFs may be nested.
// The parser is recursive; this is far within the stack of a goroutine.
const MaxDepth = 10_000

// Parse reads the text src of the file called name. Mistakes are added to
// list; the tree holds what could be read and is never nil. A tree from a text
// with mistakes is for showing, not for deploying.
func Parse(name string, src []byte, list *diag.List) *File {
	return newParser(name, src, list).file()
}

// ParseContext is Parse for texts that may be large: it stops soon after ctx is
// cancelled, and returns its error. What it has added to list by then is of no
// use.
func ParseContext(ctx context.Context, name string, src []byte, list *diag.List) (*File, error) {
	f := newParserUntil(func() bool { return ctx.Err() != nil }, name, src, list).file()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return f, nil
}

// ParseValue reads a text that is one value, as IPROPERTY needs it. It returns
// nil after a mistake.
func ParseValue(name string, src []byte, list *diag.List) Expr {
	p := newParser(name, src, list)
	e, ok := p.value()
	return p.whole(e, ok)
}

// ParseReference reads a text that is one reference. It returns nil after a
// mistake.
func ParseReference(name string, src []byte, list *diag.List) *Reference {
	p := newParser(name, src, list)
	if !p.atReference() {
		p.fail(p.unexpected("a reference"))
		return nil
	}
	e, ok := p.reference()
	r, _ := p.whole(e, ok).(*Reference)
	return r
}

// parser reads with one token of look-ahead. Its methods return false when
// they have met a mistake, which is reported then; the items around go on
// after the next ; or the like.
type parser struct {
	s      *scanner
	list   *diag.List
	before int       // errors in list at the start
	tok    token     // the look-ahead
	last   place     // where the token before it ends
	said   [2]string // the words right before it, the last one first
	depth  int
	ended  bool   // a mistake at the end has been reported
	stack  []Item // of the bodies being read, so that each is made in its size
	inVar  bool   // between the braces of VAR {…}, which hold no items
	made   slabs
}

func newParser(name string, src []byte, list *diag.List) *parser {
	return newParserUntil(func() bool { return false }, name, src, list)
}

// newParserUntil returns a parser for which the text ends when cancelled,
// asked now and then, returns true.
func newParserUntil(cancelled func() bool, name string, src []byte, list *diag.List) *parser {
	p := &parser{list: list, before: list.Errors()}
	p.s = newScannerUntil(cancelled, name, src, list)
	p.s.next(&p.tok)
	return p
}

// file reads the whole text.
func (p *parser) file() *File {
	f := &File{Name: p.s.file}
	if p.tok.kind != tExtends {
		f.Items = p.items(tEOF)
		f.Comments = p.s.comments
		return f
	}
	open := p.at()
	p.next()
	if body, ok := p.body(); ok {
		f.Wrapped = true
		f.Items = body.Items
		if p.tok.kind != tEOF {
			d := p.unexpected("the end of the file: a file is a list of items or one extends { … }")
			d.Related = []diag.Related{{Span: open, Message: "the file begins with extends here"}}
			p.fail(d)
		}
	}
	f.Comments = p.s.comments
	return f
}

func (p *parser) next() {
	said := ""
	if p.tok.kind == tWord {
		said = p.tok.text
	}
	p.said = [2]string{said, p.said[0]}
	p.last = p.tok.end
	p.s.next(&p.tok)
}

// at returns where the look-ahead stands.
func (p *parser) at() diag.Span { return p.s.span(p.tok.start, p.tok.end) }

// since returns the span from the start of s to the last token.
func (p *parser) since(s diag.Span) diag.Span {
	s.EndLine, s.EndCol = p.last.line, p.last.col
	return s
}

// whole returns e if it is all there is.
func (p *parser) whole(e Expr, ok bool) Expr {
	if ok && p.tok.kind != tEOF {
		ok = p.fail(p.unexpected("the end"))
	}
	if !ok || p.list.Errors() > p.before {
		return nil
	}
	return e
}

// fail reports d, unless it only follows from a mistake reported before, and
// returns false.
func (p *parser) fail(d diag.Diagnostic) bool {
	if p.tok.tainted || p.ended {
		return false
	}
	p.ended = p.tok.kind == tEOF
	p.list.Add(d)
	return false
}

// unexpected is the diagnostic for the look-ahead when it is not as expected.
func (p *parser) unexpected(expected string, hints ...string) diag.Diagnostic {
	if p.list.Full(p.s.file) {
		return diag.New(diag.Unexpected, p.at(), "unexpected")
	}
	d := diag.New(diag.Unexpected, p.at(), "unexpected "+p.tok.String())
	d.Expected = expected
	d.Found = p.tok.String()
	d.Hints = append(p.meant(), hints...)
	return d
}

// expect skips a token of the kind k.
func (p *parser) expect(k kind, hints ...string) bool {
	if p.tok.kind != k {
		return p.fail(p.unexpected(spelling[k], hints...))
	}
	p.next()
	return true
}

// closing skips the token that closes what was opened at open.
func (p *parser) closing(k kind, open diag.Span, d func() diag.Diagnostic) bool {
	if p.tok.kind == k {
		p.next()
		return true
	}
	report := d()
	report.Related = []diag.Related{{Span: open, Message: "opened here"}}
	return p.fail(report)
}

// enter begins a level of nesting; the caller calls leave at its end.
func (p *parser) enter() bool {
	if p.depth == MaxDepth {
		d := diag.New(diag.TooDeep, p.at(), fmt.Sprintf("nested more than %d deep", MaxDepth))
		d.Expected = fmt.Sprintf("at most %d levels of braces, brackets and parentheses", MaxDepth)
		d.Found = p.tok.String()
		d.Hints = []string{"give inner parts a name of their own and extend or link to them"}
		p.fail(d)
		// Whatever comes is inside that and cannot be judged.
		p.s.off, p.ended = len(p.s.text), true
		p.s.next(&p.tok)
		return false
	}
	p.depth++
	return true
}

func (p *parser) leave() { p.depth-- }

// items reads up to a token of the kind end, which is left.
func (p *parser) items(end kind) []Item {
	base := len(p.stack)
	for {
		switch p.tok.kind {
		case end, tEOF:
			items := p.made.items.copied(p.stack[base:])
			p.stack = p.stack[:base]
			return items
		case tSemicolon:
			p.next()
			continue
		case tRBrace: // at the top level
			p.fail(p.unexpected("a name, #include or the end of the file", "there is a } too many before or at this place"))
			p.next()
			continue
		}
		column := int(p.tok.start.col)
		var item Item
		var ok bool
		switch p.tok.kind {
		case tInclude, tMaybeInclude, tCodebase:
			item, ok = p.include()
		default:
			item, ok = p.attribute()
		}
		if !ok {
			p.skip(column)
			continue
		}
		p.stack = append(p.stack, item)
	}
}

// skip goes on to where, after a mistake, another item may begin: behind the
// next ; before the } that closes the body, or at a line that begins like an
// item and is not further in than the item with the mistake, which began in
// column. It reports nothing on the way.
func (p *parser) skip(column int) {
	p.s.quiet = true
	defer func() { p.s.quiet, p.inVar = false, false }()
	depth := 0
	for {
		switch p.tok.kind {
		case tEOF:
			return
		case tLBrace:
			depth++
		case tRBrace:
			switch {
			case depth > 0:
				depth--
			case p.inVar:
				p.inVar = false
			default:
				return
			}
		case tSemicolon:
			if depth == 0 {
				p.s.quiet = false
				p.next()
				return
			}
		case tWord, tString, tFresh, tLBracket, tInclude, tMaybeInclude, tCodebase:
			if depth == 0 && p.tok.first && int(p.tok.start.col) <= column {
				return
			}
		}
		p.next()
	}
}

func (p *parser) include() (Item, bool) {
	inc := &Include{Span: p.at()}
	if p.tok.kind == tCodebase {
		p.next()
		inc.HasCodebase = true
		inc.Codebase = p.tok.text
		if !p.str("the place in quotes") {
			return nil, false
		}
	}
	if p.tok.kind != tInclude && p.tok.kind != tMaybeInclude {
		return nil, p.fail(p.unexpected("#include or #include?", "#codebase belongs to the include behind it"))
	}
	inc.Optional = p.tok.kind == tMaybeInclude
	p.next()
	inc.File, inc.FileSpan = p.tok.text, p.at()
	if !p.str("the name of a file in quotes") {
		return nil, false
	}
	inc.Span = p.since(inc.Span)
	return inc, true
}

// str skips a string of either kind; its text is in p.tok before.
func (p *parser) str(what string) bool {
	if p.tok.kind != tString && p.tok.kind != tMulti {
		return p.fail(p.unexpected(what))
	}
	p.next()
	return true
}

func (p *parser) attribute() (Item, bool) {
	a := p.made.attributes.one()
	if p.tok.kind == tLBracket {
		tags, ok := p.tags()
		if !ok {
			return nil, false
		}
		a.Tags = tags
	}
	if !p.name(a) {
		return nil, false
	}
	switch p.tok.kind {
	case tSemicolon:
		a.Value = p.literalAt(p.at(), value.Null{})
		p.next()
		return a, true
	case tRBrace, tEOF:
		d := diag.New(diag.BadName, a.NameSpan, fmt.Sprintf("%s has no value", nameText(a)))
		d.Expected = "a value or ;"
		d.Found = p.tok.String()
		d.Hints = []string{fmt.Sprintf("%s; gives it the value NULL", nameText(a))}
		return nil, p.fail(d)
	}
	v, ok := p.value()
	a.Value = v
	return a, ok
}

func (p *parser) tags() ([]string, bool) {
	open := p.at()
	p.next()
	var tags []string
	for p.tok.kind != tRBracket {
		switch {
		case p.tok.kind == tWord || p.tok.kind == tString:
			tags = append(tags, p.tok.text)
			p.next()
		case p.tok.kind.keyword():
			return nil, p.keywordAsName("tag")
		default:
			return nil, p.closing(tRBracket, open, func() diag.Diagnostic {
				return p.unexpected("a tag or ]", "in this place [ begins the tags of an attribute")
			})
		}
		if p.tok.kind == tComma {
			p.next()
		}
	}
	p.next()
	return tags, true
}

// name reads a path name into a.
func (p *parser) name(a *Attribute) bool {
	start := p.at()
	for {
		switch p.tok.kind {
		case tFresh:
			a.Fresh = true
			p.next()
		case tString:
			a.Name = p.tok.text
			p.next()
			if p.tok.kind == tColon {
				return p.fail(p.unexpected("a value or ;", "a value follows its name without a sign: port 80;", "only words can lead a path name; its last step may be a string"))
			}
		case tWord:
			a.Name = p.tok.text
			p.next()
			if p.tok.kind == tColon {
				a.Path = append(a.Path, a.Name)
				a.Name = ""
				p.next()
				continue
			}
		default:
			return p.noName(a)
		}
		a.NameSpan = p.since(start)
		return true
	}
}

// noName reports that the look-ahead is no name, and skips it: each mistake
// has to use up a token, and skip may stop at once.
func (p *parser) noName(a *Attribute) bool {
	switch k := p.tok.kind; {
	case k.keyword() && len(a.Path) > 0:
		p.fail(p.badName("a path name has words only", "place the attribute from the component in which the path begins"))
	case k.keyword() && k != tExtends:
		return p.keywordAsName("name")
	case len(a.Path) > 0:
		p.fail(p.unexpected("a word, a string or --", "a value follows its name without a sign: port 80;"))
	default:
		p.fail(p.unexpected("a name, #include, ; or }", p.itemHints()...))
	}
	switch p.tok.kind {
	case tLBrace, tRBrace, tSemicolon, tEOF: // skip knows what to do with them
	default:
		p.next()
	}
	return false
}

// itemHints says what may have been meant by a token behind a complete value.
func (p *parser) itemHints() []string {
	switch k := p.tok.kind; {
	case k == tExtends:
		return []string{"write the name of the component before extends"}
	case k.op() != NotOp:
		return []string{fmt.Sprintf("operators stand in parentheses: (a %s b)", spelling[k])}
	case k == tNumber && p.tok.negative():
		return []string{"operators stand in parentheses, with blanks around them: (x - 2)"}
	case k == tLVector || k == tLParen || k == tLBrace:
		return []string{"each value needs a name before it"}
	default:
		return nil
	}
}

func (p *parser) badName(message string, hints ...string) diag.Diagnostic {
	d := diag.New(diag.BadName, p.at(), message)
	d.Expected = "a word"
	d.Found = p.tok.String()
	d.Hints = hints
	return d
}

// keywordAsName reports a keyword where a name belongs and skips it.
func (p *parser) keywordAsName(what string) bool {
	word := spelling[p.tok.kind]
	hints := append(p.meant(), fmt.Sprintf("put it in quotes: %q", word))
	p.fail(p.badName(fmt.Sprintf("%s is a keyword and cannot be a %s", word, what), hints...))
	p.next()
	return false
}

func (t token) negative() bool {
	switch v := t.value.(type) {
	case value.Integer:
		return v < 0
	case value.Long:
		return v < 0
	case value.Float:
		return v < 0
	case value.Double:
		return v < 0
	default:
		return false
	}
}
