package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/graph"
	"aloft/internal/inventory"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// The attributes of a rolling update, of the component that is copied or of
// what it is in.
const (
	attrUnavailable = "sfMaxUnavailable"
	attrSurge       = "sfMaxSurge"
	attrIndex       = "sfCopyIndex"
)

// rolling is a set of copies that is updated in batches (runtime.md UP8): each
// begins when all of the one before runs, and none does after one that failed.
// Copies that do not run already when the update begins, or of which it touches
// only what does not, are the first batch, however many: nobody is taken away
// beside them. Those of which something runs and something has failed come next.
type rolling struct {
	name    string       // of the set
	all     []value.Path // the copies that there are
	batches [][]value.Path
	size    int  // of a batch
	away    bool // the first batch is of those that do not run
}

// rolls finds the sets that are updated in batches.
func (m *maker) rolls() {
	sets := map[string][]*surveyed{}
	var names []string
	for _, c := range m.in.Survey.parts {
		index, copied := c.attrs.Get(attrIndex)
		if !copied || c.node.Parent == nil {
			continue
		}
		set := strings.TrimSuffix(c.node.Path.String(), fmt.Sprint(index))
		if sets[set] == nil {
			names = append(names, set)
		}
		sets[set] = append(sets[set], c)
	}
	for _, name := range names {
		copies := sets[name]
		size := m.unavailable(copies[0])
		if size == 0 || m.inBatch(copies[0].node.Path) {
			continue // not asked for, or updated with the copy that it is in
		}
		r := &rolling{name: name, size: size}
		var away, broken, changed []value.Path
		for _, c := range copies {
			path := c.node.Path
			idle, failed, taken := m.condition(c)
			if m.fate[path] == add && !idle {
				continue // more of them come first
			}
			r.all = append(r.all, path)
			switch {
			case idle && !taken:
				away = append(away, path)
			case failed:
				broken = append(broken, path)
			case m.differs(c):
				changed = append(changed, path)
			}
		}
		if changed = append(broken, changed...); len(changed) == 0 {
			continue // what does not run is no update of the set
		}
		if r.away = len(away) > 0; r.away {
			r.batches = append(r.batches, away)
		}
		r.batches = slices.AppendSeq(r.batches, slices.Chunk(changed, size))
		for i, batch := range r.batches {
			for _, path := range batch {
				for n := range within(m.in.Survey.byPath[path].node) {
					m.batch[n.Path] = batchOf{r, i}
				}
			}
		}
		m.sets = append(m.sets, r)
	}
	m.bind()
}

// condition says of a copy whether something of it is idle, which does not run
// and did, or was to; whether that has failed, rather than come to its normal end;
// and whether the plan takes away something of the copy that runs.
func (m *maker) condition(c *surveyed) (idle, failed, taken bool) {
	for n := range within(c.node) {
		old, held := m.in.Existing.Components[n.Path]
		f := m.fate[n.Path]
		switch {
		case !held || old.State == inventory.Instantiated:
		case old.State == inventory.Running:
			taken = taken || f != keep && m.plan.Components[n.Order].OnLoss.Acts
		case f == add || f == begin || f == renew:
			idle = true
			failed = failed || old.State != inventory.Terminated || old.Record == nil || old.Record.Type != component.Normal
		}
	}
	return idle, failed, taken
}

// differs reports whether the plan changes something of a copy.
func (m *maker) differs(c *surveyed) bool {
	for n := range within(c.node) {
		if m.fate[n.Path] != keep {
			return true
		}
	}
	return false
}

// batchOf is the batch that a component is updated in.
type batchOf struct {
	set *rolling
	n   int
}

func (m *maker) inBatch(path value.Path) bool { return m.batch[path].set != nil }

// unavailable returns how many copies of a set may be away at a time, 0 where
// nobody says that they are to be updated in batches.
func (m *maker) unavailable(c *surveyed) int {
	size := 0
	for _, at := range []*surveyed{c, m.in.Survey.byPath[c.node.Parent.Path]} {
		if a, ok := at.attrs.Attr(attrSurge); ok && a.Value != value.Integer(0) {
			m.in.Survey.problem(at, attrSurge, a.Pos, diag.AttributeKind, "more copies than there are to be cannot be made during an update", "0", value.Source(a.Value),
				"raise sfCopies before the update and lower it after")
		}
		a, ok := at.attrs.Attr(attrUnavailable)
		if !ok || size > 0 {
			continue
		}
		n, is := a.Value.(value.Integer)
		if !is || n < 1 {
			m.in.Survey.problem(at, attrUnavailable, a.Pos, diag.AttributeKind, "sfMaxUnavailable is no number of copies", "a whole number from 1", value.Source(a.Value))
			continue
		}
		size = int(n)
	}
	return size
}

// bind has those who refer to a set that is updated in batches reconfigured at
// the end of it: meanwhile they were told of it without the batch under way.
func (m *maker) bind() {
	m.binders, m.gates = map[*rolling][]*surveyed{}, map[value.Path][]StepID{}
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
			if f != keep && f != change || !c.class.Reconfigures || old.State != inventory.Running || m.inBatch(path) {
				continue
			}
			if f == keep {
				m.reconfigure(c, fmt.Sprintf("refers to %s, updated %d at a time", r.name, r.size))
			}
			m.binders[r] = append(m.binders[r], c)
			m.gates[path] = append(m.gates[path], r.gate(len(r.batches)-1))
		}
	}
}

// gate is the vertex that is passed when a batch runs, and skipped if some of it
// failed.
func (r *rolling) gate(batch int) StepID {
	return StepID(fmt.Sprintf("/batch %d of %s", batch+1, r.name))
}

// roll adds the steps of a set that is updated in batches, and returns the last
// gate. before is what has to have ended before the first.
func (m *maker) roll(r *rolling, before StepID) StepID {
	var gate StepID // of the batch before
	for i, batch := range r.batches {
		from := len(m.plan.Steps)
		m.leave(r, batch)
		m.ends(func(path value.Path) bool {
			in := slices.ContainsFunc(batch, func(p value.Path) bool { return p.Contains(path) })
			return in && (m.fate[path] == renew && !m.left(path) || m.gone[path] && m.uprooted(path))
		}, "")
		var deploys, starts, changes []*surveyed
		for _, c := range m.in.Survey.parts {
			if at := m.batch[c.node.Path]; at.set != r || at.n != i {
				continue
			}
			switch m.fate[c.node.Path] {
			case add, renew:
				deploys, starts = append(deploys, c), append(starts, c)
			case begin:
				starts = append(starts, c)
			case change:
				changes = append(changes, c)
			}
		}
		name := fmt.Sprintf(" batch %d of %s", i+1, r.name)
		m.deploys(deploys)
		deployed := m.barrier("deployed:"+name, deploys, Deploy, "")
		early, late := m.apart(changes)
		m.changes(early, deployed)
		reconfigured := m.barrier("reconfigured:"+name, early, Reconfigure, deployed)
		m.starts(starts, reconfigured)
		m.changes(late, m.barrier("started:"+name, starts, Start, reconfigured))
		g := Step{ID: r.gate(i), Action: Barrier}
		for j := range m.plan.Steps[from:] {
			s := &m.plan.Steps[from+j]
			switch {
			case gate != "":
				s.Needs = append(s.Needs, gate)
			case before != "":
				s.After = append(s.After, before)
			}
			if s.Action != Barrier {
				g.Needs = append(g.Needs, s.ID)
			}
		}
		m.plan.Steps = append(m.plan.Steps, g)
		gate = g.ID
	}
	return gate
}

// told reports whether those who refer to the set are told that a batch is about
// to be away: not where nothing else is left of the set, nor where it is away
// already.
func (r *rolling) told(batch []value.Path) bool {
	return len(batch) < len(r.all) && (!r.away || &batch[0] != &r.batches[0][0])
}

// leave has those who refer to the set told that a batch is about to be away,
// unless nothing else is left of the set, and the batch wait until they know.
func (m *maker) leave(r *rolling, batch []value.Path) {
	if !r.told(batch) {
		return
	}
	var names []string
	for _, p := range batch {
		names = append(names, p.String())
	}
	for _, c := range m.binders[r] {
		s := m.step(c, Reconfigure)
		s.ID += StepID(" without " + strings.Join(names, ", "))
		s.Token, s.Without = m.in.Token(s.ID), batch
	}
}

// leavings returns the steps by which those who refer to what is at path come
// to know that its batch is about to be away.
func (m *maker) leavings(path value.Path) []StepID {
	at := m.batch[path]
	if at.set == nil || !at.set.told(at.set.batches[at.n]) {
		return nil
	}
	var names []string
	for _, p := range at.set.batches[at.n] {
		names = append(names, p.String())
	}
	var ids []StepID
	for _, c := range m.binders[at.set] {
		ids = append(ids, ID(c.node.Path, Reconfigure)+StepID(" without "+strings.Join(names, ", ")))
	}
	return ids
}

// circular reports whether steps wait for each other.
func (m *maker) circular() bool {
	var g graph.Graph[StepID]
	for _, s := range m.plan.Steps {
		g.Add(s.ID)
		for _, before := range [2][]StepID{s.Needs, s.After} {
			for _, id := range before {
				g.Edge(id, s.ID)
			}
		}
	}
	return len(g.Cycles()) > 0
}
