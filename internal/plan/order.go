package plan

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/graph"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// softEdge is an edge that only the wished order asks for: where it would
// close a circle with what is needed, it is left out.
type softEdge struct{ before, after StepID }

// order notes the edges that sfOrder asks of one wave (runtime.md LC6): with
// "levels" a barrier after every depth, with "depth" one component at a time,
// parents before children, in definition order.
func (m *maker) order(wave []*surveyed, action Action) {
	for _, c := range m.in.Survey.parts {
		a, ok := c.attrs.Attr("sfOrder")
		if !ok {
			continue
		}
		var members []*surveyed
		for _, w := range wave {
			if c.node.Path.Contains(w.node.Path) {
				members = append(members, w)
			}
		}
		switch a.Value {
		case value.String("edges"):
		case value.String("depth"):
			for i := 1; i < len(members); i++ {
				m.soft = append(m.soft, softEdge{ID(members[i-1].node.Path, action), ID(members[i].node.Path, action)})
			}
		case value.String("levels"):
			m.levels(c, members, action)
		default:
			if action == Deploy { // told once
				m.in.Survey.problem(c, "sfOrder", a.Pos, diag.AttributeKind, "sfOrder has an unknown value", `"edges", "levels" or "depth"`, value.Source(a.Value))
			}
		}
	}
}

// levels adds a barrier between each depth below c and the next.
func (m *maker) levels(c *surveyed, members []*surveyed, action Action) {
	depth := map[int][]StepID{}
	deepest := 0
	for _, w := range members {
		d := len(w.node.Path.Names())
		depth[d] = append(depth[d], ID(w.node.Path, action))
		deepest = max(deepest, d)
	}
	top := len(c.node.Path.Names())
	for d := top; d < deepest; d++ {
		if len(depth[d]) == 0 || len(depth[d+1]) == 0 {
			continue
		}
		barrier := StepID(fmt.Sprintf("/%s of depth %d below %s", action, d-top, c.node.Path))
		m.plan.Steps = append(m.plan.Steps, Step{ID: barrier, Action: Barrier})
		for _, id := range depth[d] {
			m.soft = append(m.soft, softEdge{id, barrier})
		}
		for _, id := range depth[d+1] {
			m.soft = append(m.soft, softEdge{barrier, id})
		}
	}
}

// failures has those who refer to the record of a failed action come after that
// has ended, however it has (runtime.md TR5).
func (m *maker) failures(wave []*surveyed, action Action, output string) {
	acts := map[value.Path]bool{}
	for _, c := range wave {
		acts[c.node.Path] = true
	}
	for _, c := range wave {
		for t := range c.reading() {
			if t.Attr == output && acts[t.Path] && !t.Path.Contains(c.node.Path) {
				m.soft = append(m.soft, softEdge{ID(t.Path, action), ID(c.node.Path, action)})
			}
		}
	}
}

// harden makes edges of the wished ones that contradict nothing needed.
func (m *maker) harden() {
	if len(m.soft) == 0 {
		return
	}
	var g graph.Graph[StepID]
	at := map[StepID]int{}
	for i, s := range m.plan.Steps {
		at[s.ID] = i
		g.Add(s.ID)
		for _, before := range [2][]StepID{s.Needs, s.After} {
			for _, id := range before {
				g.Edge(id, s.ID)
			}
		}
	}
	for _, e := range m.soft {
		g.Edge(e.before, e.after)
	}
	circle := map[StepID]int{}
	for i, ids := range g.Cycles() {
		var names []string
		for _, id := range ids {
			circle[id] = i + 1
			if id[0] != '/' {
				names = append(names, id.Short())
			}
		}
		m.plan.Notes = append(m.plan.Notes, "sfOrder is not kept where references ask for another order: "+strings.Join(names, ", "))
	}
	for _, e := range m.soft {
		if c := circle[e.before]; c != 0 && c == circle[e.after] {
			continue
		}
		s := &m.plan.Steps[at[e.after]]
		if !slices.Contains(s.After, e.before) {
			s.After = append(s.After, e.before)
		}
	}
}
