package peer

import (
	"bytes"
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

// Rosters tells every daemon that this one has a session with the newest list of
// managers: as each session begins, and when the list changes. A machine whose
// certificate is not good any more is told as well: perhaps because the manager
// that signed it was removed, which it learns from the list alone.
type Rosters struct {
	node  *Node
	heard func(signed []byte)

	mu sync.Mutex
	// guarded by mu
	newest  []byte
	changed chan struct{} // closed and replaced when newest is
}

// NewRosters makes a Rosters that has nothing to tell. heard is called with the
// list of a daemon which has a newer one; it judges that, and may be nil.
func (n *Node) NewRosters(heard func(signed []byte)) *Rosters {
	return &Rosters{node: n, heard: heard, changed: make(chan struct{})}
}

// Set takes the newest list, as package identity signed it.
func (r *Rosters) Set(signed []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes.Equal(r.newest, signed) {
		return
	}
	r.newest = bytes.Clone(signed)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Run tells until ctx ends. A daemon that does not take the list is asked again
// for as long as there is a session with it.
func (r *Rosters) Run(ctx context.Context) error {
	var telling sync.WaitGroup
	defer telling.Wait()
	telling.Go(func() { r.tellExpired(ctx, &telling) })
	return r.node.Watch(ctx, func(c Change) {
		if s, ok := c.Session.(*session); ok && !s.current().self {
			telling.Go(func() { r.tell(ctx, s) })
		}
	})
}

// tellExpired tells those whose sessions Watch does not show.
func (r *Rosters) tellExpired(ctx context.Context, telling *sync.WaitGroup) {
	v, stop := r.node.view("")
	defer stop()
	known := map[*session]bool{}
	for {
		var met []*session
		v.take()
		r.node.mu.Lock()
		for s := range known {
			select {
			case <-s.done:
				delete(known, s)
			default:
			}
		}
		for _, s := range r.node.expired {
			if !known[s] {
				known[s] = true
				met = append(met, s)
			}
		}
		r.node.mu.Unlock()
		for _, s := range met {
			telling.Go(func() { r.tell(ctx, s) })
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return
		}
	}
}

// tell keeps one daemon up to date until the session with it is over.
func (r *Rosters) tell(ctx context.Context, s *session) {
	var told []byte
	for failures := 0; ctx.Err() == nil; {
		r.mu.Lock()
		newest, changed := r.newest, r.changed
		r.mu.Unlock()
		var again <-chan time.Time
		if !bytes.Equal(told, newest) {
			if err := r.update(ctx, s, newest); err == nil {
				told, failures = newest, 0
			} else {
				failures++
				again = time.After(backoff(failures))
				if status.Code(err) != codes.Unimplemented { // that is of a daemon which joins, and has it soon
					r.node.cfg.Log.Info("list of managers not taken", "peer", s.peer.String(), "error", err)
				}
			}
		}
		select {
		case <-changed:
		case <-again:
		case <-s.done:
			return
		case <-ctx.Done():
		}
	}
}

func (r *Rosters) update(ctx context.Context, s *session, signed []byte) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	reply, err := peerpb.NewMembershipClient(s).Update(ctx, &peerpb.Roster{Signed: signed})
	if err == nil && len(reply.Newer) > 0 && r.heard != nil {
		r.heard(reply.Newer)
	}
	return err
}

// membership answers the Membership service.
type membership struct {
	peerpb.UnimplementedMembershipServer
	take func(ctx context.Context, from Peer, signed []byte) (have []byte, err error)
}

// NewMembership makes the service that every daemon registers. take judges and
// keeps a list of managers that one of them tells, and returns the list that there
// is then: another, where that is newer. Afterwards it should see to the node's
// Contacts and call Recheck.
func NewMembership(take func(ctx context.Context, from Peer, signed []byte) (have []byte, err error)) peerpb.MembershipServer {
	return membership{take: take}
}

func (m membership) Update(ctx context.Context, r *peerpb.Roster) (*peerpb.RosterReply, error) {
	have, err := m.take(ctx, Caller(ctx), r.Signed)
	if err != nil || bytes.Equal(have, r.Signed) {
		return &peerpb.RosterReply{}, err
	}
	return &peerpb.RosterReply{Newer: have}, nil
}

// Recheck judges the other ends of all sessions anew and closes those that the
// Identity refuses by now: of daemons that were removed, or whose issuer was. A
// machine of the latter kind may come back and renew its certificate.
func (n *Node) Recheck() {
	n.mu.Lock()
	var all []*link
	for l := range n.links {
		if !l.self {
			all = append(all, l)
		}
	}
	n.mu.Unlock()
	for _, l := range all {
		name, expires, err := n.cfg.Identity.Verify(l.chain)
		if err != nil || name != l.remote.name() || expires.Before(l.expires) {
			n.cfg.Log.Info("session ends", "peer", l.remote.String(), "error", err)
			l.close()
		}
	}
}
