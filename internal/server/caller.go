package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"aloft/api"

	"golang.org/x/sys/unix"
)

// way is how a connection came.
type way int

const (
	bySocket  way = iota // the Unix socket: callers are processes of this host
	byNetwork            // TLS: callers have certificates
	byTunnel             // another manager, which has identified its caller
)

// The headers in which a manager that forwards a request tells who sent it.
// They are believed of managers alone.
const (
	callerHeader = "Aloft-Caller"
	roleHeader   = "Aloft-Role"
)

// again is how long a verified certificate is believed before its holder is
// looked up anew, if nothing says sooner that somebody was removed: who is loses
// access within it, on connections that stand as well.
const again = 2 * time.Second

// link is one connection, and who is at its other end.
type link struct {
	way way
	uid *uint32 // of the process at a Unix socket; nil: not known

	mu sync.Mutex
	// under mu, of a connection by network:
	caller  api.Caller
	refusal error
	checked time.Time
	changed <-chan struct{} // closed once what was checked may not hold any more
}

type linkKey struct{}

func linkOf(ctx context.Context) *link {
	l, _ := ctx.Value(linkKey{}).(*link)
	return l
}

// withLink notes how c came, and of a Unix socket the uid at the other end.
func withLink(ctx context.Context, w way, c net.Conn) context.Context {
	l := &link{way: w}
	if u, ok := c.(*net.UnixConn); ok && w == bySocket {
		l.uid = uidOf(u)
	}
	return context.WithValue(ctx, linkKey{}, l)
}

// uidOf returns the uid of the process at the other end, nil if the kernel
// does not tell.
func uidOf(c *net.UnixConn) *uint32 {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return nil
	}
	return &cred.Uid
}

// callerOf says who sent r, or refuses.
func (s *Server) callerOf(r *http.Request) (api.Caller, error) {
	l := linkOf(r.Context())
	switch {
	case l == nil:
		return api.Caller{}, &api.Error{Kind: api.KindDenied, Message: "the connection is not one of ours"}
	case l.way == byTunnel:
		return api.Caller{Name: r.Header.Get(callerHeader), Role: api.Role(r.Header.Get(roleHeader))}, nil
	case l.way == byNetwork:
		return l.holder(r.TLS, &s.cfg)
	case l.uid == nil || *l.uid != s.owner && *l.uid != 0:
		return api.Caller{}, &api.Error{
			Kind:    api.KindDenied,
			Message: fmt.Sprintf("this daemon belongs to uid %d", s.owner),
			Remedy:  "use a home of your own (--home)",
		}
	}
	return api.Caller{Name: "uid:" + strconv.FormatUint(uint64(*l.uid), 10), Role: api.RoleOperator}, nil
}

// holder says whose certificate a connection came with.
func (l *link) holder(state *tls.ConnectionState, cfg *Config) (api.Caller, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.checked.IsZero() && now.Sub(l.checked) < again && !closed(l.changed) {
		return l.caller, l.refusal
	}
	l.checked = now
	if cfg.Changed != nil {
		l.changed = cfg.Changed() // before it is checked, so that no change is missed
	}
	l.caller, l.refusal = api.Caller{}, stranger("no certificate came with the connection")
	if state == nil || len(state.PeerCertificates) == 0 || cfg.Identify == nil {
		return l.caller, l.refusal
	}
	c, err := cfg.Identify(state.PeerCertificates)
	if err != nil {
		l.refusal = stranger(err.Error())
		return l.caller, l.refusal
	}
	if until := state.PeerCertificates[0].NotAfter; now.After(until) {
		l.refusal = stranger("your certificate expired at " + until.UTC().Format(time.RFC3339))
		return l.caller, l.refusal
	}
	l.caller, l.refusal = c, nil
	return c, nil
}

// closed reports whether c is closed; nil never is.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func stranger(why string) error {
	return &api.Error{Kind: api.KindDenied, Message: why, Remedy: "an operator of the cluster can let you in: aloft user add NAME --role viewer"}
}
