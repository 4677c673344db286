package peer

import (
	"container/list"
	"context"
	"net"
	"sync"
)

const (
	// maxHandshakes and maxStrangers bound what those who have proved nothing can
	// make us hold: connections that are not sessions yet, and sessions of nobody.
	// At the bound the oldest has to go: whoever means well is through in
	// milliseconds, and one who only takes up room cannot keep others out.
	maxHandshakes = 256
	maxStrangers  = 512
)

// shaking is the connections that came and are not sessions yet.
type shaking struct {
	mu sync.Mutex
	// guarded by mu
	over  bool
	conns *list.List // of net.Conn, the oldest first
}

func newShaking() *shaking { return &shaking{conns: list.New()} }

func (s *shaking) enter(conn net.Conn) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, false
	}
	if s.conns.Len() >= maxHandshakes {
		oldest := s.conns.Remove(s.conns.Front()).(net.Conn)
		oldest.Close()
	}
	e := s.conns.PushBack(conn)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns.Remove(e) // nothing, when it was removed before
	}, true
}

// end closes all there are and to come.
func (s *shaking) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for e := s.conns.Front(); e != nil; e = e.Next() {
		e.Value.(net.Conn).Close()
	}
}

// shake makes a session of a connection that came, aside.
func (n *Node) shake(ctx context.Context, conn net.Conn, by way) {
	leave, ok := n.shaking.enter(conn)
	if !ok || !n.start(func() {
		defer leave()
		if _, err := n.connect(ctx, conn, by); err != nil && ctx.Err() == nil {
			n.cfg.Log.Info("refused a session", "address", conn.RemoteAddr().String(), "error", err)
		}
	}) {
		if ok {
			leave()
		}
		conn.Close()
	}
}

// crowded returns the link that has to close so that there is room for one more
// stranger; nil while there is. n.mu is held.
func (n *Node) crowded() (oldest *link) {
	if n.strangers < maxStrangers {
		return nil
	}
	for l := range n.links {
		if l.stranger && (oldest == nil || l.begun < oldest.begun) {
			oldest = l
		}
	}
	return oldest
}
