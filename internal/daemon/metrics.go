package daemon

import (
	"context"
	"net/http"
	"time"

	"aloft/internal/event"
	"aloft/internal/observe"
	"aloft/internal/peer"
)

// measure counts what happens until ctx ends.
func (m *Manager) measure(ctx context.Context) error {
	_, now := m.events.Latest(0, observe.Filter{})
	sub := m.events.Subscribe(now, observe.Filter{})
	defer sub.Close()
	begun := stopwatch{}
	for {
		batch, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		for _, e := range batch.Events {
			m.metrics.Event(string(e.Kind))
			switch e.Kind {
			case event.StepStarted:
				begun.start(e)
			case event.StepDone:
				m.metrics.Step(action(e.Step), "done", begun.stop(e))
			case event.StepFailed:
				m.metrics.Step(action(e.Step), "failed", begun.stop(e))
			case event.StepSkipped:
				m.metrics.Step(action(e.Step), "skipped", 0)
			}
		}
	}
}

// stopwatch remembers when steps began, by the clock of who performs them.
type stopwatch map[lap]time.Time

type lap struct{ origin, system, step string }

// laps bounds what is remembered of steps whose end was never told.
const laps = 10_000

func (s stopwatch) start(e event.Event) {
	if len(s) >= laps {
		clear(s)
	}
	s[lap{e.Origin, e.System, e.Step}] = e.Time
}

// stop returns how long a step took, 0 if its beginning is not known.
func (s stopwatch) stop(e event.Event) time.Duration {
	key := lap{e.Origin, e.System, e.Step}
	began, ok := s[key]
	if !ok {
		return 0
	}
	delete(s, key)
	return e.Time.Sub(began)
}

// watchSessions counts sessions with other daemons, and notes when they end,
// until ctx ends.
func (m *Manager) watchSessions(ctx context.Context) error {
	return m.node.Watch(ctx, func(c peer.Change) {
		m.absence.note(c)
		switch {
		case c.Peer.ID == m.world.MachineID:
		case c.Session == nil:
			m.metrics.Session(-1)
		default:
			m.metrics.Session(1)
		}
	})
}

// Metrics answers GET /metrics.
func (m *Manager) Metrics() http.Handler {
	h := m.metrics.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		machines, err := m.control.Machines(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		states := map[string]int{}
		for _, machine := range machines {
			states[machine.State]++
		}
		m.metrics.Machines(states)
		h.ServeHTTP(w, r)
	})
}
