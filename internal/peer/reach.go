package peer

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// reachAfter is how long a machine has to dial us before we dial it.
const reachAfter = time.Second

// Reach makes sessions with machines from the manager's side, for where the
// machine cannot dial the manager: whenever one of its targets has had no
// session for a second, Reach dials its address.
type Reach struct {
	node *Node

	mu sync.Mutex
	// guarded by mu
	targets map[string]*target // by machine id
	changed chan struct{}      // holds one when targets changed
}

type target struct {
	address string
	gone    chan struct{} // closed when the target is replaced or removed
	running bool
}

// NewReach makes a Reach without targets.
func (n *Node) NewReach() *Reach {
	return &Reach{node: n, targets: map[string]*target{}, changed: make(chan struct{}, 1)}
}

// Set says that the machine with this id can be dialled at host:port.
func (r *Reach) Set(machine, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.targets[machine]; old != nil {
		if old.address == address {
			return
		}
		close(old.gone)
	}
	r.targets[machine] = &target{address: address, gone: make(chan struct{})}
	r.announce()
}

// Remove forgets a machine. Its session, if any, goes on.
func (r *Reach) Remove(machine string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.targets[machine]; old != nil {
		close(old.gone)
		delete(r.targets, machine)
	}
}

func (r *Reach) announce() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Run reaches for the targets until ctx ends; the sessions made go on.
func (r *Reach) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		r.mu.Lock()
		for machine, t := range r.targets {
			if !t.running {
				t.running = true
				running.Go(func() { r.follow(ctx, machine, t) })
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
func (r *Reach) follow(ctx context.Context, machine string, t *target) {
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
		if s := r.await(ctx, machine); s != nil {
			r.node.keep(ctx, s, t.address)
			continue
		}
		for tries := 0; ctx.Err() == nil; tries++ {
			if _, ok := r.node.Session(machine); ok {
				break
			}
			if tries > 1 { // twice at once: to enrol, and as a member
				pause(ctx, backoff(tries-1))
			}
			if err := r.dial(ctx, machine, t.address); err != nil {
				if ctx.Err() == nil {
					r.node.cfg.Log.Info("machine cannot be reached", "machine", machine, "address", t.address, "error", err)
				}
			}
		}
	}
}

// await gives the machine its second to come by itself.
func (r *Reach) await(ctx context.Context, machine string) *session {
	ctx, cancel := context.WithTimeout(ctx, reachAfter)
	defer cancel()
	s, err := r.node.Wait(ctx, machine)
	if err != nil {
		return nil
	}
	return s.(*session)
}

// dial makes a session with the machine, or with whoever is at its address and
// not enrolled yet: it is given the time it needs to enrol over it.
func (r *Reach) dial(ctx context.Context, machine, address string) error {
	s, err := r.node.dial(ctx, address)
	switch {
	case err != nil:
		return err
	case s.peer.ID == machine:
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
