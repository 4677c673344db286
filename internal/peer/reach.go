package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// reachAfter is how long a daemon has to dial us before we dial it.
	reachAfter = time.Second
	// headStart is how long one way to a daemon is tried alone before the next is
	// tried beside it: an address that swallows everything costs no more.
	headStart = time.Second
)

// Reach makes sessions from a manager's side: with machines that cannot dial it,
// and with the other managers. Whenever one of its targets has had no session
// for a second, Reach dials its addresses, then asks relays.
type Reach struct {
	node *Node

	mu sync.Mutex
	// guarded by mu
	targets map[string]*target // by daemon's id
	mesh    map[string]string  // what Mesh was told
	sought  map[string]bool    // by Find, now; by daemon's id
	changed chan struct{}      // holds one when targets changed
}

// ways are how a daemon may be reached.
type ways struct {
	addresses []string // host:port
	relays    []string // ids, in order of preference
}

func (w ways) equal(o ways) bool {
	return slices.Equal(w.addresses, o.addresses) && slices.Equal(w.relays, o.relays)
}

type target struct {
	ways
	gone    chan struct{} // closed when the target is replaced or removed
	running bool
}

// NewReach makes a Reach without targets.
func (n *Node) NewReach() *Reach {
	return &Reach{node: n, targets: map[string]*target{}, sought: map[string]bool{}, changed: make(chan struct{}, 1)}
}

// Set says at which addresses, host:port, the daemon with this id can be dialled.
func (r *Reach) Set(id string, addresses ...string) {
	r.change(id, func(w *ways) { w.addresses = slices.Clone(addresses) })
}

// SetVia says which daemons, by their ids and in order of preference, relay to
// the one with this id: its host, other managers.
func (r *Reach) SetVia(id string, relays ...string) {
	r.change(id, func(w *ways) { w.relays = slices.Clone(relays) })
}

// Mesh says where the managers of the cluster can be dialled (host:port, by id).
// It replaces what it said before. Each is reached directly or by any other.
func (r *Reach) Mesh(managers map[string]string) {
	self := r.node.Name().ID
	r.mu.Lock()
	old := r.mesh
	r.mesh = maps.Clone(managers)
	r.mu.Unlock()
	for id := range old {
		if _, still := managers[id]; !still {
			r.Remove(id)
		}
	}
	for id, address := range managers {
		if id == self {
			continue
		}
		var others []string
		for other := range managers {
			if other != id && other != self {
				others = append(others, other)
			}
		}
		slices.Sort(others)
		r.change(id, func(w *ways) { *w = ways{addresses: []string{address}, relays: others} })
	}
}

func (r *Reach) change(id string, f func(*ways)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var w ways
	old := r.targets[id]
	if old != nil {
		w = old.ways
	}
	f(&w)
	if old != nil {
		if old.equal(w) {
			return
		}
		close(old.gone)
	}
	r.targets[id] = &target{ways: w, gone: make(chan struct{})}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Addresses returns where a daemon can be dialled, as Set or Mesh said; it is
// what Config.Relay needs.
func (r *Reach) Addresses(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.targets[id]; t != nil {
		return t.addresses
	}
	return nil
}

// Remove forgets a daemon. Its session, if any, goes on.
func (r *Reach) Remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.targets[id]; old != nil {
		close(old.gone)
		delete(r.targets, id)
	}
}

// Run reaches for the targets until ctx ends; the sessions made go on.
func (r *Reach) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		r.mu.Lock()
		for id, t := range r.targets {
			if !t.running {
				t.running = true
				running.Go(func() { r.follow(ctx, id, t) })
			}
		}
		r.mu.Unlock()
		select {
		case <-r.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow looks after one target until it is gone.
func (r *Reach) follow(ctx context.Context, id string, t *target) {
	var watch sync.WaitGroup
	defer watch.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch.Go(func() {
		select {
		case <-t.gone:
			cancel()
		case <-ctx.Done():
		}
	})
	for ctx.Err() == nil {
		if s := r.await(ctx, id); s != nil {
			r.node.keep(ctx, s, func(ctx context.Context) error { return r.dial(ctx, id, t.ways) })
			continue
		}
		var told time.Time
		for tries := 0; ctx.Err() == nil; tries++ {
			if _, ok := r.node.Session(id); ok {
				break
			}
			if tries > 1 { // twice at once: to enrol, and as a member
				pause(ctx, backoff(tries-1))
			}
			if err := r.dial(ctx, id, t.ways); err != nil && ctx.Err() == nil {
				level := slog.LevelDebug // it may be away for long, and that was told
				if told.IsZero() || time.Since(told) > tellAgain {
					level, told = slog.LevelInfo, time.Now()
				}
				r.node.cfg.Log.Log(ctx, level, "daemon cannot be reached", "peer", id, "error", err)
			}
		}
	}
}

// Find returns the session with a daemon, or ctx's error. When there is none for
// a second, whoever relays returns is asked to lead to it, again and again: a
// machine keeps sessions with two managers, and another one has something to
// tell it.
func (r *Reach) Find(ctx context.Context, id string, relays func() []string) (Session, error) {
	for {
		if s := r.await(ctx, id); s != nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return r.node.Wait(ctx, id)
		}
		if !r.seek(id) {
			continue // another caller does
		}
		err := r.dial(ctx, id, ways{relays: relays()})
		r.mu.Lock()
		delete(r.sought, id)
		r.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			r.node.cfg.Log.Debug("daemon cannot be reached", "peer", id, "error", err)
		}
	}
}

// seek reports whether it falls to the caller to ask for a daemon.
func (r *Reach) seek(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.targets[id]
	if r.sought[id] || t != nil && len(t.relays) > 0 {
		return false
	}
	r.sought[id] = true
	return true
}

// await gives the daemon its second to come by itself.
func (r *Reach) await(ctx context.Context, id string) *session {
	ctx, cancel := context.WithTimeout(ctx, reachAfter)
	defer cancel()
	s, err := r.node.Wait(ctx, id)
	if err != nil {
		return nil
	}
	return s.(*session)
}

// dial makes a session with a target in one of its ways: the first that works,
// where each begins when the one before has failed or had its head start.
func (r *Reach) dial(ctx context.Context, id string, w ways) error {
	var tries []func(context.Context) error
	for _, a := range w.addresses {
		tries = append(tries, func(ctx context.Context) error { return r.dialAddress(ctx, id, a) })
	}
	for _, by := range w.relays {
		tries = append(tries, func(ctx context.Context) error { return r.dialBy(ctx, id, by) })
	}
	return firstOf(ctx, tries)
}

// firstOf returns nil as soon as one of tries does, and otherwise what all said.
// Those that are under way then are told to stop, and waited for.
func firstOf(ctx context.Context, tries []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan error)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var all error
	for under, next := 0, 0; under > 0 || next < len(tries); {
		if next < len(tries) {
			try := tries[next]
			next++
			under++
			running.Go(func() {
				err := try(ctx)
				select {
				case results <- err:
				case <-ctx.Done():
				}
			})
		}
		var start <-chan time.Time
		if next < len(tries) {
			start = time.After(headStart)
		}
		select {
		case err := <-results:
			if err == nil {
				return nil
			}
			under--
			all = errors.Join(all, err)
		case <-start:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return all
}

func (r *Reach) dialBy(ctx context.Context, id, relay string) error {
	s, ok := r.node.Session(relay)
	if !ok {
		return fmt.Errorf("no session with relay %s", relay)
	}
	_, err := r.node.dialBy(ctx, s.(*session), id, nil)
	return err
}

// dialAddress makes a session with the daemon, or with whoever is at its address
// and not enrolled yet: it is given the time it needs to enrol over it.
func (r *Reach) dialAddress(ctx context.Context, id, address string) error {
	s, err := r.node.dial(ctx, address)
	switch {
	case err != nil:
		return err
	case s.peer.ID == id:
		return nil
	case s.peer != Peer{}:
		s.Close()
		return fmt.Errorf("at %s is %s", address, s.peer)
	}
	timer := time.NewTimer(handshakeTime)
	defer timer.Stop()
	select {
	case <-s.done: // it enrolled, or went away; dial again
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		s.Close()
		return fmt.Errorf("the machine at %s did not enrol", address)
	}
}
