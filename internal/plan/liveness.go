package plan

import (
	"fmt"
	"math"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Liveness is how the compound around a component asks whether it lives
// (runtime.md LV1, LV2).
type Liveness struct {
	Delay  int64 `json:"delay"`  // milliseconds from one ping to the next; 0: never
	Factor int   `json:"factor"` // failures in a row that count as an end
}

// Where nothing says otherwise.
const (
	livenessDelay  = 15 // seconds
	livenessFactor = 2
)

// liveness reads what is said around c: the nearest counts.
func (m *maker) liveness(c *surveyed) Liveness {
	l := Liveness{Delay: livenessDelay * 1000, Factor: livenessFactor}
	m.checkLiveness(c)
	if c.node.Parent == nil {
		return l
	}
	parent := m.in.Survey.byPath[c.node.Parent.Path]
	if s, ok := number(m.around(parent, "sfLivenessDelay")); ok && s >= 0 && s <= longest {
		l.Delay = int64(math.Ceil(s * 1000))
	}
	if n, ok := number(m.around(parent, "sfLivenessFactor")); ok && n >= 1 && n <= math.MaxInt32 {
		l.Factor = int(n)
	}
	return l
}

// lossLeast is the shortest time without a word of its parent after which a
// component can end: its machine asks several times in it.
const lossLeast = 5 * time.Second

// bereave says when a component of a machine ends because what is around it is
// processed elsewhere, and is not heard of (runtime.md LV3): in the same way as
// the topmost component above it there.
func (m *maker) bereave(c *surveyed, p *Component) {
	ends := m.endsWithoutParent(c)
	if p.Machine == value.Root || c.node.Parent == nil {
		return
	}
	parent := m.plan.Components[c.node.Parent.Order]
	if parent.Machine == p.Machine {
		p.ParentLoss, p.Parent = parent.ParentLoss, parent.Parent
		return
	}
	if !ends {
		return
	}
	p.ParentLoss = p.Liveness.Delay * int64(p.Liveness.Factor)
	if parent.Machine != value.Root {
		p.Parent = parent.Executor
	}
	if d := time.Duration(p.ParentLoss) * time.Millisecond; d < lossLeast {
		m.in.Survey.problem(c, "sfOnParentLoss", c.node.Pos, diag.AttributeKind, `sfOnParentLoss "terminate" has too little time to hear of what is around the component`,
			fmt.Sprintf("sfLivenessDelay × sfLivenessFactor, of what is around it, from %s", lossLeast), d.String())
	}
}

// endsWithoutParent reports whether c, or the nearest around it that says
// something about it, is to end where its parent is not heard of.
func (m *maker) endsWithoutParent(c *surveyed) bool {
	what := m.around(c, "sfOnParentLoss")
	if what != nil && what != value.String("terminate") && what != value.String("keep") {
		m.wrong(c, "sfOnParentLoss", "sfOnParentLoss has an unknown value", `"terminate" or "keep"`)
	}
	return what == value.String("terminate")
}

// checkLiveness refuses what c says and cannot be meant.
func (m *maker) checkLiveness(c *surveyed) {
	for least, name := range []string{"sfLivenessDelay", "sfLivenessFactor"} {
		a, own := c.attrs.Attr(name)
		if !own {
			continue
		}
		if n, ok := number(a.Value); !ok || n < float64(least) || n > longest {
			expected := "a number of seconds, 0 for never"
			if least > 0 {
				expected = "how many pings in a row fail before it counts, from 1"
			}
			m.in.Survey.problem(c, name, a.Pos, diag.AttributeKind, name+" is not right", expected, value.Source(a.Value))
		}
	}
}

// number returns the number that v is, and whether it is one.
func number(v value.Value) (float64, bool) {
	switch v := v.(type) {
	case value.Integer:
		return float64(v), true
	case value.Long:
		return float64(v), true
	case value.Double:
		return float64(v), true
	}
	return 0, false
}
