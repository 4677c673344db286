package value

import "slices"

// PartKind is the kind of one step of a reference.
type PartKind uint8

// The parts of a reference (sdl.md section 12). A plain word is Attrib as the
// first part and Here later.
const (
	PartAttrib PartKind = iota
	PartHere
	PartParent
	PartRoot
	PartThis
	PartProcess
	PartHost
	PartProperty
	PartIProperty
	PartEnvProperty
	PartIEnvProperty
	PartConstant
)

// Part is one step of a reference; Name is empty for PARENT, ROOT, THIS and
// PROCESS.
type Part struct {
	Kind PartKind
	Name string
}

// Reference names a value elsewhere, or (Apply) computes one. In a resolved
// description only lazy and data references are left.
type Reference struct {
	Lazy     bool
	Data     bool
	Optional bool
	Default  Value // of OPTIONAL (default); nil means NULL
	Parts    []Part

	// Apply, when not nil, is the body of APPLY {…}, or of ASSERT {…} if
	// Assert is set; Parts is empty then.
	Apply  *Component
	Assert bool
}

func (r *Reference) equal(s *Reference) bool {
	if r == s {
		return true
	}
	if r == nil || s == nil || r.Lazy != s.Lazy || r.Data != s.Data || r.Optional != s.Optional ||
		r.Assert != s.Assert || !slices.Equal(r.Parts, s.Parts) || (r.Apply == nil) != (s.Apply == nil) {
		return false
	}
	if r.Optional && !Equal(orNull(r.Default), orNull(s.Default)) {
		return false
	}
	return r.Apply == nil || r.Apply.equal(s.Apply)
}

func orNull(v Value) Value {
	if v == nil {
		return Null{}
	}
	return v
}
