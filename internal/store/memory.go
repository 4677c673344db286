package store

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Memory is the store without a disk, for tests and simulations. It takes time
// from package time alone, so it works inside testing/synctest.
type Memory struct {
	mu sync.Mutex
	// The fields below are guarded by mu.
	rows      map[string]Entry
	revision  int64
	changes   []Change // of every revision after compacted, in order
	compacted int64
	changed   chan struct{} // closed by the next change
	leases    map[LeaseID]*lease
	lastLease LeaseID
	closed    bool
	done      chan struct{} // closed by Close
}

type lease struct {
	ttl   time.Duration
	timer *time.Timer
}

var _ KV = (*Memory)(nil)

// NewMemory returns an empty store. Close stops the timers of its leases.
func NewMemory() *Memory {
	return &Memory{
		rows:     map[string]Entry{},
		revision: 1, // as in a fresh etcd
		changed:  make(chan struct{}),
		leases:   map[LeaseID]*lease{},
		done:     make(chan struct{}),
	}
}

// Close ends watches and leases. Every later call returns ErrClosed.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.closed = true
	close(m.done)
	for _, l := range m.leases {
		l.timer.Stop()
	}
}

// enter takes the lock when a call may go on; the caller must unlock.
func (m *Memory) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// Local reads what there is: a Memory lacks nothing.
func (m *Memory) Local() Reader { return m }

// Get returns one row, or ErrNotFound.
func (m *Memory) Get(ctx context.Context, key string) (Entry, error) {
	if err := m.enter(ctx); err != nil {
		return Entry{}, fmt.Errorf("read row %s: %w", key, err)
	}
	defer m.mu.Unlock()
	return frozen{m.rows, m.revision}.Get(ctx, key)
}

// List returns the rows under prefix and the revision they were read at.
func (m *Memory) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	if err := m.enter(ctx); err != nil {
		return nil, 0, fmt.Errorf("list rows %s: %w", prefix, err)
	}
	defer m.mu.Unlock()
	return frozen{m.rows, m.revision}.List(ctx, prefix)
}

// Commit carries out t and returns the store's revision after it.
func (m *Memory) Commit(ctx context.Context, t Txn) (int64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	if err := m.enter(ctx); err != nil {
		return 0, fmt.Errorf("write rows: %w", err)
	}
	defer m.mu.Unlock()
	if err := conflict(t.If, func(key string) int64 { return m.rows[key].Revision }); err != nil {
		return 0, err
	}
	for _, p := range t.Put {
		if _, ok := m.leases[p.Lease]; p.Lease != 0 && !ok {
			return 0, fmt.Errorf("write row %s: %w", p.Key, ErrLeaseLost)
		}
	}
	m.write(t.Put, t.Delete)
	return m.revision, nil
}

// write makes one revision of puts and deletes. A transaction that changes
// nothing makes none.
func (m *Memory) write(puts []Put, deletes []string) {
	next := m.revision + 1
	for _, p := range puts {
		e := Entry{Key: p.Key, Value: slices.Clone(p.Value), Revision: next, Created: next, Lease: p.Lease}
		if old, ok := m.rows[p.Key]; ok {
			e.Created = old.Created
		}
		m.rows[p.Key] = e
		m.changes = append(m.changes, Change{Entry: e})
	}
	for _, key := range deletes {
		if _, ok := m.rows[key]; ok {
			delete(m.rows, key)
			m.changes = append(m.changes, Change{Entry: Entry{Key: key, Revision: next}, Deleted: true})
		}
	}
	if n := len(m.changes); n == 0 || m.changes[n-1].Revision != next {
		return
	}
	m.revision = next
	close(m.changed)
	m.changed = make(chan struct{})
	if m.revision-m.compacted > 2*history {
		m.forget(m.revision - history)
	}
}

// Watch sends every change of rows under prefix from revision from on.
func (m *Memory) Watch(ctx context.Context, prefix string, from int64) <-chan Batch {
	return m.follow(ctx, prefix, from, func() error { return nil })
}

// follow is Watch with something to wait for before each batch.
func (m *Memory) follow(ctx context.Context, prefix string, from int64, await func() error) <-chan Batch {
	out := make(chan Batch)
	go func() {
		defer close(out)
		for next := max(1, from); ; {
			err := await()
			if ctx.Err() != nil {
				return
			}
			b, seen, changed := m.since(prefix, next)
			if err != nil {
				b = Batch{Err: err}
			}
			if b.Err != nil {
				b.Err = fmt.Errorf("watch rows %s: %w", prefix, b.Err)
			}
			next = max(next, seen+1) // what concerns others is not looked at again
			if b.Err == nil && len(b.Changes) == 0 {
				select {
				case <-changed:
				case <-m.done:
				case <-ctx.Done():
					return
				}
				continue
			}
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
			if b.Err != nil {
				return
			}
		}
	}()
	return out
}

// since returns the changes under prefix from revision from on, the last
// revision that was looked at, and a channel that the next change closes.
func (m *Memory) since(prefix string, from int64) (b Batch, seen int64, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return Batch{Err: ErrClosed}, 0, nil
	case from < m.compacted:
		return Batch{Err: ErrCompacted}, 0, nil
	}
	i := sort.Search(len(m.changes), func(i int) bool { return m.changes[i].Revision >= from })
	for _, c := range m.changes[i:] {
		if strings.HasPrefix(c.Key, prefix) {
			c.Entry = c.clone()
			b.Changes = append(b.Changes, c)
			b.Revision = c.Revision
		}
	}
	return b, m.revision, m.changed
}

// Grant makes a lease.
func (m *Memory) Grant(ctx context.Context, ttl time.Duration) (LeaseID, error) {
	if err := m.enter(ctx); err != nil {
		return 0, fmt.Errorf("grant a lease: %w", err)
	}
	defer m.mu.Unlock()
	m.lastLease++
	id, d := m.lastLease, time.Duration(seconds(ttl))*time.Second
	m.leases[id] = &lease{ttl: d, timer: time.AfterFunc(d, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.closed {
			m.end(id)
		}
	})}
	return id, nil
}

// Renew starts the lease's time anew.
func (m *Memory) Renew(ctx context.Context, id LeaseID) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("renew a lease: %w", err)
	}
	defer m.mu.Unlock()
	l, ok := m.leases[id]
	// A timer that cannot be stopped has fired: its function waits for mu.
	if !ok || !l.timer.Stop() {
		return fmt.Errorf("renew a lease: %w", ErrLeaseLost)
	}
	l.timer.Reset(l.ttl)
	return nil
}

// Revoke ends the lease and deletes its rows.
func (m *Memory) Revoke(ctx context.Context, id LeaseID) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("revoke a lease: %w", err)
	}
	defer m.mu.Unlock()
	m.end(id)
	return nil
}

func (m *Memory) end(id LeaseID) {
	l, ok := m.leases[id]
	if !ok {
		return
	}
	l.timer.Stop()
	delete(m.leases, id)
	var keys []string
	for key, e := range m.rows {
		if e.Lease == id {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	m.write(nil, keys)
}

// Compact forgets the history before revision.
func (m *Memory) Compact(ctx context.Context, revision int64) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("compact the store: %w", err)
	}
	defer m.mu.Unlock()
	if revision > m.revision {
		return fmt.Errorf("compact the store: revision %d is still to come", revision)
	}
	m.forget(revision)
	return nil
}

func (m *Memory) forget(revision int64) {
	if revision <= m.compacted {
		return
	}
	m.compacted = revision
	m.changes = slices.DeleteFunc(m.changes, func(c Change) bool { return c.Revision < revision })
}

func (e Entry) clone() Entry {
	e.Value = slices.Clone(e.Value)
	return e
}
