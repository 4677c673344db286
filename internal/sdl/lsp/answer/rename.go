package answer

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Subject is an attribute in all the places where it is given, each in place of
// another. It means the same in every description that reads those files.
type Subject struct {
	Name  string
	Given []diag.Span // where its name is written

	at Range
}

// Subject returns the attribute named at the offset off.
func (v *View) Subject(off int) (*Subject, bool) {
	u, ok := v.useAt(off)
	if !ok || u.name == "" {
		return nil, false
	}
	s := &Subject{Name: u.name, at: u.at}
	for _, x := range u.finds {
		if x.source != nil && x.source.Name == u.name {
			s.add(x.source.NameSpan)
		}
	}
	return s, len(s.Given) > 0
}

// At returns the word that the subject was found by.
func (s *Subject) At() Range { return s.at }

// Files returns the files that give the subject.
func (s *Subject) Files() []string {
	var list []string
	for _, at := range s.Given {
		if !slices.Contains(list, at.Pos.File) {
			list = append(list, at.Pos.File)
		}
	}
	return list
}

func (s *Subject) add(at diag.Span) bool {
	if slices.Contains(s.Given, at) {
		return false
	}
	s.Given = append(s.Given, at)
	return true
}

// Grow adds to s where the description of v gives it besides, and reports
// whether that was new.
func (s *Subject) Grow(v *View) bool {
	grown := false
	kin := v.kin(s)
	for _, scope := range v.Tree.Scopes() {
		if m, ok := scope.Member(s.Name); ok && m.Source != nil && kin[v.Tree.Kin(m.Source)] && m.Source.Name == s.Name {
			grown = s.add(m.Source.NameSpan) || grown
		}
	}
	for _, p := range v.Tree.Placements() {
		if p.Source.Name == s.Name && kin[v.Tree.Kin(p.Source)] {
			grown = s.add(p.Source.NameSpan) || grown
		}
	}
	return grown
}

// kin returns what stands for the attributes of the subject in this
// description.
func (v *View) kin(s *Subject) map[*syntax.Attribute]bool {
	kin := map[*syntax.Attribute]bool{}
	w := visitor{
		name: func(a *syntax.Attribute) {
			if a.Name == s.Name && slices.Contains(s.Given, a.NameSpan) {
				kin[v.Tree.Kin(a)] = true
			}
		},
		reference: func(*syntax.Reference) {}, prototype: func(*syntax.Component, *syntax.Proto) {}, include: func(*syntax.Include) {},
	}
	for _, file := range v.Tree.Includes() {
		if tree := v.Tree.File(file); tree != nil && slices.ContainsFunc(s.Given, func(at diag.Span) bool { return at.Pos.File == file }) {
			w.items(tree.Items)
		}
	}
	return kin
}

// Uses returns where the description uses the subject, and, if given is set,
// where it gives it.
func (v *View) Uses(s *Subject, given bool) []Location {
	var list []Location
	for _, u := range v.allUses(s.Name, v.kin(s)) {
		if u.given == nil || given {
			list = append(list, u.location(v))
		}
	}
	return sorted(list)
}

// Refusal is why something cannot be renamed.
type Refusal string

func (r Refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return Refusal(fmt.Sprintf(format, args...)) }

// Renamable reports why the subject cannot have any other name.
func (v *View) Renamable(s *Subject) error {
	for _, at := range s.Given {
		if isLibrary(at.Pos.File) {
			return refuse("%s is given by the built-in library, in %s", s.Name, at.Pos.File)
		}
	}
	if strings.HasPrefix(s.Name, "sf") || s.Name == "phaseList" || strings.HasPrefix(s.Name, "phase.") {
		return refuse("%s means something to the language", s.Name)
	}
	kin := v.kin(s)
	for _, scope := range v.Tree.Scopes() {
		m, ok := scope.Member(s.Name)
		if !ok || m.Source == nil || !kin[v.Tree.Kin(m.Source)] {
			continue
		}
		if scope.Operator() != syntax.NotOp || isFunction(scope) {
			return refuse("%s is a parameter of a function", s.Name)
		}
		for _, f := range v.facts(scope) {
			if f.name == s.Name {
				if class := classOf(scope); class != "" {
					return refuse("%s has a meaning to the class %s", s.Name, class)
				}
				return refuse("%s has a meaning to a schema of %s", s.Name, strings.Join(scope.Path(), ":"))
			}
		}
	}
	return nil
}

// Rename returns where the description has to be changed for the subject to be
// called name instead, or why it cannot be.
func (v *View) Rename(s *Subject, name string) ([]Location, error) {
	if err := v.Renamable(s); err != nil {
		return nil, err
	}
	switch {
	case slices.Contains(syntax.Keywords(), name):
		return nil, refuse("%s is a keyword", name)
	case !value.IsWord(name):
		return nil, refuse("%q is not a word of the language", name)
	case strings.HasPrefix(name, "sf") || name == "phaseList" || strings.HasPrefix(name, "phase."):
		return nil, refuse("%s means something to the language", name)
	}
	kin := v.kin(s)
	for _, scope := range v.Tree.Scopes() {
		m, ok := scope.Member(s.Name)
		if !ok || m.Source == nil || !kin[v.Tree.Kin(m.Source)] {
			continue
		}
		where := "the top of the file"
		if p := scope.Path(); len(p) > 0 {
			where = strings.Join(p, ":")
		}
		if _, there := scope.Member(name); there {
			return nil, refuse("%s has an attribute %s already", where, name)
		}
		for _, f := range v.facts(scope) {
			if f.name == name {
				return nil, refuse("%s has a meaning in %s", name, where)
			}
		}
	}
	var list []Location
	for _, u := range v.allUses(s.Name, kin) {
		at := u.location(v)
		for _, x := range u.finds {
			if x.source != nil && !kin[v.Tree.Kin(x.source)] {
				return nil, refuse("%s at %s means something else as well, where the prototype around it is extended", s.Name, at.Span.Pos)
			}
		}
		list = append(list, at)
	}
	return sorted(list), nil
}

// Apply returns t with name in the places of list that are in file.
func Apply(t *text.Text, file string, list []Location, name string) *text.Text {
	s := t.String()
	for _, l := range slices.Backward(list) {
		if l.File == file {
			r := offsets(t, l.Span)
			s = s[:r.From] + name + s[r.To:]
		}
	}
	return text.New(s)
}

// SameMeaning reports, as an error, how after differs from before besides in
// the name of the subject, which was from and is to.
func SameMeaning(before, after *resolve.Result, from, to string) error {
	if after.Diagnostics.Errors() > 0 {
		for _, d := range after.Diagnostics.All() {
			if d.Severity == diag.Error {
				return refuse("the description would have a mistake: %s: %s", d.Span.Pos, d.Message)
			}
		}
	}
	if after.Diagnostics.Warnings() > before.Diagnostics.Warnings() {
		all := after.Diagnostics.All()
		last := all[len(all)-1]
		return refuse("the description would be warned of: %s: %s", last.Span.Pos, last.Message)
	}
	if before.Tree == nil || after.Tree == nil {
		return refuse("the description cannot be resolved")
	}
	c := comparison{from: from, to: to}
	return c.value(before.Tree, after.Tree, "the description")
}

// comparison compares values but for a name.
type comparison struct{ from, to string }

func (c comparison) name(a, b string) bool { return a == b || a == c.from && b == c.to }

func (c comparison) value(a, b value.Value, where string) error {
	differs := refuse("the meaning of %s would change", where)
	switch a := a.(type) {
	case *value.Component:
		b, ok := b.(*value.Component)
		if !ok || a.Data != b.Data || a.Len() != b.Len() {
			return differs
		}
		for i := range a.Len() {
			x, y := a.At(i), b.At(i)
			if !c.name(x.Name, y.Name) || !slices.Equal(x.Tags, y.Tags) {
				return differs
			}
			inside := x.Name
			if where != "the description" {
				inside = where + ":" + x.Name
			}
			if err := c.value(x.Value, y.Value, inside); err != nil {
				return err
			}
		}
		return nil
	case value.Vector:
		b, ok := b.(value.Vector)
		if !ok || len(a) != len(b) {
			return differs
		}
		for i := range a {
			if err := c.value(a[i], b[i], where); err != nil {
				return err
			}
		}
		return nil
	case *value.Reference:
		b, ok := b.(*value.Reference)
		if !ok || a.Lazy != b.Lazy || a.Data != b.Data || a.Optional != b.Optional || a.Assert != b.Assert ||
			len(a.Parts) != len(b.Parts) || (a.Apply == nil) != (b.Apply == nil) || (a.Default == nil) != (b.Default == nil) {
			return differs
		}
		for i := range a.Parts {
			if a.Parts[i].Kind != b.Parts[i].Kind || !c.name(a.Parts[i].Name, b.Parts[i].Name) {
				return differs
			}
		}
		if a.Default != nil && !value.Equal(a.Default, b.Default) {
			return differs
		}
		if a.Apply != nil {
			return c.value(a.Apply, b.Apply, where)
		}
		return nil
	}
	if !value.Equal(a, b) {
		return differs
	}
	return nil
}
