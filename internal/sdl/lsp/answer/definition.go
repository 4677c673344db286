package answer

import (
	"cmp"
	"slices"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Definition returns where what is named at the offset off is given: what a
// link or prototype leads to, the file of an include, and for an attribute
// that overrides another, that one.
func (v *View) Definition(off int) []Location {
	if inc := v.includeAt(off); inc != nil {
		if file := v.Tree.Included(inc); file != "" {
			return []Location{{File: file, Span: diag.Span{Pos: value.Pos{File: file, Line: 1, Col: 1}}}}
		}
		return nil
	}
	u, ok := v.useAt(off)
	if !ok {
		return nil
	}
	var sources []*syntax.Attribute
	if u.given != nil {
		if sources = v.overridden(u); len(sources) == 0 {
			sources = []*syntax.Attribute{u.given}
		}
	}
	for _, x := range u.finds {
		source := x.source
		if source == nil && x.to.Valid() {
			_, source = holder(x.to)
		}
		if u.given == nil && source != nil && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	return locations(sources)
}

// locations returns where the names of attributes are written.
func locations(sources []*syntax.Attribute) []Location {
	var list []Location
	for _, a := range sources {
		at := a.NameSpan
		if !at.Pos.IsValid() {
			at = a.Value.Span()
		}
		if l := (Location{at.Pos.File, at}); at.Pos.IsValid() && !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	return list
}

// includeAt returns the include whose file name is at the offset off.
func (v *View) includeAt(off int) *syntax.Include {
	f := v.file(v.Name)
	if f == nil {
		return nil
	}
	var found *syntax.Include
	w := visitor{
		name: func(*syntax.Attribute) {}, reference: func(*syntax.Reference) {},
		prototype: func(*syntax.Component, *syntax.Proto) {},
		include: func(inc *syntax.Include) {
			if v.offsets(inc.Span).has(off) {
				found = inc
			}
		},
	}
	w.items(f.tree.Items)
	return found
}

// References returns where the attribute named at the offset off is used in the
// description, and, if given is set, where it is given.
func (v *View) References(off int, given bool) []Location {
	u, ok := v.useAt(off)
	if !ok {
		return nil
	}
	kin := map[*syntax.Attribute]bool{}
	for _, x := range u.finds {
		if x.source != nil {
			kin[v.Tree.Kin(x.source)] = true
		}
	}
	var list []Location
	for _, w := range v.allUses(u.name, kin) {
		if w.given == nil || given {
			list = append(list, w.location(v))
		}
	}
	return sorted(list)
}

func sorted(list []Location) []Location {
	slices.SortFunc(list, func(a, b Location) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Span.Pos.Line, b.Span.Pos.Line), cmp.Compare(a.Span.Pos.Col, b.Span.Pos.Col),
		)
	})
	return slices.Compact(list)
}

// allUses returns the words of the description, apart from the library, that
// are written name and mean an attribute that is kin.
func (v *View) allUses(name string, kin map[*syntax.Attribute]bool) []use {
	var list []use
	for _, file := range v.Tree.Includes() {
		f := v.file(file)
		if f == nil || isLibrary(file) {
			continue
		}
		for _, u := range v.uses(f, Range{0, len(f.text.String())}) {
			if u.name == name && slices.ContainsFunc(u.finds, func(x finding) bool { return x.source != nil && kin[v.Tree.Kin(x.source)] }) {
				list = append(list, u)
			}
		}
	}
	return list
}

// location returns where u is.
func (u use) location(v *View) Location {
	t := v.Text
	if u.file != v.Name {
		t = v.Source(u.file)
	}
	at := diag.Span{Pos: value.Pos{File: u.file}}
	at.Pos.Line, at.Pos.Col = t.Place(u.at.From)
	line, col := t.Place(u.at.To)
	at.EndLine, at.EndCol = int32(line), int32(col)
	return Location{u.file, at}
}
