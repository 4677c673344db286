package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"aloft/api"
	"aloft/internal/store"
)

// Rows is what the server keeps in the shared store: which changes were asked
// for under an Idempotency-Key and what was answered, so that every manager
// answers the same. A store.KV has these.
type Rows interface {
	Get(ctx context.Context, key string) (store.Entry, error)
	Commit(ctx context.Context, t store.Txn) (int64, error)
	Grant(ctx context.Context, ttl time.Duration) (store.LeaseID, error)
	Renew(ctx context.Context, id store.LeaseID) error
	Revoke(ctx context.Context, id store.LeaseID) error
}

const (
	maxKey = 200 // characters of an Idempotency-Key

	// answerLife is how long an answer is given again.
	answerLife = 24 * time.Hour
	// maxAnswer is the largest answer kept; of a larger one is only known that
	// it was given.
	maxAnswer = 128 << 10

	// A claim to a key or a place ends with its holder: it is renewed while a
	// change is made, and held against others for so long after a crash.
	claimLife  = 4 * time.Second
	claimRenew = time.Second
	claimWait  = 10 * time.Second // for the claim of another
	claimLook  = 100 * time.Millisecond
)

// answered is the row of a key: a change that is being made, or its answer.
type answered struct {
	Request string      `json:"request"` // digest of what was asked
	Status  int         `json:"status,omitempty"`
	Header  http.Header `json:"header,omitempty"`
	Body    []byte      `json:"body,omitempty"`
	Large   bool        `json:"large,omitempty"` // the body was too large to be kept
}

// change makes a change once for each Idempotency-Key, and only while If-Match
// holds.
func (s *Server) change(w *recorder, r *http.Request, body []byte, f http.HandlerFunc) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	if len(r.Header.Values("If-Match")) > 0 {
		f = s.ifMatch(f)
	}
	if key == "" {
		f(w, r)
		return nil
	}
	name := store.Key("answered", api.CallerOf(r.Context()).Name, key)
	mine := answered{Request: digestOf(r, body)}
	claim, old, err := s.claim(r.Context(), name, mine)
	switch {
	case err != nil:
		return err
	case claim == nil && old.Request != mine.Request:
		return &api.Error{Kind: api.KindInvalid, Message: "this Idempotency-Key was used for another request", Remedy: "make a new key for each change"}
	case claim == nil && old.Large:
		return &api.Error{Kind: api.KindConflict, Message: "this was done under the same Idempotency-Key, and its answer was too large to be kept", Remedy: "read what is there now"}
	case claim == nil:
		w.header = old.Header
		w.header.Set("Idempotency-Replayed", "true")
		w.status = old.Status
		w.body.Write(old.Body)
		return nil
	}
	f(w, r)
	// The caller may be gone; what was done is done.
	ctx := context.WithoutCancel(r.Context())
	if w.failure() != nil {
		claim.drop(ctx) // nothing was done: the same may be asked again
		return nil
	}
	mine.Status, mine.Header = max(w.status, http.StatusOK), w.header
	if mine.Large = w.body.Len() > maxAnswer; !mine.Large {
		mine.Body = w.body.Bytes()
	}
	if err := claim.settle(ctx, mine); err != nil {
		// The change is made and told; a repetition may make it again, which
		// changes are made to bear.
		s.cfg.Log.Warn("an answer was not kept", "key", name, "error", err)
	}
	return nil
}

// keyOf returns the Idempotency-Key of r, "" if it has none.
func keyOf(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	ok := len(values) == 1 && key != "" && len(key) <= maxKey
	for _, c := range []byte(key) {
		ok = ok && c > ' ' && c < 0x7f
	}
	if !ok {
		return "", &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("the Idempotency-Key is not one: want 1 to %d visible ASCII characters", maxKey)}
	}
	return key, nil
}

// digestOf tells requests apart.
func digestOf(r *http.Request, body []byte) string {
	sum := sha256.New()
	for _, part := range [][]byte{[]byte(r.Method), []byte(r.URL.RequestURI()), body} {
		fmt.Fprintf(sum, "%d ", len(part))
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// claim is the right to make a change, as long as its holder lives.
type claim struct {
	rows     Rows
	key      string
	lease    store.LeaseID
	revision int64
	stop     context.CancelFunc
	stopped  chan struct{}
}

// claim makes row the one under key and returns the claim; or, where there is
// an answer already, returns that. It waits for a change that is being made.
func (s *Server) claim(ctx context.Context, key string, row answered) (*claim, answered, error) {
	if s.cfg.Rows == nil {
		return nil, answered{}, &api.Error{Kind: api.KindInvalid, Message: "this daemon keeps no answers: leave out Idempotency-Key and If-Match"}
	}
	text, err := json.Marshal(row)
	if err != nil {
		return nil, answered{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	for {
		e, err := s.cfg.Rows.Get(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			c, err := s.hold(ctx, key, text)
			if !errors.Is(err, store.ErrConflict) {
				return c, answered{}, err
			}
			continue
		case err != nil:
			return nil, answered{}, err
		}
		var old answered
		if err := json.Unmarshal(e.Value, &old); err != nil {
			return nil, answered{}, fmt.Errorf("row %s: %w", key, err)
		}
		if old.Status != 0 || old.Request != row.Request {
			return nil, old, nil
		}
		select {
		case <-ctx.Done():
			return nil, answered{}, &api.Error{Kind: api.KindConflict, Message: "the same change is being made", Remedy: "ask again with the same Idempotency-Key", RetryAfter: time.Second}
		case <-time.After(claimLook):
		}
	}
}

// hold writes a row that goes with its holder.
func (s *Server) hold(ctx context.Context, key string, row []byte) (*claim, error) {
	lease, err := s.cfg.Rows.Grant(ctx, claimLife)
	if err != nil {
		return nil, err
	}
	revision, err := s.cfg.Rows.Commit(ctx, store.Txn{
		If:  []store.Condition{{Key: key}},
		Put: []store.Put{{Key: key, Value: row, Lease: lease}},
	})
	if err != nil {
		_ = s.cfg.Rows.Revoke(context.WithoutCancel(ctx), lease) // else it ends by itself
		return nil, err
	}
	c := &claim{rows: s.cfg.Rows, key: key, lease: lease, revision: revision, stopped: make(chan struct{})}
	renew, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	go func() {
		defer close(c.stopped)
		tick := time.NewTicker(claimRenew)
		defer tick.Stop()
		for {
			select {
			case <-renew.Done():
				return
			case <-tick.C:
				_ = c.rows.Renew(renew, lease) // lost: settle finds out
			}
		}
	}()
	return c, nil
}

// end ends the renewal.
func (c *claim) end() {
	c.stop()
	<-c.stopped
}

// drop gives the claim up.
func (c *claim) drop(ctx context.Context) {
	c.end()
	_ = c.rows.Revoke(ctx, c.lease) // else it ends by itself
}

// settle puts an answer in the place of the claim.
func (c *claim) settle(ctx context.Context, row answered) error {
	defer c.drop(ctx)
	text, err := json.Marshal(row)
	if err != nil {
		return err
	}
	lease, err := c.rows.Grant(ctx, answerLife)
	if err != nil {
		return err
	}
	_, err = c.rows.Commit(ctx, store.Txn{
		If:  []store.Condition{{Key: c.key, Revision: c.revision}},
		Put: []store.Put{{Key: c.key, Value: text, Lease: lease}},
	})
	return err
}

// ifMatch returns f for a request with If-Match: it is carried out only if
// what can be read at the same place is what the caller has read, and nobody
// else who looks first changes it in between.
func (s *Server) ifMatch(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		place := store.Key("changing", r.URL.Path)
		claim, _, err := s.claim(r.Context(), place, answered{Request: "change"})
		if err != nil {
			s.fail(w, err)
			return
		}
		defer claim.drop(context.WithoutCancel(r.Context()))
		if err := s.unchanged(r); err != nil {
			s.fail(w, err)
			return
		}
		f(w, r)
	}
}

// unchanged reads what is at the place of r, and compares.
func (s *Server) unchanged(r *http.Request) error {
	read := r.Clone(r.Context())
	read.Method, read.Body, read.ContentLength = http.MethodGet, http.NoBody, 0
	for _, name := range []string{"If-Match", "If-None-Match", "Idempotency-Key", "Content-Type", "Content-Length"} {
		read.Header.Del(name)
	}
	now := &recorder{header: http.Header{}}
	s.mux.ServeHTTP(now, read)
	tag := now.header.Get("ETag")
	if tag == "" {
		return &api.Error{Kind: api.KindChanged, Message: "there is nothing at " + r.URL.Path + " that If-Match could name"}
	}
	if !matches(r.Header.Values("If-Match"), tag, false) {
		return &api.Error{Kind: api.KindChanged, Message: r.URL.Path + " has changed since you read it", Remedy: "read it again and decide again"}
	}
	return nil
}
