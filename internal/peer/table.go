package peer

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Session returns the live session with a daemon, by its id.
func (n *Node) Session(id string) (Session, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.sessions[id]
	if !ok {
		return nil, false
	}
	return s, true
}

// Wait returns the session with a daemon as soon as there is one.
func (n *Node) Wait(ctx context.Context, id string) (Session, error) {
	v, stop := n.view(id)
	defer stop()
	for {
		if s, ok := n.Session(id); ok {
			return s, nil
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return nil, status.Errorf(codes.Unavailable, "no session with %s: %v", id, context.Cause(ctx))
		}
	}
}

// strangerTime is how long a connection may last while one of its ends has no
// valid certificate. A machine that could not get one in that time comes again.
const strangerTime = time.Minute

// Change says that a session began or ended.
type Change struct {
	Peer    Peer
	Session Session // nil: it ended
}

// Watch calls f with the sessions there are and then with every change, one at
// a time, until ctx ends. A session that ends and begins anew between two calls
// is told as both; one that begins and ends between them may not be told.
func (n *Node) Watch(ctx context.Context, f func(Change)) error {
	v, stop := n.view("")
	defer stop()
	known := map[string]*session{}
	for {
		for id := range v.take() {
			n.mu.Lock()
			now, was := n.sessions[id], known[id]
			n.mu.Unlock()
			if now == was {
				continue
			}
			if was != nil {
				delete(known, id)
				f(Change{Peer: was.peer})
			}
			if now != nil {
				known[id] = now
				f(Change{Peer: now.peer, Session: now})
			}
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// view is somebody who follows the table.
type view struct {
	node *Node
	of   string          // the daemon it is about; "": all
	wake chan struct{}   // holds one when something changed
	seen map[string]bool // daemons with changes not taken yet; guarded by node.mu
}

// view follows what changes of a daemon, or, with "", of all, of which those
// that have a session count as changed at first.
func (n *Node) view(of string) (v *view, stop func()) {
	v = &view{node: n, of: of, wake: make(chan struct{}, 1), seen: map[string]bool{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	if of == "" {
		for id := range n.sessions {
			v.seen[id] = true
		}
	}
	if n.views[of] == nil {
		n.views[of] = map[*view]bool{}
	}
	n.views[of][v] = true
	return v, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if delete(n.views[of], v); len(n.views[of]) == 0 {
			delete(n.views, of)
		}
	}
}

// take returns the daemons that have changed since it was asked last.
func (v *view) take() map[string]bool {
	v.node.mu.Lock()
	defer v.node.mu.Unlock()
	seen := v.seen
	v.seen = map[string]bool{}
	return seen
}

// announce tells those who follow the daemon with an id that its links or its
// session changed. n.mu is held. What one daemon does concerns few: who waited
// for another would else be woken by each of ten thousand.
func (n *Node) announce(id string) {
	for _, of := range []string{id, ""} {
		for v := range n.views[of] {
			v.seen[id] = true
			select {
			case v.wake <- struct{}{}:
			default:
			}
		}
	}
}

// adopt takes a new link into the table and returns the session it serves.
//
// Two daemons that dial each other end up with two links, and both must drop
// the same one. A link whose other end is another process than that of the
// link there was replaces it at once: the old process is gone. Between the same
// two processes the link that the daemon with the lower id began later wins,
// and the other
// is retired: it carries no new calls and closes when both ends
// have said that their calls on it are over.
func (n *Node) adopt(l *link) (*session, error) {
	s, loser, gone, err := n.enter(l)
	if loser != nil {
		loser.retire()
	}
	if gone != nil {
		n.start(gone.close)
	}
	if err == nil && l.stranger {
		time.AfterFunc(strangerTime, l.close)
	}
	return s, err
}

// enter changes the table for adopt and returns the link to retire and the one
// to close, if any; that has to be done without n.mu.
func (n *Node) enter(l *link) (s *session, loser, gone *link, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, nil, nil, ErrClosed
	}
	defer n.announce(l.remote.ID)
	s = &session{node: n, peer: l.remote, link: l, done: make(chan struct{})}
	if l.stranger = !l.self && !l.tabled(); l.stranger {
		gone = n.crowded()
		n.strangers++
	}
	n.entered++
	l.begun = n.entered
	n.links[l] = s
	if !l.tabled() {
		if l.standing() == asExpired {
			n.expired[l] = s
		}
		return s, nil, gone, nil
	}
	old := n.sessions[l.remote.ID]
	if old == nil {
		n.sessions[l.remote.ID] = s
		return s, nil, nil, nil
	}
	was := old.current()
	if was.boot != l.boot {
		n.sessions[l.remote.ID] = s
		old.end()
		return s, nil, was, nil
	}
	n.links[l] = old
	if l.hops > was.hops || l.hops == was.hops && l.order < was.order {
		return old, l, nil, nil
	}
	old.replace(l)
	return old, was, nil, nil
}

// dropped takes a closed link out of the table, and its session if it was the
// session's current one. Then it closes what retired links the session has left:
// the other end may not know that they were replaced, and take one of them for
// a session that still is.
func (n *Node) dropped(l *link) {
	for _, left := range n.remove(l) {
		n.start(left.close)
	}
}

func (n *Node) remove(l *link) (left []*link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.links[l]
	delete(n.links, l)
	delete(n.expired, l)
	if s != nil && l.stranger {
		n.strangers--
	}
	if s == nil || s.current() != l {
		return nil
	}
	for other, of := range n.links {
		if of == s {
			left = append(left, other)
		}
	}
	if n.sessions[s.peer.ID] == s {
		delete(n.sessions, s.peer.ID)
	}
	s.end()
	n.announce(l.remote.ID)
	return left
}

// session implements Session on whatever link is the current one.
type session struct {
	node *Node
	peer Peer
	done chan struct{}
	once sync.Once

	mu sync.Mutex
	// guarded by mu
	link *link
}

func (s *session) Peer() Peer            { return s.peer }
func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) Close() error {
	s.current().close()
	return nil
}

func (s *session) current() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

func (s *session) replace(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = l
}

func (s *session) end() { s.once.Do(func() { close(s.done) }) }

// begin reserves the current link for a call. A link is retired only after
// another took its place, so looking again ends.
func (s *session) begin() (*link, error) {
	for {
		select {
		case <-s.done:
			return nil, status.Errorf(codes.Unavailable, "the session with %s is over", s.peer)
		default:
		}
		if l := s.current(); l.begin() {
			return l, nil
		}
	}
}

// Invoke implements grpc.ClientConnInterface.
func (s *session) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	l, err := s.begin()
	if err != nil {
		return err
	}
	defer l.end()
	return l.wire.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (s *session) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	l, err := s.begin()
	if err != nil {
		return nil, err
	}
	end := sync.OnceFunc(l.end) // gRPC does not say whether OnFinish runs when NewStream fails
	stream, err := l.wire.NewStream(ctx, desc, method, append(opts[:len(opts):len(opts)], grpc.OnFinish(func(error) { end() }))...)
	if err != nil {
		end()
	}
	return stream, err
}
