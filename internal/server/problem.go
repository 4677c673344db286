package server

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"aloft/api"
	"aloft/internal/store"
)

// problem is an api.Problem as huma wants its errors.
type problem struct {
	api.Problem
	after time.Duration
}

func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) ContentType(string) string { return api.ProblemType }

// GetHeaders makes huma send these with the problem.
func (p *problem) GetHeaders() http.Header {
	if p.after <= 0 {
		return http.Header{}
	}
	seconds := int64((p.after + time.Second - 1) / time.Second)
	return http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}}
}

// errEnding is the answer of a daemon that ends: callers go on to another.
var errEnding = &api.Error{
	Kind: api.KindUnavailable, Message: "this daemon is ending", Remedy: "ask another manager, or this one once it runs again", RetryAfter: 2 * time.Second,
}

// problem returns err for the wire and logs it if it is a mistake of ours.
func (s *Server) problem(err error) *problem {
	if _, ours := errors.AsType[*api.Error](err); !ours {
		for _, cannot := range []error{store.ErrNoQuorum, store.ErrUnavailable, store.ErrUncertain, store.ErrRemoved} {
			if errors.Is(err, cannot) {
				err = &api.Error{Kind: api.KindUnavailable, Message: err.Error(), Remedy: "ask another manager, or again: it goes on by itself", RetryAfter: 2 * time.Second}
			}
		}
		if errors.Is(err, store.ErrClosed) { // before the API, in an order that ends
			err = errEnding
		}
	}
	p := &problem{Problem: *api.ProblemOf(err)}
	if p.Type == api.KindInternal {
		s.cfg.Log.Error("request failed", "error", err)
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		p.after = e.RetryAfter
	}
	return p
}

// fail answers with err, where huma does not.
func (s *Server) fail(w http.ResponseWriter, err error) { write(w, s.problem(err)) }

func write(w http.ResponseWriter, p *problem) {
	h := w.Header()
	maps.Copy(h, p.GetHeaders())
	h.Set("Content-Type", api.ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.Problem) // the caller is gone if this fails
}
