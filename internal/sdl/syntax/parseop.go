package syntax

import (
	"fmt"
	"strconv"

	"aloft/internal/sdl/diag"
)

// operands builds the component of an operator (sdl.md section 10): items are
// its operands, with room for two before them.
func (p *parser) operands(op Op, at diag.Span, items []Item) *Component {
	head := opHeads[op]
	items[0], items[1] = head[0], head[1]
	body := p.made.bodies.one()
	body.At, body.Items = at, items
	c := p.made.components.one()
	c.At, c.Data, c.Op, c.Protos = at, true, op, p.made.protos.take(1)
	c.Protos[0] = Proto{At: at, Body: body}
	return c
}

// named returns the operands called names, for operands.
func (p *parser) named(names []string, list ...Expr) []Item {
	items := p.made.items.take(len(list) + 2)
	for i, e := range list {
		a := p.made.attributes.one()
		a.Name, a.Value = names[i], e
		items[i+2] = a
	}
	return items
}

// fresh returns operands with names to be chosen, for operands.
func (p *parser) fresh(list []Expr) []Item {
	items := p.made.items.take(len(list) + 2)
	for i, e := range list {
		a := p.made.attributes.one()
		a.Fresh, a.Value = true, e
		items[i+2] = a
	}
	return items
}

// The names of operands.
var (
	notNames    = []string{"data"}
	binaryNames = []string{"left", "right"}
	ifNames     = []string{"if", "then", "else"}
)

// parens reads ( … ): a component, an operation, or just a value.
func (p *parser) parens() (Expr, bool) {
	open := p.at()
	if !p.enter() {
		return nil, false
	}
	defer p.leave()
	p.next()
	var e Expr
	var ok bool
	switch p.tok.kind {
	case tExtends:
		e, ok = p.component()
	case tNot:
		p.next()
		if e, ok = p.simple(); ok {
			e = p.operands(OpNot, open, p.named(notNames, e))
		}
	default:
		e, ok = p.operation(open)
	}
	if !ok {
		return nil, false
	}
	ok = p.closing(tRParen, open, func() diag.Diagnostic { return p.badOperand(e) })
	if c, is := e.(*Component); is && c.Op != NotOp && c.At.Pos == open.Pos {
		c.At = p.since(open)
		c.Protos[0].At, c.Protos[0].Body.At = c.At, c.At
	}
	return e, ok
}

// badOperand is the diagnostic for a token behind an operand that is neither
// an operator nor the closing parenthesis.
func (p *parser) badOperand(operand Expr) diag.Diagnostic {
	expected := "an operator or )"
	if c, ok := operand.(*Component); ok && (c.Op == NotOp || c.Op == OpNot) {
		expected = ")"
	}
	d := p.unexpected(expected)
	switch {
	case p.tok.kind == tNumber && p.tok.negative():
		d.Hints = []string{"a minus sign directly before a digit belongs to the number: write (x - 2), not (x -2)"}
	case p.tok.kind.op() != NotOp && operand.Span().Pos.IsValid() && expected == ")":
		d.Hints = []string{fmt.Sprintf("put the first operand in parentheses of its own: ((…) %s …)", spelling[p.tok.kind])}
	default:
		if r, ok := operand.(*Reference); ok && len(r.Parts) > 0 {
			if hint, ok := WordHint(r.Parts[len(r.Parts)-1].Name); ok {
				d.Hints = []string{hint}
			}
		}
	}
	return d
}

// operation reads operands with the same operator between them all, up to the
// closing parenthesis, or a single value.
func (p *parser) operation(open diag.Span) (Expr, bool) {
	first, ok := p.simple()
	op := p.tok.kind.op()
	if !ok || op == NotOp || op == OpNot {
		return first, ok
	}
	list := append(make([]Expr, 0, 4), first)
	good := true // until operators are mixed, which is said once
	for {
		next := p.tok.kind.op()
		if next == NotOp || next == OpNot {
			break
		}
		if good && (next != op || op.Binary() && len(list) == 2) {
			good = false
			p.mixed(op, next)
		}
		p.next()
		e, ok := p.simple()
		if !ok {
			return nil, false
		}
		list = append(list, e)
	}
	if op.Binary() {
		return p.operands(op, open, p.named(binaryNames, list[:2]...)), true
	}
	return p.operands(op, open, p.fresh(list)), true
}

// mixed reports that next follows operands of op.
func (p *parser) mixed(op, next Op) {
	message := fmt.Sprintf("operators %s and %s mixed in one pair of parentheses", op, next)
	if next == op {
		message = fmt.Sprintf("operator %s takes exactly two operands", op)
	}
	d := diag.New(diag.MixedOperators, p.at(), message)
	d.Expected = ")"
	if op.Many() {
		d.Expected = fmt.Sprintf("%s or )", op)
	}
	d.Found = next.String()
	d.Hints = []string{fmt.Sprintf("say with parentheses which comes first: ((a %s b) %s c)", op, next)}
	p.fail(d)
}

// vectorOf reads [ … ].
func (p *parser) vectorOf() (Expr, bool) {
	open := p.at()
	if !p.enter() {
		return nil, false
	}
	defer p.leave()
	p.next()
	var list []Expr
	for p.tok.kind != tRBracket || len(list) > 0 {
		e, ok := p.simple()
		if !ok {
			return nil, false
		}
		list = append(list, e)
		if p.tok.kind != tComma {
			break
		}
		p.next()
	}
	ok := p.closing(tRBracket, open, func() diag.Diagnostic {
		d := p.unexpected(", or ]")
		if p.tok.kind.op() != NotOp {
			d.Hints = p.itemHints()
		}
		return d
	})
	return p.operands(OpVector, p.since(open), p.fresh(list)), ok
}

func (p *parser) ifThenElse() (Expr, bool) {
	open := p.at()
	if !p.enter() {
		return nil, false
	}
	defer p.leave()
	var list [3]Expr
	for i, word := range []kind{tIf, tThen, tElse} {
		if !p.expect(word, "IF is written IF a THEN b ELSE c FI, operations in parentheses") {
			return nil, false
		}
		e, ok := p.simple()
		if !ok {
			return nil, false
		}
		list[i] = e
	}
	ok := p.closing(tFi, open, func() diag.Diagnostic { return p.unexpected("FI") })
	return p.operands(OpIf, p.since(open), p.named(ifNames, list[:]...)), ok
}

func (p *parser) switchArms() (Expr, bool) {
	open := p.at()
	if !p.enter() {
		return nil, false
	}
	defer p.leave()
	p.next()
	items := make([]Item, 2, 8)
	if p.tok.kind == tLBrace {
		body, ok := p.body()
		if !ok {
			return nil, false
		}
		items = append(items, body.Items...)
	}
	arms := 0
	for ; p.tok.kind == tIf || arms == 0; arms++ {
		for _, step := range []struct {
			word kind
			name string
		}{{tIf, "IF"}, {tThen, "THEN"}} {
			if !p.expect(step.word, "SWITCH is written SWITCH IF a THEN b IF c THEN d ENDSWITCH") {
				return nil, false
			}
			e, ok := p.simple()
			if !ok {
				return nil, false
			}
			a := p.made.attributes.one()
			a.Name, a.Value = step.name+strconv.Itoa(arms), e
			items = append(items, a)
		}
	}
	ok := p.closing(tEndSwitch, open, func() diag.Diagnostic { return p.unexpected("IF or ENDSWITCH") })
	c := p.operands(OpSwitch, p.since(open), items)
	c.Arms = arms
	return c, ok
}
