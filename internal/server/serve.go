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

	"aloft/api"

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

// Serve answers on l with h until ctx ends, then waits shortly for answers
// being written, ends all that is left, and closes l. Callers on a Unix socket
// of another user than ours and root are refused.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	return serve(ctx, l, h, log, uint32(os.Geteuid()))
}

func serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger, owner uint32) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Shutdown forgets connections that were upgraded; their commands hold
	// this lock too.
	var inFlight sync.RWMutex
	s := &http.Server{
		Handler: onlyFor(owner, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inFlight.RLock()
			defer inFlight.RUnlock()
			h.ServeHTTP(w, r)
		})),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withPeer,
	}
	var unused conns
	s.ConnState = unused.note
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		unused.close()
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if s.Shutdown(soon) != nil {
			s.Close()
		}
		inFlight.Lock()
		defer inFlight.Unlock()
	}()
	err := s.Serve(l)
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

// peerKey is the key of the caller's uid in a connection's ctx.
type peerKey struct{}

// withPeer notes the uid at the other end. A connection whose uid cannot be
// found out gets none and is refused.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, cred.Uid)
}

// onlyFor refuses callers of other users than owner and root.
func onlyFor(owner uint32, h http.Handler) http.Handler {
	refuse := &handlers{log: slog.New(slog.DiscardHandler)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, ok := r.Context().Value(peerKey{}).(uint32)
		if !ok || uid != owner && uid != 0 {
			refuse.fail(w, &api.Error{
				Kind:    api.KindDenied,
				Message: fmt.Sprintf("this daemon belongs to uid %d", owner),
				Remedy:  "use a home of your own (--home)",
			})
			return
		}
		h.ServeHTTP(w, r)
	})
}
