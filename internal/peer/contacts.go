package peer

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	// askAgain is the longest time after which a machine that has a manager asks
	// a relay for a second: with every change of its list of addresses it does at
	// once.
	askAgain = 5 * time.Minute
)

// backoff returns how long to wait before the next try after so many failures
// in a row: from 50 ms doubling to 5 s, less a random part up to half of it so
// that those who lost the same manager do not come back in step.
func backoff(failures int) time.Duration { return backoffTo(failures, lastRetry) }

func backoffTo(failures int, last time.Duration) time.Duration {
	d := last
	if failures < 20 {
		d = min(firstRetry<<max(failures-1, 0), last)
	}
	return d - rand.N(d/2+1)
}

// Contacts keeps a machine's sessions with its managers: with the first two of
// its contacts that can be reached, and where a contact is no manager but a host,
// by its relay. A manager is asked to relay as well, to those that cannot be
// dialled.
type Contacts struct {
	node *Node

	mu sync.Mutex
	// guarded by mu
	addresses []string            // in order of preference
	contacts  map[string]*contact // by address
	kept      map[string]bool     // ids of the managers that workers have
	relays    []*asked            // hosts, then managers
	changed   chan struct{}       // closed and replaced when there may be something to do
}

// contact is what is known of one address.
type contact struct {
	peer     Peer      // who was last found there
	told     time.Time // when it was told that there is no session; zero: there was one since
	taken    bool      // by somebody who dials it or keeps its session
	failures int       // in a row
	after    time.Time
}

// asked is a session with a daemon that may know managers.
type asked struct {
	session  *session
	busy     bool // a worker asks it
	failures int  // in a row
	after    time.Time
}

// errand is what a worker does next: dial an address, or ask a relay.
type errand struct {
	address string
	relay   *asked
	except  []string // managers that the relay is not asked for
}

// NewContacts makes contacts out of host:port addresses in order of preference.
func (n *Node) NewContacts(addresses ...string) *Contacts {
	c := &Contacts{node: n, contacts: map[string]*contact{}, kept: map[string]bool{}, changed: make(chan struct{})}
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
	c.askAnew()
	c.announce()
}

// askAnew has every relay asked without waiting. c.mu is held.
func (c *Contacts) askAnew() {
	for _, r := range c.relays {
		r.failures, r.after = 0, time.Time{}
	}
}

// Run dials and redials until ctx ends; the sessions made go on.
func (c *Contacts) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range keptContacts {
		group.Go(func() error { return c.keepOne(ctx, group) })
	}
	return group.Wait()
}

// keepOne keeps one session with some manager that no other worker has.
func (c *Contacts) keepOne(ctx context.Context, group *errgroup.Group) error {
	for ctx.Err() == nil {
		e, changed, at := c.take()
		switch {
		case e.relay != nil:
			c.ask(ctx, e)
		case e.address != "":
			c.visit(ctx, e.address, group)
		default:
			timer := time.NewTimer(time.Until(at))
			select {
			case <-changed:
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
		}
	}
	return ctx.Err()
}

// take returns the first address that is not taken, need not wait after a
// failure, and is not known to be that of a manager another worker has; or else a
// relay to ask. With neither it returns a channel that is closed, and a time,
// when there may be.
func (c *Contacts) take() (errand, <-chan struct{}, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := time.Now().Add(time.Hour)
	beyond := false // some manager cannot be dialled
	for _, a := range c.addresses {
		k := c.contacts[a]
		switch {
		case k.taken || c.kept[k.peer.ID]:
		case time.Now().Before(k.after):
			next = earlier(next, k.after)
			beyond = true
		default:
			k.taken = true
			return errand{address: a}, nil, next
		}
	}
	for _, r := range c.relays {
		switch {
		case r.busy || r.session.peer.Kind == Manager && !beyond:
		case time.Now().Before(r.after):
			next = earlier(next, r.after)
		default:
			r.busy = true
			return errand{relay: r, except: slices.Sorted(maps.Keys(c.kept))}, nil, next
		}
	}
	return errand{}, c.changed, next
}

// visit dials an address. It returns when the session with the manager there is
// over, or there is none; a host becomes a relay, which group looks after.
func (c *Contacts) visit(ctx context.Context, address string, group *errgroup.Group) {
	began := time.Now()
	s, err := c.node.dial(ctx, address)
	if err != nil {
		if ctx.Err() == nil {
			c.node.cfg.Log.Log(ctx, c.level(address), "no session with contact", "address", address, "error", err)
		}
		c.release(address, err, 0)
		return
	}
	anew := func(ctx context.Context) error { _, err := c.node.dial(ctx, address); return err }
	c.mu.Lock()
	c.contacts[address].peer, c.contacts[address].told = s.peer, time.Time{}
	c.mu.Unlock()
	if s.peer.Kind == Manager {
		c.keep(ctx, s, anew)
		c.release(address, nil, time.Since(began))
		return
	}
	relay := c.enlist(s)
	group.Go(func() error {
		c.node.keep(ctx, s, anew)
		c.dismiss(relay)
		c.release(address, nil, time.Since(began))
		return nil
	})
}

// tellAgain is how often it is told of a contact that stays away.
const tellAgain = 10 * time.Minute

// level returns how much a failure to reach a contact matters: the first does,
// and one now and then.
func (c *Contacts) level(address string) slog.Level {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.contacts[address]
	if !k.told.IsZero() && time.Since(k.told) < tellAgain {
		return slog.LevelDebug
	}
	k.told = time.Now()
	return slog.LevelInfo
}

// ask has a relay lead to a manager that no worker has.
func (c *Contacts) ask(ctx context.Context, e errand) {
	relay := e.relay.session
	s, err := c.node.dialBy(ctx, relay, "", e.except)
	c.mu.Lock()
	e.relay.busy = false
	if err == nil {
		e.relay.failures, e.relay.after = 0, time.Time{}
	} else {
		last := lastRetry
		if len(c.kept) > 0 && status.Code(err) == codes.NotFound {
			last = askAgain
		}
		e.relay.failures++
		e.relay.after = time.Now().Add(backoffTo(e.relay.failures, last))
	}
	c.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			c.node.cfg.Log.Debug("no manager by relay", "peer", relay.peer.String(), "error", err)
		}
		return
	}
	began := time.Now()
	c.keep(ctx, s, func(ctx context.Context) error {
		_, err := c.node.dialBy(ctx, relay, s.peer.ID, nil)
		return err
	})
	if time.Since(began) < shortLived {
		pause(ctx, backoff(1))
	}
}

// keep returns when the session with a manager is over, or at once when another
// worker has it.
func (c *Contacts) keep(ctx context.Context, s *session, anew func(context.Context) error) {
	c.mu.Lock()
	if c.kept[s.peer.ID] {
		c.mu.Unlock()
		return
	}
	c.kept[s.peer.ID] = true
	c.announce()
	c.mu.Unlock()
	relay := c.enlist(s)
	c.node.keep(ctx, s, anew)
	c.dismiss(relay)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kept, s.peer.ID)
	c.askAnew()
	c.announce()
}

// enlist takes in a daemon that may lead to managers.
func (c *Contacts) enlist(s *session) *asked {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &asked{session: s}
	c.relays = append(c.relays, r)
	slices.SortStableFunc(c.relays, func(a, b *asked) int { return strings.Compare(a.session.peer.Kind, b.session.peer.Kind) })
	c.announce()
	return r
}

func (c *Contacts) dismiss(r *asked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.relays = slices.DeleteFunc(c.relays, func(o *asked) bool { return o == r })
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

// announce wakes the workers that wait. c.mu is held.
func (c *Contacts) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// keep returns when there is no session with s's peer any more, or ctx ended.
// While there is and we dialled it, it is made anew before a certificate it was
// made with expires.
func (n *Node) keep(ctx context.Context, s *session, anew func(context.Context) error) {
	var tried time.Time // to make it anew
	for {
		l := s.current()
		timer := time.NewTimer(l.until(tried))
		select {
		case <-n.clockSet():
			timer.Stop()
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
			tried = time.Now()
			if l.dialled == "" || l.self {
				continue // the other end looks after it
			}
			if err := anew(ctx); err != nil && ctx.Err() == nil {
				n.cfg.Log.Warn("making a session anew", "peer", s.peer.String(), "error", err)
			}
		}
	}
}

// ClockSet has whoever waits for the end of a certificate look at the clock:
// timers notice neither that it was set nor that the host was suspended.
func (n *Node) ClockSet() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.clock)
	n.clock = make(chan struct{})
}

// clockSet returns a channel that is closed when the clock was set.
func (n *Node) clockSet() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.clock
}
