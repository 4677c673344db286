package daemon

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/observe"
	"aloft/internal/plan"
	"aloft/value"
)

// events is what has happened as this daemon knows it: what it has seen
// itself, and what machines report.
type events struct {
	*observe.Events
	origin string // machine id of this daemon

	mu    sync.Mutex
	agent int64 // newest number that this daemon's own agent gave; guarded by mu
}

// Emit records an event. Two rooms of this daemon see things, the control and
// the agent of its own host: theirs get their numbers here, so that they are
// one sequence. Those of machines have theirs.
func (e *events) Emit(ev event.Event) {
	if ev.Origin != e.origin {
		e.Receive(ev)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ev.Sequence > 0 {
		if ev.Sequence <= e.agent {
			return // reported again
		}
		e.agent = ev.Sequence
	}
	e.Add(ev)
}

// Cursor is the place just after the newest event.
func (e *events) Cursor() string {
	_, at := e.Latest(0, observe.Filter{})
	return at.String()
}

// seenBy returns the events that a daemon has seen itself. Nobody speaks for
// another.
func seenBy(origin string, reported []*peerpb.Event) []*peerpb.Event {
	return slices.DeleteFunc(reported, func(e *peerpb.Event) bool { return e.GetOrigin() != origin })
}

// Events returns the events that q chooses, oldest first.
func (s service) Events(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
	path, err := value.ParsePath(q.Path)
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	from, err := observe.ParseCursor(q.After)
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	if system, top, err := s.known(ctx, q.System, path); err == nil { // of one that is gone, events may still tell
		q.System, path = system, top
	}
	filter := observe.Filter{System: q.System, Path: path, Plan: q.Plan, Progress: q.Follow}
	return func(yield func(api.Event, error) bool) {
		sub := s.m.events.Subscribe(from, filter)
		defer sub.Close()
		ctx := ctx
		if !q.Follow {
			// What there is comes without waiting.
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			cancel()
		}
		t := teller{at: maps.Clone(from), every: q.EveryCursor, ended: map[place]string{}}
		for {
			batch, err := sub.Next(ctx)
			switch {
			case errors.Is(err, observe.ErrClosed):
				<-ctx.Done() // the daemon ends, and everything with it
				return
			case err != nil:
				return
			case batch.Missed:
				yield(api.Event{}, &api.Error{
					Kind: api.KindUnavailable, Message: "events came faster than they were read, and some are lost", Remedy: "begin again",
				})
				return
			}
			for _, e := range batch.Events {
				if out, ok := t.tell(e); ok && !yield(out, nil) {
					return
				}
			}
			if !q.Follow {
				return
			}
		}
	}, nil
}

// teller puts the events of one reader into the form of the API.
type teller struct {
	at    observe.Cursor
	every bool             // each event gets a cursor
	size  int              // of the last cursor given, in bytes
	since int              // about how many bytes of events came after it
	ended map[place]string // why components have ended, until they are brought back
}

// place is a component as one daemon sees it.
type place struct {
	origin, system string
	path           value.Path
}

// tell returns an event in the form of the API; some are told by others.
func (t *teller) tell(e event.Event) (api.Event, bool) {
	if e.Kind.Stored() {
		t.at[e.Origin] = e.Sequence
	}
	out := api.Event{
		Origin: e.Origin, Sequence: e.Sequence, Time: e.Time, System: e.System, Revision: e.Revision,
		Path: e.Path.String(), Incarnation: e.Incarnation, Plan: e.Plan, Step: e.Step, Reason: e.Reason, Fraction: e.Fraction,
	}
	of := func(kind, state, reason string) (api.Event, bool) {
		out.Kind, out.State, out.Reason = kind, state, reason
		out.Cursor = t.cursor()
		return out, true
	}
	at := place{e.Origin, e.System, e.Path}
	switch e.Kind {
	case event.ComponentState:
		if e.Reason == string(inventory.Failed) {
			cause, ended := t.cause(at)
			if !ended {
				return out, false // a step of it failed: that event says why
			}
			return of(api.EventComponent, e.Reason, cause)
		}
		switch inventory.State(e.Reason) {
		case inventory.Deploying, inventory.Starting, inventory.Running:
			delete(t.ended, at)
		}
		return of(api.EventComponent, e.Reason, "")
	case event.ComponentEnded:
		t.ended[at] = e.Reason
		return of(api.EventComponent, "ended", e.Reason)
	case event.ComponentRestarted:
		return of(api.EventRestart, "", e.Reason)
	case event.ComponentRepaired:
		return of(api.EventComponent, string(inventory.Running), "repaired: "+e.Reason)
	case event.ComponentKilled:
		return of(api.EventKilled, "", e.Reason)
	case event.ComponentOverdue:
		return of(api.EventComponent, string(inventory.Running), "overdue: "+e.Reason)
	case event.StepFailed:
		switch plan.Action(action(e.Step)) {
		case plan.Reconfigure: // it runs as it did
			return of(api.EventComponent, string(inventory.Running), "not reconfigured: "+e.Reason)
		case plan.Terminate:
			return of(api.EventComponent, string(inventory.Failed), "not terminated: "+e.Reason)
		default:
			return of(api.EventComponent, string(inventory.Failed), e.Reason)
		}
	case event.Progress:
		return of(api.EventProgress, "", e.Reason)
	case event.OrphanAdopted, event.OrphanDestroyed, event.OrphanKept:
		return of(api.EventOrphan, outcome(e.Kind), e.Reason)
	}
	if e.Kind == event.PlanWaits {
		return of(api.EventSystem, "waiting", e.Reason)
	}
	out.Path = "" // the others are about the system as a whole
	switch e.Kind {
	case event.ChangeAccepted:
		return of(api.EventChange, api.RequestAccepted, e.Reason)
	case event.ChangeRefused:
		return of(api.EventChange, api.RequestRefused, e.Reason)
	case event.SystemState:
		return of(api.EventSystem, e.Reason, "")
	case event.PlanAccepted:
		return of(api.EventPlan, api.DeploymentRunning, e.Reason)
	case event.PlanDone:
		return of(api.EventPlan, api.DeploymentDone, "")
	case event.PlanFailed:
		return of(api.EventPlan, api.DeploymentDegraded, e.Reason)
	case event.PlanInterrupted:
		return of(api.EventPlan, api.DeploymentCancelled, e.Reason)
	}
	return out, false
}

// cursor returns the place behind the event being told, or "" while the last
// one is not yet outweighed by the events since: a cursor grows with the number
// of machines, and what a reader gets should not grow with its square.
func (t *teller) cursor() string {
	const anEvent = 300 // bytes
	if t.since += anEvent; t.since < t.size && !t.every {
		return ""
	}
	at := t.at.String()
	t.size, t.since = len(at), 0
	return at
}

// action returns what a step does, in a word.
func action(step string) string { return step[strings.LastIndexByte(step, '/')+1:] }

// cause returns why a component, or one below that took it along, has ended by
// itself.
func (t *teller) cause(at place) (string, bool) {
	for ended, cause := range t.ended {
		if ended.origin == at.origin && ended.system == at.system && at.path.Contains(ended.path) {
			return cause, true
		}
	}
	return "", false
}
