package daemon

import (
	"slices"

	"aloft/internal/member"
	"aloft/internal/member/memberpb"
)

// meet takes in the members as they are now: it has sessions made with them,
// and ends this daemon when it is no manager any more.
func (m *Manager) meet(all []*memberpb.Member) {
	before := m.met
	m.met = all
	mesh := map[string]string{}
	for _, row := range all {
		switch {
		case row.Address == "":
		case member.Is(row, member.Manage):
			mesh[row.Id] = row.Address
		default:
			m.reach.Set(row.Id, row.Address)
		}
	}
	m.reach.Mesh(mesh)
	for _, row := range before {
		if !has(all, row.Id) && !member.Is(row, member.Manage) {
			m.reach.Remove(row.Id)
		}
	}
	// It was here before, and is not any more.
	if has(before, m.world.MachineID) {
		at := slices.IndexFunc(all, func(r *memberpb.Member) bool { return r.Id == m.world.MachineID })
		switch {
		case at < 0:
			m.end(errRemoved)
		case !member.Is(all[at], member.Manage):
			m.end(errChanged)
		}
	}
}

func has(all []*memberpb.Member, id string) bool {
	return slices.ContainsFunc(all, func(m *memberpb.Member) bool { return m.Id == id })
}
