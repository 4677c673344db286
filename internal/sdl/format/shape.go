package format

import "aloft/internal/sdl/syntax"

// piece is a token or comment with what the grammar says of its place.
type piece struct {
	syntax.Token
	breaks uint8 // line ends before it as written; 2 for an empty line or more
	mark   mark
	indent uint8 // how much further in than its group it goes on a new line
	// last is where an item ends that begins here, or a group is closed that
	// is opened here: an index of a piece.
	last int32
}

// mark is what the grammar says of a piece.
type mark uint16

const (
	glued   mark = 1 << iota // no blank before it
	dropped                  // not printed
	ended                    // a ; is printed behind it
	item                     // the first of an item
	sole                     // of an item that shares its line with no other
	free                     // may begin a line, as its author had it
	airy                     // … and an empty line may stand before that
	body                     // opens a body
	list                     // opens a vector or parentheses
	branch                   // opens IF or SWITCH
	closer                   // closes what body, list or branch opened
	broken                   // of a list: a line ends behind the opener
	hung                     // of a list: a line ends further on
)

const opener = body | list | branch

// shaper goes over the tokens of a text that is known to have no mistakes, by
// the rules of the grammar (sdl.md section 3), and marks them.
type shaper struct {
	pieces []piece
	at     int // the token to be read; comments are passed over
	last   int // the token before
}

// shape returns the marked pieces of text.
func shape(text []byte) []piece {
	tokens := syntax.Tokens(text)
	s := shaper{pieces: make([]piece, len(tokens)), at: -1, last: -1}
	line := int32(1)
	for i, t := range tokens {
		s.pieces[i] = piece{Token: t, breaks: uint8(min(t.Line-line, 2))}
		line = t.EndLine
	}
	s.advance()
	if s.is("extends") { // a file that is one component
		s.take(item | sole)
		s.body()
		return s.pieces
	}
	s.items()
	return s.pieces
}

func (s *shaper) is(sign string) bool { return s.sign() == sign }

// sign returns the sign of the token to be read; that of the end is "".
func (s *shaper) sign() string {
	if s.at == len(s.pieces) {
		return ""
	}
	return s.pieces[s.at].Sign()
}

func (s *shaper) advance() {
	s.at++
	for s.at < len(s.pieces) && s.pieces[s.at].Comment() {
		s.at++
	}
}

// take marks the token to be read, goes on to the next, and returns its index.
func (s *shaper) take(m mark) int {
	s.pieces[s.at].mark |= m
	s.last = s.at
	s.advance()
	return s.last
}

// drop goes over a token that is not printed.
func (s *shaper) drop() {
	s.pieces[s.at].mark |= dropped
	s.advance()
}

// splits reports whether a line ends between the token before and the one to
// be read.
func (s *shaper) splits() bool {
	for i := s.at; i < len(s.pieces); i-- {
		if s.pieces[i].breaks > 0 {
			return true
		}
		if i == 0 || !s.pieces[i-1].Comment() {
			return false
		}
		if s.pieces[i-1].LineComment() {
			return true
		}
	}
	return false
}

func (s *shaper) items() {
	for s.at < len(s.pieces) && !s.is("}") {
		if s.is(";") {
			s.drop()
			continue
		}
		first := s.at
		s.item()
		s.pieces[first].mark |= item
		s.pieces[first].last = int32(s.last)
	}
}

func (s *shaper) item() {
	switch s.sign() {
	case "#codebase":
		s.take(sole)
		s.take(0)
		s.take(0)
		s.take(0)
		return
	case "#include", "#include?":
		s.take(sole)
		s.take(0)
		return
	case "[":
		s.tags()
	}
	s.name()
	bare := false
	switch s.sign() {
	case ";":
	case "extends":
		bare = s.component()
	default:
		s.simple()
	}
	if !bare {
		s.pieces[s.last].mark |= ended
	}
}

func (s *shaper) tags() {
	s.take(0)
	m := glued
	for !s.is("]") {
		s.take(m)
		m = 0
		if s.is(",") {
			s.drop()
		}
	}
	s.take(glued)
}

func (s *shaper) name() {
	s.take(0)
	for s.is(":") {
		s.take(glued)
		s.take(glued)
	}
}

// component reads extends and its prototypes, and reports whether it ends with
// a body.
func (s *shaper) component() bool {
	s.take(0)
	if s.is(":") {
		s.take(glued)
		s.take(glued)
	}
	if s.is("DATA") || s.is("LAZY") {
		s.take(0)
	}
	bare := s.proto()
	for s.is(",") {
		comma := s.take(glued)
		if !s.is("{") {
			s.pieces[s.at].mark |= free
			s.pieces[s.at].indent = continued
		}
		if bare = s.proto(); bare && !s.is(",") && !s.is("{") {
			s.pieces[comma].mark |= dropped
		}
	}
	if s.is("{") {
		bare = s.body()
	}
	return bare
}

// proto reports whether the prototype it reads is a body.
func (s *shaper) proto() bool {
	switch s.sign() {
	case "NULL":
		s.take(0)
		return false
	case "{":
		return s.body()
	default:
		s.link()
		return false
	}
}

func (s *shaper) body() bool {
	open := s.take(body)
	s.items()
	s.close(open, 0)
	return true
}

// close reads the token that closes what was opened at open.
func (s *shaper) close(open int, m mark) {
	s.pieces[open].last = int32(s.at)
	s.take(closer | m)
}

// element prepares the token to be read to begin a line of the group at open,
// if its author had it so.
func (s *shaper) element(open int, m mark) {
	if s.splits() {
		if s.last == open {
			s.pieces[open].mark |= broken
		} else {
			s.pieces[open].mark |= hung
		}
	}
	s.pieces[s.at].mark |= free | m
}
