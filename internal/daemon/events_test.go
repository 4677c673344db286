package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/control"
	"aloft/internal/event"
	"aloft/internal/observe"
	"aloft/internal/store"
	"aloft/value"
)

const (
	here  = "00000000-0000-4000-8000-000000000001"
	there = "00000000-0000-4000-8000-000000000002"
)

// eventsIn opens the events of a daemon that has its state in dir.
func eventsIn(t *testing.T, dir string) (*events, service) {
	t.Helper()
	opened, err := observe.OpenEvents(dir, here, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	e := &events{Events: opened, origin: here}
	return e, service{Control: control.New(control.Config{Store: store.NewMemory()}), m: &Manager{events: e}}
}

func recorded(t *testing.T, s service, q api.EventQuery) (all []api.Event) {
	t.Helper()
	seq, err := s.Events(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func texts(all []api.Event) (lines []string) {
	for _, e := range all {
		lines = append(lines, fmt.Sprintf("%s %s: %s", e.Path, e.State, e.Reason))
	}
	return lines
}

// told is an event of a machine.
func told(n int64, kind event.Kind, path value.Path, step, reason string) event.Event {
	return event.Event{Origin: there, Sequence: n, Time: time.Unix(n, 0), System: "shop", Path: path, Kind: kind, Step: step, Reason: reason}
}

func TestFailureIsOneEventWithItsCause(t *testing.T) {
	for name, c := range map[string]struct {
		events []event.Event
		want   []string
	}{
		"of a step": {[]event.Event{
			told(1, event.StepStarted, "m:p", "m:p/start", "start"),
			told(2, event.ComponentState, "m:p", "", "starting"),
			told(3, event.ComponentState, "m:p", "", "terminating"),
			told(4, event.ComponentState, "m:p", "", "terminated"),
			told(5, event.ComponentState, "m:p", "", "failed"),
			told(6, event.StepFailed, "m:p", "m:p/start", "port 80 is in use"),
		}, []string{"m:p starting: ", "m:p terminating: ", "m:p terminated: ", "m:p failed: port 80 is in use"}},
		"of a reconfigure": {[]event.Event{
			told(1, event.StepFailed, "m:p", "m:p/reconfigure", "no such user"),
		}, []string{"m:p running: not reconfigured: no such user"}},
		"given up after restarts": {[]event.Event{
			told(1, event.ComponentEnded, "m:p", "", "exit status 1"),
			told(2, event.ComponentState, "m:p", "", "deploying"),
			told(3, event.ComponentEnded, "m:p", "", "exit status 2"),
			told(4, event.ComponentState, "m:p", "", "terminating"),
			told(5, event.ComponentState, "m:p", "", "failed"),
			told(6, event.ComponentState, "m", "", "failed"),
		}, []string{"m:p ended: exit status 1", "m:p deploying: ", "m:p ended: exit status 2", "m:p terminating: ", "m:p failed: exit status 2", "m failed: exit status 2"}},
		"after it was brought back": {[]event.Event{
			told(1, event.ComponentEnded, "m:p", "", "exit status 1"),
			told(2, event.ComponentState, "m:p", "", "running"),
			told(3, event.ComponentState, "m:p", "", "failed"),
			told(4, event.StepFailed, "m:p", "m:p/terminate", "it does not end"),
		}, []string{"m:p ended: exit status 1", "m:p running: ", "m:p failed: not terminated: it does not end"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, s := eventsIn(t, t.TempDir())
			for _, ev := range c.events {
				e.Emit(ev)
			}
			if got := texts(recorded(t, s, api.EventQuery{System: "shop"})); !slices.Equal(got, c.want) {
				t.Errorf("told\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

// A client that was made from the description of the API refuses other kinds.
func TestKindsOfEventsAreThoseTheAPIDescribes(t *testing.T) {
	field, _ := reflect.TypeFor[api.Event]().FieldByName("Kind")
	described := strings.Split(field.Tag.Get("enum"), ",")
	e, s := eventsIn(t, t.TempDir())
	for i, kind := range event.Kinds() {
		e.Emit(told(int64(i+1), kind, "m:p", "m:p/start", "why"))
	}
	got := recorded(t, s, api.EventQuery{})
	for _, ev := range got {
		if !slices.Contains(described, ev.Kind) {
			t.Errorf("%q is told, and described are %q", ev.Kind, described)
		}
	}
	if !slices.ContainsFunc(got, func(ev api.Event) bool { return ev.Kind == api.EventKilled && ev.Reason == "why" }) {
		t.Error("not told who was killed")
	}
}

func TestFollowingGoesOnBehindACursorAfterARestart(t *testing.T) {
	dir := t.TempDir()
	e, s := eventsIn(t, dir)
	before := e.Cursor()
	e.Emit(event.Event{Origin: here, System: "shop", Kind: event.PlanAccepted, Reason: "all of it"})
	e.Emit(told(7, event.ComponentState, "m", "", "running"))
	first := recorded(t, s, api.EventQuery{After: before})
	if len(first) != 2 || first[0].State != api.DeploymentRunning || first[1].Path != "m" {
		t.Fatalf("told %+v", first)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e, s = eventsIn(t, dir)
	e.Emit(told(7, event.ComponentState, "m", "", "running")) // reported again
	e.Emit(event.Event{Origin: here, System: "shop", Kind: event.PlanDone})
	if got := recorded(t, s, api.EventQuery{After: first[0].Cursor}); len(got) != 2 || got[0].Sequence != 7 || got[1].State != api.DeploymentDone {
		t.Errorf("behind the first: %+v", got)
	}
	if got := recorded(t, s, api.EventQuery{After: first[1].Cursor}); len(got) != 1 || got[0].State != api.DeploymentDone {
		t.Errorf("behind the second: %+v", got)
	}
	if _, err := s.Events(t.Context(), api.EventQuery{After: "12"}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("a cursor of somebody else: %v", err)
	}
}

func TestOwnAgentAndControlShareOneSequence(t *testing.T) {
	e, s := eventsIn(t, t.TempDir())
	agent := told(1_700_000_000_000_000, event.ComponentState, "vm", "", "deploying")
	agent.Origin = here
	e.Emit(agent)
	e.Emit(event.Event{Origin: here, System: "shop", Kind: event.PlanDone})
	e.Emit(agent) // reported again
	agent.Sequence, agent.Reason = agent.Sequence+1, "deployed"
	e.Emit(agent)
	got := recorded(t, s, api.EventQuery{})
	if len(got) != 3 || got[2].State != "deployed" {
		t.Fatalf("told %+v", got)
	}
	for i, ev := range got {
		if ev.Sequence != int64(i+1) {
			t.Errorf("event %d has the number %d", i, ev.Sequence)
		}
	}
}

func TestProgressIsShownAndNotKept(t *testing.T) {
	e, s := eventsIn(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seq, err := s.Events(ctx, api.EventQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	e.Emit(told(1, event.ComponentState, "m", "", "deploying"))
	shown := false
	for ev, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Kind == api.EventProgress {
			shown = ev.Fraction == 0.5
			break
		}
		p := told(0, event.Progress, "m", "", "half")
		p.Fraction = 0.5
		e.Emit(p)
	}
	if !shown {
		t.Error("progress was not shown")
	}
	if got := recorded(t, s, api.EventQuery{}); len(got) != 1 {
		t.Errorf("kept %+v", got)
	}
}

func TestNobodyReportsForAnother(t *testing.T) {
	got := seenBy(there, []*peerpb.Event{{Origin: there, Reason: "a"}, {Origin: here, Reason: "b"}, {Reason: "c"}})
	if len(got) != 1 || got[0].Reason != "a" {
		t.Errorf("taken: %v", got)
	}
}
