package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
	executors, err := s.Executors(q.System, path)
	if err != nil {
		return nil, err
	}
	machines, err := s.Machines(ctx)
	if err != nil {
		return nil, err
	}
	r := &peerpb.LogsRequest{System: q.System, Path: string(path), Follow: q.Follow, Tail: int32(q.Lines)}
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
	return merge(ctx, sources, q.Follow, func(ctx context.Context, source logSource, lines chan<- api.LogLine) error {
		return s.log(ctx, source, r, lines)
	}), nil
}

// merge returns the lines that read sends of each source, as they come. Who is
// silent is told of at the end, or among lines that are followed.
func merge(ctx context.Context, sources []logSource, follow bool, read func(context.Context, logSource, chan<- api.LogLine) error) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		lines := make(chan api.LogLine)
		ends := make(chan logEnd)
		running := len(sources)
		for _, source := range sources {
			go func() { ends <- logEnd{source, read(ctx, source, lines)} }()
		}
		defer func() {
			cancel()
			for running > 0 {
				select {
				case <-lines:
				case <-ends:
					running--
				}
			}
		}()
		var missing []string
		for running > 0 {
			select {
			case l := <-lines:
				if !yield(l, nil) {
					return
				}
			case end := <-ends:
				running--
				if end.err == nil || ctx.Err() != nil {
					break
				}
				text := end.words()
				if !follow || running == 0 {
					missing = append(missing, text)
				} else if !yield(api.LogLine{Path: end.path, Machine: end.machine, Text: text}, nil) {
					return
				}
			}
		}
		if len(missing) > 0 {
			yield(api.LogLine{}, &api.Error{Kind: api.KindUnavailable, Message: strings.Join(missing, "; "), Remedy: "look at the machines with: aloft machines"})
		}
	}
}

// logSource is a daemon that has logs; machine and path are of the machine it
// is on, "" for this host.
type logSource struct{ id, machine, path string }

// logEnd is how the logs of one daemon ended.
type logEnd struct {
	logSource
	err error
}

// words tells people which logs are missing, and why.
func (e logEnd) words() string {
	name := "the managing host"
	if e.machine != "" {
		name = "machine " + e.machine
	}
	st, _ := status.FromError(e.err)
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return name + " does not answer"
	default:
		return fmt.Sprintf("no logs from %s: %s", name, st.Message())
	}
}

// sessionLimit is how long a machine has to begin a session that a reader waits
// for: after a start of this daemon they come one by one.
const sessionLimit = 2 * time.Second

// log reads the logs that one daemon has.
func (s service) log(ctx context.Context, source logSource, r *peerpb.LogsRequest, lines chan<- api.LogLine) error {
	wait, cancel := context.WithTimeout(ctx, sessionLimit)
	machine, err := sessions{s.m}.Machine(wait, source.id)
	cancel()
	if err != nil {
		return err
	}
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
		if l.Time != nil {
			line.Time = l.Time.AsTime()
		}
		select {
		case lines <- line:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
