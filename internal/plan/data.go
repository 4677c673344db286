package plan

import (
	"slices"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/value"
)

// Data is what a plan destroys that cannot be made again (runtime.md UP9).
type Data struct {
	Path    value.Path `json:"path"` // of the component that holds it
	Class   string     `json:"class"`
	Machine value.Path `json:"machine,omitempty"`
	// Directory is where it lies on the machine; "" where the component does
	// not say.
	Directory string `json:"directory,omitempty"`
	Why       string `json:"why"`
	Allowed   bool   `json:"allowed,omitempty"` // by who asked for the plan
	// Left: the component has ended on the machine, or has moved from there; it
	// may be elsewhere by now, with other data.
	Left bool `json:"left,omitempty"`
	// Spare: all of it is elsewhere, as who has it has confirmed. It is asked
	// again when the component ends.
	Spare bool `json:"spare,omitempty"`
}

// Loses returns what the plan would destroy without leave.
func (p *Plan) Loses() []Data {
	var list []Data
	for _, d := range p.Data {
		if !d.Allowed && !d.Spare {
			list = append(list, d)
		}
	}
	return list
}

// Spare notes that all of d, which is of p.Data, is elsewhere. The end of its
// component then fails unless that is still so, and what would destroy them, its
// machine's end for one, is left out after that. What has no end of its own, as
// what a workflow component has created, is not asked then, and is not spare.
func (p *Plan) Spare(d *Data) {
	path, machine, end := d.Path, d.Machine, ID(d.Path, Terminate)
	if !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.ID == end }) {
		return
	}
	d.Spare = true
	for i := range p.Steps {
		s := &p.Steps[i]
		around := s.Path.Contains(path) || machine != value.Root && s.Path == machine
		switch {
		case s.ID == end:
			s.Spare = true
		case s.Action == Terminate && around, s.Action == Deploy && slices.Contains(s.After, ID(s.Path, Terminate)) && (around || s.Path == path):
			s.Needs = append(s.Needs, end) // what is replaced is not made while the old one is there
		}
	}
}

// Made reports whether p has made what d says: the component, where there was
// nothing of it, or the machine with it. Nobody can have had the data before.
func (p *Plan) Made(d Data) bool {
	choice, placed := p.Placement[d.Machine]
	return placed && !choice.Kept || slices.Contains(p.Makes, d.Path)
}

// makes notes what the plan makes that may come to hold data.
func (m *maker) makes() {
	for _, c := range m.in.Survey.parts {
		old, held := m.in.Existing.Components[c.node.Path]
		left := slices.ContainsFunc(m.in.Existing.Machines[c.machine].Data, func(d inventory.Data) bool { return d.Path == c.node.Path })
		if m.fate[c.node.Path] == add && (!held || old.State == inventory.Instantiated) && !left && holds(&c.class, inventory.Component{Attrs: c.attrs}) {
			m.plan.Makes = append(m.plan.Makes, c.node.Path)
		}
	}
}

// data notes the data that the plan destroys: of components on machines that it
// ends, and of those that it ends and that do not keep theirs. A plan that ends
// the whole system was asked for just that.
func (m *maker) data() {
	if m.in.Down {
		return
	}
	ends := map[value.Path]bool{}
	for _, s := range m.plan.Steps {
		if s.Action == Terminate {
			ends[s.Path] = true
		}
	}
	for _, old := range m.in.Existing.Ordered() {
		if old.Attrs == nil || old.State == inventory.Instantiated || m.asked(old.Path) {
			continue
		}
		class, _ := m.in.Survey.classes.Class(old.Class)
		machine := old.Machine != value.Root && ends[old.Machine] && !class.DataElsewhere
		ended := old.State == inventory.Terminated
		flow, err := value.ParsePath(old.Flow)
		inFlow := old.Flow != "" && err == nil && ends[flow] && !ended
		why := "it is ended, and does not keep its data"
		switch {
		case ended && m.in.Existing.Machines[old.Machine].Lost != "":
			continue // given up with its machine, as it allows (HL3): see lose
		case !holds(&class, old) || ended && !keeps(&class, old.Attrs):
			continue
		case machine:
			why = "its machine " + old.Machine.String() + " is ended"
		case !ends[old.Path] && !inFlow || ended || keeps(&class, old.Attrs):
			continue
		case inFlow:
			why = "it is ended with " + flow.String() + ", and does not keep its data"
		}
		m.loses(Data{Path: old.Path, Class: old.Class, Machine: old.Machine, Directory: directory(old), Why: why})
	}
	for _, machine := range m.in.Existing.OrderedMachines() {
		for _, d := range machine.Data {
			if ends[machine.Path] && !m.asked(machine.Path) {
				m.loses(Data{Path: d.Path, Class: d.Class, Machine: machine.Path, Directory: d.Directory, Left: true, Why: "it has left them on its machine " + machine.Path.String() + ", which is ended"})
			}
		}
	}
}

// asked reports whether the end of what is at path was asked for by name.
func (m *maker) asked(path value.Path) bool {
	part, apart := m.in.Existing.Apart(path)
	return (m.in.Asked || apart && part.Ending) && m.in.Survey.byPath[path] == nil
}

// loses adds data that the plan destroys, unless they are among them.
func (m *maker) loses(d Data) {
	if slices.ContainsFunc(m.plan.Data, func(other Data) bool {
		return other.Path == d.Path && other.Machine == d.Machine && other.Class == d.Class && other.Directory == d.Directory
	}) {
		return
	}
	d.Allowed = slices.Contains(m.in.AllowLoss, d.Path)
	m.plan.Data = append(m.plan.Data, d)
}

// Leaves returns the data that a component leaves on its machine when it is
// ended, false where it leaves none.
func Leaves(class *component.Class, c inventory.Component) (inventory.Data, bool) {
	return inventory.Data{Path: c.Path, Class: c.Class, Directory: directory(c)}, c.Attrs != nil && !class.DataElsewhere && holds(class, c) && keeps(class, c.Attrs)
}

// holds reports whether a component as it is held has data that nothing else
// makes again: it has a dataDir, or its class keeps what it is about. What goes
// with it unasked unless it is told to stay counts only where it is.
func holds(class *component.Class, c inventory.Component) bool {
	if class.KeptIsData {
		return keeps(class, c.Attrs)
	}
	return directory(c) != "" || class.KeepsData && !class.Disposable
}

// keeps reports whether ending a component leaves its data where it is.
func keeps(class *component.Class, attrs *value.Component) bool {
	if keep, ok := attrs.Get("keepOnTerminate"); ok {
		return keep == value.Bool(true)
	}
	return class.KeepsData
}

// directory is where a component has its data, as it says itself at run time
// or as its description does.
func directory(c inventory.Component) string {
	for _, from := range []*value.Component{c.Resolved, c.Attrs} {
		if v, ok := from.Get("dataDir"); ok {
			if dir, is := v.(value.String); is && dir != "" {
				return string(dir)
			}
		}
	}
	return ""
}
