package daemon

import (
	"context"
	"fmt"

	"aloft/api"
	"aloft/internal/event"
	"aloft/internal/observe"
	"aloft/value"
)

// consulted is how many of the latest events of a system are looked through for
// what has led to something.
const consulted = 10_000

// Why tells what made the component at path what it is now.
func (s service) Why(ctx context.Context, system, path string) (*api.Why, error) {
	p, err := value.ParsePath(path)
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	from := system
	if known, top, err := s.known(ctx, system, p); err == nil {
		from, p = known, top
	}
	events, _ := s.m.events.Latest(consulted, observe.Filter{System: from})
	answer := &api.Why{System: system, Path: p.String(), Causes: []api.Cause{}}
	status, err := s.Status(ctx, system)
	if err != nil && len(events) == 0 {
		return nil, err // of a system that is gone, events may still tell
	}
	known := false
	if status != nil {
		for _, c := range status.Components {
			if c.Path == p.String() {
				answer.State, known = c.State, true
			}
		}
	}
	chain := observe.Why(events, p)
	if !known && len(chain) == 0 {
		return nil, &api.Error{
			Kind: api.KindNotFound, Message: fmt.Sprintf("nothing is known of %s in system %s", p, system), Remedy: "list its components with: aloft status " + system,
		}
	}
	for _, e := range chain {
		c := api.Cause{Time: e.Time, Machine: e.Origin, Plan: e.Plan, Step: e.Step, Text: words(e)}
		if e.Path != value.Root || e.Step != "" {
			c.Path = e.Path.String()
		}
		answer.Causes = append(answer.Causes, c)
	}
	return answer, nil
}

// words says what happened, to whom an event is about.
func words(e event.Event) string {
	switch e.Kind {
	case event.ComponentState:
		return "is " + e.Reason
	case event.ComponentEnded:
		return "ended: " + e.Reason
	case event.ComponentRestarted:
		return "was restarted: " + e.Reason
	case event.ComponentRepaired:
		return "was repaired: " + e.Reason
	case event.ComponentKilled:
		return "had to be killed: " + e.Reason
	case event.ComponentOverdue:
		return "could not do what was due: " + e.Reason
	case event.StepStarted:
		return action(e.Step) + " was begun"
	case event.StepDone:
		return action(e.Step) + " ended well"
	case event.StepFailed:
		return action(e.Step) + " failed: " + e.Reason
	case event.StepSkipped:
		return action(e.Step) + " was not begun: " + e.Reason
	case event.ChangeAccepted:
		return "it was asked for by " + e.Reason
	case event.PlanAccepted:
		return fmt.Sprintf("the plan of revision %d was accepted: %s", e.Revision, e.Reason)
	default:
		return string(e.Kind) + ": " + e.Reason
	}
}
