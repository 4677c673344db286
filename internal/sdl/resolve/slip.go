package resolve

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Slip returns the name that an attribute was probably meant to have, or "":
// one that a schema knows, that is not given, and that is much like name.
// Attributes that no schema knows are otherwise the author's own, for
// references to read.
func Slip(name string, known []string, given func(name string) bool) string {
	knows := func(name string) bool { return slices.Contains(known, name) }
	return slip(name, knows, given, func(name string) []string { return diag.Nearest(name, known) })
}

// slip is Slip, given what tells whether a name is known, and what finds the
// known ones that are much like one.
func slip(name string, knows, given func(name string) bool, nearTo func(name string) []string) string {
	if strings.HasPrefix(name, "sf") || knows(name) {
		return ""
	}
	for _, near := range nearTo(name) {
		if !given(near) {
			return near
		}
	}
	return ""
}

// warnSlips warns of attributes beside the schema at s, the first of its
// component, that are probably meant to be others. Of those that must be there
// the schema itself says that they are missing.
func (r *resolver) warnSlips(s slot) {
	var known []string
	var names, need map[string]bool // names: those in known
	nearTo := func(name string) []string { return r.nearest(name, known) }
	schemas := 0
	for i := range s.n.attrs {
		switch t := s.n.attrs[i].v.(type) {
		case dropped:
			return // it was not the first
		case *ref:
			if t.assert && i < s.i {
				return
			}
			if !t.assert {
				continue
			}
			if schemas++; schemas == 1 && t.apply.image != nil {
				same := r.schemaOf(t.apply.image)
				known, names, need = slices.Clip(same.known), same.names, same.need
				nearTo = func(name string) []string { return r.nearTo(same, name) }
				continue
			}
			need = maps.Clone(need)
			if need == nil {
				need = map[string]bool{}
			}
			known = elementNames(t.apply, known, need)
			names = setOf(known)
			nearTo = func(name string) []string { return r.nearest(name, known) }
		}
	}
	if len(known) == 0 || !r.spend(len(s.n.attrs)) {
		return
	}
	knows := func(name string) bool { return names[name] }
	given := func(name string) bool { return need[name] || r.gives(s.n, name) }
	for i := range s.n.attrs {
		a := &s.n.attrs[i]
		if inside, isNode := a.v.(*node); isNode && !inside.data {
			continue // a component of its own
		}
		near := slip(a.name, knows, given, nearTo)
		if near == "" {
			continue
		}
		d := r.attrDiagnostic(diag.AttributeUnknown, slot{s.n, i}, fmt.Sprintf("nothing knows the attribute %s", a.name))
		if a.src != nil {
			d.Span = a.src.NameSpan
		}
		d.Hints = []string{"did you mean " + near + "?"}
		r.report(nil, d)
	}
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// gives reports whether n itself, not a prototype, gives the attribute.
func (r *resolver) gives(n *node, name string) bool {
	i := n.find(name)
	return i >= 0 && r.contains(n.at, n.attrs[i].span().Pos)
}

// elementNames adds the attributes that a schema speaks of to known, and those
// of them that must be there to need.
func elementNames(schema *node, known []string, need map[string]bool) []string {
	for _, a := range attrsOf(schema) {
		if strings.HasPrefix(a.name, "sf") || !isElement(a.v) {
			continue
		}
		known = append(known, a.name)
		element := attrsOf(a.v.(*ref).apply)
		at := slices.IndexFunc(element, func(a attr) bool { return a.name == "optional" })
		if at < 0 || element[at].v != term(value.Bool(true)) {
			need[a.name] = true
		}
	}
	return known
}
