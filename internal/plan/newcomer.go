package plan

import (
	"slices"

	"aloft/internal/expand"
	"aloft/internal/inventory"
	"aloft/internal/model"
	"aloft/value"
)

// comesBefore reports whether c, which the plan starts and which refers to sets
// that are updated in batches, can be started before these: with the copies as they
// are. It is reconfigured from then on like all who refer to the sets.
func (m *maker) comesBefore(c *surveyed) bool {
	if m.inBatch(c.node.Path) || !m.begins(c.node.Path) || c.creator != nil || c.flow != nil || !c.class.Reconfigures {
		return false
	}
	for t, attr := range c.reading() {
		if m.inSet(c, attr, t) && !m.waiting(t.Path) && !m.readable(t) {
			return false // only the copies to come have it
		}
	}
	return true
}

// inSet reports whether attribute attr of c refers to t as one of a set of copies
// that is updated in batches.
func (m *maker) inSet(c *surveyed, attr string, t model.Target) bool {
	return m.inBatch(t.Path) && m.in.Survey.bound(c, attr, t)
}

// waiting reports whether what is at path is in a batch that takes nobody away: it
// does not run before.
func (m *maker) waiting(path value.Path) bool {
	at := m.batch[path]
	return at.set != nil && at.n < at.set.quiet
}

// readable reports whether t can be read of what exists.
func (m *maker) readable(t model.Target) bool {
	old := m.in.Existing.Components[t.Path]
	if old.State != inventory.Running || old.Resolved == nil {
		return false
	}
	_, has := old.Resolved.Get(t.Attr)
	return has || t.Attr == ""
}

// unready returns the copies that c refers to and that do not run before the
// batches.
func (m *maker) unready(c *surveyed) []value.Path {
	var copies []value.Path
	for _, r := range m.sets {
		for _, batch := range r.batches[:r.quiet] {
			for _, path := range batch {
				if slices.ContainsFunc(c.copies(m.in.Survey.Binds), path.Contains) {
					copies = append(copies, path)
				}
			}
		}
	}
	return copies
}

// copies returns the copies that c refers to, or what is in them, sorted.
func (c *surveyed) copies(binds expand.Binds) []value.Path {
	var paths []value.Path
	for b := range binds {
		if b.Holder == c.node.Path && !slices.Contains(paths, b.Copy) {
			paths = append(paths, b.Copy)
		}
	}
	slices.Sort(paths)
	return paths
}
