package store

import (
	"context"
	"errors"
	"time"
)

const (
	// look is how often the member is looked after: among several, elections
	// count, which take less than a second.
	lookAlone = 500 * time.Millisecond
	look      = 100 * time.Millisecond
	// settle is what calls under way have to be answered once there is a new
	// leader. What the former had not passed on is never answered.
	settle = 300 * time.Millisecond
	// again is the longest wait between two tries to start the member.
	again = 5 * time.Second
)

// tend looks after the member until ctx ends or it is lost for good.
func (s *Store) tend(ctx context.Context) {
	defer close(s.tended)
	every := lookAlone
	if s.cfg.Peer != nil {
		every = look
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		m := s.member // nobody else sets it while tend runs
		why := s.follow(ctx, m, ticker.C)
		if ctx.Err() != nil {
			return
		}
		if err := s.renew(ctx, m, why); err != nil {
			if ctx.Err() == nil {
				s.cfg.Log.Error("store", "error", err)
				s.mu.Lock()
				s.lost = err
				s.mu.Unlock()
				s.shut(err)
			}
			return
		}
	}
}

// follow looks after one run of the member and returns why it ended.
func (s *Store) follow(ctx context.Context, m *member, tick <-chan time.Time) error {
	e := election{since: time.Now()}
	var addressed bool
	var asked time.Time // when the others were last told the address
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.gone:
			return m.why()
		case <-tick:
		}
		if why := s.weigh(m); why != nil {
			return why
		}
		s.elect(ctx, m, &e)
		if !addressed && e.leader != 0 && m.self() != nil && time.Since(asked) > time.Second {
			asked = time.Now()
			limit, cancel := context.WithTimeout(ctx, time.Second)
			addressed = m.readdress(limit, s.peerURL()) == nil
			cancel()
		}
	}
}

// election is what is known of the members' leader.
type election struct {
	leader uint64    // the last there was; 0: none yet
	since  time.Time // without one since; zero: there is one
	told   time.Time // when calls were last refused for want of one
}

// elect shuts and opens the way for calls that need the others.
func (s *Store) elect(ctx context.Context, m *member, e *election) {
	now, leader := time.Now(), m.etcd.Server.Lead()
	switch {
	case leader == 0:
		if e.since.IsZero() {
			e.since = now
		}
		if now.Sub(e.since) >= patience && now.Sub(e.told) >= again {
			why := m.silent(ctx)
			s.turn(why).shut(why)
			e.told = time.Now()
		}
		return
	case !e.told.IsZero():
		s.turn(nil)
	case e.leader != 0 && e.leader != leader:
		former := s.turn(nil)
		time.AfterFunc(settle, func() { former.shut(ErrUncertain) })
	}
	*e = election{leader: leader}
}

// renew starts the member again, and again, after it ended for why.
func (s *Store) renew(ctx context.Context, m *member, why error) error {
	if errors.Is(why, ErrRemoved) {
		_ = m.stop()
		s.forget()
		return ErrRemoved
	}
	s.cfg.Log.Warn("the store's member ended and is started again", "error", why)
	s.shut(unavailable(why))
	stuck := m.stop()
	s.forget()
	if stuck != nil {
		return unavailable(errors.Join(why, stuck))
	}
	need := uint64(spaceStart)
	s.mu.Lock()
	if s.full != nil {
		need, s.full = spaceLog, nil
	}
	s.mu.Unlock()
	for wait := lookAlone; ; wait = min(2*wait, again) {
		err := roomFor(s.cfg.Dir, need)
		if err == nil {
			if m, err = s.begin(ctx); err == nil {
				if err = s.admit(ctx, m); err == nil {
					s.serve(m)
					s.cfg.Log.Info("the store's member runs again")
					return nil
				}
				if stuck := m.stop(); stuck != nil {
					return unavailable(errors.Join(err, stuck))
				}
			}
		}
		if errors.Is(err, ErrRemoved) {
			return err
		}
		s.shut(unavailable(err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// forget drops a member that has stopped.
func (s *Store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member = nil
}
