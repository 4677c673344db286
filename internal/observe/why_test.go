package observe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/internal/event"
	"aloft/value"
)

// history makes events a second apart, of one system and origin, from lines
// "PLAN KIND PATH STEP REASON"; "-" is nothing.
func history(t *testing.T, text string) []event.Event {
	t.Helper()
	var list []event.Event
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.SplitN(strings.TrimSpace(line), " ", 5)
		for j := range f {
			if f[j] == "-" {
				f[j] = ""
			}
		}
		e := event.Event{
			Origin: "m", Sequence: int64(i + 1), Time: time.Unix(int64(i), 0), System: "shop",
			Plan: f[0], Kind: event.Kind(f[1]), Path: value.Path(f[2]), Step: f[3], Reason: f[4],
		}
		if err := e.Check(); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func TestWhyLeadsFromTheStateToWhatBeganIt(t *testing.T) {
	for _, c := range []struct {
		name, events, path string
		want               []string
	}{
		{
			"a component that runs was deployed by a plan", `
p1 plan.accepted - - 2 to add
p1 step.done web web/deploy deploy
p1 component.state web - deployed
p1 step.done web web/start start
p1 component.state web - running`,
			"web",
			[]string{"running", "start", "2 to add"},
		},
		{
			"a component that runs before its start is done was started, and somebody asked for it", `
p1 plan.accepted - - 2 to add
p1 change.accepted - - otto
p1 step.done web web/deploy deploy
p1 step.started web web/start start
p1 component.state web - running
p1 step.done web web/start start
p2 change.accepted - - vera`,
			"web",
			[]string{"running", "start", "2 to add", "otto"},
		},
		{
			"a plan that aloft made by itself was asked for by nobody", `
p1 plan.accepted - - 1 to add
p1 step.done web web/start start
p1 component.state web - running
p2 plan.accepted - - 1 to replace
p2 step.failed web web/start no room
p1 change.accepted - - otto
- change.accepted - - otto`,
			"web",
			[]string{"no room", "1 to replace"},
		},
		{
			"a failure names its cause, and the plan", `
p1 plan.accepted - - 1 to add
p1 step.failed web web/start port 80 is taken
p1 component.state web - failed`,
			"web",
			[]string{"failed", "port 80 is taken", "1 to add"},
		},
		{
			"what was not begun leads to what failed elsewhere", `
p1 plan.accepted - - 3 to add
p1 step.failed x x/deploy no such package
p1 step.failed db db/deploy disk full
p1 step.skipped web web/deploy waits on deploy db, which failed`,
			"web",
			[]string{"waits on deploy db, which failed", "disk full", "3 to add"},
		},
		{
			"a restart leads to the end, and that to the one that took it along", `
p1 plan.accepted - - 3 to add
p1 component.ended app:worker - exit status 3
p1 component.ended app - exit status 3
p1 component.restarted app - exit status 3
p1 component.state app - running`,
			"app",
			[]string{"running", "exit status 3", "exit status 3", "exit status 3"},
		},
		{
			"a later plan is not blamed for what an earlier one did", `
p1 plan.accepted - - first
p1 component.state web - running
p2 plan.accepted - - second`,
			"web",
			[]string{"running", "first"},
		},
		{"nothing is known", "p1 plan.accepted - - 1 to add", "web", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			events := history(t, c.events)
			var got []string
			for _, e := range Why(events, value.Path(c.path)) {
				got = append(got, e.Reason)
			}
			if strings.Join(got, " < ") != strings.Join(c.want, " < ") {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestWhyEndsWhateverTheEventsSay(t *testing.T) {
	// Two that name each other as having ended first.
	var text strings.Builder
	for range 200 {
		text.WriteString("p1 component.ended a - same\np1 component.ended b - same\n")
	}
	if got := Why(history(t, text.String()), "a"); len(got) > longest {
		t.Errorf("a chain of %d", len(got))
	}
}

// A clock that is set while its daemon runs changes nothing of what came after
// what there.
func TestEventsOfOneOriginKeepTheirOrderWhateverItsClockSays(t *testing.T) {
	at := func(origin string, sequence, second int64) event.Event {
		return event.Event{Origin: origin, Sequence: sequence, Time: time.Unix(second, 0)}
	}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}} {
		events := []event.Event{at("a", 1, 100), at("a", 2, 700), at("b", 1, 150), at("a", 3, 130), at("b", 2, 800)}
		var given []event.Event
		for _, i := range order {
			given = append(given, events[i])
		}
		var got []string
		for _, e := range inOrder(given) {
			got = append(got, fmt.Sprint(e.Origin, e.Sequence))
		}
		if want := []string{"a1", "b1", "a2", "a3", "b2"}; !slices.Equal(got, want) {
			t.Errorf("given as %v: %v, want %v", order, got, want)
		}
	}
}
