package resolve

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// typeState says how far type resolution of a node has come.
type typeState uint8

const (
	typeNew     typeState = iota
	typeMerging           // its prototypes are being merged
	typeMerged            // its attributes are all there
	typeNesting           // the components inside are being resolved
	typeDone
	typeFailed
)

// typing is the state of the type phase.
type typing struct {
	stack []*node // components under way, by demand
	span  map[*node]diag.Span
	// hidden is the component that the last look-up could not see into,
	// because its prototypes were being merged.
	hidden *node
	// links are the link attributes that the look-up under way is following, and
	// loop those of them that lead back to their first.
	links, loop []slot
	// tainted is set if the last look-up passed a component that lacks the
	// attributes of a prototype that failed.
	tainted bool
}

func (r *resolver) typePhase() {
	r.typing.span = map[*node]diag.Span{}
	r.images = map[*node]*image{}
	r.resolveType(r.top())
	r.images = nil
}

// resolveType resolves n and everything inside it, and reports whether it may
// be used as a prototype.
func (r *resolver) resolveType(n *node) bool {
	switch n.typed {
	case typeDone:
		return true
	case typeMerging, typeNesting:
		r.extendsCycle(n)
		return false
	}
	ok := r.mergeType(n)
	if n.nested || !r.enterType(n) {
		return false
	}
	n.nested = true
	if ok {
		n.typed = typeNesting
	}
	for i := range n.attrs {
		switch v := n.attrs[i].v.(type) {
		case *node:
			ok = r.resolveType(v) && ok
		case *ref:
			if v.apply != nil {
				ok = r.resolveType(v.apply) && ok
			}
		}
	}
	r.leaveType()
	ok = r.weigh(n) && ok
	n.typed = typeDone
	if !ok {
		n.typed = typeFailed
	}
	return ok
}

func (r *resolver) enterType(n *node) bool {
	if len(r.typing.stack) > maxDepth {
		r.tooDeep(n.at, n)
		return false
	}
	r.typing.stack = append(r.typing.stack, n)
	r.busy = n
	return r.spend(1)
}

func (r *resolver) leaveType() {
	r.typing.stack = r.typing.stack[:len(r.typing.stack)-1]
}

// mergeType gives n the attributes of its prototypes, the last one first, so
// that the reference of each is looked up among those of the later ones.
func (r *resolver) mergeType(n *node) bool {
	if n.typed != typeNew {
		return n.typed != typeFailed
	}
	if n.protos == nil {
		n.typed = typeMerged
		return true
	}
	if !r.enterType(n) {
		return false
	}
	defer r.leaveType()
	n.typed = typeMerging
	ok := true
	var override map[string]*attr // tagged sfOverride, no earlier one seen yet
	for i := len(n.protos) - 1; i >= 0; i-- {
		p := &n.protos[i]
		attrs := p.body
		if p.src.Link != nil {
			r.typing.span[n] = p.src.At
			found := r.prototype(n, p)
			if found == nil {
				ok = false
				continue
			}
			r.open(found)
			attrs = found.attrs
		}
		delete(r.typing.span, n)
		ok = r.mergeProto(n, attrs, p.src.Link != nil, override) && ok
		if i > 0 {
			for j := range attrs {
				if slices.Contains(attrs[j].tags, "sfOverride") {
					if override == nil {
						override = map[string]*attr{}
					}
					override[attrs[j].name] = &attrs[j]
				}
			}
		}
	}
	for i := range n.attrs {
		if a, found := override[n.attrs[i].name]; found {
			ok = false
			d := r.diagnostic(diag.NothingToOverride, a.nameSpan(), n, fmt.Sprintf("nothing to override: %s is in no earlier prototype", shownName(a.name)))
			d.Attribute, d.Hints = shownName(a.name), r.nearestIn(n, a.name)
			r.report(nil, d)
		}
	}
	n.protos = nil
	n.typed = typeMerged
	if !ok {
		n.typed = typeFailed
	}
	return ok
}

// mergeProto puts attrs, of a prototype, before those n already has from later
// prototypes, whose values win but take the earlier places. Those of another
// component are copied.
func (r *resolver) mergeProto(n *node, attrs []attr, foreign bool, override map[string]*attr) bool {
	if len(n.attrs) == 0 {
		if foreign {
			attrs = r.copyAttrs(attrs, n)
		}
		n.setAttrs(attrs)
		return true
	}
	r.memory -= len(attrs)
	r.busy = n
	if !r.spend(len(attrs) + len(n.attrs)) {
		return false
	}
	ok := true
	var few [32]int32
	later := few[:0] // where n has each of attrs, or -1
	fresh := 0
	for i := range attrs {
		at := n.find(attrs[i].name)
		if at < 0 {
			fresh++
		}
		later = append(later, int32(at))
	}
	merged := make([]attr, 0, fresh+len(n.attrs))
	var fewUsed [32]bool
	used := append(fewUsed[:0], make([]bool, len(n.attrs))...) // of n's, which have their place
	for i := range attrs {
		a := &attrs[i]
		delete(override, a.name)
		at := later[i]
		if at < 0 {
			merged = append(merged, *a)
			if last := &merged[len(merged)-1]; foreign {
				last.v = r.copyTerm(last.v, n, last.name)
			}
			continue
		}
		heirs := n.attrs[at]
		if slices.Contains(a.tags, "sfFinal") {
			ok = false
			d := r.diagnostic(diag.FinalOverridden, heirs.nameSpan(), n, fmt.Sprintf("%s is final and cannot be given again", shownName(a.name)))
			d.Attribute = shownName(a.name)
			d.Related = append(d.Related, diag.Related{Span: a.nameSpan(), Message: "tagged sfFinal here"})
			r.report(nil, d)
		}
		heirs.tags = union(a.tags, heirs.tags)
		r.trace.alike(heirs.src, a.src)
		used[at] = true
		merged = append(merged, heirs)
	}
	for i := range n.attrs {
		if !used[i] {
			merged = append(merged, n.attrs[i])
		}
	}
	n.setAttrs(merged)
	return ok
}

// prototype returns the component that p of n refers to, resolved where it
// stands, or nil if there is none, which it reports.
func (r *resolver) prototype(n *node, p *proto) *node {
	r.typing.hidden, r.typing.loop, r.typing.tainted = nil, nil, false
	space := definitions{r, n}
	out := model.Walk(space, n, p.src.Link)
	if r.trace != nil {
		r.trace.protos[n] = append(r.trace.protos[n], usedProto{p.src.At, p.src.Link, out.Component})
	}
	switch out.Kind {
	case model.Whole:
		if !r.resolveType(out.Component) && (r.trace == nil || out.Component.typed != typeFailed) {
			return nil
		}
		return out.Component
	case model.Failed:
		return nil
	}
	if r.typing.tainted {
		return nil // this only follows
	}
	text := linkText(p.src.Link)
	if r.typing.hidden != nil {
		r.extendsCycle(r.typing.hidden)
		return nil
	}
	switch out.Kind {
	case model.Found, model.NotComponent:
		if r.typing.loop != nil {
			r.prototypeLoop(n, p)
			return nil
		}
		d := r.diagnostic(diag.PrototypeKind, p.src.At, n, fmt.Sprintf("prototype is not a component: %s", text))
		d.Expected = "a component"
		if i := out.In.find(out.Name); i >= 0 {
			d.Found = kindText(out.In.attrs[i].v)
			d.Related = append(d.Related, diag.Related{Span: out.In.attrs[i].span(), Message: out.Name + " is given here"})
		}
		r.report(nil, d)
	case model.Lazy:
		d := r.diagnostic(diag.PrototypeKind, p.src.At, n, fmt.Sprintf("prototype is reached through a LAZY reference: %s", text))
		d.Hints = []string{"a prototype must be known when the description is read: leave LAZY out"}
		r.report(nil, d)
	default:
		d := r.diagnostic(diag.PrototypeNotFound, p.src.At, n, fmt.Sprintf("prototype not found: %s", text))
		if r.wanted(d) {
			d.Found = r.searched(out, p.src.Link)
			d.Hints = r.prototypeHints(n, out, p.src.Link)
		}
		r.report(nil, d)
	}
	return nil
}

// extendsCycle reports that n, which is under way, is needed for itself.
func (r *resolver) extendsCycle(n *node) {
	stack := r.typing.stack
	start := len(stack) - 1
	for start > 0 && stack[start] != n {
		start--
	}
	var names []string
	var related []diag.Related
	at := diag.Span{}
	for _, m := range stack[start:] {
		span, extends := r.typing.span[m]
		if !extends || m.typed != typeMerging {
			continue
		}
		at = span
		if len(names) < maxTrail {
			names = append(names, nodeName(m))
			related = append(related, diag.Related{Span: span, Message: nodeName(m) + " extends here"})
		}
	}
	if len(related) == 0 {
		return // the demand that failed was reported
	}
	d := r.diagnostic(diag.ExtendsCycle, at, stack[len(stack)-1], "cyclic extends: "+strings.Join(append(names, names[0]), " -> "))
	if len(names) == 1 {
		d.Message = fmt.Sprintf("cyclic extends: %s extends itself, or a component that contains it", names[0])
	}
	d.Related = related
	r.report(nil, d)
}

// definitions is the space in which prototypes and path names are looked up:
// nothing is replaced yet, and links are followed where they stand.
type definitions struct {
	r     *resolver
	start *node // the component the look-up started from
}

func (s definitions) Attr(n *node, name string, first bool) (model.Item[*node], bool) {
	if !s.r.spend(1) {
		return model.Item[*node]{Kind: model.ItemFailed}, true
	}
	switch n.typed {
	case typeNew:
		if n.protos != nil && !s.r.mergeType(n) && s.r.trace == nil {
			return model.Item[*node]{Kind: model.ItemFailed}, true
		}
	case typeMerging:
		if !s.start.within(n) {
			s.r.typing.hidden = n
			return model.Item[*node]{}, false
		}
	case typeFailed:
		if !s.start.within(n) && s.r.trace == nil {
			return model.Item[*node]{Kind: model.ItemFailed}, true
		}
	}
	s.r.open(n)
	i := n.find(name)
	if i < 0 || !first && slices.Contains(n.attrs[i].tags, "sfLocal") {
		s.r.typing.tainted = s.r.typing.tainted || n.typed == typeFailed
		return model.Item[*node]{}, false
	}
	switch v := n.attrs[i].v.(type) {
	case *node:
		return model.Item[*node]{Kind: model.ItemComponent, Component: v}, true
	case *ref:
		return s.follow(slot{n, i}, v), true
	}
	return model.Item[*node]{}, true
}

// follow returns what the link v, at l, leads to.
func (s definitions) follow(l slot, v *ref) model.Item[*node] {
	t, a := &s.r.typing, l.attr()
	switch {
	case v.lazy:
		return model.Item[*node]{Kind: model.ItemLazy}
	case v.data || v.apply != nil:
		return model.Item[*node]{}
	case a.state == linkActive:
		t.loop = slices.Clone(t.links[slices.Index(t.links, l):])
		return model.Item[*node]{} // a cycle of links leads to no component
	}
	if len(t.stack) > maxDepth {
		s.r.tooDeep(v.at, l.n)
		return model.Item[*node]{Kind: model.ItemFailed}
	}
	a.state = linkActive
	t.links = append(t.links, l)
	t.stack = append(t.stack, l.n)
	defer func() {
		a.state = linkNew
		t.links = t.links[:len(t.links)-1]
		s.r.leaveType()
	}()
	out := model.Walk(definitions{s.r, l.n}, l.n, v.parts)
	switch out.Kind {
	case model.Whole:
		return model.Item[*node]{Kind: model.ItemComponent, Component: out.Component}
	case model.Lazy:
		return model.Item[*node]{Kind: model.ItemLazy}
	case model.Failed:
		return model.Item[*node]{Kind: model.ItemFailed}
	}
	return model.Item[*node]{}
}

func (s definitions) Parent(n *node) (*node, bool) { return n.parent, n.parent != nil }

func (s definitions) Root(*node) *node { return s.r.root }

// linkText writes the parts of a reference.
func linkText(parts []value.Part) string {
	return value.LinkText(parts)
}

// shownName is the name of an attribute as people wrote it.
func shownName(name string) string { return strings.ReplaceAll(name, "\x00", ":") }

func nodeName(n *node) string {
	if generated(n.name) && n.parent != nil {
		return "a component in " + nodeName(n.parent)
	}
	if p := n.path(); p != "" {
		return shownName(p)
	}
	return "the top of the file"
}
