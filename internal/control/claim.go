package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/ownership"
	"aloft/internal/store"
)

// Owner returns the id of the manager that a system is to be asked of, and
// whether that is this one. What has no owner is this one's: whoever accepts
// becomes the owner.
func (c *Control) Owner(system string) (manager string, self bool) {
	manager = c.cfg.Keeper.Owner(ownership.System(system))
	return manager, manager == "" || manager == c.cfg.Host.MachineID
}

// Take is told that a shard has become this manager's. It does not block.
func (c *Control) Take(claim *ownership.Claim) {
	name, ok := ownership.SystemOf(claim.Shard())
	if !ok {
		return
	}
	go c.spawn(func(ctx context.Context) { c.takeOver(ctx, name, claim) })
}

// loadPause is the time between two attempts to read a system.
const loadPause = 500 * time.Millisecond

// takeOver reads a system that has become this manager's, and goes on with its
// plan. It tries as long as the claim is held.
func (c *Control) takeOver(ctx context.Context, name string, claim *ownership.Claim) {
	ctx, cancel := whileHeld(ctx, claim)
	defer cancel()
	for {
		_, err := c.load(ctx, name, claim)
		if err == nil || ctx.Err() != nil {
			return
		}
		c.cfg.Log.Error("take over a system", "system", name, "error", err)
		if !pause(ctx, loadPause) {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// whileHeld returns a context that ends when the claim is lost.
func whileHeld(ctx context.Context, claim *ownership.Claim) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-claim.Lost():
		case <-ctx.Done():
		}
		cancel()
	}()
	return ctx, cancel
}

// load returns the system of a claim, read now if it was not yet, and has Run
// go on with it; nil if nothing is recorded under its name.
func (c *Control) load(ctx context.Context, name string, claim *ownership.Claim) (*system, error) {
	if s := c.system(name); s != nil && s.claim == claim {
		return s, nil
	}
	done, err := c.turn(ctx, name)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.loadInTurn(ctx, name, claim)
}

func (c *Control) loadInTurn(ctx context.Context, name string, claim *ownership.Claim) (*system, error) {
	if s := c.system(name); s != nil && s.claim == claim {
		return s, nil
	}
	s, err := c.restore(ctx, c.store, name, claim)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read system %s: %w", name, err)
	}
	c.hold(s)
	s.mu.Lock()
	s.rereadAll()
	s.mu.Unlock()
	go c.spawn(func(ctx context.Context) {
		if s.underWay() {
			s.carryOut(ctx)
		} else {
			c.undo(ctx, s) // if that was not begun
		}
	})
	return s, nil
}

// turn waits until nobody else reads or begins a system of this name.
func (c *Control) turn(ctx context.Context, name string) (done func(), err error) {
	for {
		c.mu.Lock()
		busy := c.turns[name]
		if busy == nil {
			over := make(chan struct{})
			c.turns[name] = over
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				delete(c.turns, name)
				c.mu.Unlock()
				close(over)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// hold keeps a system in memory as long as its claim is held.
func (c *Control) hold(s *system) {
	c.mu.Lock()
	c.systems[s.name] = s
	c.mu.Unlock()
	go c.spawn(func(ctx context.Context) {
		select {
		case <-s.claim.Lost():
			c.drop(s)
		case <-ctx.Done():
		}
	})
}

// drop forgets a system that another manager owns by now.
func (c *Control) drop(s *system) {
	c.mu.Lock()
	if c.systems[s.name] == s {
		delete(c.systems, s.name)
	}
	c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stir() // who waits to read is to ask the new owner
}

// owned returns the system of a name if it is this manager's, read now if need
// be, and nil where there is none. Where it is another's the error is an
// *Elsewhere.
func (c *Control) owned(ctx context.Context, name string) (*system, error) {
	if s := c.system(name); s != nil && held(s.claim) {
		return s, nil
	}
	done, err := c.turn(ctx, name)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.ownedInTurn(ctx, name)
}

func (c *Control) ownedInTurn(ctx context.Context, name string) (*system, error) {
	if s := c.system(name); s != nil && held(s.claim) {
		return s, nil
	}
	manager, self := c.Owner(name)
	switch {
	case !self:
		return nil, &Elsewhere{System: name, Manager: manager}
	case manager == "":
		return nil, nil
	}
	claim, err := c.cfg.Keeper.Acquire(ctx, ownership.System(name))
	if err != nil {
		return nil, c.refusal(name, err)
	}
	return c.loadInTurn(ctx, name, claim)
}

func held(claim *ownership.Claim) bool {
	select {
	case <-claim.Lost():
		return false
	default:
		return true
	}
}

// Elsewhere says that another manager owns a system, and is to be asked.
type Elsewhere struct {
	System  string
	Manager string
}

func (e *Elsewhere) Error() string {
	return fmt.Sprintf("system %s is owned by manager %s", e.System, e.Manager)
}

// As makes an *api.Error of it for callers that cannot ask the other manager.
func (e *Elsewhere) As(target any) bool {
	to, ok := target.(**api.Error)
	if ok {
		*to = &api.Error{Kind: api.KindUnavailable, Message: e.Error() + ", which cannot be reached from here", Remedy: "ask again: if that manager is dead, another takes the system over within seconds"}
	}
	return ok
}

// refusal says why a change of a system is not possible now, where that is the
// store's or another owner's doing.
func (c *Control) refusal(name string, err error) error {
	if owned, ok := errors.AsType[*ownership.OwnedError](err); ok {
		return &Elsewhere{System: name, Manager: owned.Manager}
	}
	if errors.Is(err, ownership.ErrLost) {
		return &api.Error{Kind: api.KindUnavailable, Message: "the owner of system " + name + " changes just now", Remedy: "ask again"}
	}
	if errors.Is(err, store.ErrNoQuorum) || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUncertain) {
		return &api.Error{Kind: api.KindUnavailable, Message: "this manager cannot change anything now: " + err.Error(), Remedy: "ask again, or ask another manager"}
	}
	return err
}

// fence is what machines know a claim's owner by.
func (c *Control) fence(claim *ownership.Claim) *peerpb.Fence {
	return &peerpb.Fence{Epoch: c.cfg.Epoch(), Term: claim.Term()}
}
