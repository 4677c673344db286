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
	addresses []string        // in order of preference
	taken     map[string]bool // by a worker that dials it or keeps its session
	peers     map[string]Peer // who was last found at an address
	changed   chan struct{}   // closed and replaced when an address may have become free
}

// NewContacts makes contacts out of host:port addresses in order of preference.
func (n *Node) NewContacts(addresses ...string) *Contacts {
	return &Contacts{
		node:      n,
		addresses: slices.Clone(addresses),
		taken:     map[string]bool{},
		peers:     map[string]Peer{},
		changed:   make(chan struct{}),
	}
}

// Update replaces the addresses, as when a manager told newer ones. Sessions
// there are stay.
func (c *Contacts) Update(addresses []string) {
	if len(addresses) == 0 {
		return // better outdated than none
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addresses = slices.Clone(addresses)
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
	failures := 0
	tried := map[string]bool{} // since the last success or wait
	for ctx.Err() == nil {
		address, wait := c.take(tried)
		if address == "" {
			if len(tried) > 0 { // all that are free failed
				failures++
				clear(tried)
				pause(ctx, backoff(failures))
				continue
			}
			select {
			case <-wait:
			case <-ctx.Done():
			}
			continue
		}
		s, err := c.dial(ctx, address)
		if err != nil {
			if ctx.Err() == nil {
				c.node.cfg.Log.Info("no session with contact", "address", address, "error", err)
			}
			tried[address] = true
			c.release(address)
			continue
		}
		began := time.Now()
		c.node.keep(ctx, s, address)
		clear(tried)
		if failures++; time.Since(began) > shortLived {
			failures = 0
		}
		c.release(address)
		if failures > 1 {
			pause(ctx, backoff(failures-1))
		}
	}
	return ctx.Err()
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
	c.peers[address] = s.peer
	return s, nil
}

// take returns the first address that is not tried, not taken, and not known
// to be that of a manager there is a session with anyway. Without one it
// returns a channel that is closed when there may be.
func (c *Contacts) take(tried map[string]bool) (string, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.addresses {
		if tried[a] || c.taken[a] || c.served(a) {
			continue
		}
		c.taken[a] = true
		return a, nil
	}
	return "", c.changed
}

// served reports whether another taken address leads to the same manager. c.mu
// is held.
func (c *Contacts) served(address string) bool {
	p, known := c.peers[address]
	if !known {
		return false
	}
	for other := range c.taken {
		if c.peers[other] == p {
			return true
		}
	}
	return false
}

func (c *Contacts) release(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.taken, address)
	c.announce()
}

func (c *Contacts) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
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
