package model

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// unresolved reports the reference r in the attribute at p, which ends as out
// says.
func (a *absolute) unresolved(p place, r *value.Reference, out Outcome[*scope]) {
	part := partText(r.Parts, out.At)
	text := "LAZY reference cannot resolve: " + partsText(r.Parts) + ": "
	switch out.Kind {
	case AboveTop:
		text += fmt.Sprintf("part %d, PARENT, leads above %s", out.At+1, out.In)
	case NotComponent:
		text += fmt.Sprintf("%s of %s, before %s, is not a component", out.Name, out.In, part)
	default:
		text += fmt.Sprintf("%s not found in %s", part, out.In)
		if out.At > 0 && r.Parts[out.At].Kind == value.PartHere {
			text += ", and a later word does not climb"
		}
	}
	hints := a.proposals(p.s, r, out.At)
	if len(hints) == 0 && isWord(r.Parts[out.At]) {
		hints = a.nearest(r, out)
	}
	a.problem(p, text, hints...)
}

// nearest proposes the names that look like the one that r ends at, among
// those of the component it ends in.
func (a *absolute) nearest(r *value.Reference, out Outcome[*scope]) []string {
	var names, hints []string
	for at := range out.In.comp.All() {
		names = append(names, at.Name)
	}
	for _, name := range diag.Nearest(r.Parts[out.At].Name, names) {
		parts := slices.Clone(r.Parts)
		parts[out.At].Name = name
		hints = append(hints, "did you mean LAZY "+partsText(parts)+"?")
	}
	return hints
}

// problem reports a mistake written in the attribute at p, if that is the one
// asked about; others are reported when they are.
func (a *absolute) problem(p place, text string, hints ...string) {
	holder, name := p.s.within(), topName(p.s, p.name)
	at, given := holder.Comp.Attr(name)
	if !given { // an element of a vector
		name, _, _ = strings.Cut(name, "[")
		at, _ = holder.Comp.Attr(name)
	}
	if a.done == nil && (holder != a.holder || name != a.attr.Name) {
		return
	}
	pos := at.Pos
	if at, ok := p.s.comp.Attr(p.name); ok && at.Pos.IsValid() {
		pos = at.Pos
	}
	a.problems = append(a.problems, Problem{Path: holder.Path, order: holder.Order, Attr: name, Pos: pos, Message: text, Hints: hints})
}

// once is problem for what would be found again and again.
func (a *absolute) once(p place, text string) {
	for _, q := range a.problems {
		if q.Message == text {
			return
		}
	}
	a.problem(p, text)
}

// cycle reports that the attribute at p needs itself. Every member of a cycle
// finds it; the first in the description tells.
func (a *absolute) cycle(p place) {
	start := 0
	for a.trail[start] != p {
		start++
	}
	if start > 0 && a.done == nil {
		return
	}
	var steps []string
	for _, q := range a.trail[start:] {
		if q.before(p) && a.done == nil {
			return
		}
		steps = append(steps, q.String())
	}
	a.problem(p, "LAZY references form a cycle: "+strings.Join(append(steps, p.String()), " -> "))
}

// proposals returns references near r, which ends at part at, that resolve
// (RX4): the rest of the path looked up from the holder, then the path with
// one more and one fewer PARENT.
func (a *absolute) proposals(s *scope, r *value.Reference, at int) []string {
	var hints []string
	try := func(text string, parts []value.Part) {
		if len(parts) == 0 {
			return
		}
		switch out := Walk(a.sp, s, parts); out.Kind {
		case Found, Whole, Lazy:
			hints = append(hints, "did you mean LAZY "+text+"?")
		}
	}
	if rest := r.Parts[at:]; at > 0 && isWord(rest[0]) {
		parts := append([]value.Part{{Kind: value.PartAttrib, Name: rest[0].Name}}, rest[1:]...)
		try("ATTRIB "+partsText(parts), parts)
	}
	parent := value.Part{Kind: value.PartParent}
	more := append([]value.Part{parent}, r.Parts...)
	if more[1].Kind == value.PartAttrib {
		more[1].Kind = value.PartHere
	}
	try(partsText(more), more)
	if r.Parts[0] == parent && len(r.Parts) > 1 {
		fewer := append([]value.Part(nil), r.Parts[1:]...)
		if fewer[0].Kind == value.PartHere {
			fewer[0].Kind = value.PartAttrib
		}
		try(partsText(fewer), fewer)
	}
	return hints
}

func isWord(p value.Part) bool {
	return p.Kind == value.PartAttrib || p.Kind == value.PartHere
}

// partsText writes a link.
func partsText(parts []value.Part) string {
	return value.RefText(&value.Reference{Parts: parts})
}

// partText writes the part at index i of parts.
func partText(parts []value.Part, i int) string {
	p := parts[i]
	if i > 0 && p.Kind == value.PartHere {
		p.Kind = value.PartAttrib // a plain word, too
	} else if i > 0 && p.Kind == value.PartAttrib {
		return "ATTRIB " + p.Name
	}
	return partsText([]value.Part{p})
}
