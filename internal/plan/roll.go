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
	attrReplace     = "sfReplace"
	attrIndex       = "sfCopyIndex"
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
