package answer

import (
	"strings"

	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// what is the kind of thing that belongs at a place.
type what uint8

const (
	nothing   what = iota
	anItem         // a name, #include
	aPath          // a later word of a path name
	aTag           // between [ ] before a name
	aValue         // behind a name, or an operand
	aPart          // a later part of a link
	aProto         // behind extends
	protoPart      // a later part of a prototype's link
	anInclude      // in the quotes behind #include
	aString        // in the quotes of the value of an attribute
)

// place is what belongs where the cursor is.
type place struct {
	what  what
	word  Range        // what is there of it already, the cursor behind or in it
	item  int          // where the item begins
	name  string       // of the attribute, if it is known
	parts []value.Part // of a link or path name, before the word
	// levels is how many operators are around the place inside the item: each
	// is a component of its own.
	levels int
	lazy   bool // the link is LAZY
}

// at finds out what belongs at the offset off.
func (v *View) at(off int) place {
	p := place{word: Range{off, off}}
	var before []syntax.Token
	for _, t := range v.allTokens() {
		if int(t.Start) >= off {
			break
		}
		switch inside := int(t.End) > off; {
		case t.Comment():
			if inside || t.LineComment() && int(t.End) == off {
				return place{}
			}
			continue
		case t.Text() && (inside || v.unclosed(t)):
			p.word = Range{int(t.Start), int(t.End)}
			return v.inString(p, before)
		case int(t.End) >= off && (t.Word() || isKeyword(t.Sign())):
			p.word = Range{int(t.Start), int(t.End)}
			continue
		}
		before = append(before, t)
	}
	r := reader{v: v, place: p}
	r.read(v.itemTokens(before, &r.place))
	return r.place
}

func isKeyword(sign string) bool {
	return sign != "" && (sign[0] >= 'A' && sign[0] <= 'Z' || sign[0] >= 'a' && sign[0] <= 'z') && sign != "x|"
}

// unclosed reports whether the string t has no end.
func (v *View) unclosed(t syntax.Token) bool {
	s := v.spelled(t)
	if strings.HasPrefix(s, "##") {
		return len(s) < 3 || !strings.HasSuffix(s, "#") || strings.HasSuffix(s, `\#`)
	}
	return len(s) < 2 || !strings.HasSuffix(s, `"`) || strings.HasSuffix(s, `\"`) && !strings.HasSuffix(s, `\\"`)
}

// inString tells what a string, behind the tokens before, is for.
func (v *View) inString(p place, before []syntax.Token) place {
	if len(before) == 0 {
		return place{}
	}
	if s := before[len(before)-1].Sign(); s == "#include" || s == "#include?" {
		p.what, p.item = anInclude, int(before[len(before)-1].Start)
		return p
	}
	r := reader{v: v, place: p}
	r.read(v.itemTokens(before, &r.place))
	if r.place.what != aValue || r.place.name == "" {
		return place{}
	}
	r.place.what = aString
	return r.place
}

// itemTokens returns the tokens of the item that the tokens lead into.
func (v *View) itemTokens(tokens []syntax.Token, p *place) []syntax.Token {
	depth := 0
	for i := len(tokens) - 1; i >= 0; i-- {
		switch tokens[i].Sign() {
		case ")", "]", "|]":
			depth++
		case "(", "[", "[|":
			depth--
		case ";", "{", "}":
			if depth <= 0 {
				p.item = int(tokens[i].End)
				return tokens[i+1:]
			}
		}
	}
	return tokens
}

// reader goes over the tokens of an item by the rules of the grammar, up to the
// cursor, and notes what belongs there. Its methods return false when the
// tokens are used up.
type reader struct {
	v *View
	place
	tokens []syntax.Token
}

func (r *reader) sign() string {
	if len(r.tokens) == 0 {
		return ""
	}
	return r.tokens[0].Sign()
}

func (r *reader) skip() { r.tokens = r.tokens[min(1, len(r.tokens)):] }

// end notes that w belongs at the cursor if the tokens are used up.
func (r *reader) end(w what) bool {
	if len(r.tokens) > 0 {
		return false
	}
	r.what = w
	return true
}

// read reads items up to the last, which is not complete.
func (r *reader) read(tokens []syntax.Token) {
	r.tokens = tokens
	for {
		if len(r.tokens) > 0 {
			r.item = int(r.tokens[0].Start)
		} else {
			r.item = r.word.From
		}
		r.name, r.parts, r.levels = "", nil, 0
		if !r.oneItem() {
			return
		}
	}
}

func (r *reader) oneItem() bool {
	if r.end(anItem) {
		return false
	}
	if r.sign() == "#include" || r.sign() == "#include?" || r.sign() == "#codebase" {
		r.skip()
		if r.end(nothing) {
			return false
		}
		r.skip()
		return true
	}
	if r.sign() == "[" {
		for r.sign() != "]" {
			r.skip()
			if r.end(aTag) {
				return false
			}
		}
		r.skip()
		if r.end(anItem) {
			return false
		}
	}
	for {
		r.name = r.v.spelled(r.tokens[0])
		if r.tokens[0].Text() {
			r.name = strings.Trim(r.name, `"`)
		}
		word := r.tokens[0].Word()
		r.skip()
		if r.sign() != ":" || !word {
			break
		}
		r.skip()
		r.parts = append(r.parts, value.Part{Kind: value.PartHere, Name: r.name})
		if r.end(aPath) {
			return false
		}
	}
	r.parts = nil
	if r.end(aValue) {
		return false
	}
	if r.sign() == "extends" {
		return r.component()
	}
	return r.simple()
}

// component reads extends and links, up to a body, which is no part of the
// item's tokens.
func (r *reader) component() bool {
	r.skip()
	if r.sign() == "DATA" || r.sign() == "LAZY" {
		r.skip()
	}
	for {
		if r.end(aProto) {
			return false
		}
		if !r.link(protoPart) {
			return false
		}
		if r.sign() != "," {
			break
		}
		r.skip()
	}
	// A name behind a complete prototype begins the next item.
	return true
}

// link reads parts; later is what belongs behind a colon.
func (r *reader) link(later what) bool {
	r.parts = nil
	for {
		if len(r.tokens) == 0 {
			return true
		}
		t := r.tokens[0]
		named, leads := t.LeadsPart()
		part := value.Part{Kind: value.PartHere, Name: r.v.spelled(t)}
		if len(r.parts) == 0 {
			part.Kind = value.PartAttrib
		}
		if leads {
			part = value.Part{Kind: partKinds[t.Sign()]}
			if named {
				r.skip()
				if r.end(nothing) {
					r.what = later
					if part.Kind == value.PartAttrib && len(r.parts) == 0 {
						r.what = aValue
					}
					return false
				}
				part.Name = strings.Trim(r.v.spelled(r.tokens[0]), `"`)
			}
		}
		r.skip()
		r.parts = append(r.parts, part)
		if r.sign() != ":" {
			return true
		}
		r.skip()
		if r.end(later) {
			return false
		}
	}
}

var partKinds = map[string]value.PartKind{
	"ATTRIB": value.PartAttrib, "HERE": value.PartHere, "PARENT": value.PartParent, "ROOT": value.PartRoot,
	"THIS": value.PartThis, "PROCESS": value.PartProcess, "HOST": value.PartHost, "PROPERTY": value.PartProperty,
	"IPROPERTY": value.PartIProperty, "ENVPROPERTY": value.PartEnvProperty, "IENVPROPERTY": value.PartIEnvProperty,
	"CONSTANT": value.PartConstant,
}

// simple reads one value.
func (r *reader) simple() bool {
	r.parts = nil
	switch s := r.sign(); s {
	case "(", "[", "[|":
		r.skip()
		r.levels++
		if s == "(" && r.sign() == "extends" {
			r.levels--
			return r.component() && r.closed(")")
		}
		return r.operands(map[string]string{"(": ")", "[": "]", "[|": "|]"}[s])
	case "IF":
		r.levels++
		for range 3 {
			if r.end(aValue) { // THEN or ELSE
				return false
			}
			r.skip()
			if r.end(aValue) || !r.simple() {
				return false
			}
		}
		if r.sign() == "FI" {
			r.skip()
		}
		r.levels--
		return true
	case "LAZY", "DATA", "OPTIONAL":
		r.lazy = r.lazy || s == "LAZY"
		r.skip()
		if r.end(aValue) {
			return false
		}
		if s == "OPTIONAL" && r.sign() == "(" {
			for r.sign() != ")" {
				r.skip()
				if r.end(aValue) {
					return false
				}
			}
			r.skip()
			if r.end(aValue) {
				return false
			}
		}
		return r.simple()
	}
	_, leads := r.tokens[0].LeadsPart()
	if !leads && !r.tokens[0].Word() {
		r.skip() // a literal, or something wrong
		return true
	}
	ok := r.link(aPart)
	if ok {
		r.lazy = false
	}
	return ok
}

// operands reads values with anything between them, up to end.
func (r *reader) operands(end string) bool {
	for {
		if r.end(aValue) {
			return false
		}
		if r.sign() == end {
			r.skip()
			r.levels--
			return true
		}
		if r.tokens[0].Op() != syntax.NotOp || r.sign() == "," {
			r.skip()
			continue
		}
		if !r.simple() {
			return false
		}
		if len(r.tokens) == 0 { // an operator or a comma belongs here
			r.what = nothing
			if r.word.From < r.word.To {
				r.what = aValue
			}
			return false
		}
	}
}

func (r *reader) closed(sign string) bool {
	if r.sign() == sign {
		r.skip()
	}
	return true
}
