package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"aloft/api"
)

// counting gives the events behind q.After up to n.
func counting(q api.EventQuery, n int) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		after, _ := strconv.Atoi(q.After)
		for i := after + 1; i <= n; i++ {
			if !yield(api.Event{Cursor: strconv.Itoa(i), Sequence: int64(i), Kind: api.EventComponent, System: q.System}, nil) {
				return
			}
		}
	}
}

func sequence(t *testing.T, seq iter.Seq2[api.Event, error]) (got []int64, err error) {
	t.Helper()
	for e, err := range seq {
		if err != nil {
			return got, err
		}
		got = append(got, e.Sequence)
	}
	return got, nil
}

func TestStreamEndsWithItsError(t *testing.T) {
	gone := &api.Error{Kind: api.KindUnavailable, Message: "the machine is gone"}
	c := start(t, &stub{events: func(_ context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
		if q.System == "none" {
			return nil, &api.Error{Kind: api.KindNotFound, Message: "no system none"}
		}
		return func(yield func(api.Event, error) bool) {
			for e := range counting(q, 2) {
				yield(e, nil)
			}
			yield(api.Event{}, gone)
		}, nil
	}})
	if _, err := c.Events(t.Context(), api.EventQuery{System: "none"}); api.KindOf(err) != api.KindNotFound {
		t.Errorf("wrong system: %v", err)
	}
	seq, err := c.Events(t.Context(), api.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := sequence(t, seq)
	if fmt.Sprint(got) != "[1 2]" || api.KindOf(err) != api.KindUnavailable {
		t.Errorf("got %v, then %v", got, err)
	}
}

func TestLeavingTheLoopEndsTheStream(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	c := start(t, &stub{events: func(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
		return func(yield func(api.Event, error) bool) {
			if !q.Follow {
				yield(api.Event{Cursor: "1", Sequence: 1}, nil)
				return
			}
			close(begun)
			defer close(ended)
			<-ctx.Done()
		}, nil
	}})
	seq, err := c.Events(t.Context(), api.EventQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	for range seq {
		<-begun // one who left before that would never be followed
		break
	}
	<-ended
}

func TestStreamGoesOnBehindTheLastEventAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aloft.sock")
	c, stop := startAt(t, path, &stub{events: func(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
		return func(yield func(api.Event, error) bool) {
			for e := range counting(q, 3) {
				yield(e, nil)
			}
			if q.Follow {
				<-ctx.Done() // until the server is stopped
			}
		}, nil
	}}, uint32(os.Geteuid()))
	seq, err := c.Events(t.Context(), api.EventQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for e, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Sequence)
		if e.Sequence == 3 {
			stop()
			startAt(t, path, &stub{events: func(_ context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
				return counting(q, 5), nil
			}}, uint32(os.Geteuid()))
		}
	}
	if fmt.Sprint(got) != "[1 2 3 4 5]" {
		t.Errorf("got %v, want each event once", got)
	}
}

func TestLogQueryArrives(t *testing.T) {
	var got api.LogQuery
	c := start(t, &stub{logs: func(q api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
		got = q
		return func(yield func(api.LogLine, error) bool) { yield(api.LogLine{Path: "web", Text: "a\nb\r: c"}, nil) }, nil
	}})
	want := api.LogQuery{System: "shop", Path: "web:p", Lines: 7, After: "c", Follow: true}
	seq, err := c.Logs(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	for l, err := range seq {
		if err != nil || l.Text != "a\nb\r: c" {
			t.Errorf("%q, %v", l.Text, err)
		}
	}
	if got != want {
		t.Errorf("query %+v", got)
	}
}

func TestExecCarriesBytesAndStatus(t *testing.T) {
	c := start(t, &stub{exec: func(_ context.Context, m string, r api.ExecRequest, s api.ExecStreams) (int, error) {
		if m != "shop/web" || strings.Join(r.Command, " ") != "tr a b" {
			return 0, fmt.Errorf("%s: %v", m, r.Command)
		}
		size := <-s.Resize
		fmt.Fprintf(s.Stderr, "%dx%d", size.Rows, size.Cols)
		_, err := io.Copy(s.Stdout, s.Stdin)
		return 7, err
	}})
	in := strings.Repeat("0123456789abcdef", 1<<14)
	var out, errOut strings.Builder
	resize := make(chan api.WindowSize, 1)
	resize <- api.WindowSize{Rows: 24, Cols: 80}
	status, err := c.Exec(t.Context(), "shop/web", api.ExecRequest{Command: []string{"tr", "a", "b"}}, api.ExecStreams{
		Stdin: strings.NewReader(in), Stdout: &out, Stderr: &errOut, Resize: resize,
	})
	if status != 7 || err != nil || out.String() != in || errOut.String() != "24x80" {
		t.Errorf("status %d, %v, %d bytes, stderr %q", status, err, out.Len(), errOut.String())
	}
}

func TestExecErrorsKeepTheirKind(t *testing.T) {
	c := start(t, &stub{exec: func(context.Context, string, api.ExecRequest, api.ExecStreams) (int, error) {
		return 0, &api.Error{Kind: api.KindNotFound, Message: "no machine", Nearest: []string{"shop/web"}}
	}})
	_, err := c.Exec(t.Context(), "shop/wb", api.ExecRequest{Command: []string{"true"}}, api.ExecStreams{})
	if api.KindOf(err) != api.KindNotFound {
		t.Errorf("got %v", err)
	}
	if _, err := c.Exec(t.Context(), "shop/wb", api.ExecRequest{}, api.ExecStreams{}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("no command: %v", err)
	}
}

func TestLeavingEndsTheCommandEvenWhenItReadsNothing(t *testing.T) {
	running, ended := make(chan struct{}), make(chan struct{})
	c := start(t, &stub{exec: func(ctx context.Context, _ string, _ api.ExecRequest, _ api.ExecStreams) (int, error) {
		close(running)
		<-ctx.Done()
		close(ended)
		return 0, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-running
		cancel()
	}()
	_, err := c.Exec(ctx, "m", api.ExecRequest{Command: []string{"sleep"}}, api.ExecStreams{Stdin: strings.NewReader("unread"), Stdout: io.Discard, Stderr: io.Discard})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
}

func TestServeWaitsForCommandsThatRun(t *testing.T) {
	running := make(chan struct{})
	var ended atomic.Bool
	c, stop := startAt(t, filepath.Join(t.TempDir(), "s"), &stub{exec: func(ctx context.Context, _ string, _ api.ExecRequest, _ api.ExecStreams) (int, error) {
		close(running)
		<-ctx.Done()
		for range 1000 {
			runtime.Gosched()
		}
		ended.Store(true)
		return 0, ctx.Err()
	}}, uint32(os.Geteuid()))
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = c.Exec(context.Background(), "m", api.ExecRequest{Command: []string{"sleep"}}, api.ExecStreams{Stdout: io.Discard, Stderr: io.Discard})
	}()
	<-running
	stop()
	if !ended.Load() {
		t.Error("Serve returned while a command ran")
	}
	<-asked
}
