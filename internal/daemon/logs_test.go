package daemon

import (
	"context"
	"errors"
	"slices"
	"testing"

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
func reader(follow bool) func(context.Context, logSource, chan<- api.LogLine) error {
	found := make(chan struct{})
	return func(ctx context.Context, source logSource, lines chan<- api.LogLine) error {
		if source == silent {
			defer close(found)
			return status.Error(codes.Unavailable, "no session with 2")
		}
		<-found
		for range 2 {
			select {
			case lines <- api.LogLine{Path: "a:p", Machine: source.machine, Text: "hello"}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if follow {
			<-ctx.Done()
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
	for want, end := range map[string]logEnd{
		"machine shop/b does not answer":                   {silent, status.Error(codes.DeadlineExceeded, "rpc")},
		"no logs from machine shop/b: log: no space left":  {silent, status.Error(codes.Unknown, "log: no space left")},
		"no logs from the managing host: it has forgotten": {logSource{id: "0"}, errors.New("it has forgotten")},
	} {
		if got := end.words(); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}
