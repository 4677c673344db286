package plan

import (
	"fmt"
	"strings"

	"aloft/internal/flow"
	"aloft/internal/inventory"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// course finds out whether c is created by a workflow component while that runs
// (runtime.md section 8). What is inside of it is created with it.
func (s *Survey) course(c *surveyed) {
	parent := s.byPath[parentPath(c.node)]
	if parent == nil {
		return
	}
	above := s.byPath[parentPath(parent.node)]
	switch {
	case parent.class.Workflow && flow.Creates(parent.class.Name, c.node.Name()):
		c.creator = parent
	case above != nil && above.class.Workflow && parent.class.Name == "" && flow.Creates(above.class.Name, parent.node.Name(), c.node.Name()):
		c.creator = above
	}
	if c.flow = parent.flow; c.flow == nil {
		c.flow = c.creator
	}
	if c.flow != nil {
		c.flow.members = append(c.flow.members, c)
	}
}

// checkCourse refuses what a workflow component cannot create: it creates its
// children on its own machine.
func (s *Survey) checkCourse(c *surveyed) {
	if c.flow == nil {
		return
	}
	switch {
	case c.isMachine():
		s.problem(c, "", c.node.Pos, diag.NoHost, fmt.Sprintf("%s would have to create a machine while it runs", c.flow.node.Path), "components that run on its own machine", c.class.Name,
			fmt.Sprintf("put the %s outside of %s, and %s inside of a machine", c.class.Name, c.flow.node.Path, c.flow.class.Name))
	case c.machine != c.flow.machine || c.onHost != c.flow.onHost:
		a, _ := c.attrs.Attr("sfProcessHost")
		s.problem(c, "sfProcessHost", a.Pos, diag.NoHost, fmt.Sprintf("%s would have to create this on another machine", c.flow.node.Path), "the machine of "+c.flow.node.Path.String(), value.Source(a.Value))
	}
}

// digest is that of a component's attributes; of a flow it is that of all it
// creates as well, so that a change of those reaches it.
func (c *surveyed) digest() string {
	own := value.Digest(c.attrs)
	if len(c.members) == 0 {
		return own
	}
	all := value.NewComponent(true, value.Attr{Name: "ROOT", Value: value.String(own)})
	for _, m := range c.members {
		all.Set(value.Attr{Name: string(m.node.Path), Value: value.String(m.class.Name + " " + value.Digest(m.attrs))})
	}
	return value.Digest(all)
}

// reshaped says why a flow has to begin anew, or "": its own attributes are
// other ones, or what it creates is, or cannot be changed while it runs. All
// else it takes up as it goes.
func (m *maker) reshaped(c *surveyed, old inventory.Component) string {
	if !value.Equal(old.Attrs, c.attrs) {
		return "an attribute of its course changes"
	}
	known := 0
	for _, k := range m.in.Existing.Components {
		if k.Flow == c.node.Path.String() {
			known++
		}
	}
	if known != len(c.members) {
		return "it creates others"
	}
	for _, member := range c.members {
		was, held := m.in.Existing.Components[member.node.Path]
		switch {
		case !held || was.Flow != c.node.Path.String() || was.Class != member.class.Name:
			return "it creates others"
		case value.Equal(was.Attrs, member.attrs):
		case member.class.Workflow || !member.class.Reconfigures || fixedDiffers(&member.class, was.Attrs, member.attrs):
			return member.node.Path.String() + " cannot change in place"
		}
	}
	return ""
}

// creates notes, for people, what a flow creates when it runs.
func (m *maker) creates(c *surveyed) {
	var names []string
	for _, member := range c.members {
		if member.creator != nil {
			names = append(names, string(member.node.Path))
		}
	}
	if len(names) > 0 {
		m.plan.Notes = append(m.plan.Notes, c.node.Path.String()+" creates while it runs: "+strings.Join(names, ", "))
	}
}

// member decides about a component that a flow creates: nothing is a step of
// the plan. Where it was deployed with the tree before, that one is ended.
func (m *maker) member(c *surveyed, old inventory.Component, held bool) {
	m.fate[c.node.Path] = keep
	if held && old.Flow == "" && m.exists(old) {
		m.gone[c.node.Path] = true
	}
}

// done reports whether a component has come to its normal end, and is not to
// begin anew: nothing of it differs, nor of what it is in.
func (m *maker) done(c *surveyed, old inventory.Component, digest string) bool {
	if old.State != inventory.Terminated || old.Record == nil || old.Record.Type != "normal" || old.Digest != digest {
		return false
	}
	return c.node.Parent == nil || m.fate[c.node.Parent.Path] == keep && m.fate[c.machine] == keep
}
