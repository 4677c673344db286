// Package observe keeps what people and programs look at: events with
// subscriptions, components' logs, metrics. It refuses to act on any of it,
// and nothing else of the product needs it to go on: an event that cannot be
// written is a line in the daemon's log, not a failed step.
//
// The package starts no goroutine: subscriptions and log readers run in their
// callers'.
package observe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"aloft/internal/event"
)

const (
	// ring is how many events are held in memory for subscribers.
	ring = 4096
	// segment is the size at which the log's file becomes the old one; the one
	// before it is deleted.
	segment = 4 << 20
	// syncEvery is how many events may be lost with the machine's power, and
	// skipped is how many numbers are left out at a start, so that no number
	// that a manager may have seen is used again.
	syncEvery = 256
	skipped   = 2 * syncEvery
)

// Events is the events of one daemon: its own, numbered here, and those that
// its machines report. The latest are in memory, more of them on disk;
// progress is handed to those who look on and kept nowhere.
type Events struct {
	origin string
	dir    string
	now    func() time.Time
	log    *slog.Logger

	mu sync.Mutex
	// The fields below are guarded by mu.
	file     *os.File
	size     int64
	unsynced int
	events   []event.Event // the latest; the last has number last
	last     int64         // how many events have come since the start
	highest  Cursor        // by origin
	changed  chan struct{} // closed by the next event
	live     map[*Subscription]bool
}

// OpenEvents opens the log in the folder dir, or makes it. Events that are
// added get origin, the machine id of this daemon, and the time that now tells.
func OpenEvents(dir, origin string, now func() time.Time, log *slog.Logger) (*Events, error) {
	e := &Events{
		origin: origin, dir: dir, now: now, log: log, highest: Cursor{},
		changed: make(chan struct{}), live: map[*Subscription]bool{},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	if _, err := e.read(e.path() + ".1"); err != nil {
		return nil, err
	}
	whole, err := e.read(e.path())
	if err != nil {
		return nil, err
	}
	if e.highest[origin] > 0 {
		e.highest[origin] += skipped
	}
	if e.file, err = os.OpenFile(e.path(), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	// A crash may have left half an event at the end.
	if err = e.file.Truncate(whole); err == nil {
		e.size, err = e.file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		_ = e.file.Close()
		return nil, fmt.Errorf("event log: %w", err)
	}
	return e, nil
}

func (e *Events) path() string { return filepath.Join(e.dir, "events.jsonl") }

// read takes the events of one file and returns how many of its bytes are
// whole lines. Lines that are no events are left out.
func (e *Events) read(path string) (whole int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("event log: %w", err)
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return whole, fmt.Errorf("event log %s: %w", path, err)
		}
		whole += int64(len(line))
		if ev, err := decode(line); err == nil && ev.Sequence > e.highest[ev.Origin] {
			e.hold(ev)
		}
	}
}

func decode(line []byte) (event.Event, error) {
	var ev event.Event
	if err := json.Unmarshal(line, &ev); err != nil {
		return event.Event{}, err
	}
	return ev, ev.Check()
}

// Close flushes the log. Subscriptions get ErrClosed.
func (e *Events) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil {
		return nil
	}
	err := errors.Join(e.file.Sync(), e.file.Close())
	e.file = nil
	e.wake()
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	return nil
}

// Add records an event of this daemon and returns it with its origin, sequence
// and, unless it has one, time.
func (e *Events) Add(ev event.Event) event.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	ev.Origin, ev.Sequence = e.origin, 0
	if ev.Time.IsZero() {
		ev.Time = e.now()
	}
	ev.Time = ev.Time.Round(0).UTC()
	if ev.Kind.Stored() {
		ev.Sequence = e.highest[e.origin] + 1
	}
	e.take(ev)
	return ev
}

// Receive records events that other daemons have reported. Those that came
// before are left out, so reporting may be repeated.
func (e *Events) Receive(events ...event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range events {
		if !ev.Kind.Stored() || ev.Sequence > e.highest[ev.Origin] {
			e.take(ev)
		}
	}
}

func (e *Events) take(ev event.Event) {
	if err := ev.Check(); err != nil {
		e.log.Error("event left out", "err", err)
		return
	}
	if ev.Kind.Stored() {
		e.hold(ev)
		if err := e.write(ev); err != nil {
			e.log.Warn("event log", "err", err)
		}
	} else {
		for s := range e.live {
			s.see(ev)
		}
	}
	e.wake()
}

// hold keeps ev in memory.
func (e *Events) hold(ev event.Event) {
	e.highest[ev.Origin] = ev.Sequence
	e.last++
	if len(e.events) >= 2*ring {
		e.events = append(e.events[:0:0], e.events[ring:]...)
	}
	e.events = append(e.events, ev)
}

func (e *Events) wake() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// write appends ev to the file.
func (e *Events) write(ev event.Event) error {
	if e.file == nil {
		return ErrClosed
	}
	line, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if e.size+int64(len(line)) > segment {
		if err := e.rotate(); err != nil {
			return err
		}
	}
	n, err := e.file.Write(line)
	if err != nil {
		// Half a line would spoil the next one.
		_ = e.file.Truncate(e.size)
		_, _ = e.file.Seek(e.size, io.SeekStart)
		return err
	}
	e.size += int64(n)
	if e.unsynced++; e.unsynced >= syncEvery {
		e.unsynced = 0
		return e.file.Sync()
	}
	return nil
}

func (e *Events) rotate() error {
	next, err := os.OpenFile(e.path()+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(e.file.Sync(), e.file.Close(), os.Rename(e.path(), e.path()+".1"), os.Rename(e.path()+".new", e.path()))
	e.file, e.size, e.unsynced = next, 0, 0
	return err
}

// Latest returns the last n events in memory that f lets through, oldest first.
func (e *Events) Latest(n int, f Filter) ([]event.Event, Cursor) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []event.Event
	for i := len(e.events) - 1; i >= 0 && len(found) < n; i-- {
		if f.lets(e.events[i]) {
			found = append(found, e.events[i])
		}
	}
	for i, j := 0, len(found)-1; i < j; i, j = i+1, j-1 {
		found[i], found[j] = found[j], found[i]
	}
	return found, maps.Clone(e.highest)
}

// Subscribe follows the events that come after from and that f lets through.
// The caller must close the subscription.
func (e *Events) Subscribe(from Cursor, f Filter) *Subscription {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &Subscription{events: e, filter: f, seen: maps.Clone(from), next: e.last - int64(len(e.events))}
	if s.seen == nil {
		s.seen = Cursor{}
	}
	e.live[s] = true
	return s
}

// ErrClosed says that the events were closed.
var ErrClosed = errors.New("event log is closed")

// Batch is what a subscription gets at once, in the order it came.
type Batch struct {
	Events []event.Event
	// Cursor is where to subscribe again after these.
	Cursor Cursor
	// Missed is set when events were dropped from memory before they were
	// read; those of the log's files can be read after a start only.
	Missed bool
}

// progressHeld is how many of the latest progress events a slow reader finds.
const progressHeld = 256

// Subscription is one reader of the events.
type Subscription struct {
	events *Events
	filter Filter
	// The fields below are guarded by events.mu.
	seen     Cursor
	next     int64 // number of the event to look at next
	progress []event.Event
}

func (s *Subscription) see(ev event.Event) {
	if !s.filter.Progress || !s.filter.lets(ev) {
		return
	}
	if len(s.progress) == progressHeld {
		s.progress = append(s.progress[:0], s.progress[1:]...)
	}
	s.progress = append(s.progress, ev)
}

// Next waits for events and returns them. It returns ctx's error when it ends,
// or ErrClosed.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	for {
		b, changed, err := s.poll()
		if err != nil || len(b.Events) > 0 || b.Missed {
			return b, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

func (s *Subscription) poll() (Batch, <-chan struct{}, error) {
	e := s.events
	e.mu.Lock()
	defer e.mu.Unlock()
	var b Batch
	first := e.last - int64(len(e.events))
	if s.next < first {
		b.Missed = true
		s.next = first
	}
	for _, ev := range e.events[s.next-first:] {
		if ev.Sequence > s.seen[ev.Origin] {
			s.seen[ev.Origin] = ev.Sequence
			if s.filter.lets(ev) {
				b.Events = append(b.Events, ev)
			}
		}
	}
	s.next = e.last
	b.Events = append(b.Events, s.progress...)
	s.progress = nil
	if len(b.Events) == 0 && !b.Missed && e.file == nil {
		return Batch{}, nil, ErrClosed
	}
	b.Cursor = maps.Clone(s.seen)
	return b, e.changed, nil
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	delete(s.events.live, s)
}

// lines splits b after each newline; the rest has none.
func lines(b []byte) (whole [][]byte, rest []byte) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return whole, b
		}
		whole = append(whole, b[:i])
		b = b[i+1:]
	}
}
