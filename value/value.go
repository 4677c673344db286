// Package value holds the typed values of the description language: what
// descriptions, component managers and the wire share. Values are immutable
// once handed on; a Component is filled by its maker only. The package knows
// nothing of files, phases or life cycles.
package value

import (
	"fmt"
	"math"
)

// Kind says which of the language's kinds a Value is.
type Kind uint8

// The kinds, in the order of the language reference (sdl.md section 4).
const (
	KindNull Kind = iota
	KindBool
	KindInteger
	KindLong
	KindFloat
	KindDouble
	KindString
	KindBytes
	KindVector
	KindComponent
	KindReference
	KindTBD
)

var kindNames = [...]string{
	"null", "boolean", "integer", "long", "float", "double", "string",
	"bytes", "vector", "component", "reference", "TBD",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", k)
}

// Value is one value of the language. The set is closed: Null, Bool, Integer,
// Long, Float, Double, String, Bytes, Vector, *Component, *Reference, TBD.
type Value interface {
	Kind() Kind
	sealed()
}

type (
	// Null is NULL: a value, not absence.
	Null struct{}
	// Bool is true or false.
	Bool bool
	// Integer has 32 bits.
	Integer int32
	// Long has 64 bits, written with a trailing L.
	Long int64
	// Float is IEEE single precision.
	Float float32
	// Double is IEEE double precision.
	Double float64
	// String is Unicode text.
	String string
	// Bytes is a byte array.
	Bytes []byte
	// Vector is an ordered list of values of any kind.
	Vector []Value
	// TBD marks what must be replaced before it is needed.
	TBD struct{}
)

func (Null) Kind() Kind       { return KindNull }
func (Bool) Kind() Kind       { return KindBool }
func (Integer) Kind() Kind    { return KindInteger }
func (Long) Kind() Kind       { return KindLong }
func (Float) Kind() Kind      { return KindFloat }
func (Double) Kind() Kind     { return KindDouble }
func (String) Kind() Kind     { return KindString }
func (Bytes) Kind() Kind      { return KindBytes }
func (Vector) Kind() Kind     { return KindVector }
func (*Component) Kind() Kind { return KindComponent }
func (*Reference) Kind() Kind { return KindReference }
func (TBD) Kind() Kind        { return KindTBD }

func (Null) sealed()       {}
func (Bool) sealed()       {}
func (Integer) sealed()    {}
func (Long) sealed()       {}
func (Float) sealed()      {}
func (Double) sealed()     {}
func (String) sealed()     {}
func (Bytes) sealed()      {}
func (Vector) sealed()     {}
func (*Component) sealed() {}
func (*Reference) sealed() {}
func (TBD) sealed()        {}

// Pos is a place in a written file. Line and column count from 1, columns in
// characters. The zero Pos means the place is unknown.
type Pos struct {
	File string
	Line int
	Col  int
}

// IsValid reports whether p names a place.
func (p Pos) IsValid() bool { return p.Line > 0 }

func (p Pos) String() string {
	if !p.IsValid() {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Equal reports whether a and b are the same kind with the same content (the
// language's ==): 1 and 1L differ, NULL equals NULL, vectors and components
// compare element by element, bytes by content. Positions do not count.
func Equal(a, b Value) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case Bytes:
		b, ok := b.(Bytes)
		return ok && string(a) == string(b)
	case Vector:
		b, ok := b.(Vector)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !Equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case *Component:
		b, ok := b.(*Component)
		return ok && a.equal(b)
	case *Reference:
		b, ok := b.(*Reference)
		return ok && a.equal(b)
	case Float:
		b, ok := b.(Float)
		return ok && (a == b || math.IsNaN(float64(a)) && math.IsNaN(float64(b)))
	case Double:
		b, ok := b.(Double)
		return ok && (a == b || math.IsNaN(float64(a)) && math.IsNaN(float64(b)))
	default:
		return a == b
	}
}
