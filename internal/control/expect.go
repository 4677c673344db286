package control

import (
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// expect enters what the plan is about to make into the inventory.
func (s *system) expect(b *batch, p *plan.Plan, held *inventory.System) {
	deploys, terminates := map[value.Path]bool{}, map[value.Path]bool{}
	for _, step := range p.Steps {
		switch step.Action {
		case plan.Deploy:
			deploys[step.Path] = true
		case plan.Terminate:
			terminates[step.Path] = true
		}
	}
	for _, want := range p.Components {
		c, ok := held.Components[want.Path]
		flow, err := value.ParsePath(want.Flow)
		switch inFlow := want.Flow != "" && err == nil; {
		case inFlow && deploys[flow] && !terminates[flow]:
			c = planned(want)
		case inFlow && ok && c.Flow == want.Flow && !terminates[flow]:
			c.Attrs, c.Order = want.Attrs.Component, want.Order
		case !ok || deploys[want.Path] && !terminates[want.Path]:
			c = planned(want)
		case c.Order == want.Order:
			continue
		default:
			c.Order = want.Order
		}
		held.Components[want.Path] = c
		s.control.store.putComponent(b, s.name, c)
	}
	s.forget(b, p, held, terminates) // while the machines are those on which it was
	for path, choice := range p.Placement {
		old, exists := held.Machines[path]
		if choice.Kept || exists && terminates[path] {
			continue // as it is, or until the old one has ended
		}
		if exists {
			held.Left[old.ID] = old
			s.control.store.putLeft(b, s.name, old)
		}
		held.Machines[path] = inventory.Machine{ID: choice.MachineID, Path: path, Proposal: choice.Proposal, Since: s.control.now()}
		s.control.store.putMachine(b, s.name, held.Machines[path])
	}
}

// forget drops what the plan does not want and of which there is nothing to
// end.
func (s *system) forget(b *batch, p *plan.Plan, held *inventory.System, terminates map[value.Path]bool) {
	wanted := map[value.Path]bool{}
	for _, want := range p.Components {
		wanted[want.Path] = true
	}
	for path := range held.Components {
		if wanted[path] || terminates[path] || s.endsWith(held.Components[path], terminates) {
			continue
		}
		s.leavesData(b, held, held.Components[path])
		delete(held.Components, path)
		s.control.store.dropComponent(b, s.name, path)
		if _, ok := held.Machines[path]; ok {
			delete(held.Machines, path)
			b.drop(machineTable.Key(s.name, string(path)))
		}
	}
}

// endsWith reports whether a component ends with the workflow component that
// has created it.
func (s *system) endsWith(c inventory.Component, terminates map[value.Path]bool) bool {
	flow, err := value.ParsePath(c.Flow)
	return c.Flow != "" && err == nil && terminates[flow]
}
