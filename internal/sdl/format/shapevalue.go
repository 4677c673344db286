package format

import "aloft/internal/sdl/syntax"

func (s *shaper) link() {
	s.part()
	for s.is(":") {
		s.take(glued)
		s.pieces[s.at].mark |= glued
		s.part()
	}
}

func (s *shaper) part() {
	named, _ := s.pieces[s.at].LeadsPart()
	s.take(0)
	if named {
		s.take(0)
	}
}

// atReference reports whether the token to be read begins a reference that is
// not a literal.
func (s *shaper) atReference() bool {
	switch s.sign() {
	case "LAZY", "OPTIONAL", "APPLY", "ASSERT":
		return true
	case "":
		return s.at < len(s.pieces) && s.pieces[s.at].Word()
	}
	_, ok := s.pieces[s.at].LeadsPart()
	return ok
}

func (s *shaper) simple() {
	switch s.sign() {
	case "(":
		s.parens()
	case "IF":
		open := s.take(branch)
		s.operand()
		s.arm(inArm)
		s.arm(inArm)
		s.element(open, 0)
		s.close(open, 0)
	case "SWITCH":
		open := s.take(branch)
		if s.is("{") {
			s.body()
		}
		for s.is("IF") {
			s.arm(inArm)
			s.arm(continued)
		}
		s.element(open, 0)
		s.close(open, 0)
	case "[":
		s.vector("]", s.simple)
	default:
		if s.atReference() {
			s.reference()
		} else {
			s.literal()
		}
	}
}

// inArm and continued are how much further in the words of IF and SWITCH go on
// new lines, and whatever else is not the first of its kind.
const (
	inArm     = 2
	continued = 4
)

func (s *shaper) arm(indent uint8) {
	s.pieces[s.at].mark |= free
	s.pieces[s.at].indent = indent
	s.take(0)
	s.operand()
}

func (s *shaper) operand() {
	s.pieces[s.at].mark |= free
	s.pieces[s.at].indent = continued
	s.simple()
}

// parens reads ( … ).
func (s *shaper) parens() {
	open := s.take(list)
	s.element(open, glued)
	switch s.sign() {
	case "extends":
		s.component()
	case "!":
		s.take(0)
		s.simple()
	default:
		s.simple()
		for s.pieces[s.at].Op() != syntax.NotOp {
			s.element(open, 0)
			s.take(0)
			s.element(open, 0)
			s.simple()
		}
	}
	s.close(open, glued)
}

// vector reads the elements up to the token end.
func (s *shaper) vector(end string, element func()) {
	open := s.take(list)
	for !s.is(end) {
		s.element(open, airy)
		element()
		if s.is(",") {
			s.take(glued)
		}
	}
	m := mark(0)
	if s.last == open && end == "]" {
		m = glued
	}
	s.close(open, m)
}

func (s *shaper) reference() {
	if s.is("LAZY") {
		s.take(0)
	}
	s.target()
}

func (s *shaper) target() {
	switch s.sign() {
	case "APPLY", "ASSERT":
		s.take(0)
		s.body()
		return
	case "OPTIONAL":
		s.take(0)
		if s.is("(") {
			s.take(0)
			s.pieces[s.at].mark |= glued
			s.literal()
			s.take(glued)
		}
	}
	s.link()
}

func (s *shaper) literal() {
	switch s.sign() {
	case "[|":
		s.vector("|]", s.literal)
	case "DATA":
		s.take(0)
		s.target()
	case "VAR":
		s.take(0)
		switch {
		case s.is("{"):
			s.take(0)
			s.pieces[s.at].mark |= glued
			s.variable()
			s.take(glued)
			s.take(0)
			s.take(glued)
		case s.atReference(), s.at < len(s.pieces) && s.pieces[s.at].Text():
			s.variable()
		}
	default:
		s.take(0)
	}
}

// variable reads the name of a VAR.
func (s *shaper) variable() {
	if s.atReference() {
		s.reference()
	} else {
		s.take(0)
	}
}
