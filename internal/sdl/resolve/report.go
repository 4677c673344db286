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

// diagnostic returns a diagnostic about something in n, with the place that
// copied it there.
func (r *resolver) diagnostic(code diag.Code, at diag.Span, n *node, text string) diag.Diagnostic {
	d := diag.New(code, at, text)
	d.Path = shownName(n.path())
	// What is written outside the component that holds it was copied, linked
	// or placed: the nearest one that does not contain it brought it here.
	const most = 1_000 // levels climbed
	level := 0
	for m := n; m != nil && m.parent != nil && level < most; m, level = m.parent, level+1 {
		if m.at.Pos.IsValid() && at.Pos.IsValid() && !r.contains(m.at, at.Pos) && m.op == syntax.NotOp {
			top := m
			for p := m.parent; p != nil && p.parent != nil && p.at.Pos.IsValid() && !r.contains(p.at, top.at.Pos); p = p.parent {
				top = p
			}
			d.Related = append(d.Related, diag.Related{Span: top.at, Message: "used in " + nodeName(top) + " here"})
			break
		}
		if r.contains(m.at, at.Pos) && m.parent.parent != nil && m.parent.at.Pos.IsValid() && !r.contains(m.parent.at, m.at.Pos) {
			d.Related = append(d.Related, diag.Related{Span: m.parent.at, Message: "used in " + nodeName(m.parent) + " here"})
			break
		}
	}
	return d
}

// contains reports whether p is in s, or in a file included from there; of a
// span whose end is not known, nothing can be said.
func (r *resolver) contains(s diag.Span, p value.Pos) bool {
	if s.EndLine == 0 || !p.IsValid() || !s.Pos.IsValid() {
		return true
	}
	if s.Pos.File != p.File {
		from, found := r.files[p.File].above(s.Pos.File)
		if !found {
			return false
		}
		p = from
	}
	if p.Line < s.Pos.Line || p.Line == s.Pos.Line && p.Col < s.Pos.Col {
		return false
	}
	return p.Line < int(s.EndLine) || p.Line == int(s.EndLine) && p.Col < int(s.EndCol)
}

// attrDiagnostic returns a diagnostic about the attribute at s. Operands are
// named by the attribute that holds the operator.
func (r *resolver) attrDiagnostic(code diag.Code, s slot, text string) diag.Diagnostic {
	a := s.attr()
	at := a.span()
	n, name := s.n, a.name
	for n.op != syntax.NotOp && n.parent != nil {
		if !at.Pos.IsValid() {
			at = n.at
		}
		n, name = n.parent, n.name
	}
	d := r.diagnostic(code, at, s.n, text)
	d.Path, d.Attribute = shownName(n.path()), shownName(name)
	return d
}

// notFound reports how the look-up of t, in the attribute at s, ended.
func (r *resolver) notFound(s slot, t *ref, out model.Outcome[*node]) {
	if r.quiet > 0 {
		r.muffled++ // as often as there is an OPTIONAL
		return
	}
	text := linkText(t.parts)
	var d diag.Diagnostic
	switch out.Kind {
	case model.NotComponent:
		d = r.attrDiagnostic(diag.PathThroughValue, s, fmt.Sprintf("path through something that is not a component: %s", text))
		d.Expected = fmt.Sprintf("%s of %s to be a component", out.Name, nodeName(out.In))
		if i := out.In.find(out.Name); i >= 0 {
			d.Found = kindAndText(out.In.attrs[i].v)
		}
	case model.AboveTop:
		d = r.attrDiagnostic(diag.ReferenceNotFound, s, fmt.Sprintf("reference not found: %s: part %d, PARENT, leads above the top", text, out.At+1))
	default:
		d = r.attrDiagnostic(diag.ReferenceNotFound, s, "reference not found: "+text)
		if r.wanted(d) {
			d.Found = r.searched(out, t.parts)
			d.Hints = r.referenceHints(s, t, out)
		}
	}
	r.report(nil, d)
}

// searched tells what there was where the look-up ended.
func (r *resolver) searched(out model.Outcome[*node], parts []value.Part) string {
	if out.Kind == model.AboveTop {
		return ""
	}
	list := names(out.In)
	if list == "" {
		list = "no attributes"
	}
	text := fmt.Sprintf("in %s: %s", nodeName(out.In), list)
	if out.At > 0 {
		text = fmt.Sprintf("no %s %s", parts[out.At].Name, text)
	}
	return text
}

// names lists the attributes of n, the operator's own left out.
func names(n *node) string {
	const most = 12
	var list []string
	for i := range n.attrs {
		if a := &n.attrs[i]; !a.path && !strings.HasPrefix(a.name, "phase.") && a.name != syntax.FunctionClass && !generated(a.name) {
			if len(list) == most {
				return strings.Join(list, ", ") + ", …"
			}
			list = append(list, shownName(a.name))
		}
	}
	return strings.Join(list, ", ")
}

// referenceHints proposes references near t that resolve.
func (r *resolver) referenceHints(s slot, t *ref, out model.Outcome[*node]) []string {
	p := t.parts[out.At]
	if p.Kind != value.PartAttrib && p.Kind != value.PartHere {
		return nil
	}
	if i := out.In.find(p.Name); i >= 0 && slices.Contains(out.In.attrs[i].tags, "sfLocal") {
		return []string{fmt.Sprintf("%s is sfLocal: only what stands in %s can read it", p.Name, nodeName(out.In))}
	}
	var hints []string
	for _, name := range r.near(p, out) {
		parts := append([]value.Part(nil), t.parts...)
		parts[out.At].Name = name
		hints = append(hints, "did you mean "+linkText(parts)+"?")
	}
	if len(hints) > 0 {
		return hints
	}
	if out.At > 0 {
		rest := append([]value.Part{{Kind: value.PartAttrib, Name: p.Name}}, t.parts[out.At+1:]...)
		r.quiet++
		o := model.Walk(links{r}, s.n, rest)
		r.quiet--
		if o.Kind == model.Found || o.Kind == model.Whole {
			return []string{fmt.Sprintf("a later word does not climb; did you mean %s?", linkText(rest))}
		}
	}
	if hint, found := syntax.KeywordHint(p.Name); found {
		return []string{hint}
	}
	if hint, found := syntax.WordHint(p.Name); found {
		return []string{hint}
	}
	return nil
}

// prototypeHints proposes names or includes for a prototype that is not found.
func (r *resolver) prototypeHints(n *node, out model.Outcome[*node], link []value.Part) []string {
	p := link[out.At]
	var hints []string
	if p.Kind == value.PartAttrib || p.Kind == value.PartHere {
		for _, name := range r.near(p, out) {
			if name == n.name && len(link) == 1 {
				continue // it would extend itself
			}
			parts := append([]value.Part(nil), link...)
			parts[out.At].Name = name
			hints = append(hints, "did you mean "+linkText(parts)+"?")
		}
		if out.At == 0 {
			if inc, found := libraryNames()[p.Name]; found {
				hints = append([]string{fmt.Sprintf("%s is defined by #include %q", p.Name, inc)}, hints...)
			}
			if len(hints) == 0 && len(link) == 1 {
				hints = []string{fmt.Sprintf("unknown component %s: 'aloft component list' has those of this release", p.Name)}
			}
		}
	}
	return hints
}

// The bounds of what hints cost: the names that one is looked for among, and
// the components; and the names of all hints of a description together, so that
// a mistake made often costs as much as a few.
const (
	maxNames     = 10_000
	maxClimbed   = 1_000
	maxAllHinted = 500_000
)

// nearest returns those of names that are nearest to name, as long as hints are
// not too dear.
func (r *resolver) nearest(name string, names []string) []string {
	names = names[:min(len(names), maxNames)]
	if r.hinted += len(names); r.hinted > maxAllHinted {
		return nil
	}
	return diag.Nearest(name, names)
}

// near returns the names nearest to p's where p was looked for.
func (r *resolver) near(p value.Part, out model.Outcome[*node]) []string {
	if r.hinted > maxAllHinted {
		return nil
	}
	var candidates []string
	climbed := 0
	for n := out.In; n != nil && len(candidates) < maxNames && climbed < maxClimbed; n, climbed = n.parent, climbed+1 {
		for i := range n.attrs {
			if a := &n.attrs[i]; !a.path && !strings.HasPrefix(a.name, "phase.") && len(candidates) < maxNames {
				candidates = append(candidates, a.name)
			}
		}
		if p.Kind != value.PartAttrib {
			break
		}
	}
	return r.nearest(p.Name, candidates)
}

// nearestIn returns hints that propose attributes of n for name.
func (r *resolver) nearestIn(n *node, name string) []string {
	return hintsOf(r.similar(n, name))
}

// similar returns the attributes of n that are called nearly name.
func (r *resolver) similar(n *node, name string) []string {
	if r.hinted > maxAllHinted {
		return nil
	}
	var candidates []string
	for i := range n.attrs[:min(len(n.attrs), maxNames)] {
		candidates = append(candidates, n.attrs[i].name)
	}
	return r.nearest(name, candidates)
}

// nearestOf returns hints that propose some of candidates, which are few, for
// name.
func nearestOf(name string, candidates []string) []string {
	return hintsOf(diag.Nearest(name, candidates))
}

// hintsOf returns hints that propose names.
func hintsOf(names []string) []string {
	var hints []string
	for _, c := range names {
		hints = append(hints, "did you mean "+c+"?")
	}
	return hints
}

// kindText names the kind of t.
func kindText(t term) string {
	switch t := t.(type) {
	case nil:
		return "nothing"
	case *node:
		return "a component"
	case *vector:
		return "a vector"
	case *variable:
		return "a constraint variable"
	case *ref:
		switch {
		case t.assert:
			return "an assertion"
		case t.apply != nil && t.lazy:
			return "a LAZY function"
		case t.apply != nil:
			return "a function"
		case t.lazy:
			return "a LAZY reference"
		case t.data:
			return "a DATA reference"
		}
		return "a reference"
	case value.Integer:
		return "an integer"
	case value.Null:
		return "NULL"
	case value.Value:
		return article(t.Kind().String())
	}
	return "something else"
}

func article(noun string) string {
	switch noun {
	case "TBD", "bytes":
		return noun
	}
	return "a " + noun
}

// kindAndText names the kind of t and, if it is short, writes it.
func kindAndText(t term) string {
	const most = 40
	kind := kindText(t)
	switch v := t.(type) {
	case value.Bool, value.Integer, value.Long, value.Float, value.Double, value.String:
		if text := value.Source(v.(value.Value)); len(text) <= most {
			return kind + ", " + text
		}
	}
	return kind
}
