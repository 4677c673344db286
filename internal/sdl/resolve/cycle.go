package resolve

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// ancestorLink reports a link to a component that holds the link (LK10).
func (r *resolver) ancestorLink(s slot, t *ref, c *node) {
	what := "the component it is in"
	if c != s.n {
		what = "a component that contains it"
	}
	d := r.attrDiagnostic(diag.ReferenceCycle, s, fmt.Sprintf("cyclic reference: %s is %s", linkText(t.parts), what))
	d.Related = []diag.Related{{Span: c.at, Message: nodeName(c) + " is written here"}}
	if !c.at.Pos.IsValid() {
		d.Related = nil
	}
	d.Hints = []string{"LAZY " + linkText(t.parts) + " refers to it without containing it"}
	r.report(nil, d)
}

// maxTrail is the number of steps of a cycle that are shown.
const maxTrail = 20

// linkCycle reports that the attribute at s, which is under way, needs itself.
func (r *resolver) linkCycle(s slot) {
	start := len(r.trail) - 1
	for start > 0 && r.trail[start] != s {
		start--
	}
	cycle := slices.Clone(r.trail[start:])
	last := cycle[len(cycle)-1]
	// Names made for operands mean nothing to people.
	if named := slices.DeleteFunc(slices.Clone(cycle), func(q slot) bool { return generated(q.attr().name) }); len(named) > 0 {
		cycle = named
	}
	var steps []string
	for _, q := range cycle[:min(len(cycle), maxTrail)] {
		steps = append(steps, shownName(q.String()))
	}
	if len(cycle) > maxTrail {
		steps = append(steps, fmt.Sprintf("… %d more …", len(cycle)-maxTrail))
	}
	d := r.attrDiagnostic(diag.ReferenceCycle, last, "cyclic reference: "+strings.Join(append(steps, steps[0]), " -> "))
	for _, q := range cycle[:min(len(cycle), maxTrail)] {
		d.Related = append(d.Related, diag.Related{Span: q.attr().span(), Message: shownName(q.String()) + " needs the next"})
	}
	if t, isRef := last.attr().v.(*ref); isRef && t.apply == nil && len(t.parts) > 0 {
		switch word := t.parts[0]; {
		case r.findsOwnParameter(last, t), len(cycle) == 1 && word.Kind == value.PartAttrib && word.Name == last.attr().name:
			d.Hints = []string{"did you mean PARENT:" + linkText(t.parts) + "?"}
		}
	}
	r.report(nil, d)
}

// prototypeLoop reports that p of n is reached through links that lead only to
// each other (TY6, TY9).
func (r *resolver) prototypeLoop(n *node, p *proto) {
	loop := r.typing.loop
	r.typing.loop = nil
	var steps []string
	var related []diag.Related
	for _, l := range loop[:min(len(loop), maxTrail)] {
		name := shownName(l.String())
		steps = append(steps, name)
		related = append(related, diag.Related{Span: l.attr().span(), Message: name + " needs the next"})
	}
	if len(loop) > maxTrail {
		steps = append(steps, fmt.Sprintf("… %d more …", len(loop)-maxTrail))
	}
	d := r.diagnostic(diag.ExtendsCycle, p.src.At, n, fmt.Sprintf(
		"cyclic extends: %s leads to no component: %s", linkText(p.src.Link), strings.Join(append(steps, steps[0]), " -> ")))
	d.Related = related
	r.report(nil, d)
}

// containment reports a link, found at s, to a component that contains s by
// way of other links.
func (r *resolver) containment(s slot, t *node) {
	d := r.attrDiagnostic(diag.ReferenceCycle, s, fmt.Sprintf("cyclic reference: %s contains %s by this link", nodeName(t), nodeName(s.n)))
	if t.at.Pos.IsValid() {
		d.Related = append(d.Related, diag.Related{Span: t.at, Message: nodeName(t) + " is written here"})
	}
	d.Hints = []string{"a LAZY reference refers to it without containing it"}
	r.report(nil, d)
}
