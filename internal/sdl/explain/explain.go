// Package explain tells where an attribute's value comes from: the line that
// gives it, the prototypes that brought it there, what it takes the place of,
// the path name that put it there, and the links it was read through. It finds
// that out by looking into a description as the editors do, and decides
// nothing. It starts no goroutine.
package explain

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Reason is one thing that had a part in a value.
type Reason struct {
	What    string    // a few words: "given here", "inherited: web extends Server"
	At      value.Pos // where that is written
	Because []Reason  // the reasons behind this one
}

// maxDepth bounds how far reasons are followed.
const maxDepth = 20

// NotFoundError says at which name a path ends, and what there is instead.
type NotFoundError struct {
	Name    string
	In      string // path of the component
	Nearest []string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no attribute %s in %s", e.Name, e.In)
}

// Attribute explains the attribute that names lead to from the top of the
// description. The error is a *NotFoundError if they lead nowhere.
func Attribute(in *resolve.Inspection, names []string) ([]Reason, error) {
	w := walker{in: in}
	var reasons []Reason
	s := in.Root()
	for i, name := range names {
		m, ok := s.Member(name)
		if !ok {
			return nil, notFound(s, name)
		}
		if i == len(names)-1 {
			return append(reasons, w.member(s, m, 0)...), nil
		}
		inside := m.Inside
		if r, ok := link(m); ok {
			reasons = append(reasons, Reason{What: shown(s, name) + " is a link to " + value.LinkText(r.Parts), At: r.At.Pos})
			inside = w.follow(s, r).To
		}
		if !inside.Valid() {
			return nil, &NotFoundError{Name: names[i+1], In: shown(s, name) + ", which is no component"}
		}
		s = inside
	}
	return nil, nil
}

func notFound(s resolve.Scope, name string) error {
	var names []string
	for _, m := range s.Members() {
		names = append(names, m.Name)
	}
	return &NotFoundError{Name: name, In: shown(s, ""), Nearest: diag.Nearest(name, names)}
}

// walker collects reasons.
type walker struct{ in *resolve.Inspection }

// member explains m, an attribute of s.
func (w walker) member(s resolve.Scope, m resolve.Member, depth int) []Reason {
	if m.Source == nil || depth > maxDepth {
		return nil
	}
	seen := map[*syntax.Attribute]bool{m.Source: true}
	reasons := []Reason{w.origin(s, m, seen)}
	reasons = append(reasons, w.replaced(s, m, seen)...)
	return append(reasons, w.content(s, m, depth)...)
}

// origin tells how the attribute came into s. What it names is seen.
func (w walker) origin(s resolve.Scope, m resolve.Member, seen map[*syntax.Attribute]bool) Reason {
	for _, p := range w.in.Placements() {
		if p.Source != m.Source || !p.Target.Valid() {
			continue
		}
		name := strings.Join(append(slices.Clone(p.Source.Path), p.Source.Name), ":")
		r := Reason{What: "put there by the path name " + name, At: position(p.Source)}
		if p.Over != nil {
			seen[p.Over] = true
			r.Because = []Reason{{What: "instead of this", At: position(p.Over)}}
		}
		return r
	}
	return Reason{What: "given here", At: position(m.Source), Because: w.brought(s, m, 0)}
}

// brought returns the prototypes through which the attribute came into s.
func (w walker) brought(s resolve.Scope, m resolve.Member, depth int) []Reason {
	if depth > maxDepth {
		return nil
	}
	if p, in, ok := holder(s, []string{m.Name}, m.Source); ok {
		r := Reason{What: fmt.Sprintf("inherited: %s extends %s", shown(s, ""), value.LinkText(p.Link)), At: p.Span.Pos}
		return append([]Reason{r}, w.brought(in, m, depth+1)...)
	}
	// It may stand in a component that came with one further out.
	inside := []string{m.Name}
	for at := s; at.Copy(); {
		up, ok := at.Parent()
		if !ok {
			break
		}
		inside = slices.Insert(inside, 0, at.Name())
		if p, in, ok := holder(up, inside, m.Source); ok {
			r := Reason{
				What: fmt.Sprintf("inherited: %s extends %s, which holds %s", shown(up, ""), value.LinkText(p.Link), strings.Join(inside, ":")),
				At:   p.Span.Pos,
			}
			return append([]Reason{r}, w.brought(in, m, depth+1)...)
		}
		at = up
	}
	return nil
}

// holder returns the prototype of s from which names lead to the attribute
// written as source, and the component in it that has the attribute.
func holder(s resolve.Scope, names []string, source *syntax.Attribute) (p resolve.Prototype, in resolve.Scope, ok bool) {
	for _, p := range s.Prototypes() {
		if in, m, ok := reach(p.Found, names); ok && m.Source == source {
			return p, in, true
		}
	}
	return p, in, false
}

// reach returns the attribute that names lead to from s, and what has it.
func reach(s resolve.Scope, names []string) (in resolve.Scope, m resolve.Member, ok bool) {
	for _, name := range names {
		if !s.Valid() {
			return in, m, false
		}
		if m, ok = s.Member(name); !ok {
			return in, m, false
		}
		in, s = s, m.Inside
	}
	return in, m, true
}

// replaced returns the attributes of prototypes that m takes the place of, but
// for those seen.
func (w walker) replaced(s resolve.Scope, m resolve.Member, seen map[*syntax.Attribute]bool) []Reason {
	var reasons []Reason
	for _, p := range s.Prototypes() {
		_, from, ok := reach(p.Found, []string{m.Name})
		if !ok || from.Source == nil {
			continue
		}
		if !seen[from.Source] {
			seen[from.Source] = true
			reasons = append(reasons, Reason{What: "instead of what " + value.LinkText(p.Link) + " has", At: position(from.Source)})
		}
		reasons = append(reasons, w.replaced(p.Found, from, seen)...)
	}
	return reasons
}

// content explains the value itself: where a link leads, what an operator
// takes.
func (w walker) content(s resolve.Scope, m resolve.Member, depth int) []Reason {
	if depth > maxDepth {
		return nil
	}
	if r, ok := link(m); ok {
		return []Reason{w.linked(s, r, depth)}
	}
	switch v := m.Source.Value.(type) {
	case *syntax.Reference:
		if v.Lazy && len(v.Parts) > 0 {
			return []Reason{{What: "known only when it runs: LAZY " + value.LinkText(v.Parts), At: v.At.Pos}}
		}
	case *syntax.Component:
		if v.Op != syntax.NotOp && m.Inside.Valid() {
			return []Reason{{What: "computed: " + operation(v.Op), At: v.At.Pos, Because: w.operands(m.Inside, depth)}}
		}
	}
	return nil
}

func operation(op syntax.Op) string {
	if sign := op.String(); sign != "" {
		return sign
	}
	return op.Class()
}

// operands explains what the operator s takes.
func (w walker) operands(s resolve.Scope, depth int) (reasons []Reason) {
	for _, m := range s.Members() {
		if m.Source != nil {
			reasons = append(reasons, w.content(s, m, depth+1)...)
		}
	}
	return reasons
}

// linked explains what the link r, which stands in s, leads to.
func (w walker) linked(s resolve.Scope, r *syntax.Reference, depth int) Reason {
	reason := Reason{What: "read from " + value.LinkText(r.Parts), At: r.At.Pos}
	last := w.follow(s, r)
	switch {
	case last.Source != nil:
		m, ok := last.In.Member(last.Source.Name)
		if !ok || m.Source != last.Source || depth >= maxDepth {
			reason.Because = []Reason{{What: "given here", At: position(last.Source)}}
			break
		}
		reason.Because = w.member(last.In, m, depth+1)
	case last.To.Valid():
		reason.Because = []Reason{{What: "the component " + shown(last.To, ""), At: last.To.Span().Pos}}
	case slices.ContainsFunc(r.Parts, given):
	case last.Kind == model.Lazy || last.Kind == model.External:
		reason.What += ", known only when it runs"
	default:
		reason.What += ", which is not found"
	}
	return reason
}

// given reports whether p reads what the description was given from outside.
func given(p value.Part) bool {
	switch p.Kind {
	case value.PartProperty, value.PartIProperty, value.PartEnvProperty, value.PartIEnvProperty, value.PartConstant:
		return true
	}
	return false
}

// follow returns the last step of a link; of one that ends on the way, only
// why.
func (w walker) follow(s resolve.Scope, r *syntax.Reference) resolve.Step {
	steps := s.Walk(r.Parts)
	switch n := len(steps); {
	case n == 0:
		return resolve.Step{}
	case n < len(r.Parts):
		return resolve.Step{Kind: steps[n-1].Kind}
	default:
		return steps[n-1]
	}
}

// link returns the eager reference that an attribute is, if it is one.
func link(m resolve.Member) (*syntax.Reference, bool) {
	if m.Source == nil {
		return nil, false
	}
	r, ok := m.Source.Value.(*syntax.Reference)
	return r, ok && !r.Lazy && !r.Data && len(r.Parts) > 0
}

func position(a *syntax.Attribute) value.Pos {
	if a.NameSpan.Pos.IsValid() {
		return a.NameSpan.Pos
	}
	return a.Value.Span().Pos
}

// shown returns the path of an attribute of s, or of s itself.
func shown(s resolve.Scope, name string) string {
	names := s.Path()
	if name != "" {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "the top of the file"
	}
	return Path(names)
}

// Path writes the path that names make from the top of the file. It can be
// given back: names that are no plain words stand in quotes.
func Path(names []string) string {
	if len(names) > 0 && names[0] == "sfConfig" {
		if len(names) == 1 {
			return names[0]
		}
		return names[0] + ":" + value.PathOf(names[1:]...).String()
	}
	return value.PathOf(names...).String()
}
