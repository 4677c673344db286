package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"aloft/internal/inventory"
	"aloft/value"
)

// bind has those who refer to a set that is updated in batches reconfigured at
// the end of it: meanwhile they were told of it without the batch under way.
func (m *maker) bind() {
	m.guests = map[*rolling][]*surveyed{}
	m.binders, m.gates, m.newcomers = map[*rolling][]*surveyed{}, map[value.Path][]StepID{}, map[value.Path]bool{}
	for _, r := range m.sets {
		holders := map[value.Path]bool{}
		for b := range m.in.Survey.Binds {
			if slices.Contains(r.all, b.Copy) {
				holders[b.Holder] = true
			}
		}
		for _, path := range slices.Sorted(maps.Keys(holders)) {
			c, f := m.in.Survey.byPath[path], m.fate[path]
			old := m.in.Existing.Components[path]
			stays := (f == keep || f == change) && c.class.Reconfigures && old.State == inventory.Running && !m.inBatch(path)
			if m.isGuest(c, r) {
				if f == keep {
					m.reconfigure(c, "refers to "+r.name+", which is updated before")
				}
				m.guests[r] = append(m.guests[r], c)
				continue
			}
			if m.newcomers[path] = m.newcomers[path] || !stays && m.comesBefore(c); !stays && !m.newcomers[path] {
				continue
			}
			if f == keep {
				reason := fmt.Sprintf("refers to %s, updated %d at a time", r.name, r.size)
				if n := len(r.further); n > 0 {
					reason += fmt.Sprintf(" with %d more", n)
				}
				m.reconfigure(c, reason)
			}
			m.binders[r] = append(m.binders[r], c)
			m.gates[path] = append(m.gates[path], r.last())
		}
	}
}

// earlier returns the last gates of the sets before r to which the same refer, or
// its copies: r is updated after them, so that who is told of it without a batch,
// and who is in it, is told of all of those.
func (m *maker) earlier(r *rolling) []StepID {
	var gates []StepID
	for _, other := range m.sets {
		if other == r {
			break
		}
		if slices.Contains(m.refers[r], other) || slices.ContainsFunc(m.binders[other], func(c *surveyed) bool { return slices.Contains(m.binders[r], c) }) {
			gates = append(gates, other.last())
		}
	}
	return gates
}

// told reports whether those who refer to the set are told that a batch is about
// to be away: not where nothing else is left of the set, nor where it is away
// already.
func (r *rolling) told(batch int) bool {
	return len(r.batches[batch]) < len(r.all)+len(r.further) && batch >= r.quiet
}

// without names the step by which c is told of the set without a batch.
func (r *rolling) without(batch int, c *surveyed) StepID {
	var names []string
	for _, p := range r.batches[batch] {
		names = append(names, p.String())
	}
	return ID(c.node.Path, Reconfigure) + StepID(" without "+strings.Join(names, ", "))
}

// leave has those who refer to the set told that a batch is about to be away,
// unless nothing else is left of the set, and the batch wait until they know. Of
// further copies of other sets, which may not run yet, they are told with those,
// and of copies that the plan adds when all is done.
func (m *maker) leave(r *rolling, batch int) {
	if !r.told(batch) {
		return
	}
	without := slices.Clone(r.batches[batch])
	for _, other := range m.sets {
		if other != r {
			without = append(without, other.further...)
		}
	}
	from := len(m.plan.Steps)
	for _, c := range m.guests[r] {
		old := m.in.Existing.Components[c.node.Path]
		s := m.step(c, Reconfigure)
		s.ID, s.Executor = r.without(batch, c), old.Executor
		s.Token, s.Text = m.in.Token(s.ID), &Attributes{Without(r.beside(old.Attrs), r.batches[batch]).(*value.Component)}
	}
	for _, c := range m.binders[r] {
		s := m.step(c, Reconfigure)
		s.ID = r.without(batch, c)
		s.Token, s.Without = m.in.Token(s.ID), slices.Concat(without, m.newTo(c))
		if m.newcomers[c.node.Path] {
			s.Needs = append(s.Needs, ID(c.node.Path, Start))
		}
		m.runs(c, s, func(path value.Path) bool {
			return !m.inBatch(path) && !slices.ContainsFunc(s.Without, func(p value.Path) bool { return p.Contains(path) })
		})
	}
	m.inTurn(from)
}

// newTo returns the copies that c refers to and the plan starts, but for those of
// batches.
func (m *maker) newTo(c *surveyed) []value.Path {
	var copies []value.Path
	for _, path := range c.copies(m.in.Survey.Binds) {
		if m.inBatch(path) {
			continue
		}
		for n := range within(m.in.Survey.byPath[path].node) {
			if m.begins(n.Path) {
				copies = append(copies, path)
				break
			}
		}
	}
	return copies
}

// leavings returns the steps by which those who refer to what is at path come
// to know that its batch is about to be away.
func (m *maker) leavings(path value.Path) []StepID {
	at := m.batch[path]
	if at.set == nil || !at.set.told(at.n) {
		return nil
	}
	var ids []StepID
	for _, c := range slices.Concat(m.guests[at.set], m.binders[at.set]) {
		ids = append(ids, at.set.without(at.n, c))
	}
	return ids
}
