package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api"
)

var (
	talking = logSource{"1", "shop/a", "a"}
	silent  = logSource{"2", "shop/b", "b"}
)

// reader reads logs of two machines; the second does not answer. What the first
// writes comes after the second is found silent.
func reader(follow bool) func(context.Context, logSource, chan<- logItem) error {
	found := make(chan struct{})
	return func(ctx context.Context, source logSource, lines chan<- logItem) error {
		if source == silent {
			defer close(found)
			return status.Error(codes.Unavailable, "no session with 2")
		}
		<-found
		for range 2 {
			select {
			case lines <- logItem{line: api.LogLine{Path: "a:p", Machine: source.machine, Text: "hello"}}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if follow {
			<-ctx.Done() // that it has come to the present is never told
			return ctx.Err()
		}
		return nil
	}
}

func TestSilentMachineIsToldOnceBehindTheLinesOfTheOthers(t *testing.T) {
	defer goleak.VerifyNone(t)
	var texts []string
	var failure error
	for l, err := range merge(t.Context(), []logSource{silent, talking}, false, reader(false)) {
		if err != nil {
			failure = err
			continue
		}
		texts = append(texts, l.Text)
	}
	if !slices.Equal(texts, []string{"hello", "hello"}) {
		t.Errorf("lines: %q", texts)
	}
	e, ok := errors.AsType[*api.Error](failure)
	if !ok || e.Kind != api.KindUnavailable || e.Message != "machine shop/b does not answer" {
		t.Errorf("told: %v", failure)
	}
}

func TestSilentMachineIsALineAmongThoseThatAreFollowed(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, silentAmongFollowed)
}

func silentAmongFollowed(t *testing.T) {
	var lines []string
	for l, err := range merge(t.Context(), []logSource{silent, talking}, true, reader(true)) {
		if err != nil {
			t.Fatal(err)
		}
		if lines = append(lines, l.Path+" "+l.Text); len(lines) == 3 {
			break
		}
	}
	slices.Sort(lines)
	if want := []string{"a:p hello", "a:p hello", "b machine shop/b does not answer"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
}

func TestFollowingOnlySilentMachinesEnds(t *testing.T) {
	defer goleak.VerifyNone(t)
	told := 0
	for _, err := range merge(t.Context(), []logSource{silent}, true, reader(true)) {
		if told++; api.KindOf(err) != api.KindUnavailable {
			t.Errorf("told: %v", err)
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

func TestWhyLogsAreMissingIsSaidInWords(t *testing.T) {
	for want, end := range map[string]*logStream{
		"machine shop/b does not answer":                   {logSource: silent, err: status.Error(codes.DeadlineExceeded, "rpc")},
		"no logs from machine shop/b: log: no space left":  {logSource: silent, err: status.Error(codes.Unknown, "log: no space left")},
		"no logs from the managing host: it has forgotten": {logSource: logSource{id: "0"}, err: errors.New("it has forgotten")},
	} {
		if got := end.words(); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}

// TestLinesOfSeveralMachinesComeInTheOrderOfTime: the past of all, however fast
// each is, and behind it what comes.
func TestLinesOfSeveralMachinesComeInTheOrderOfTime(t *testing.T) {
	defer goleak.VerifyNone(t)
	past := map[logSource][]int64{talking: {1, 4, 5}, silent: {2, 3, 6}, {id: "3"}: nil}
	told := make(chan struct{})
	read := func(ctx context.Context, source logSource, lines chan<- logItem) error {
		send := func(item logItem) {
			select {
			case lines <- item:
			case <-ctx.Done():
			}
		}
		for _, s := range past[source] {
			send(logItem{line: api.LogLine{Time: time.Unix(s, 0)}})
		}
		send(logItem{live: true})
		if source == talking {
			<-told
			send(logItem{line: api.LogLine{Text: "now"}})
		}
		<-ctx.Done()
		return ctx.Err()
	}
	var got []int64
	for l, err := range merge(t.Context(), slices.Collect(maps.Keys(past)), true, read) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Text == "now" {
			break
		}
		if got = append(got, l.Time.Unix()); len(got) == 6 {
			close(told)
		}
	}
	if !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6}) {
		t.Errorf("in the order %v", got)
	}
}
