package cli

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func viewOf(components ...string) *view {
	v := &view{title: "shop", since: start, now: start, rows: map[string]*row{}, width: 60, height: 8}
	for _, c := range components {
		v.row(c)
	}
	return v
}

func changedTo(path, state, reason string) api.Event {
	return api.Event{Kind: api.EventComponent, Path: path, State: state, Reason: reason}
}

func TestViewShowsWhatIsUnderWayBesideWhatIsDone(t *testing.T) {
	v := viewOf("web", "web:nginx", "db", "later")
	v.Update(changedTo("web", api.ComponentRunning, ""))
	v.Update(changedTo("web:nginx", api.ComponentDeploying, ""))
	v.Update(api.Event{Kind: api.EventProgress, Path: "web:nginx", Fraction: 0.4, Reason: "unpacking"})
	v.Update(changedTo("db", api.ComponentFailed, "exit status 3"))
	v.Update(tick(start.Add(1500 * time.Millisecond)))
	want := `shop  1 of 4 running, 1 failed  1.5s
  web        running
  web:nginx  deploying      1.5s  40 % unpacking
  db         failed         exit status 3
`
	if got := v.View().Content; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestViewKeepsInsideTheTerminal(t *testing.T) {
	v := viewOf()
	for i := range 100 {
		v.Update(changedTo(fmt.Sprintf("done%d", i), api.ComponentRunning, ""))
	}
	for i := range 3 {
		v.Update(changedTo(fmt.Sprintf("busy%d", i), api.ComponentStarting, strings.Repeat("long ", 40)))
	}
	text := v.View().Content
	list := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(list) > v.height-1 {
		t.Errorf("%d lines in a terminal of %d:\n%s", len(list), v.height, text)
	}
	for i := range 3 {
		if !strings.Contains(text, fmt.Sprintf("busy%d", i)) {
			t.Errorf("busy%d is not shown:\n%s", i, text)
		}
	}
	for _, l := range list {
		if len([]rune(l)) >= v.width {
			t.Errorf("line of %d characters: %q", len([]rune(l)), l)
		}
	}
}

func TestLiveViewEndsWhenTold(t *testing.T) {
	plan := &api.Plan{Steps: []api.Step{{Path: "web"}}}
	l := newLive(io.Discard, plan, &api.Deployment{System: "shop", Since: start}, palette{})
	l.event(changedTo("web", api.ComponentRunning, ""))
	l.end()
	l.end() // and a second time does no harm
	<-l.ended
}
