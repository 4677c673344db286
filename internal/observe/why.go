package observe

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"aloft/internal/event"
	"aloft/internal/plan"
	"aloft/value"
)

// Why tells what made the component at path what it is now: the newest event
// about it, then the one that brought that about, and so on to where it began,
// which is a change that somebody asked for or something that ended by itself.
// It is empty when nothing is known of the component. events are those of one
// system, in any order.
func Why(events []event.Event, path value.Path) []event.Event {
	w := why{events: inOrder(events)}
	i := w.before(len(w.events), func(e event.Event) bool { return e.Path == path && telling(e) })
	var chain []event.Event
	for i >= 0 && len(chain) < longest {
		chain = append(chain, w.events[i])
		i = w.cause(i)
	}
	return chain
}

// inOrder returns events in the order of their times. Daemons' clocks differ, and
// are set anew: within an origin the sequence decides, and what comes after an
// event there is taken to be no earlier.
func inOrder(events []event.Event) []event.Event {
	type timed struct {
		event.Event
		at time.Time
	}
	list := make([]timed, len(events))
	for i, e := range events {
		list[i] = timed{e, e.Time}
	}
	slices.SortStableFunc(list, func(a, b timed) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Sequence, b.Sequence))
	})
	for i := 1; i < len(list); i++ {
		if before := list[i-1]; before.Origin == list[i].Origin && before.at.After(list[i].at) {
			list[i].at = before.at
		}
	}
	slices.SortStableFunc(list, func(a, b timed) int { return a.at.Compare(b.at) })
	ordered := make([]event.Event, len(list))
	for i, e := range list {
		ordered[i] = e.Event
	}
	return ordered
}

// longest bounds a chain of causes.
const longest = 64

type why struct{ events []event.Event }

// telling reports whether e says how a component fares.
func telling(e event.Event) bool {
	switch e.Kind {
	case event.ComponentState, event.ComponentEnded, event.ComponentRestarted, event.ComponentRepaired, event.ComponentKilled, event.ComponentOverdue, event.StepFailed, event.StepSkipped:
		return true
	}
	return false
}

// before returns the place of the newest event before i that is wanted, or -1.
func (w *why) before(i int, wanted func(event.Event) bool) int {
	for i--; i >= 0; i-- {
		if wanted(w.events[i]) {
			return i
		}
	}
	return -1
}

// cause returns the place of the event that brought the one at i about, or -1.
func (w *why) cause(i int) int {
	e := w.events[i]
	switch e.Kind {
	case event.ComponentState:
		// What was done to it, or what it did itself.
		if at := w.before(i, func(c event.Event) bool { return c.Path == e.Path && reason(e, c) }); at >= 0 {
			return at
		}
		return w.accepted(i)
	case event.ComponentRestarted:
		return w.before(i, func(c event.Event) bool { return c.Kind == event.ComponentEnded && c.Path == e.Path })
	case event.ComponentEnded:
		// One below, or beside it in a compound of one fate, ended first.
		return w.before(i, func(c event.Event) bool {
			return c.Kind == event.ComponentEnded && c.Path != e.Path && c.Origin == e.Origin && c.Reason == e.Reason
		})
	case event.StepSkipped:
		at := w.before(i, func(c event.Event) bool {
			return c.Kind == event.StepFailed && c.Plan == e.Plan && strings.Contains(e.Reason, plan.StepID(c.Step).Short()+",")
		})
		if at < 0 {
			at = w.before(i, func(c event.Event) bool { return c.Kind == event.StepFailed && c.Plan == e.Plan })
		}
		if at >= 0 {
			return at
		}
		return w.accepted(i)
	case event.StepFailed, event.StepDone, event.StepStarted:
		return w.accepted(i)
	case event.PlanAccepted:
		// Who asked hears the answer, and it is noted, after the plan has begun.
		return slices.IndexFunc(w.events, func(c event.Event) bool { return c.Kind == event.ChangeAccepted && c.Plan == e.Plan })
	}
	return -1
}

// reason reports whether c, about the same component, is what made its state
// what e says.
func reason(e, c event.Event) bool {
	switch c.Kind {
	case event.StepFailed, event.StepSkipped, event.ComponentRestarted, event.ComponentEnded:
		return true
	case event.StepDone, event.StepStarted: // a component runs before it is noted that its start is done
		return c.Plan == e.Plan
	}
	return false
}

// accepted returns the place of the event that began the plan of the one at i.
func (w *why) accepted(i int) int {
	plan := w.events[i].Plan
	if plan == "" {
		return -1
	}
	return slices.IndexFunc(w.events, func(c event.Event) bool { return c.Kind == event.PlanAccepted && c.Plan == plan })
}
