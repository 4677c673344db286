// Package syntax turns the text of a description into a tree and a tree into
// text (sdl.md sections 2, 3, 5 and 10). It knows nothing of other files:
// includes are items of the tree, and names made by -- are left to whoever
// puts the files of a description together, since they are counted over all of
// them. It starts no goroutine and keeps no state between calls; a tree is not
// changed once it is returned, and may be shared.
package syntax

import (
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// File is one source text as a tree.
type File struct {
	Name     string
	Wrapped  bool // written as one extends { items }
	Items    []Item
	Comments []Comment // in the order of the text
}

// Comment is a comment of the text, with its marks. Start and End are its
// offsets in the text as it is written.
type Comment struct {
	Span       diag.Span
	Text       string
	Start, End int
}

// Item is what a file or a body holds: an *Attribute or an *Include.
type Item interface{ item() }

// Attribute is a name with a value. A path name p:q:n has Path p, q and Name
// n. Fresh stands for --: Name is then empty, and to be chosen.
type Attribute struct {
	Tags     []string // as written, in order
	Path     []string
	Name     string
	Fresh    bool
	NameSpan diag.Span // of the whole path name; zero if generated
	Value    Expr
}

// Include is #include "FILE", or #include? if Optional. Codebase is the text
// of a #codebase before it and counts if HasCodebase is set.
type Include struct {
	Span        diag.Span
	HasCodebase bool
	Codebase    string
	Optional    bool
	File        string
	FileSpan    diag.Span
}

func (*Attribute) item() {}
func (*Include) item()   {}

// Expr is a value as written: a *Literal, *Vector, *Reference, *Component or
// *Var.
type Expr interface {
	// Span returns where the value is written; the parentheses of an operation
	// belong to it, others do not.
	Span() diag.Span
	expr()
}

// Literal is NULL, a boolean, number, string, byte array or TBD.
type Literal struct {
	At    diag.Span
	Value value.Value
}

// Vector is [| … |]; its elements are Literals, Vectors, DATA References and
// Vars. The form [ … ] is a Component with OpVector.
type Vector struct {
	At    diag.Span
	Elems []Expr
}

// Reference is a link with what stands before it, or APPLY { … } or
// ASSERT { … }. A word that leads a link is PartAttrib, a later one PartHere.
type Reference struct {
	At       diag.Span
	Lazy     bool
	Data     bool
	Optional bool
	Default  Expr // of OPTIONAL ( … ), or nil
	Parts    []value.Part
	Apply    *Body // of APPLY or ASSERT, or nil
	Assert   bool
}

// Component is extends with its prototypes, or operator notation in the form
// of sdl.md section 10: Data is set, Op says which operator, and the only
// prototype is a body that begins with phase.function and sfFunctionClass.
// Operands without a name of their own are Fresh. Arms counts those of a
// SWITCH; they are the last 2·Arms attributes, what lies before is its body.
type Component struct {
	At     diag.Span
	Data   bool
	Protos []Proto
	Op     Op
	Arms   int
}

// Proto is one prototype: a Body, or else a Link, or else NULL.
type Proto struct {
	At   diag.Span
	Body *Body
	Link []value.Part
}

// Body is items between braces.
type Body struct {
	At    diag.Span
	Items []Item
}

// Var is a constraint variable: VAR, VAR name, or VAR {name, range}. Name is a
// Reference, a string Literal or nil; Range a string or number Literal or nil.
type Var struct {
	At    diag.Span
	Name  Expr
	Range Expr
}

// Span returns where the value is written.
func (l *Literal) Span() diag.Span { return l.At }

// Span returns where the value is written.
func (v *Vector) Span() diag.Span { return v.At }

// Span returns where the value is written.
func (r *Reference) Span() diag.Span { return r.At }

// Span returns where the value is written.
func (c *Component) Span() diag.Span { return c.At }

// Span returns where the value is written.
func (v *Var) Span() diag.Span { return v.At }

func (*Literal) expr()   {}
func (*Vector) expr()    {}
func (*Reference) expr() {}
func (*Component) expr() {}
func (*Var) expr()       {}

// Operands returns the attributes of an operator component behind the two it
// begins with.
func (c *Component) Operands() []Item { return c.Protos[0].Body.Items[2:] }
