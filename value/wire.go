package value

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// The wire form is JSON like typed JSON, but lossless: names are kept as they
// are, references have structure, and an attribute may carry, as a fourth
// member, the place it was written at:
//
//	["port", 80, ["tag"], "site.sf:14:11"]
//	{"$ref": {"lazy": true, "optional": true, "default": 5, "parts": [["PARENT"], ["HERE", "ip"]]}}
//	{"$ref": {"lazy": true, "apply": {"$cd": "data", "attrs": […]}, "assert": true}}
//	{"$tbd": true}
//
// A part of a reference is the keyword of its kind and, if it has one, a name.

// Bounds of the wire form, which Encode keeps and Decode enforces.
const (
	MaxWireSize  = 256 << 20 // bytes
	MaxWireDepth = 10_000    // components, vectors and references inside one another
)

// Encode returns v in wire form. It fails if v is, or holds, no value at all,
// or is beyond the bounds.
func Encode(v Value) ([]byte, error) {
	e := encoder{positions: true}
	e.value(v, 0)
	if e.err == nil && len(e.buf) > MaxWireSize {
		e.err = fmt.Errorf("encode value: %d bytes, more than the %d that fit a message", len(e.buf), MaxWireSize)
	}
	if e.err != nil {
		return nil, e.err
	}
	return e.buf, nil
}

// Digest returns "sha256:" and the digest of v in hexadecimal. Values that are
// Equal have the same digest, wherever they were written, except that 0.0 and
// -0.0 differ.
func Digest(v Value) string {
	var e encoder // what Encode refuses is digested as far as it was written
	e.value(v, 0)
	sum := sha256.Sum256(e.buf)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Wire lets a value be a member of a struct that encoding/json writes and
// reads: it marshals in wire form. The zero Wire is null, and null reads as
// Null.
type Wire struct{ Value Value }

// MarshalJSON returns the wire form.
func (w Wire) MarshalJSON() ([]byte, error) {
	if w.Value == nil {
		return []byte("null"), nil
	}
	return Encode(w.Value)
}

// UnmarshalJSON reads the wire form.
func (w *Wire) UnmarshalJSON(data []byte) (err error) {
	w.Value, err = Decode(data)
	return err
}

type encoder struct {
	buf       []byte
	err       error
	positions bool
}

var errNoValue = errors.New("encode value: nil is not a value; NULL is Null{}")

func (e *encoder) value(v Value, depth int) {
	if depth > MaxWireDepth && e.positions && e.err == nil {
		e.err = fmt.Errorf("encode value: nested more than %d deep", MaxWireDepth)
	}
	if e.err != nil {
		return
	}
	switch v := v.(type) {
	case nil:
		e.err = errNoValue
	case Vector:
		e.buf = append(e.buf, '[')
		for i, x := range v {
			e.comma(i)
			e.value(x, depth+1)
		}
		e.buf = append(e.buf, ']')
	case *Component:
		if v == nil {
			e.err = errNoValue
			return
		}
		e.component(v, depth)
	case *Reference:
		if v == nil {
			e.err = errNoValue
			return
		}
		e.reference(v, depth)
	case TBD:
		e.buf = append(e.buf, `{"$tbd":true}`...)
	default:
		e.buf = appendScalar(e.buf, v)
	}
}

func (e *encoder) comma(i int) {
	if i > 0 {
		e.buf = append(e.buf, ',')
	}
}

func (e *encoder) component(c *Component, depth int) {
	e.buf = appendHead(e.buf, c)
	for i, a := range c.attrs {
		e.comma(i)
		e.buf = append(appendString(append(e.buf, '['), a.Name), ',')
		e.value(a.Value, depth+1)
		placed := e.positions && a.Pos.IsValid()
		if placed || len(a.Tags) > 0 {
			e.buf = appendTags(append(e.buf, ','), a.Tags)
		}
		if placed {
			e.buf = appendString(append(e.buf, ','), a.Pos.String())
		}
		e.buf = append(e.buf, ']')
	}
	e.buf = append(e.buf, "]}"...)
}

func (e *encoder) reference(r *Reference, depth int) {
	e.buf = append(e.buf, `{"$ref":{`...)
	first := true
	member := func(name string) {
		if !first {
			e.buf = append(e.buf, ',')
		}
		first = false
		e.buf = append(append(append(e.buf, '"'), name...), `":`...)
	}
	flag := func(name string, set bool) {
		if set {
			member(name)
			e.buf = append(e.buf, "true"...)
		}
	}
	flag("lazy", r.Lazy)
	flag("data", r.Data)
	flag("optional", r.Optional)
	flag("assert", r.Assert)
	if r.Optional && r.Default != nil && r.Default.Kind() != KindNull {
		member("default")
		e.value(r.Default, depth+1)
	}
	if len(r.Parts) > 0 {
		member("parts")
		e.buf = append(e.buf, '[')
		for i, p := range r.Parts {
			e.comma(i)
			e.buf = append(append(append(e.buf, `["`...), p.Kind.String()...), '"')
			if p.Kind.HasName() {
				e.buf = appendString(append(e.buf, ','), p.Name)
			}
			e.buf = append(e.buf, ']')
		}
		e.buf = append(e.buf, ']')
	}
	if r.Apply != nil {
		member("apply")
		e.value(r.Apply, depth+1)
	}
	e.buf = append(e.buf, "}}"...)
}

// parsePos reads what Pos.String wrote: FILE:LINE:COL, where FILE may hold
// colons of its own.
func parsePos(s string) (Pos, error) {
	rest, col, ok1 := cutLast(s)
	file, line, ok2 := cutLast(rest)
	l, err1 := strconv.ParseInt(line, 10, 32)
	c, err2 := strconv.ParseInt(col, 10, 32)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || l < 1 || c < 1 {
		return Pos{}, fmt.Errorf("%.40q is no place FILE:LINE:COL", s)
	}
	return Pos{File: file, Line: int(l), Col: int(c)}, nil
}

func cutLast(s string) (before, after string, ok bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == ':' {
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}
