package resolve

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// placePhase moves attributes with path names to where they belong, pass by
// pass, until a pass places nothing (PL3). Components without path names left
// are marked, so that later passes do not enter them.
func (r *resolver) placePhase() {
	for {
		moved := false
		pending := r.place(r.top(), &moved)
		if r.stopped || !pending {
			return
		}
		if !moved {
			break
		}
	}
	r.reportUnplaced(r.top())
}

// place makes one pass over n and reports whether path names are left.
func (r *resolver) place(n *node, moved *bool) (pending bool) {
	if n.placed {
		return false
	}
	if r.busy = n; !r.spend(len(n.attrs) + 1) {
		return false
	}
	if n.image != nil && !n.image.path {
		n.placed = true
		return false
	}
	r.open(n)
	gone := 0
	for i := 0; i < len(n.attrs); i++ {
		a := &n.attrs[i]
		if a.path {
			if r.placeOne(n, a) {
				*moved = true
				n.attrs[i] = attr{} // removed below; positions stay until then
				gone++
			} else {
				pending = true
			}
			continue
		}
		switch v := a.v.(type) {
		case *node:
			pending = r.place(v, moved) || pending
		case *ref:
			if v.apply != nil {
				pending = r.place(v.apply, moved) || pending
			}
		}
	}
	if gone > 0 {
		kept := make([]attr, 0, len(n.attrs)-gone)
		for _, a := range n.attrs {
			if a.v != nil {
				kept = append(kept, a)
			}
		}
		n.setAttrs(kept)
	}
	n.placed = !pending
	return pending
}

// placeOne puts a, a path name of n, where its path leads, and reports whether
// that was possible.
func (r *resolver) placeOne(n *node, a *attr) bool {
	target, _ := r.placeTarget(n, a)
	if target == nil {
		return false
	}
	name := a.src.Name
	b := attr{name: name, v: a.v, tags: a.tags, src: a.src}
	switch v := b.v.(type) {
	case *node:
		v.parent, v.name = target, name
		r.unplace(target, v)
	case *ref:
		if v.apply != nil {
			v.apply.parent, v.apply.name = target, name
			r.unplace(target, v.apply)
		}
	}
	r.open(target)
	i := target.find(name)
	if r.trace != nil {
		var over *syntax.Attribute
		if i >= 0 {
			over = target.attrs[i].src
		}
		r.trace.placed(r, n, a, target, over)
	}
	if i < 0 {
		target.add(b)
		return true
	}
	old := &target.attrs[i]
	if slices.Contains(old.tags, "sfFinal") {
		d := r.diagnostic(diag.PlaceFinal, a.nameSpan(), n, fmt.Sprintf("%s is final in %s and cannot be placed", name, nodeName(target)))
		d.Attribute = shownName(a.name)
		d.Related = append(d.Related, diag.Related{Span: old.nameSpan(), Message: "tagged sfFinal here"})
		r.report(nil, d)
		return true
	}
	b.tags = union(old.tags, b.tags)
	*old = b
	return true
}

// unplace marks that n, which brings path names with it, may have to be
// entered again.
func (r *resolver) unplace(target, n *node) {
	if n.placed {
		return
	}
	for ; target != nil && target.placed; target = target.parent {
		target.placed = false
	}
}

// placeTarget returns the component that the path of a, written in n, leads to.
func (r *resolver) placeTarget(n *node, a *attr) (*node, model.Outcome[*node]) {
	parts := make([]value.Part, len(a.src.Path))
	for i, w := range a.src.Path {
		parts[i] = value.Part{Kind: value.PartHere, Name: w}
	}
	out := model.Walk(definitions{r, n}, n, parts)
	if out.Kind == model.Whole {
		return out.Component, out
	}
	return nil, out
}

func (r *resolver) reportUnplaced(n *node) {
	if n.placed {
		return
	}
	for i := range n.attrs {
		a := &n.attrs[i]
		if !a.path {
			switch v := a.v.(type) {
			case *node:
				r.reportUnplaced(v)
			case *ref:
				if v.apply != nil {
					r.reportUnplaced(v.apply)
				}
			}
			continue
		}
		name := strings.Join(append(a.src.Path[:len(a.src.Path):len(a.src.Path)], a.src.Name), ":")
		_, out := r.placeTarget(n, a)
		code, text := diag.PlaceNotFound, fmt.Sprintf("no component to place %s in: %s not found", name, a.src.Path[min(out.At, len(a.src.Path)-1)])
		if out.Kind == model.Found || out.Kind == model.NotComponent {
			code, text = diag.PlaceNotComponent, fmt.Sprintf("cannot place %s: %s is not a component", name, out.Name)
		} else if out.Kind == model.Lazy {
			code, text = diag.PlaceNotComponent, fmt.Sprintf("cannot place %s: %s is a LAZY reference", name, out.Name)
		}
		d := r.diagnostic(code, a.nameSpan(), n, text)
		d.Attribute = name
		if code == diag.PlaceNotFound && r.wanted(d) {
			if d.Found = names(out.In); d.Found != "" {
				d.Found = "in " + nodeName(out.In) + ": " + d.Found
			}
			d.Hints = r.nearestIn(out.In, a.src.Path[min(out.At, len(a.src.Path)-1)])
		}
		r.report(nil, d)
	}
}
