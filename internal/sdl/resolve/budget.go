package resolve

import (
	"fmt"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// DefaultMaxSteps is enough for a description of several hundred thousand
// components. A step takes well below a microsecond.
const DefaultMaxSteps = 20_000_000

// maxCopied bounds the memory that a description takes beside its text, in
// attributes of about bytesEach.
const (
	maxCopied = 6_000_000
	bytesEach = 100
)

// maxSize bounds the attributes of a component, those of everything in it and
// all copies counted: what reads a result may have to go through each.
const maxSize = 8_000_000

// maxComponents and maxPathBytes bound those to be deployed in the same way:
// each is a node, with a path, where a deployment is planned.
const (
	maxComponents = 1_000_000
	maxPathBytes  = 256 << 20
)

// maxDepth bounds how deep the resolver's own recursion goes.
const maxDepth = 20_000

// spend counts n steps of work and reports whether there may be more.
func (r *resolver) spend(n int) bool {
	if r.stopped {
		return false
	}
	before := r.budget >> 10
	r.budget -= n
	if r.budget < 0 || r.memory < 0 {
		r.overrun()
		return false
	}
	if before != r.budget>>10 && r.ctx.Err() != nil {
		r.stopped = true
		return false
	}
	return true
}

// grow counts memory that stays, and the work of filling it.
func (r *resolver) grow(bytes int) bool {
	r.memory -= bytes / bytesEach
	return r.spend(bytes / 64)
}

// overrun reports that the budget is spent, where it happened.
func (r *resolver) overrun() {
	r.stopped = true
	const text = "the description grows without bounds, or needs more work than allowed"
	var d diag.Diagnostic
	switch {
	case len(r.trail) > 0:
		d = r.attrDiagnostic(diag.TooDeep, r.trail[len(r.trail)-1], text)
	case r.busy != nil && r.busy.at.Pos.IsValid():
		d = r.diagnostic(diag.TooDeep, r.busy.at, r.busy, text)
	case r.writing.Pos.IsValid():
		d = diag.New(diag.TooDeep, r.writing, text)
	default:
		d = diag.New(diag.TooDeep, diag.Span{Pos: value.Pos{File: r.rootName(), Line: 1, Col: 1}}, text)
	}
	d.Hints = []string{"look for values that double with each step, such as a vector or component that holds the one before twice"}
	r.addTooDeep(d)
}

// tooLarge reports that what is called name, n or a vector in it, is with all
// that is in it more than a result may be.
func (r *resolver) tooLarge(at diag.Span, n *node, name string) {
	if r.stopped {
		return
	}
	r.stopped = true
	text := fmt.Sprintf("%s has more than %d attributes", name, maxSize)
	switch {
	case n.comps > maxComponents:
		text = fmt.Sprintf("%s has more than %d components", name, maxComponents)
	case n.paths > maxPathBytes:
		text = fmt.Sprintf("the paths of the components in %s have more than %d bytes together", name, maxPathBytes)
	}
	d := r.diagnostic(diag.TooDeep, at, n, "the description grows without bounds: "+text+", all copies counted")
	d.Hints = []string{"look for components that hold the one before twice"}
	r.addTooDeep(d)
}

// tooDeep reports that n needs too many others.
func (r *resolver) tooDeep(at diag.Span, n *node) {
	if r.stopped {
		return
	}
	r.stopped = true
	d := r.diagnostic(diag.TooDeep, at, n, fmt.Sprintf("more than %d components or references depend on one another here", maxDepth))
	d.Related = nil // the components between would say little
	r.addTooDeep(d)
}

// addTooDeep adds d even where failures are not reported: nothing comes after.
func (r *resolver) addTooDeep(d diag.Diagnostic) {
	d.Phase = string(r.phase)
	d.IncludedFrom = r.files[d.Span.Pos.File].chain()
	r.res.Diagnostics.Add(d)
}

// weigh counts the attributes of n, whose type is resolved, and of all that is
// in it, and reports whether they are not too many.
func (r *resolver) weigh(n *node) bool {
	if n.parent == nil {
		return true // the file is no component of the result
	}
	n.size = 1
	for i := range n.attrs {
		n.size++
		if c := inner(n.attrs[i].v); c != nil {
			n.size += c.weight()
		}
		if n.size > maxSize {
			r.tooLarge(n.at, n, nodeName(n))
			return false
		}
	}
	return true
}

func (n *node) weight() int {
	if n.image != nil {
		return n.image.tree.size
	}
	return n.size
}
