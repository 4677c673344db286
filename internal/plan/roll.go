package plan

import (
	"fmt"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/graph"
	"aloft/internal/inventory"
	"aloft/value"
)

// rolling is a set of copies that is updated in batches (runtime.md UP8): each
// begins when all of the one before runs, and none does after one that failed.
// Copies that do not run already when the update begins, or of which it touches
// only what does not, are the first batch, however many: nobody is taken away
// beside them. Further ones, which exist only for the time of the update and of
// which as many more are taken away at a time, are a batch of their own after it.
// Those of which something runs and something has failed come next.
type rolling struct {
	pace
	name    string       // of the set
	all     []value.Path // the copies that there are
	further []value.Path // those for the time of the update
	batches [][]value.Path
	size    int // of a batch
	quiet   int // so many batches at the beginning take nobody away
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
		p := m.pace(copies[0])
		if !p.asked || m.inBatch(copies[0].node.Path) {
			continue // not asked for, or updated with the copy that it is in
		}
		for _, c := range copies {
			m.paced[c.node.Path] = paced{set: name, many: max(1, p.unavailable+p.surge)}
		}
		r := &rolling{name: name, pace: p}
		var away, broken, changed []value.Path
		for _, c := range copies {
			path := c.node.Path
			if c.further {
				r.further = append(r.further, path)
				continue
			}
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
		for _, first := range [][]value.Path{away, r.further} {
			if len(first) > 0 {
				r.batches = append(r.batches, first)
				r.quiet++
			}
		}
		more := min(p.surge, len(changed))
		if len(r.further) == 0 && more > 0 {
			m.want(r, copies, more)
		}
		r.size = p.unavailable + more
		r.batches = slices.AppendSeq(r.batches, slices.Chunk(changed, r.size))
		for i, batch := range r.batches {
			for _, path := range batch {
				for n := range within(m.in.Survey.byPath[path].node) {
					m.batch[n.Path] = batchOf{r, i}
				}
			}
		}
		m.sets = append(m.sets, r)
	}
	m.ranked()
	m.bind()
}

// condition says of a copy whether something of it is idle, which does not run
// and did, or was to, or is on a machine that is lost; whether that has failed, rather than come to its normal end;
// and whether the plan takes away something of the copy that runs.
func (m *maker) condition(c *surveyed) (idle, failed, taken bool) {
	for n := range within(c.node) {
		old, held := m.in.Existing.Components[n.Path]
		f := m.fate[n.Path]
		switch {
		case !held || old.State == inventory.Instantiated:
		case f != keep && (m.in.Existing.Machines[n.Path].Lost != "" || m.in.Existing.Machines[old.Machine].Lost != ""):
			idle = true
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

// gate is the vertex that is passed when a batch runs, and skipped if some of it
// failed.
func (r *rolling) gate(batch int) StepID {
	return StepID(fmt.Sprintf("/batch %d of %s", batch+1, r.name))
}

// ranked puts a set after those that its copies refer to.
func (m *maker) ranked() {
	m.refers = map[*rolling][]*rolling{}
	for _, c := range m.in.Survey.parts {
		r := m.batch[c.node.Path].set
		if r == nil {
			continue
		}
		for t := range c.reading() {
			if other := m.batch[t.Path].set; other != nil && !slices.Contains(m.refers[r], other) {
				m.refers[r] = append(m.refers[r], other)
			}
		}
	}
	seen := map[*rolling]bool{}
	var sets []*rolling
	var visit func(*rolling)
	visit = func(r *rolling) {
		if seen[r] {
			return
		}
		seen[r] = true
		for _, other := range m.refers[r] {
			visit(other)
		}
		sets = append(sets, r)
	}
	for _, r := range m.sets {
		visit(r)
	}
	m.sets = sets
}

// last is the gate of the last batch.
func (r *rolling) last() StepID { return r.gate(len(r.batches) - 1) }

// roll adds the steps of a set that is updated in batches, and returns the last
// gate. before is what has to have ended before the first.
func (m *maker) roll(r *rolling, before StepID) StepID {
	first := m.earlier(r)
	var gate StepID // of the batch before
	for i, batch := range r.batches {
		from := len(m.plan.Steps)
		m.leave(r, i)
		m.ends(m.in.Existing.Ordered(), func(path value.Path) bool {
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
			default:
				if s.Needs = append(s.Needs, first...); before != "" {
					s.After = append(s.After, before)
				}
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
