package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long Serve waits for answers being written when it has to end.
const grace = 2 * time.Second

// Listen makes the Unix socket at path, with mode 0600, in a folder of this
// user's, which it makes if need be. A socket that is there is
// taken away: the caller holds the lock of the home, so nobody serves it.
func Listen(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the socket: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, fmt.Errorf("folder of the socket %s: %w", dir, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o002 != 0 {
		return nil, fmt.Errorf("folder of the socket %s: others may write to it; make it yours with mode 0700", dir)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// ServeSocket answers on a Unix socket until ctx ends, then waits shortly for
// answers being written, ends all that is left, and closes l. Callers of
// another user than ours and root are refused; the others are operators.
func (s *Server) ServeSocket(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, bySocket)
}

// ServeNetwork likewise answers callers who have certificates. The connections
// of l are *tls.Conn, whose configuration demands TLS 1.3 and the callers'
// certificates; whose these are, Config.Identify says.
func (s *Server) ServeNetwork(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, byNetwork)
}

// ServeTunnels likewise answers the managers of this cluster, and believes them
// who their callers are. What comes through a tunnel goes through no other.
func (s *Server) ServeTunnels(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, byTunnel)
}

func (s *Server) serve(ctx context.Context, l net.Listener, w way) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer s.tunnels.CloseIdleConnections()
	// Shutdown forgets connections that were upgraded; their commands hold
	// this lock too.
	var inFlight sync.RWMutex
	hs := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inFlight.RLock()
			defer inFlight.RUnlock()
			s.enter(w, r)
		}),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    2 * maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: alive, WriteByteTimeout: answerTime},
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug), // what strangers cause is no matter of ours
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return withLink(ctx, w, c) },
	}
	var unused conns
	hs.ConnState = unused.note
	ended := make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	if w == byNetwork && s.cfg.Changed != nil {
		changed := s.cfg.Changed()
		watching.Go(func() { s.watchCallers(ctx, changed) })
	}
	go func() {
		defer close(ended)
		<-ctx.Done()
		unused.close()
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if hs.Shutdown(soon) != nil {
			hs.Close()
		}
		inFlight.Lock()
		defer inFlight.Unlock()
	}()
	err := hs.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-ended
		return nil
	}
	stop()
	<-ended
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// conns holds the connections on which nothing was asked yet. Callers keep some
// in reserve, and Shutdown would wait for a first request on them.
type conns struct {
	mu sync.Mutex
	// under mu:
	set    map[net.Conn]bool
	closed bool
}

func (c *conns) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(c.set, conn)
	case c.closed:
		conn.Close()
	default:
		if c.set == nil {
			c.set = map[net.Conn]bool{}
		}
		c.set[conn] = true
	}
}

func (c *conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.set {
		conn.Close()
	}
}
