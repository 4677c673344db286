package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"aloft/api/peerpb"
	"aloft/internal/event"
)

// Report takes in what a machine tells, or passes it on to the managers that
// own the systems it is about. It is in the store when Report returns; what is
// not is told again. passed says that another manager has passed it on: it is
// refused then if its system is not this manager's, and goes no further.
func (c *Control) Report(ctx context.Context, from string, r *peerpb.ReportRequest, passed bool) error {
	var errs []error
	away := map[string]*peerpb.ReportRequest{} // by owner
	owner := map[string]string{}               // of systems elsewhere
	failed := map[string]bool{}                // systems of which it is not known whose they are
	here := map[*system]*peerpb.ReportRequest{}
	for name, part := range bySystem(r) {
		s, err := c.owned(ctx, name)
		elsewhere, is := errors.AsType[*Elsewhere](err)
		switch {
		case is && !passed:
			to := away[elsewhere.Manager]
			if to == nil {
				to = &peerpb.ReportRequest{Machine: from, Number: r.Number}
				away[elsewhere.Manager] = to
			}
			to.Facts = append(to.Facts, part.Facts...)
			to.States = append(to.States, part.States...)
			owner[name] = elsewhere.Manager
		case err != nil:
			errs = append(errs, fmt.Errorf("system %s: %w", name, err))
			failed[name] = true
		case s != nil:
			here[s] = part
		}
	}
	// A machine numbers the events of all its systems in one sequence, and one
	// that comes after a later one counts as told before: they go on in order,
	// up to the first that is to be told again; before the facts, which may end a
	// plan: who follows that has heard of all that led to its end then.
	for _, e := range r.Events {
		if failed[e.System] {
			break
		}
		if to := away[owner[e.System]]; to != nil {
			to.Events = append(to.Events, e)
			continue
		}
		c.witness(from, e)
	}
	for s, part := range here {
		if err := s.report(ctx, from, r.Number, part.Facts, part.States); err != nil {
			errs = append(errs, fmt.Errorf("system %s: %w", s.name, err))
		}
	}
	for _, manager := range slices.Sorted(maps.Keys(away)) {
		owner, err := c.cfg.Others(ctx, manager)
		if err == nil {
			_, err = owner.Report(ctx, away[manager])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("tell manager %s: %w", manager, err))
		}
	}
	return errors.Join(errs...)
}

// bySystem cuts the facts and states of a report by the systems it is about.
func bySystem(r *peerpb.ReportRequest) map[string]*peerpb.ReportRequest {
	parts := map[string]*peerpb.ReportRequest{}
	of := func(system string) *peerpb.ReportRequest {
		if parts[system] == nil {
			parts[system] = &peerpb.ReportRequest{}
		}
		return parts[system]
	}
	for _, f := range r.Facts {
		p := of(f.System)
		p.Facts = append(p.Facts, f)
	}
	for _, st := range r.States {
		p := of(st.System)
		p.States = append(p.States, st)
	}
	for _, e := range r.Events {
		of(e.System) // whose they are is asked, too
	}
	return parts
}

// witness records an event that a machine tells of.
func (c *Control) witness(from string, e *peerpb.Event) {
	ev, err := event.FromProto(e)
	if err != nil {
		c.cfg.Log.Debug("event left out", "peer", from, "error", err)
		return
	}
	if ev.Origin != from || !ofMachine(ev.Kind) {
		c.cfg.Log.Warn("event refused", "kind", ev.Kind, "origin", ev.Origin, "peer", from)
		return
	}
	if isRequest(ev.Kind) { // a machine's word, where a manager did not see who came
		ev.Reason = "told by the machine: " + ev.Reason
	}
	c.cfg.Emit(ev)
}

// ofMachine reports whether a machine may tell of events of this kind: plans,
// systems and machines are their owners' to tell of.
func ofMachine(k event.Kind) bool {
	of, _, _ := strings.Cut(string(k), ".")
	return of == "step" || of == "component" || of == "orphan" || k == event.Progress || isRequest(k)
}

// isRequest reports whether events of this kind say that somebody asked for
// something.
func isRequest(k event.Kind) bool { return k == event.ChangeAccepted || k == event.ChangeRefused }
