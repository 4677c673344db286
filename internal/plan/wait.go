package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"aloft/internal/inventory"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// waitLimit is how long an operation waits for what its component refers to,
// where the component does not say (runtime.md LC4).
const waitLimit = 900 * time.Second

// longest is the longest limit that can be asked for, in seconds: some thirty
// years, which a duration holds.
const longest = 1e9

// WaitLimit returns how long a component with these attributes waits for what
// it refers to.
func WaitLimit(attrs *value.Component) time.Duration {
	v, _ := attrs.Get("sfWaitTimeout")
	if s, ok := seconds(v); ok {
		return time.Duration(s * float64(time.Second))
	}
	return waitLimit
}

// seconds returns the time that v says, and whether it is one.
func seconds(v value.Value) (float64, bool) {
	s, _ := number(v)
	return s, s > 0 && s <= longest
}

// checkLimits refuses limits of operations that are none.
func (s *Survey) checkLimits(c *surveyed) {
	for _, name := range []string{"sfDeployTimeout", "sfStartTimeout", "sfTerminateTimeout", "sfWaitTimeout"} {
		a, given := c.attrs.Attr(name)
		if !given {
			continue
		}
		if _, late := a.Value.(*value.Reference); late && name != "sfWaitTimeout" {
			continue // read with the other attributes; how long to wait for those has to be known before
		}
		if _, ok := seconds(a.Value); !ok {
			s.problem(c, name, a.Pos, diag.AttributeKind, name+" is not a time limit", "a number of seconds above 0", value.Source(a.Value))
		}
	}
}

// await notes that step needs another one only because an attribute of its
// component refers to that one's.
func (m *maker) await(step *Step, path value.Path, action Action, attribute string) {
	a := Await{Step: ID(path, action), Attribute: attribute}
	if c := m.in.Survey.byPath[path]; c.machine != value.Root {
		a.Machine = inventory.MachineName(m.plan.System, c.machine)
	}
	step.Awaits = append(step.Awaits, a)
}

// Overdue says what a step has waited for in vain.
func Overdue(limit time.Duration, open []Await) string {
	var b strings.Builder
	fmt.Fprintf(&b, "waited %s for ", limit)
	for i, a := range open {
		if i > 0 {
			b.WriteString(", and for ")
		}
		fmt.Fprintf(&b, "%s, which attribute %s refers to", a.Step.reached(), a.Attribute)
		if a.Machine != "" {
			b.WriteString(", on machine " + a.Machine)
		}
	}
	return b.String()
}

// reached names the state that a step leads to: "m1:a deployed".
func (id StepID) reached() string {
	path, action, ok := cutLast(string(id), '/')
	switch {
	case !ok:
		return string(id)
	case path == "":
		return "everything " + action // a barrier
	}
	states := map[Action]string{Deploy: "deployed", Start: "running", Reconfigure: "reconfigured", Terminate: "terminated"}
	if state, known := states[Action(action)]; known {
		return path + " " + state
	}
	return path + " " + action
}

// Circle returns the waits that lead from a step back to it, the step itself
// first and last, or nothing if there are none. The waits of each step are
// what waits gives for it; of two circles the one with fewer waits is found.
func Circle(from StepID, waits func(StepID) []StepID) []StepID {
	came := map[StepID]StepID{}
	for queue := []StepID{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, next := range waits(at) {
			if next == from {
				path := []StepID{from}
				for ; at != from; at = came[at] {
					path = append(path, at)
				}
				path = append(path, from)
				slices.Reverse(path)
				return path
			}
			if _, seen := came[next]; !seen {
				came[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// Waiting tells of a circle of waits in words: "deploy m1:a waits for m2:b
// deployed, which waits for m1:a deployed".
func Waiting(circle []StepID) string {
	var b strings.Builder
	for i, id := range circle {
		switch i {
		case 0:
			b.WriteString(id.Short())
		case 1:
			b.WriteString(" waits for " + id.reached())
		default:
			b.WriteString(", which waits for " + id.reached())
		}
	}
	return b.String()
}
