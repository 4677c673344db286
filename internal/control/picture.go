package control

import (
	"context"
	"errors"
	"slices"
	"strings"

	"aloft/api"
	"aloft/component"
	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
	"aloft/internal/ownership"
	"aloft/internal/store"
	"aloft/value"
)

// picture is what is recorded of a system, at one moment.
type picture struct {
	head   *controlpb.System
	held   *inventory.System
	steady bool // every component runs, or has ended normally
	// top is the path of a part that was detached: held is of that alone, and
	// head.Name is the system that it was deployed with, as machines know it.
	top value.Path
}

// live returns a system that this manager holds a claim on, or nil. It waits for
// nobody else.
func (c *Control) live(ctx context.Context, name string) *system {
	claim := c.cfg.Keeper.Held(ownership.System(name))
	if claim == nil {
		return nil
	}
	s, err := c.load(ctx, name, claim)
	if err != nil {
		c.cfg.Log.Debug("read a system", "system", name, "error", err)
		return nil
	}
	return s
}

// picture returns what is held of a system, which may be a part that was detached
// from another one, without those that were detached from it.
func (c *Control) picture(ctx context.Context, name string) (picture, error) {
	p, err := c.whole(ctx, name)
	if err == nil {
		if rest, any := p.rest(); any {
			return rest, nil
		}
		return picture{}, c.unknown(ctx, name)
	}
	if errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
		if part, is, err := c.detached(ctx, c.known, name); is || err != nil {
			return part, err
		}
	}
	return picture{}, err
}

// whole returns what is held under the name of a system, with the parts that were
// detached from it: its owner's own, or what is in the store.
func (c *Control) whole(ctx context.Context, name string) (picture, error) {
	if s := c.live(ctx, name); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p := s.now(); !p.gone() {
			c := s.snapshot()
			return picture{head: p.head, held: c.held, steady: c.steady}, nil
		}
		return picture{}, c.unknown(ctx, name)
	}
	row, err := systemTable.Get(ctx, c.known.kv, name)
	if errors.Is(err, store.ErrNotFound) {
		return picture{}, c.unknown(ctx, name)
	}
	if err != nil {
		return picture{}, err
	}
	held, err := c.known.inventory(ctx, row.Message)
	if err != nil {
		return picture{}, err
	}
	return picture{head: row.Message, held: held, steady: steady(held)}, nil
}

// pictures returns what is held of every system, by name.
func (c *Control) pictures(ctx context.Context) ([]picture, error) {
	names, err := c.known.names(ctx)
	if err != nil {
		return nil, err
	}
	var list []picture
	for _, name := range names {
		p, err := c.whole(ctx, name)
		switch {
		case errors.Is(err, &api.Error{Kind: api.KindNotFound}): // it has just ended
		case err != nil:
			return nil, err
		default:
			if rest, any := p.rest(); any {
				list = append(list, rest)
			}
			for _, d := range p.held.Detached {
				list = append(list, p.part(d))
			}
		}
	}
	slices.SortFunc(list, func(a, b picture) int { return strings.Compare(a.held.Name, b.held.Name) })
	return list, nil
}

// snapshot returns a copy of what is held, for reading. Those who read between
// two changes share one: whatever changes what is held also stirs before it
// gives back the lock. The lock is held.
func (s *system) snapshot() copied {
	if s.copied.of != s.held || s.copied.at != s.moved {
		s.copied = copied{of: s.held, at: s.moved, held: s.held.Clone(), steady: steady(s.held)}
	}
	return s.copied
}

// copied is a copy of what was held, and when.
type copied struct {
	of     *inventory.System
	at     chan struct{} // system.moved
	held   *inventory.System
	steady bool // every component runs
}

// now is the system as it is in memory. The lock is held.
func (s *system) now() picture {
	return picture{head: s.head, held: s.held, steady: steady(s.held)}
}

// steady reports whether every component of a system runs, or has come to its
// normal end. One that reads its configuration again, because another has told
// it that this has changed, runs. What a workflow component creates is its own
// to judge. It looks at each.
func steady(held *inventory.System) bool {
	for _, c := range held.Components {
		if c.State != inventory.Running && c.State != inventory.Reconfiguring && !endedWell(c) && c.Flow == "" {
			return false
		}
	}
	return true
}

// endedWell reports whether a component has come to its normal end.
func endedWell(c inventory.Component) bool {
	return c.State == inventory.Terminated && c.Record != nil && c.Record.Type == component.Normal
}

// gone reports whether the system has been terminated to the end.
func (p picture) gone() bool {
	return p.head.Down && p.head.Deployment == api.DeploymentDone && len(p.held.Components) == 0
}

// state returns the state of the system as a whole.
func (p picture) state() string {
	if p.head.Deployment == api.DeploymentRunning {
		switch {
		case p.head.Down:
			return api.SystemTerminating
		case p.head.Revision <= 1:
			return api.SystemDeploying
		default:
			return api.SystemUpdating
		}
	}
	if !p.steady {
		return api.SystemDegraded
	}
	return api.SystemRunning
}
