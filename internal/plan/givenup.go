package plan

import (
	"slices"
	"strings"

	"aloft/internal/inventory"
	"aloft/value"
)

// GiveUp chooses among the machines that their host has given up those that the
// plan replaces: whoever asks for a plan wants them to run again, but not at the
// price of data that he does not name. A plan that nobody has asked for, auto,
// replaces what it says itself. The others stay as they are: the notes of the
// survey say why, and the rest of the plan goes on without them.
func GiveUp(s *Survey, existing *inventory.System, allow []value.Path, auto bool) {
	for _, m := range existing.OrderedMachines() {
		vm := existing.Components[m.Path]
		if s.byPath[m.Path] == nil || !vm.IsGivenUp() || m.Renew != "" {
			continue
		}
		left := m.Path.String() + " is left as it is, " + vm.Reason
		data := slices.DeleteFunc(s.dataWith(existing, m), func(p value.Path) bool { return slices.Contains(allow, p) })
		switch {
		case auto:
			s.Notes = append(s.Notes, left)
		case len(data) > 0:
			var flags strings.Builder
			for _, p := range data {
				flags.WriteString(" --allow-data-loss " + p.String())
			}
			s.Notes = append(s.Notes, left+"; it holds data, and is replaced with"+flags.String())
		default:
			m.Renew = vm.Reason
			existing.Machines[m.Path] = m
		}
	}
}

// dataWith returns the components whose data would be destroyed with a machine
// that its host has given up: those on it, which cannot be ended any more, and
// those that it contains elsewhere, which would be.
func (s *Survey) dataWith(existing *inventory.System, m inventory.Machine) (paths []value.Path) {
	for _, c := range existing.Ordered() {
		class, _ := s.classes.Class(c.Class)
		if c.Attrs == nil || c.State == inventory.Instantiated || !holds(&class, c) {
			continue
		}
		keeps, ended := keeps(&class, c.Attrs), c.State == inventory.Terminated
		on := c.Machine == m.Path || m.Path.Contains(c.Machine)
		if on && !class.DataElsewhere && (keeps || !ended) || c.Machine != m.Path && m.Path.Contains(c.Path) && !keeps && !ended {
			paths = append(paths, c.Path)
		}
	}
	for _, other := range existing.OrderedMachines() {
		for _, d := range other.Data {
			if m.Path.Contains(other.Path) && !slices.Contains(paths, d.Path) {
				paths = append(paths, d.Path)
			}
		}
	}
	return paths
}
