package server

import (
	"context"
	"net/http"
	"sync"

	"aloft/api"
)

// standing holds the streams that are open over the network, each with a way to
// look again whether its caller may still have it.
type standing struct {
	mu sync.Mutex
	// under mu:
	open map[*stood]bool
}

// stood is one open stream.
type stood struct{ look func() }

// stand has a stream end once its caller may not call any more: the request it
// returns is cancelled then. leave has to be called when the stream has ended.
func (s *Server) stand(r *http.Request, need api.Role) (_ *http.Request, leave func()) {
	ctx, cancel := context.WithCancel(r.Context())
	one := &stood{look: func() {
		if c, err := s.callerOf(r); err != nil || !c.Role.Allows(need) {
			cancel()
		}
	}}
	s.standing.mu.Lock()
	if s.standing.open == nil {
		s.standing.open = map[*stood]bool{}
	}
	s.standing.open[one] = true
	s.standing.mu.Unlock()
	one.look() // who was removed while the stream was made, was not seen in the list
	return r.WithContext(ctx), func() {
		s.standing.mu.Lock()
		delete(s.standing.open, one)
		s.standing.mu.Unlock()
		cancel()
	}
}

// watchCallers ends the streams of those who are removed, until ctx ends.
// changed is from before the first stream.
func (s *Server) watchCallers(ctx context.Context, changed <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		changed = s.cfg.Changed() // before looking, so that no change is missed
		s.standing.mu.Lock()
		list := make([]*stood, 0, len(s.standing.open))
		for one := range s.standing.open {
			list = append(list, one)
		}
		s.standing.mu.Unlock()
		for _, one := range list {
			one.look()
		}
	}
}
