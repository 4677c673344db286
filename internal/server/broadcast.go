package server

import (
	"context"
	"iter"
	"net/http"
	"sync"
	"time"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	// maxBacklog is how many bytes wait for a watcher that does not read,
	// besides what the kernel holds; then it is cut.
	maxBacklog = 1 << 20
	// lastWords is how long a watcher that was cut has to take the reason.
	lastWords = 30 * time.Second
	// alive is how often a watcher to whom nothing happens hears that the
	// stream still stands.
	alive = 15 * time.Second
	// atOnce is about how many bytes are written to a watcher at once.
	atOnce = 32 << 10
)

// broadcast tells what happens to everybody who watches. Those who watch the
// same share one reader of the events, and the bytes that it makes of them.
type broadcast struct {
	mu sync.Mutex
	// under mu:
	channels map[api.EventQuery]*channel // by what is watched; After is ""
}

// channel is one reader of the events, as long as anybody watches.
type channel struct {
	stop  context.CancelFunc
	ended chan struct{}
	// under broadcast.mu:
	watchers map[*watcher]bool
}

// told is one event as it is written.
type told struct {
	origin   string
	sequence int64 // 0: progress, which is never told again
	text     []byte
}

// watcher is one caller who watches.
type watcher struct {
	out  *http.ResponseController
	wake chan struct{} // has room for one

	mu sync.Mutex
	// under mu:
	queue   []told
	backlog int    // bytes in queue
	last    []byte // told when queue is empty, and then the stream ends
}

// watchers answers with what has happened, and then with what happens.
func (s *Server) watchers(q api.EventQuery, past iter.Seq2[api.Event, error]) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		out, err := begin(w)
		if err != nil {
			return
		}
		seen := map[string]int64{} // by origin
		pull := func(past iter.Seq2[api.Event, error]) bool {
			for e, err := range past {
				_ = out.SetWriteDeadline(time.Now().Add(answerTime))
				if err != nil {
					_ = message(w, "error", "", s.problem(err).Problem)
					return false
				}
				if e.Sequence != 0 && e.Sequence <= seen[e.Origin] {
					continue
				}
				seen[e.Origin] = max(seen[e.Origin], e.Sequence)
				if e.Cursor != "" {
					q.After = e.Cursor
				}
				if message(w, "", e.Cursor, e) != nil {
					return false
				}
			}
			_ = out.SetWriteDeadline(time.Time{})
			return out.Flush() == nil && ctx.Context().Err() == nil
		}
		if !pull(past) {
			return
		}
		// From here on nothing is missed; what came since the past was read, is
		// read once more, and what comes both ways is told once.
		me := &watcher{out: out, wake: make(chan struct{}, 1)}
		leave := s.watch.join(s, q, me)
		defer leave()
		between := q
		between.Follow = false
		again, err := s.cfg.Service.Events(ctx.Context(), between)
		if err != nil {
			_ = message(w, "error", "", s.problem(err).Problem)
			return
		}
		if pull(again) {
			me.run(ctx.Context(), w, seen)
		}
	}}
}

// join makes w one of those who are told what q chooses, until it leaves.
func (b *broadcast) join(s *Server, q api.EventQuery, w *watcher) (leave func()) {
	key := q
	key.After = ""
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.channels[key]
	if c == nil {
		ctx, stop := context.WithCancel(context.Background())
		c = &channel{stop: stop, ended: make(chan struct{}), watchers: map[*watcher]bool{}}
		if b.channels == nil {
			b.channels = map[api.EventQuery]*channel{}
		}
		b.channels[key] = c
		go b.run(ctx, s, q, c)
	}
	c.watchers[w] = true
	return func() {
		b.mu.Lock()
		delete(c.watchers, w)
		last := len(c.watchers) == 0
		if last && b.channels[key] == c {
			delete(b.channels, key)
		}
		b.mu.Unlock()
		if last {
			c.stop()
			<-c.ended
		}
	}
}

// run tells a channel's watchers what happens until nobody watches, or the
// events end.
func (b *broadcast) run(ctx context.Context, s *Server, q api.EventQuery, c *channel) {
	defer close(c.ended)
	defer c.stop()
	last := encoded("end", "", struct{}{})
	seq, err := s.cfg.Service.Events(ctx, q)
	if err != nil {
		last = encoded("error", "", s.problem(err).Problem)
		seq = func(func(api.Event, error) bool) {}
	}
	for e, err := range seq {
		if err != nil {
			last = encoded("error", "", s.problem(err).Problem)
			break
		}
		t := told{e.Origin, e.Sequence, encoded("", e.Cursor, e)}
		b.mu.Lock()
		for w := range c.watchers {
			w.tell(t)
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	q.After = ""
	if b.channels[q] == c {
		delete(b.channels, q) // who comes now gets another
	}
	for w := range c.watchers {
		w.end(last)
	}
}

// tell has t written to w, or cuts w when it does not read.
func (w *watcher) tell(t told) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != nil {
		return
	}
	w.queue = append(w.queue, t)
	if w.backlog += len(t.text); w.backlog > maxBacklog {
		w.queue, w.backlog = nil, 0
		w.last = encoded("error", "", api.ProblemOf(&api.Error{
			Kind: api.KindUnavailable, Message: "the stream was cut: more than 1 MiB of events waited to be read", Remedy: "read faster, or follow one system; go on from the last event read",
		}))
		_ = w.out.SetWriteDeadline(time.Now().Add(lastWords)) // a write may be under way
	}
	w.signal()
}

// end has the stream end with last.
func (w *watcher) end(last []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = last
	}
	w.signal()
}

func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes what w is told until the stream or ctx ends.
func (w *watcher) run(ctx context.Context, to http.ResponseWriter, seen map[string]int64) {
	idle := time.NewTicker(alive)
	defer idle.Stop()
	var buf []byte
	for {
		var last []byte
		buf, last = w.take(buf[:0], seen)
		if len(buf) > 0 {
			if _, err := to.Write(buf); err != nil || w.out.Flush() != nil {
				return
			}
			continue
		}
		if last != nil {
			_, _ = to.Write(last) // the caller is gone if this fails
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-idle.C:
			if _, err := to.Write([]byte(":\n\n")); err != nil || w.out.Flush() != nil {
				return
			}
		}
	}
}

// take returns, in buf, what is to be written next: last only once all before
// it is.
func (w *watcher) take(buf []byte, seen map[string]int64) (_, last []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.queue) && len(buf) < atOnce {
		t := w.queue[n]
		n++
		w.backlog -= len(t.text)
		if t.sequence == 0 || t.sequence > seen[t.origin] {
			buf = append(buf, t.text...)
		}
		seen[t.origin] = max(seen[t.origin], t.sequence)
	}
	if w.queue = w.queue[n:]; len(w.queue) == 0 {
		w.queue, last = nil, w.last
	}
	return buf, last
}
