package peer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
	// keptContacts is how many managers a machine keeps sessions with, so that
	// the loss of one costs no time.
	keptContacts = 2
	// shortLived sessions that follow each other mean that something is wrong
	// which the handshake does not show.
	shortLived = time.Second
)

// backoff returns how long to wait before the next try after so many failures
// in a row: from 50 ms doubling to 5 s, less a random part up to half of it so
// that those who lost the same manager do not come back in step.
func backoff(failures int) time.Duration {
	d := lastRetry
	if failures < 8 {
		d = min(firstRetry<<max(failures-1, 0), lastRetry)
	}
	return d - rand.N(d/2+1)
}

// Contacts keeps a machine's sessions with its managers: with the first two of
// its contacts that can be reached.
type Contacts struct {
	node *Node

	mu sync.Mutex
	// guarded by mu
	addresses []string            // in order of preference
	contacts  map[string]*contact // by address
	changed   chan struct{}       // closed and replaced when an address may have become free
}

// contact is what is known of one address.
type contact struct {
	peer     Peer // who was last found there
	taken    bool // by a worker that dials it or keeps its session
	failures int  // in a row
	after    time.Time
}

// NewContacts makes contacts out of host:port addresses in order of preference.
func (n *Node) NewContacts(addresses ...string) *Contacts {
	c := &Contacts{node: n, contacts: map[string]*contact{}, changed: make(chan struct{})}
	c.Update(addresses)
	return c
}

// Update replaces the addresses, as when a manager told newer ones. Sessions
// there are stay. An empty list changes nothing: better outdated than none.
func (c *Contacts) Update(addresses []string) {
	if len(addresses) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addresses = slices.Clone(addresses)
	for _, a := range addresses {
		if c.contacts[a] == nil {
			c.contacts[a] = &contact{}
		}
	}
	c.announce()
}

// Run dials and redials until ctx ends; the sessions made go on.
func (c *Contacts) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range keptContacts {
		group.Go(func() error { return c.keepOne(ctx) })
	}
	return group.Wait()
}

// keepOne keeps one session with some contact that no other worker has.
func (c *Contacts) keepOne(ctx context.Context) error {
	for ctx.Err() == nil {
		address, changed, at := c.take()
		if address == "" {
			timer := time.NewTimer(time.Until(at))
			select {
			case <-changed:
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
			continue
		}
		began := time.Now()
		s, err := c.dial(ctx, address)
		if err == nil {
			c.node.keep(ctx, s, address)
		} else if ctx.Err() == nil {
			c.node.cfg.Log.Info("no session with contact", "address", address, "error", err)
		}
		c.release(address, err, time.Since(began))
	}
	return ctx.Err()
}

// take returns the first address that is not taken, need not wait after a
// failure, and is not known to be that of a manager another worker has. Without
// one it returns a channel that is closed, and a time, when there may be.
func (c *Contacts) take() (string, <-chan struct{}, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := time.Now().Add(time.Hour)
	for _, a := range c.addresses {
		k := c.contacts[a]
		switch {
		case k.taken || c.served(k.peer):
		case time.Now().Before(k.after):
			next = earlier(next, k.after)
		default:
			k.taken = true
			return a, nil, next
		}
	}
	return "", c.changed, next
}

// served reports whether a worker has the manager p. c.mu is held.
func (c *Contacts) served(p Peer) bool {
	for _, k := range c.contacts {
		if k.taken && k.peer == p && p != (Peer{}) {
			return true
		}
	}
	return false
}

// release gives an address back after a failed dial or the end of a session.
func (c *Contacts) release(address string, failed error, lasted time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.contacts[address]
	k.taken = false
	switch {
	case failed != nil:
		k.failures++
		k.after = time.Now().Add(backoff(k.failures))
	case lasted > shortLived:
		k.failures = 0
	default: // once is normal: a machine that has just enrolled comes back as itself
		if k.failures++; k.failures > 1 {
			k.after = time.Now().Add(backoff(k.failures - 1))
		}
	}
	c.announce()
}

func (c *Contacts) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// dial makes a session with the manager at address.
func (c *Contacts) dial(ctx context.Context, address string) (*session, error) {
	s, err := c.node.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	if s.peer.Kind != Manager {
		s.Close()
		return nil, fmt.Errorf("contact %s is %s, not a manager", address, s.peer)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contacts[address].peer = s.peer
	return s, nil
}

// keep returns when there is no session with s's peer any more, or ctx ended.
// While there is and we dialled it, it is made anew before a certificate it was
// made with expires.
func (n *Node) keep(ctx context.Context, s *session, address string) {
	const again = time.Minute // between tries to make it anew
	var last time.Time
	for {
		l := s.current()
		at := l.refresh
		if next := last.Add(again); at.Before(next) {
			at = next
		}
		timer := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.done:
			timer.Stop()
			now, ok := n.Session(s.peer.ID)
			if !ok || s.peer == (Peer{}) {
				return
			}
			s = now.(*session) // the peer's process is a new one, and was quicker than we
		case <-timer.C:
			last = time.Now()
			if l.dialled == "" || l.self {
				continue // the other end looks after it
			}
			if _, err := n.dial(ctx, address); err != nil && ctx.Err() == nil {
				n.cfg.Log.Warn("making a session anew", "peer", s.peer.String(), "error", err)
			}
		}
	}
}
