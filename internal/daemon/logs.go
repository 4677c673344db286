package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/value"
)

// Logs returns the output of components. Machines that do not answer cost
// nobody the lines of the others: they are told of when those have come, or by
// a line of their own among lines that go on coming.
func (s service) Logs(ctx context.Context, q api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
	path, err := value.ParsePath(q.Path)
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	executors, err := s.Executors(ctx, q.System, path)
	if err != nil {
		return nil, err
	}
	machines, err := s.Machines(ctx)
	if err != nil {
		return nil, err
	}
	if q.System, path, err = s.known(ctx, q.System, path); err != nil {
		return nil, err
	}
	r := logsRequest(q, path)
	var sources []logSource
	for _, id := range executors {
		source := logSource{id: id}
		for _, m := range machines {
			if m.ID == id {
				source.machine, source.path = m.Name, m.Path
			}
		}
		sources = append(sources, source)
	}
	return merge(ctx, sources, q.Follow, func(ctx context.Context, source logSource, lines chan<- logItem) error {
		return s.log(ctx, source, r, lines)
	}), nil
}

func logsRequest(q api.LogQuery, path value.Path) *peerpb.LogsRequest {
	r := &peerpb.LogsRequest{System: q.System, Path: string(path), Follow: q.Follow, Tail: int32(q.Lines)}
	if !q.Since.IsZero() {
		r.Since = timestamppb.New(q.Since)
	}
	return r
}

// logItem is a line, or the news that those behind it are written from now on.
type logItem struct {
	line api.LogLine
	live bool
}

// merge returns the lines that read sends of each source: what was written, in
// the order of time, then what is written, as it comes. Who is silent is told of
// at the end, or among lines that are followed.
func merge(ctx context.Context, sources []logSource, follow bool, read func(context.Context, logSource, chan<- logItem) error) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		streams := make([]*logStream, len(sources))
		var reading sync.WaitGroup
		for i, source := range sources {
			st := &logStream{logSource: source, items: make(chan logItem)}
			streams[i] = st
			reading.Go(func() {
				defer close(st.items)
				st.err = read(ctx, source, st.items)
			})
		}
		defer reading.Wait()
		defer cancel()

		begun := time.Now()
		for _, st := range streams {
			st.advance(ctx, sessionLimit-time.Since(begun))
		}
		for {
			first := earliest(streams)
			if first == nil {
				break
			}
			if !yield(first.head.line, nil) {
				return
			}
			first.advance(ctx, sessionLimit)
		}

		joined := make(chan logItem)
		ends := make(chan *logStream)
		running := len(streams)
		for _, st := range streams {
			reading.Go(func() { st.pass(ctx, joined, ends) })
		}
		var missing []string
		for running > 0 {
			select {
			case item := <-joined:
				if !yield(item.line, nil) {
					return
				}
			case st := <-ends:
				running--
				if st.err == nil || ctx.Err() != nil {
					break
				}
				if text := st.words(); !follow || running == 0 {
					missing = append(missing, text)
				} else if !yield(api.LogLine{Path: st.path, Machine: st.machine, Text: text, Time: time.Now()}, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
		if len(missing) > 0 {
			yield(api.LogLine{}, &api.Error{Kind: api.KindUnavailable, Message: strings.Join(missing, "; "), Remedy: "look at the machines with: aloft machines"})
		}
	}
}

// logStream is what comes of one source.
type logStream struct {
	logSource
	items chan logItem
	head  *logItem // the next line of the past; nil: there is none
	err   error    // how it ended, once items is closed
}

// advance takes the next line of the past in hand, if there is one within a time.
// The others do not wait long for a machine that is silent: what it has comes out
// of order then.
func (st *logStream) advance(ctx context.Context, limit time.Duration) {
	st.head = nil
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case item, ok := <-st.items:
		if ok && !item.live {
			st.head = &item
		}
	case <-late.C:
	case <-ctx.Done():
	}
}

// earliest returns the stream whose line in hand is the oldest, nil if none has
// one.
func earliest(streams []*logStream) (first *logStream) {
	for _, st := range streams {
		if st.head != nil && (first == nil || st.head.line.Time.Before(first.head.line.Time)) {
			first = st
		}
	}
	return first
}

// pass hands on what comes from now on, and then that it has ended.
func (st *logStream) pass(ctx context.Context, joined chan<- logItem, ends chan<- *logStream) {
	for item := range st.items {
		if item.live {
			continue // it was late
		}
		select {
		case joined <- item:
		case <-ctx.Done(): // whoever reads st ends too
		}
	}
	select {
	case ends <- st:
	case <-ctx.Done():
	}
}

// logSource is a daemon that has logs; machine and path are of the machine it
// is on, "" for this host.
type logSource struct{ id, machine, path string }

// words tells people which logs are missing, and why.
func (st *logStream) words() string {
	name := "the managing host"
	if st.machine != "" {
		name = "machine " + st.machine
	}
	cause, _ := status.FromError(st.err)
	switch cause.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return name + " does not answer"
	default:
		return fmt.Sprintf("no logs from %s: %s", name, cause.Message())
	}
}

// sessionLimit is how long a machine has to begin a session that a reader waits
// for: after a start of this daemon they come one by one.
const sessionLimit = 2 * time.Second

// log reads the logs that one daemon has.
func (s service) log(ctx context.Context, source logSource, r *peerpb.LogsRequest, lines chan<- logItem) error {
	wait, cancel := context.WithTimeout(ctx, sessionLimit)
	machine, err := sessions{s.m}.Machine(wait, source.id)
	cancel()
	if err != nil {
		return err
	}
	return copyLog(ctx, machine, source, r, lines)
}

// copyLog sends the lines of one daemon's logs.
func copyLog(ctx context.Context, machine peerpb.MachineClient, source logSource, r *peerpb.LogsRequest, lines chan<- logItem) error {
	stream, err := machine.Logs(ctx, r)
	if err != nil {
		return err
	}
	for {
		l, err := stream.Recv()
		if errors.Is(err, io.EOF) || status.Code(err) == codes.NotFound {
			return nil // it has written nothing yet, or all is told
		} else if err != nil {
			return err
		}
		line := api.LogLine{Path: l.Path, Machine: source.machine, Text: l.Text}
		if l.Time != nil { // nil: from a daemon of a version that knew none
			line.Time = l.Time.AsTime()
		}
		select {
		case lines <- logItem{line, l.Live}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
