package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"aloft/api"
)

// Times of a connection.
const (
	headerTime = 10 * time.Second // to send the header of a request
	bodyTime   = 30 * time.Second // to send a body, or the next piece of one that is a stream
	answerTime = 60 * time.Second // to take an answer
	idleTime   = 2 * time.Minute  // between two requests
)

// maxHeader bounds the header of a request in bytes: the cursor of ten thousand
// machines fits in. net/http itself ends connections that send far more.
const maxHeader = 320 << 10

// guarded is the mux on which operations are registered: each becomes one that
// is answered for those alone whom its row lets in.
type guarded struct {
	*http.ServeMux
	s *Server
}

// HandleFunc registers an operation.
func (g guarded) HandleFunc(pattern string, f func(http.ResponseWriter, *http.Request)) {
	row, known := routes[pattern]
	g.ServeMux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		caller := api.CallerOf(r.Context())
		if !known || !caller.Role.Allows(row.role) {
			err := refused(caller, row.role)
			g.s.audit(r, row, caller, "", err)
			g.s.fail(w, err)
			return
		}
		if err := g.s.answer(w, r, row, f); err != nil {
			g.s.fail(w, err)
		}
	})
}

func refused(c api.Caller, need api.Role) error {
	if need == "" {
		return &api.Error{Kind: api.KindDenied, Message: "nobody may do this"}
	}
	return &api.Error{
		Kind: api.KindDenied, Message: fmt.Sprintf("%s is a %s, and this needs the role %s", c.Name, c.Role, need),
		Remedy: "an operator of the cluster gives roles: aloft user add NAME --role " + string(need),
	}
}

// enter identifies the caller of r and lets him in as often as he may.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	if size > maxHeader {
		p := s.problem(&api.Error{Kind: api.KindTooLarge, Message: fmt.Sprintf("the header of the request has %d bytes, and may have %d", size, maxHeader)})
		p.Status, p.Title = http.StatusRequestHeaderFieldsTooLarge, http.StatusText(http.StatusRequestHeaderFieldsTooLarge)
		write(w, p)
		return
	}
	caller, err := s.callerOf(r)
	l := linkOf(r.Context())
	if err == nil && l.way == byNetwork {
		err = s.callers.admit(caller.Name, time.Now())
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	if l.way != byTunnel {
		r.Header.Del(callerHeader)
		r.Header.Del(roleHeader)
	}
	s.mux.ServeHTTP(w, r.WithContext(api.WithCaller(r.Context(), caller)))
}

// answer carries out a request of a caller who may send it: here, or through
// the manager whose it is. The error is for the caller, who has got nothing yet.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, row route, f http.HandlerFunc) error {
	caller := api.CallerOf(r.Context())
	if s.cfg.Machine && !row.machine {
		return &api.Error{Kind: api.KindDenied, Message: "this is a machine: it tells what it holds, and runs commands", Remedy: "ask a manager of its cluster"}
	}
	if row.stream && linkOf(r.Context()).way == byNetwork {
		end, err := s.callers.stream(caller.Name)
		if err != nil {
			return err
		}
		defer end()
		standing, leave := s.stand(r, row.role)
		defer leave()
		r = standing
	}
	var body []byte
	if row.body <= maxPlan {
		var err error
		if body, err = readBody(w, r, row.body); err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	} else {
		r.Body = &slow{ReadCloser: http.MaxBytesReader(w, r.Body, row.body), out: http.NewResponseController(w)}
	}
	system := ""
	if s.cfg.Owners != nil && row.system != nil {
		system = row.system(r, body)
	}
	for left := answeredHere; ; left-- {
		if system != "" {
			if done, err := s.forward(w, r, row, system, body); done || err != nil {
				return err
			}
		}
		if row.change && !row.here {
			if err := s.cfg.writable(r.Context()); err != nil {
				s.audit(r, row, caller, "", err)
				return err
			}
		}
		if row.stream {
			s.stream(w, r, row, f)
			return nil
		}
		rec, err := s.record(r, row, body, f)
		if err == nil && left > 1 && rec.status == http.StatusServiceUnavailable && s.elsewhere(r, system) {
			r.Body = io.NopCloser(bytes.NewReader(body))
			continue // refused, and its new owner knows what there is
		}
		if row.change {
			s.audit(r, row, caller, rec.plan(), errors.Join(err, rec.failure()))
		}
		if err != nil {
			return err
		}
		rec.sendTo(w)
		return nil
	}
}

// answeredHere is how often a request is tried here whose system goes to
// another manager, and comes back, meanwhile.
const answeredHere = 3

// stream has f answer at once what it writes.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, row route, f http.HandlerFunc) {
	if row.audited { // before it: who looks on must not have to wait for its end
		s.audit(r, row, api.CallerOf(r.Context()), "", nil)
	}
	f(w, r)
	if row.change {
		s.audit(r, row, api.CallerOf(r.Context()), "", nil)
	}
}

// record has f answer, and returns the answer, which nobody has got yet.
func (s *Server) record(r *http.Request, row route, body []byte, f http.HandlerFunc) (*recorder, error) {
	rec := &recorder{header: http.Header{}}
	if row.change {
		return rec, s.change(rec, r, body, f)
	}
	f(rec, r)
	rec.tag(r)
	return rec, nil
}

// readBody reads all of a body of at most limit bytes, in the time it may take.
// The deadline ends with the body: net/http would cancel what comes after.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Now().Add(bodyTime)) // not on a test's recorder
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = out.SetReadDeadline(time.Time{})
	if err != nil {
		return nil, badBody(err, limit)
	}
	return body, nil
}

func badBody(err error, limit int64) error {
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over) && limit == 0:
		return &api.Error{Kind: api.KindTooLarge, Message: "this request has no body"}
	case errors.As(err, &over):
		return &api.Error{Kind: api.KindTooLarge, Message: fmt.Sprintf("the body of the request has more than %d bytes", limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("the body of the request did not come within %s", bodyTime)}
	}
	return &api.Error{Kind: api.KindInvalid, Message: "the body of the request cannot be read: " + err.Error()}
}

// slow is a body that is a stream: each piece of it has to come in time.
type slow struct {
	io.ReadCloser
	out *http.ResponseController
}

func (b *slow) Read(p []byte) (int, error) {
	_ = b.out.SetReadDeadline(time.Now().Add(bodyTime))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.out.SetReadDeadline(time.Time{})
	}
	return n, err
}

// nowhere answers what is no operation.
func (s *Server) nowhere(w http.ResponseWriter, r *http.Request) {
	p := s.problem(&api.Error{
		Kind:    api.KindNotFound,
		Message: "the daemon has no operation " + r.Method + " " + r.URL.Path,
		Remedy:  "command line and daemon may be of different versions: compare 'aloft version' and 'aloft daemon status'",
	})
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(context.WithoutCancel(r.Context()))
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	}
	write(w, p)
}
