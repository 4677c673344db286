package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"aloft/internal/event"

	"github.com/google/uuid"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, dir string) *Events {
	t.Helper()
	e, err := OpenEvents(dir, "me", time.Now, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func step(id string) event.Event {
	return event.Event{Kind: event.StepDone, System: "guestbook", Path: "web:nginx", Step: id}
}

func next(t *testing.T, s *Subscription) Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func stepsOf(events []event.Event) (ids string) {
	for _, e := range events {
		ids += e.Step
	}
	return ids
}

func TestReaderThatComesBackMissesNothingAndSeesNothingTwice(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	s := e.Subscribe(nil, Filter{})
	e.Add(step("a"))
	e.Add(step("b"))
	b := next(t, s)
	if stepsOf(b.Events) != "ab" || b.Events[1].Sequence != 2 || b.Events[1].Origin != "me" || b.Events[0].Time.IsZero() {
		t.Fatalf("got %+v", b)
	}
	s.Close()
	e.Add(step("c"))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	e = open(t, dir) // the daemon was restarted
	cursor, err := ParseCursor(b.Cursor.String())
	if err != nil {
		t.Fatal(err)
	}
	s = e.Subscribe(cursor, Filter{})
	defer s.Close()
	if d := e.Add(step("d")); d.Sequence <= 3 {
		t.Errorf("sequence %d was used before", d.Sequence)
	}
	if b = next(t, s); stepsOf(b.Events) != "cd" || b.Missed {
		t.Errorf("after the restart: %+v", b)
	}
}

func TestReportMayBeRepeated(t *testing.T) {
	e := open(t, t.TempDir())
	s := e.Subscribe(nil, Filter{})
	defer s.Close()
	report := []event.Event{step("a"), step("b")}
	for i := range report {
		report[i].Origin, report[i].Sequence, report[i].Time = "machine", int64(i+1), time.Now()
	}
	e.Receive(report...)
	e.Receive(report...)
	e.Receive(event.Event{Kind: "nonsense", Origin: "machine", Sequence: 3})
	e.Add(step("c"))
	if b := next(t, s); stepsOf(b.Events) != "abc" || !maps.Equal(b.Cursor, Cursor{"machine": 2, "me": 1}) {
		t.Errorf("got %+v", b)
	}
}

func TestFilterLetsThroughWhatIsBelow(t *testing.T) {
	e := open(t, t.TempDir())
	web, other, below := step("w"), step("o"), step("b")
	web.Path, below.Path = "web", "web:nginx"
	other.Path = "webmail"
	elsewhere := step("e")
	elsewhere.System = "other"
	for _, ev := range []event.Event{web, other, below, elsewhere} {
		e.Add(ev)
	}
	for want, f := range map[string]Filter{
		"wobe": {},
		"wob":  {System: "guestbook"},
		"wb":   {System: "guestbook", Path: "web"},
		"":     {Origin: "another"},
	} {
		if got, _ := e.Latest(10, f); stepsOf(got) != want {
			t.Errorf("%+v: %q, want %q", f, stepsOf(got), want)
		}
	}
	if got, at := e.Latest(1, Filter{}); stepsOf(got) != "e" || at["me"] != 4 {
		t.Errorf("latest: %+v at %v", got, at)
	}
}

func TestProgressIsSeenByWhoLooksOnAndNeverStored(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	looks, silent := e.Subscribe(nil, Filter{Progress: true}), e.Subscribe(nil, Filter{})
	defer looks.Close()
	defer silent.Close()
	for i := range progressHeld + 10 {
		e.Add(event.Event{Kind: event.Progress, Fraction: float64(i) / 1000, Reason: "unpacking"})
	}
	e.Add(step("a"))
	b := next(t, looks)
	if n := len(b.Events); n != progressHeld+1 || b.Events[n-1].Fraction != 0.265 || b.Events[0].Kind != event.StepDone {
		t.Errorf("got %d events, first %+v, last %+v", n, b.Events[0], b.Events[n-1])
	}
	if b := next(t, silent); stepsOf(b.Events) != "a" || len(b.Events) != 1 {
		t.Errorf("who did not ask got %+v", b)
	}
	_ = e.Close()
	again := open(t, dir)
	if got, _ := again.Latest(1000, Filter{}); len(got) != 1 {
		t.Errorf("stored: %+v", got)
	}
}

func TestSubscriptionWaitsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, t.TempDir())
		s := e.Subscribe(nil, Filter{})
		defer s.Close()
		go func() { time.Sleep(time.Hour); e.Add(step("late")) }()
		if b, err := s.Next(t.Context()); err != nil || stepsOf(b.Events) != "late" {
			t.Error(b, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		go func() { time.Sleep(time.Minute); _ = e.Close() }()
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestSlowReaderIsToldThatItMissedSome(t *testing.T) {
	e := open(t, t.TempDir())
	s := e.Subscribe(nil, Filter{})
	defer s.Close()
	for i := range 3 * ring {
		e.Add(step(fmt.Sprint(i)))
	}
	b := next(t, s)
	if n := len(b.Events); !b.Missed || n < ring || n > 2*ring || b.Events[n-1].Sequence != 3*ring {
		t.Errorf("missed %v, %d events", b.Missed, n)
	}
	e.Add(step("x"))
	if b := next(t, s); b.Missed || stepsOf(b.Events) != "x" {
		t.Errorf("then: %+v", b)
	}
}

func TestLogIsBoundedAndACutLineIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	long := step("")
	long.Reason = string(make([]byte, 100<<10))
	for i := range 30 { // 600 KB each as JSON: several segments
		long.Step = fmt.Sprint(i)
		e.Add(long)
	}
	_ = e.Close()
	var total int64
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if len(files) != 2 || total > 2*segment {
		t.Errorf("files %v, %d bytes", files, total)
	}

	path := filepath.Join(dir, "events.jsonl")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-100); err != nil { // as a crash does
		t.Fatal(err)
	}
	e = open(t, dir)
	if got, _ := e.Latest(1, Filter{}); stepsOf(got) != "28" {
		t.Errorf("last whole event is %s", stepsOf(got))
	}
	e.Add(step("new"))
	_ = e.Close()
	e = open(t, dir)
	if got, _ := e.Latest(2, Filter{}); stepsOf(got) != "28new" {
		t.Errorf("after the cut line: %s", stepsOf(got))
	}
}

func TestCursorsOfAThousandMachinesFitIntoAHeader(t *testing.T) {
	c := Cursor{}
	for i := range 1000 {
		c[uuid.NewString()] = 1795349064242799 + int64(i)*1e6
	}
	if got, err := ParseCursor(c.String()); err != nil || !maps.Equal(got, c) || len(c.String()) > 30_000 {
		t.Errorf("%d characters, %v, and %d origins", len(c.String()), err, len(got))
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(Cursor{"me": 3}.String())
	f.Add(Cursor{"": 1, "6f1b0e4e-0f0a-4f6e-9d0b-2f7f6f0c1a11": 1795349064242799, "x": -1}.String())
	f.Add("bnVsbA")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			return
		}
		if again, err := ParseCursor(c.String()); err != nil || !maps.Equal(c, again) {
			t.Errorf("%v became %v, %v", c, again, err)
		}
	})
}

func FuzzStoredEvent(f *testing.F) {
	f.Add([]byte(`{"origin":"me","sequence":1,"time":"2026-05-04T03:02:01Z","kind":"step.done"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ev, err := decode(b); err == nil && ev.Check() != nil {
			t.Errorf("%+v makes no sense", ev)
		}
	})
}
