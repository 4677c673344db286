package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

// Times of a client that has several daemons to ask.
const (
	dialTime  = 2 * time.Second        // to connect, certificates included
	readTime  = 13 * time.Second       // until a read's answer begins; a daemon gives a machine 10 s
	pingTime  = 2 * time.Second        // of silence until a connection is tested, and of the test
	goRound   = 250 * time.Millisecond // between two rounds over all daemons
	goesRound = 5 * time.Second        // in all: longer than a take-over
)

// endpoint is one way to a daemon.
type endpoint struct {
	scheme string
	http   *http.Transport
	dial   func(ctx context.Context) (net.Conn, error) // speaks HTTP/1.1
}

// endpoints are the ways to the daemons that can answer, best first. It is a
// RoundTripper that goes from one to the next: all for requests that may be
// repeated, and where nothing was sent yet for the others.
type endpoints struct {
	list []endpoint
	good atomic.Int64 // index of the one that answered last
}

func (e *endpoints) socket(dial func(ctx context.Context) (net.Conn, error)) {
	e.list = append(e.list, endpoint{scheme: "http", dial: dial, http: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
	}})
}

func (e *endpoints) manager(address string, cfg *tls.Config) {
	one := cfg.Clone()
	one.NextProtos = []string{"http/1.1"}
	raw := &net.Dialer{Timeout: dialTime}
	e.list = append(e.list, endpoint{
		scheme: "https",
		dial: func(ctx context.Context) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTime)
			defer cancel()
			return (&tls.Dialer{NetDialer: raw, Config: one}).DialContext(ctx, "tcp", address)
		},
		http: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return raw.DialContext(ctx, "tcp", address) },
			TLSClientConfig:     cfg,
			TLSHandshakeTimeout: dialTime,
			ForceAttemptHTTP2:   true,
			DisableCompression:  true,
			HTTP2:               &http.HTTP2Config{SendPingTimeout: pingTime, PingTimeout: pingTime},
		},
	})
}

func (e *endpoints) close() {
	for _, one := range e.list {
		one.http.CloseIdleConnections()
	}
}

// RoundTrip asks the daemons in turn.
func (e *endpoints) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(e.list) == 1 {
		return e.try(r, 0)
	}
	end := time.Now().Add(goesRound)
	for {
		first := int(e.good.Load())
		var busy *http.Response // the first one's refusal says most
		var failed error
		for i := range e.list {
			n := (first + i) % len(e.list)
			resp, err := e.try(r, n)
			switch {
			case err == nil && !passes(resp):
				e.good.Store(int64(n))
				if busy != nil {
					busy.Body.Close()
				}
				return resp, nil
			case r.Context().Err() != nil || err != nil && !repeatable(r) && !unsent(err):
				return nil, err
			case err != nil:
				if failed == nil || errors.Is(failed, ErrNoDaemon) {
					failed = err
				}
			case busy == nil:
				busy = resp
			default:
				resp.Body.Close()
			}
			if !rewind(r) {
				return nil, err
			}
		}
		if busy != nil {
			// They answer, and have looked for the owner themselves.
			return busy, nil
		}
		if time.Now().After(end) || errors.Is(failed, ErrNoDaemon) {
			return nil, failed
		}
		select {
		case <-time.After(goRound):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// try asks one daemon.
func (e *endpoints) try(r *http.Request, n int) (*http.Response, error) {
	one := e.list[n]
	ctx, cancel := context.WithCancelCause(r.Context())
	out := r.Clone(ctx)
	out.URL.Scheme = one.scheme
	if r.Method == http.MethodGet && len(e.list) > 1 {
		timer := time.AfterFunc(readTime, func() { cancel(errSilent) })
		defer timer.Stop()
	}
	if len(e.list) > 1 && repeatable(r) {
		defer one.watch(ctx, cancel)()
	}
	resp, err := one.http.RoundTrip(out)
	if err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &answer{resp.Body, cancel}
	return resp, nil
}

// errSilent is a daemon that accepts connections and does not answer: it is
// stopped, or its host is.
var errSilent = errors.New("the daemon does not answer")

// watch tells a daemon that thinks from one that has stopped: while a request
// waits for its answer it asks whether the daemon lives, and gives the request
// up if that gets no answer either. What it returns ends it.
func (one endpoint) watch(ctx context.Context, giveUp context.CancelCauseFunc) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pingTime):
			}
			if err := one.ping(ctx); err != nil && ctx.Err() == nil {
				giveUp(errSilent)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (one endpoint) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, one.scheme+"://daemon/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := one.http.RoundTrip(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// answer is a body whose request ends with it.
type answer struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (a *answer) Close() error {
	err := a.ReadCloser.Close()
	a.cancel(nil)
	return err
}

// connect connects to the first daemon that can be, for what leaves HTTP.
func (e *endpoints) connect(ctx context.Context) (conn net.Conn, err error) {
	first := int(e.good.Load())
	for i := range e.list {
		n := (first + i) % len(e.list)
		if conn, err = e.list[n].dial(ctx); err == nil || ctx.Err() != nil {
			return conn, err
		}
	}
	return nil, err
}

// passes reports whether a daemon says that another may do what it cannot now:
// it is cut off, or ending.
func passes(resp *http.Response) bool {
	return resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != ""
}

// repeatable reports whether r has one effect, however often it is sent.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut:
		return true
	}
	return r.Header.Get("Idempotency-Key") != ""
}

// unsent reports whether a request failed before any of it was sent.
func unsent(err error) bool {
	var op *net.OpError
	return errors.Is(err, ErrNoDaemon) || errors.As(err, &op) && op.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED)
}

// rewind readies the body of r to be sent again.
func rewind(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	if r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	if err == nil {
		r.Body = body
	}
	return err == nil
}
