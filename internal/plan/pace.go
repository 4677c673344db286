package plan

import (
	"slices"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// The attributes of a rolling update, of the component that is copied or of
// what it is in.
const (
	attrUnavailable = "sfMaxUnavailable"
	attrSurge       = "sfMaxSurge"
	attrReplace     = "sfReplace"
	attrIndex       = "sfCopyIndex"
)

// pace is how a set of copies is updated in batches.
type pace struct {
	unavailable int // so many may be away at a time
	surge       int // so many there may be beside them for the time of an update
	asked       bool
	// what asks for those beside: an attribute of one of the copies, or of what it
	// is in
	at   *surveyed
	attr string
}

// pace reads how the copies that c is one of are to be updated, if anybody says
// that they are to be in batches. What replaces a copy that is marked with
// sfReplace "before" runs before it is ended (runtime.md UP1): one beside them does.
func (m *maker) pace(c *surveyed) pace {
	surge, above, given := m.copies(c, attrSurge)
	p := pace{surge: surge, at: above, attr: attrSurge}
	unavailable, at, asked := m.copies(c, attrUnavailable)
	p.unavailable, p.asked = unavailable, asked
	a, _ := c.attrs.Attr(attrReplace)
	before := a.Value == value.String("before")
	if before && !given {
		p.surge, p.at, p.attr = 1, c, attrReplace
	}
	switch {
	case before && (p.surge == 0 || p.unavailable > 0):
		m.in.Survey.problem(c, attrReplace, a.Pos, diag.AttributeKind, "what replaces a copy is to run before that is ended, and sfMaxSurge 0, or sfMaxUnavailable above 0, says otherwise", `"after", or sfMaxSurge from 1 with sfMaxUnavailable 0`, value.Source(a.Value))
		return pace{}
	case p.surge > 0:
		m.holdsData(c, p)
		if p.asked = true; at == nil && !before {
			p.unavailable = 1
		}
	case asked && unavailable == 0:
		a, _ := at.attrs.Attr(attrUnavailable)
		m.in.Survey.problem(at, attrUnavailable, a.Pos, diag.AttributeKind, "no copy may be away, and there is to be none beside them: they could never be updated", "a whole number from 1, or sfMaxSurge from 1", value.Source(a.Value))
		return pace{}
	}
	return p
}

// copies reads a number of copies, of one of them or of what it is in, and says
// which has it, if one does.
func (m *maker) copies(c *surveyed, name string) (n int, at *surveyed, ok bool) {
	for _, at := range []*surveyed{c, m.in.Survey.byPath[c.node.Parent.Path]} {
		a, given := at.attrs.Attr(name)
		if !given {
			continue
		}
		n, is := a.Value.(value.Integer)
		if !is || n < 0 {
			m.in.Survey.problem(at, name, a.Pos, diag.AttributeKind, name+" is no number of copies", "a whole number from 0", value.Source(a.Value))
			continue
		}
		return int(n), at, true
	}
	return 0, nil, false
}

// inTurn has copies that are to be updated so many at a time be reconfigured so
// many at a time, too, by the steps from a place on.
func (m *maker) inTurn(from int) {
	type turn struct {
		path value.Path // of the copy
		ids  []StepID
	}
	turns := map[string][]turn{} // by set
	for i := range m.plan.Steps[from:] {
		s := &m.plan.Steps[from+i]
		var at paced
		for p := s.Path; p != value.Root; p = p.Parent() {
			if of, is := m.paced[p]; is {
				at, at.path = of, p
			}
		}
		if at.set == "" || s.Action != Reconfigure {
			continue
		}
		list := turns[at.set]
		k := slices.IndexFunc(list, func(t turn) bool { return t.path == at.path })
		if k < 0 {
			k, list = len(list), append(list, turn{path: at.path})
		}
		list[k].ids = append(list[k].ids, s.ID)
		turns[at.set] = list
		if k >= at.many {
			s.After = append(s.After, list[k-at.many].ids...)
		}
	}
}

// paced is a copy of a set that is updated so many at a time.
type paced struct {
	set  string
	many int
	path value.Path
}
