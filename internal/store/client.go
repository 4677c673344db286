package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Client is one manager's way to a Memory that several share, as a member of
// its own is to a Store's: it can be cut off from the others, and whoever makes
// it may delay its calls and have them fail.
type Client struct {
	memory *Memory
	faults func(Call) Fault

	mu sync.Mutex
	// The fields below are guarded by mu.
	whole chan struct{} // nil: not cut off; else closed by Mend
	since time.Time     // cut off
	had   frozen        // what there was then
}

// Op names what is called.
type Op string

// The calls that a Client lets faults decide about.
const (
	OpGet    Op = "get"
	OpList   Op = "list"
	OpCommit Op = "commit"
	OpGrant  Op = "grant"
	OpRenew  Op = "renew"
	OpRevoke Op = "revoke"
	OpWatch  Op = "watch" // each batch; Refuse and Lose end the watch
)

// Call is a call that is about to be made.
type Call struct {
	Op  Op
	Key string // or prefix; of a transaction none
	Txn Txn
}

// Fault is what happens to a call.
type Fault struct {
	Delay  time.Duration // before it is carried out
	Refuse error         // returned in its stead
	Lose   error         // returned after it was carried out, for its answer
}

var _ KV = (*Client)(nil)

// Client returns a way to the store. Faults is asked before each call; nil lets
// all pass.
func (m *Memory) Client(faults func(Call) Fault) *Client {
	if faults == nil {
		faults = func(Call) Fault { return Fault{} }
	}
	return &Client{memory: m, faults: faults}
}

// Cut parts the client from the others: local reads return what there was,
// watches wait, and all else fails with ErrNoQuorum once the client has been
// cut off for as long as a Store waits for a leader.
func (c *Client) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.whole == nil {
		c.whole, c.since, c.had = make(chan struct{}), time.Now(), c.memory.freeze()
	}
}

// Mend joins the client to the others again.
func (c *Client) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.whole != nil {
		close(c.whole)
		c.whole, c.had = nil, frozen{}
	}
}

// reach waits until the client is not cut off, at most until calls are refused.
func (c *Client) reach(ctx context.Context, patient bool) error {
	for {
		c.mu.Lock()
		whole, left := c.whole, patience-time.Since(c.since)
		c.mu.Unlock()
		switch {
		case whole == nil:
			return nil
		case left <= 0 && !patient:
			return &QuorumError{}
		}
		timer := time.NewTimer(left)
		var late <-chan time.Time
		if !patient {
			late = timer.C
		}
		select {
		case <-whole:
		case <-late:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// pass has a call happen as faults has it.
func (c *Client) pass(ctx context.Context, call Call, do func() error) error {
	f := c.faults(call)
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := c.reach(ctx, call.Op == OpWatch); err != nil {
		return fmt.Errorf("%s: %w", call.Op, err)
	}
	if f.Refuse != nil {
		return fmt.Errorf("%s: %w", call.Op, f.Refuse)
	}
	if err := do(); err != nil {
		return err
	}
	if f.Lose != nil {
		return fmt.Errorf("%s: %w", call.Op, f.Lose)
	}
	return nil
}

// Get returns one row, or ErrNotFound.
func (c *Client) Get(ctx context.Context, key string) (e Entry, err error) {
	err = c.pass(ctx, Call{Op: OpGet, Key: key}, func() error {
		e, err = c.memory.Get(ctx, key)
		return err
	})
	return e, err
}

// List returns the rows under prefix and the revision they were read at.
func (c *Client) List(ctx context.Context, prefix string) (entries []Entry, revision int64, err error) {
	err = c.pass(ctx, Call{Op: OpList, Key: prefix}, func() error {
		entries, revision, err = c.memory.List(ctx, prefix)
		return err
	})
	return entries, revision, err
}

// Local reads what there was when the client was cut off.
func (c *Client) Local() Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.whole == nil {
		return c.memory
	}
	return c.had
}

// Commit carries out t and returns the store's revision after it.
func (c *Client) Commit(ctx context.Context, t Txn) (revision int64, err error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	err = c.pass(ctx, Call{Op: OpCommit, Txn: t}, func() error {
		revision, err = c.memory.Commit(ctx, t)
		return err
	})
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// Watch sends every change of rows under prefix from revision from on.
func (c *Client) Watch(ctx context.Context, prefix string, from int64) <-chan Batch {
	return c.memory.follow(ctx, prefix, from, func() error {
		return c.pass(ctx, Call{Op: OpWatch, Key: prefix}, func() error { return nil })
	})
}

// Grant makes a lease.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (id LeaseID, err error) {
	err = c.pass(ctx, Call{Op: OpGrant}, func() error {
		id, err = c.memory.Grant(ctx, ttl)
		return err
	})
	return id, err
}

// Renew starts the lease's time anew.
func (c *Client) Renew(ctx context.Context, id LeaseID) error {
	return c.pass(ctx, Call{Op: OpRenew}, func() error { return c.memory.Renew(ctx, id) })
}

// Revoke ends the lease and deletes its rows.
func (c *Client) Revoke(ctx context.Context, id LeaseID) error {
	return c.pass(ctx, Call{Op: OpRevoke}, func() error { return c.memory.Revoke(ctx, id) })
}

// frozen is what a Memory had at one revision.
type frozen struct {
	rows     map[string]Entry
	revision int64
}

func (m *Memory) freeze() frozen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return frozen{maps.Clone(m.rows), m.revision}
}

// Get returns one row, or ErrNotFound.
func (f frozen) Get(_ context.Context, key string) (Entry, error) {
	if err := checkKey(key); err != nil {
		return Entry{}, err
	}
	e, ok := f.rows[key]
	if !ok {
		return Entry{}, fmt.Errorf("row %s: %w", key, ErrNotFound)
	}
	return e.clone(), nil
}

// List returns the rows under prefix and the revision they were read at.
func (f frozen) List(_ context.Context, prefix string) ([]Entry, int64, error) {
	entries := []Entry{}
	for key, e := range f.rows {
		if strings.HasPrefix(key, prefix) {
			entries = append(entries, e.clone())
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, f.revision, nil
}
