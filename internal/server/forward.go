package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"aloft/api"

	"github.com/google/uuid"
)

// Owners leads to the managers that answer for systems.
type Owners interface {
	// Owner returns the id of the manager that owns a system, as this one knows
	// it; "" if that is this one, or nobody yet.
	Owner(ctx context.Context, system string) (manager string)
	// Dial opens a stream to the Service API of another manager.
	Dial(ctx context.Context, manager string) (net.Conn, error)
}

// Times of a forwarded request.
const (
	dialTime   = time.Second            // to reach a manager
	readTime   = 12 * time.Second       // until a read's answer begins, longer than a machine may take for a value
	ownerLook  = 200 * time.Millisecond // how often a waiting change looks whether its owner is still one
	forwardFor = 5 * time.Second        // a change looks for its owner: longer than a take-over
)

// errHere is a request that has to be answered here after all.
var errHere = errors.New("answered here")

func (s *Server) newTunnels() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			manager, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, dialTime)
			defer cancel()
			return s.cfg.Owners.Dial(ctx, manager)
		},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     30 * time.Second,
	}
}

// forward has the owner of a system answer r, whole, if that is another
// manager, and reports whether it has. A read whose owner cannot be reached is
// for this manager to answer; a change looks for an owner until one must have
// taken over.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, row route, system string, body []byte) (bool, error) {
	manager := s.cfg.Owners.Owner(r.Context(), system)
	if manager == "" {
		return false, nil
	}
	switch tunnelled := linkOf(r.Context()).way == byTunnel; {
	case tunnelled && r.Method == http.MethodGet:
		return false, nil
	case tunnelled:
		// Two managers that take each other for the owner: one of them learns.
		return false, &api.Error{Kind: api.KindUnavailable, Message: "system " + system + " has another owner", RetryAfter: time.Second}
	}
	if row.change && r.Header.Get("Idempotency-Key") == "" {
		// So that what an owner did before it died is not done again.
		r.Header.Set("Idempotency-Key", uuid.NewString())
	}
	var failed error
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			c := api.CallerOf(p.In.Context())
			p.Out.URL.Scheme = "http"
			p.Out.Header.Set(callerHeader, c.Name)
			p.Out.Header.Set(roleHeader, string(c.Role))
			p.Out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
			p.Out.ContentLength = int64(len(body))
		},
		Transport:     &seeking{s: s, system: system, first: manager, whole: !row.stream},
		FlushInterval: -1,
		ErrorHandler:  func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(w, r)
	switch {
	case failed == nil:
		return true, nil
	case errors.Is(failed, errHere):
		r.Body = io.NopCloser(bytes.NewReader(body))
		return false, nil
	case r.Context().Err() != nil:
		return false, errEnding // or the caller left, and hears nothing
	}
	return false, &api.Error{
		Kind: api.KindUnavailable, Message: fmt.Sprintf("the manager that owns system %s cannot be reached: %v", system, failed),
		Remedy: "ask again; another takes over once it is dead", RetryAfter: 2 * time.Second,
	}
}

// elsewhere reports whether another manager owns the system of a request that
// was to be answered here. One that came through another manager goes back: that
// one looks for the owner.
func (s *Server) elsewhere(r *http.Request, system string) bool {
	return system != "" && linkOf(r.Context()).way != byTunnel && s.cfg.Owners.Owner(r.Context(), system) != ""
}

// seeking is a RoundTripper that sends a request to whoever owns a system.
type seeking struct {
	s      *Server
	system string
	first  string // owner as known before
	whole  bool   // what is answered by half, by a manager that ends, is no answer
}

func (t *seeking) RoundTrip(r *http.Request) (*http.Response, error) {
	manager := t.first
	end := time.Now().Add(forwardFor)
	for {
		resp, err := t.try(r, manager)
		if err == nil && t.whole {
			err = complete(resp)
		}
		moved := err == nil && resp.StatusCode == http.StatusServiceUnavailable && r.Context().Err() == nil
		switch {
		case err == nil && !moved:
			return resp, nil
		case r.Context().Err() != nil:
			return nil, r.Context().Err()
		case r.Method == http.MethodGet && err != nil:
			return nil, errHere
		case moved && time.Now().After(end):
			return resp, nil // its own reason says more than we could
		case time.Now().After(end):
			return nil, err
		}
		if moved {
			resp.Body.Close()
		}
		select {
		case <-time.After(ownerLook):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if manager = t.s.cfg.Owners.Owner(r.Context(), t.system); manager == "" {
			return nil, errHere // we took over
		}
	}
}

// complete reads an answer to its end.
func complete(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return fmt.Errorf("the answer was cut: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// try sends r to one manager, and gives up when a read takes too long or a
// change has another owner.
func (t *seeking) try(r *http.Request, manager string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	out := r.Clone(ctx)
	out.URL.Host = manager + ":7400"
	body, err := r.GetBody()
	if err != nil {
		cancel(nil)
		return nil, err
	}
	out.Body = body
	answered := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(ownerLook)
		defer tick.Stop()
		began := time.Now()
		for {
			select {
			case <-answered:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			switch {
			case r.Method == http.MethodGet && time.Since(began) > readTime:
				cancel(fmt.Errorf("no answer within %s", readTime))
			case t.s.cfg.Owners.Owner(ctx, t.system) != manager:
				cancel(errors.New("it is the owner no more"))
			}
		}
	}()
	resp, err := t.s.tunnels.RoundTrip(out)
	close(answered)
	<-watched
	if err == nil && ctx.Err() != nil {
		resp.Body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		err = errors.Join(err, context.Cause(ctx))
		cancel(nil)
		return nil, err
	}
	// The answer's ctx ends with its body.
	if rw, ok := resp.Body.(io.ReadWriteCloser); ok { // an upgraded connection
		resp.Body = struct {
			io.ReadWriter
			io.Closer
		}{rw, closing{rw, cancel}}
	} else {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{resp.Body, closing{resp.Body, cancel}}
	}
	return resp, nil
}

// closing ends a ctx with what it closes.
type closing struct {
	io.Closer
	cancel context.CancelCauseFunc
}

func (c closing) Close() error {
	err := c.Closer.Close()
	c.cancel(nil)
	return err
}
