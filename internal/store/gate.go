package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// gate is what calls pass to reach the member. It is shut with a reason, which
// those that are under way return too; to open again it is replaced.
type gate struct {
	ctx  context.Context // a gate is the life of what passes it, no call's own
	shut context.CancelCauseFunc
}

func newGate() *gate {
	ctx, shut := context.WithCancelCause(context.Background())
	return &gate{ctx, shut}
}

func (g *gate) reason() error { return context.Cause(g.ctx) }

// what a call needs.
type need int

const (
	needMember need = iota // of this process alone
	needQuorum
	needDisk // and the quorum
)

// call has f talk to the member for as long as what it needs is there.
func (s *Store) call(ctx context.Context, op string, n need, f func(ctx context.Context, m *member) error) error {
	s.mu.Lock()
	m, g, full := s.member, s.quorum, s.full
	if n == needMember {
		g = s.life
	}
	s.mu.Unlock()
	if why := g.reason(); why != nil {
		return fmt.Errorf("%s: %w", op, why)
	}
	if n == needDisk && full != nil {
		return fmt.Errorf("%s: %w", op, full)
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	err := f(inner, m)
	if err == nil {
		return nil
	}
	if why := g.reason(); why != nil && ctx.Err() == nil {
		err = why
	} else if m.ended() { // and tend has not noticed yet
		err = unavailable(m.why())
	}
	return failed(op, err)
}

// serve lets calls reach a member that runs.
func (s *Store) serve(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member = m
	s.life, s.quorum = newGate(), newGate()
	close(s.changed)
	s.changed = make(chan struct{})
}

// shut keeps calls from the member: why says what they return.
func (s *Store) shut(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quorum.shut(why)
	s.life.shut(why)
	if s.member == nil { // told anew: the reason changed
		s.quorum, s.life = newGate(), newGate()
		s.quorum.shut(why)
		s.life.shut(why)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// turn replaces the gate of calls that need the others, and returns the former.
func (s *Store) turn(why error) *gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	former := s.quorum
	s.quorum = newGate()
	if why != nil {
		s.quorum.shut(why)
	}
	return former
}

// unavailable is ErrUnavailable with its reason.
func unavailable(why error) error {
	if errors.Is(why, ErrUnavailable) || errors.Is(why, ErrRemoved) {
		return why
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, why)
}

// patience is how long the members may be without a leader before calls are
// refused: an election takes half of it.
const patience = 2 * time.Second
