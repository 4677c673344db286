package agent

import (
	"aloft/component"
	"aloft/internal/plan"
	"aloft/value"
)

// order returns components in an order in which one after another can be
// deployed, or started: each after what is around it, and after those of them
// that it refers to. A plan waits where they refer to each other in a circle;
// here one of them comes first, and waits in vain.
func (t *tenant) order(list []*held, action plan.Action) (ordered []*held) {
	among := make(map[value.Path]*held, len(list))
	for _, c := range list {
		among[c.path] = c
	}
	seen := make(map[*held]bool, len(list))
	var visit func(c *held)
	visit = func(c *held) {
		if seen[c] {
			return
		}
		seen[c] = true
		if parent := among[c.path.Parent()]; parent != nil {
			visit(parent)
		}
		for _, names := range t.needs(c, action) {
			for n := len(names); n >= 0; n-- {
				path := value.PathOf(names[:n]...)
				if target := among[path]; target != nil {
					if !c.path.Contains(path) {
						visit(target)
					}
					break
				}
			}
		}
		ordered = append(ordered, c)
	}
	for _, c := range list {
		visit(c)
	}
	return ordered
}

// needs returns what the references of a component name that an action reads
// first.
func (t *tenant) needs(c *held, action plan.Action) (all [][]string) {
	t.mu.Lock()
	is := c.standing().attrs
	t.mu.Unlock()
	if is == nil {
		return nil
	}
	_, class, err := t.manager(c, action)
	if err != nil {
		return nil // the operation says so
	}
	for a := range is.All() {
		line, known := class.Attribute(a.Name)
		if line.Reference || action == plan.Deploy && (!known || line.Use == component.UseStart) {
			continue
		}
		references(a.Value, func(names []string) { all = append(all, names) })
	}
	return all
}
