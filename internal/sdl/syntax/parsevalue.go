package syntax

import (
	"fmt"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// value reads what stands behind a name, but for the ; that means NULL.
func (p *parser) value() (Expr, bool) {
	if p.tok.kind == tExtends {
		return p.component()
	}
	return p.simple()
}

// component reads extends and its prototypes.
func (p *parser) component() (Expr, bool) {
	c := p.made.components.one()
	c.At = p.at()
	p.next()
	if p.tok.kind == tColon {
		p.next()
		if p.tok.kind != tWord || p.tok.text != "default" {
			return nil, p.fail(p.unexpected("default", "leave out the : and the word"))
		}
		p.next()
	}
	if p.tok.kind == tData || p.tok.kind == tLazy {
		c.Data = true
		p.next()
	}
	var few [4]Proto // as many as there are as a rule, to make the slice once
	protos := few[:0]
	for {
		proto, ok := p.proto()
		if !ok {
			return nil, false
		}
		protos = append(protos, proto)
		if p.tok.kind != tComma {
			break
		}
		p.next()
	}
	if p.tok.kind == tLBrace { // the comma before the last body may be left out
		proto, ok := p.proto()
		if !ok {
			return nil, false
		}
		protos = append(protos, proto)
	}
	c.Protos = p.made.protos.copied(protos)
	c.At = p.since(c.At)
	return c, true
}

func (p *parser) proto() (Proto, bool) {
	start := p.at()
	switch p.tok.kind {
	case tNull:
		p.next()
		return Proto{At: start}, true
	case tLBrace:
		body, ok := p.body()
		return Proto{At: p.since(start), Body: body}, ok
	case tLazy, tOptional, tData:
		return Proto{}, p.fail(p.unexpected("a component to extend",
			"a prototype is a plain link, without "+spelling[p.tok.kind]))
	}
	if !p.atLink() {
		hint := "extends {} is an empty component"
		if p.tok.kind.keyword() {
			hint = fmt.Sprintf("a keyword as a name is written ATTRIB %q", spelling[p.tok.kind])
		}
		return Proto{}, p.fail(p.unexpected("a component to extend, NULL or {", hint))
	}
	link, ok := p.link()
	return Proto{At: p.since(start), Link: link}, ok
}

func (p *parser) body() (*Body, bool) {
	open := p.at()
	if p.tok.kind != tLBrace {
		return nil, p.fail(p.unexpected("{"))
	}
	if !p.enter() {
		return nil, false
	}
	defer p.leave()
	p.next()
	b := p.made.bodies.one()
	b.Items = p.items(tRBrace)
	ok := p.closing(tRBrace, open, func() diag.Diagnostic {
		return p.unexpected("}", "a { has no }")
	})
	b.At = p.since(open)
	return b, ok
}

// simple reads a value that needs no extends.
func (p *parser) simple() (Expr, bool) {
	switch p.tok.kind {
	case tLParen:
		return p.parens()
	case tIf:
		return p.ifThenElse()
	case tSwitch:
		return p.switchArms()
	case tLBracket:
		return p.vectorOf()
	case tExtends:
		return nil, p.fail(p.unexpected("a value", "a component in this place needs parentheses: (extends …)"))
	}
	if p.atReference() {
		return p.reference()
	}
	return p.literal("a value")
}

// literal reads a value that holds no eager reference; what says what is
// expected.
func (p *parser) literal(what string) (Expr, bool) {
	at := p.at()
	var v value.Value
	switch p.tok.kind {
	case tNull:
		v = value.Null{}
	case tTBD:
		v = value.TBD{}
	case tTrue, tFalse:
		v = value.Bool(p.tok.kind == tTrue)
	case tString, tMulti:
		v = value.String(p.tok.text)
	case tNumber, tBytes:
		v = p.tok.value
	case tLVector:
		return p.vector()
	case tData:
		p.next()
		r, ok := p.target()
		if !ok {
			return nil, false
		}
		r.Data = true
		r.At = p.since(at)
		return r, true
	case tVar:
		return p.variable()
	default:
		return nil, p.fail(p.unexpected(what, p.valueHints()...))
	}
	p.next()
	return p.literalAt(at, v), true
}

func (p *parser) literalAt(at diag.Span, v value.Value) *Literal {
	l := p.made.literals.one()
	l.At, l.Value = at, v
	return l
}

// valueHints says what may have been meant by a token that begins no value.
func (p *parser) valueHints() []string {
	switch k := p.tok.kind; {
	case k == tXor:
		return []string{"x| is the operator exclusive or; put a blank between the word x and ||"}
	case k == tInclude || k == tMaybeInclude:
		return []string{"a file takes the place of attributes, not of a value"}
	case k == tLBrace:
		return []string{"a component is written extends { … }"}
	case k.keyword():
		return []string{fmt.Sprintf("a keyword as a name is written ATTRIB %q", spelling[k])}
	default:
		return nil
	}
}

// vector reads [| … |].
func (p *parser) vector() (Expr, bool) {
	open := p.at()
	if !p.enter() {
		return nil, false
	}
	defer p.leave()
	p.next()
	v := &Vector{}
	for p.tok.kind != tRVector || len(v.Elems) > 0 {
		e, ok := p.element()
		if !ok {
			return nil, false
		}
		v.Elems = append(v.Elems, e)
		if p.tok.kind != tComma {
			break
		}
		p.next()
	}
	ok := p.closing(tRVector, open, func() diag.Diagnostic { return p.unexpected(", or |]") })
	v.At = p.since(open)
	return v, ok
}

// element reads an element of [| |]. An eager reference there is a mistake of
// its own, after which the vector can be read on.
func (p *parser) element() (Expr, bool) {
	if !p.atReference() {
		if k := p.tok.kind; k == tLParen || k == tLBracket || k == tIf || k == tSwitch || k == tExtends {
			return nil, p.fail(p.unexpected("a literal", "what is computed stands in [ … ]"))
		}
		return p.literal("a literal")
	}
	first := p.tok
	e, ok := p.reference()
	if !ok {
		return nil, false
	}
	d := diag.New(diag.ReferenceInVector, e.Span(), "a reference cannot stand in [| |]")
	d.Expected = "a literal"
	d.Found = first.String()
	d.Hints = []string{"write [ … ] for a vector of values", "write DATA before it to keep it as a reference"}
	if !first.tainted {
		p.list.Add(d)
	}
	return e, true
}

// variable reads VAR.
func (p *parser) variable() (Expr, bool) {
	v := &Var{At: p.at()}
	p.next()
	ok := true
	switch {
	case p.tok.kind == tLBrace:
		open := p.at()
		p.inVar = true
		p.next()
		if v.Name, ok = p.variableName(); !ok || !p.expect(tComma) {
			return nil, false
		}
		if k := p.tok.kind; k != tString && k != tMulti && k != tNumber {
			return nil, p.fail(p.unexpected("a string or a number"))
		}
		v.Range, _ = p.literal("")
		if ok = p.closing(tRBrace, open, func() diag.Diagnostic { return p.unexpected("}") }); ok {
			p.inVar = false
		}
	case p.tok.kind == tString, p.tok.kind == tMulti, p.atReference():
		v.Name, ok = p.variableName()
	}
	v.At = p.since(v.At)
	return v, ok
}

func (p *parser) variableName() (Expr, bool) {
	if p.atReference() {
		return p.reference()
	}
	if k := p.tok.kind; k != tString && k != tMulti {
		return nil, p.fail(p.unexpected("a reference or a string"))
	}
	return p.literal("")
}

// atLink reports whether a link can begin with the look-ahead.
func (p *parser) atLink() bool {
	_, ok := p.tok.kind.part()
	return ok || p.tok.kind == tWord
}

// atReference reports whether a reference can begin with the look-ahead; one
// with DATA is a literal.
func (p *parser) atReference() bool {
	switch p.tok.kind {
	case tLazy, tOptional, tApply, tAssert:
		return true
	default:
		return p.atLink()
	}
}

func (p *parser) reference() (Expr, bool) {
	at := p.at()
	lazy := p.tok.kind == tLazy
	if lazy {
		p.next()
	}
	r, ok := p.target()
	if !ok {
		return nil, false
	}
	r.Lazy = lazy
	r.At = p.since(at)
	return r, true
}

// target reads a reference behind LAZY or DATA.
func (p *parser) target() (r *Reference, ok bool) {
	r = p.made.references.one()
	r.At = p.at()
	switch p.tok.kind {
	case tApply, tAssert:
		r.Assert = p.tok.kind == tAssert
		p.next()
		r.Apply, ok = p.body()
		return r, ok
	case tOptional:
		r.Optional = true
		p.next()
		if p.tok.kind == tLParen {
			open := p.at()
			p.next()
			if r.Default, ok = p.literal("a literal, the default"); !ok {
				return nil, false
			}
			if !p.closing(tRParen, open, func() diag.Diagnostic { return p.unexpected(")") }) {
				return nil, false
			}
		}
	}
	if !p.atLink() {
		return nil, p.fail(p.unexpected("a reference", p.valueHints()...))
	}
	r.Parts, ok = p.link()
	return r, ok
}

func (p *parser) link() ([]value.Part, bool) {
	var few [4]value.Part
	parts := few[:0]
	for {
		part, ok := p.part(len(parts))
		if !ok {
			return nil, false
		}
		parts = append(parts, part)
		if p.tok.kind != tColon {
			return p.made.parts.copied(parts), true
		}
		p.next()
	}
}

func (p *parser) part(i int) (value.Part, bool) {
	if p.tok.kind == tWord {
		part := value.Part{Kind: value.PartHere, Name: p.tok.text}
		if i == 0 {
			part.Kind = value.PartAttrib
		}
		p.next()
		return part, true
	}
	k, ok := p.tok.kind.part()
	if !ok {
		var hints []string
		if p.tok.kind.keyword() || p.tok.kind == tString {
			hints = []string{"a name that is no word is written HERE \"…\""}
		}
		return value.Part{}, p.fail(p.unexpected("a word or a part such as PARENT", hints...))
	}
	word := spelling[p.tok.kind]
	p.next()
	if !k.HasName() {
		return value.Part{Kind: k}, true
	}
	part := value.Part{Kind: k, Name: p.tok.text}
	if p.tok.kind.keyword() {
		return part, p.keywordAsName("name behind " + word)
	}
	if p.tok.kind == tWord {
		p.next()
		return part, true
	}
	return part, p.str("a word or a string behind " + word)
}
