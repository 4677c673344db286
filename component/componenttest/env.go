package componenttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"aloft/component"
	"aloft/value"
)

// Env is the environment a suite gives to a manager: it keeps what the manager
// tells, and checks it against the manager's class.
type Env struct {
	t     testing.TB
	class component.Class

	mu sync.Mutex
	// guarded by mu
	outputs  map[string]value.Value
	sources  map[string][]byte
	notified []*value.Reference
	ended    []component.Record
	restarts []string
	changed  int
	reminder time.Time
	issue    func(request []byte) ([][]byte, error)
	closed   bool
}

// NewEnv returns an environment for a component of class.
func NewEnv(t testing.TB, class component.Class) *Env {
	e := &Env{t: t, class: class, outputs: map[string]value.Value{}, sources: map[string][]byte{}}
	e.issue = func(request []byte) ([][]byte, error) { return Issue(request, 90*24*time.Hour) }
	t.Cleanup(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.closed = true // a late watcher must not log to a finished test
	})
	return e
}

// Ship adds content that the description's author sends along, and returns its
// digest.
func (e *Env) Ship(content []byte) string {
	digest := Digest(content)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sources[digest] = content
	return digest
}

// Digest returns the name of shipped content.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Outputs returns what the manager has put out so far.
func (e *Env) Outputs() map[string]value.Value {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.outputs)
}

// EndedRecords returns the ends the manager has told of.
func (e *Env) EndedRecords() []component.Record {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]component.Record(nil), e.ended...)
}

// Restarts returns the reasons of the restarts the manager has told of.
func (e *Env) Restarts() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.restarts...)
}

// Notified returns the references given to Notify.
func (e *Env) Notified() []*value.Reference {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*value.Reference(nil), e.notified...)
}

// Output keeps an output and checks that the class declares it.
func (e *Env) Output(name string, v value.Value) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outputs[name] = v
	if e.closed {
		return
	}
	for _, o := range e.class.Outputs {
		if o.Name == name {
			if o.Kind != v.Kind() {
				e.t.Errorf("output %s is a %s, the class says %s", name, v.Kind(), o.Kind)
			}
			return
		}
	}
	if !e.class.OpenOutputs || v.Kind() != value.KindString {
		e.t.Errorf("output %s is not declared by the class", name)
	}
}

// Read knows no other components.
func (e *Env) Read(context.Context, *value.Reference) (value.Value, error) {
	return nil, errors.New("no other component in this test")
}

// Notify keeps the reference.
func (e *Env) Notify(ref *value.Reference) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notified = append(e.notified, ref)
}

// Changed counts.
func (e *Env) Changed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changed++
}

// Changes returns how often the manager has told of changed outputs.
func (e *Env) Changes() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// Remind keeps the time.
func (e *Env) Remind(at time.Time, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reminder = at
	if why == "" && !e.closed {
		e.t.Error("a reminder of nothing")
	}
}

// Reminder returns when the manager wants to be reminded; zero: never.
func (e *Env) Reminder() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reminder
}

// Certify has the issuer of these tests certify for 90 days, or what IssueBy
// has set.
func (e *Env) Certify(_ context.Context, request []byte) ([][]byte, error) {
	e.mu.Lock()
	issue := e.issue
	e.mu.Unlock()
	return issue(request)
}

// IssueBy sets what answers Certify.
func (e *Env) IssueBy(issue func(request []byte) ([][]byte, error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.issue = issue
}

// Progress checks the fraction.
func (e *Env) Progress(fraction float64, text string) {
	if fraction < 0 || fraction > 1 || text == "" {
		e.t.Errorf("progress %v %q", fraction, text)
	}
}

// Log discards.
func (e *Env) Log() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Source opens shipped content.
func (e *Env) Source(_ context.Context, digest string) (io.ReadCloser, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, ok := e.sources[digest]
	if !ok {
		return nil, fmt.Errorf("no content with digest %s", digest)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Ended keeps the record.
func (e *Env) Ended(r component.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = append(e.ended, r)
}

// Restarted keeps the reason.
func (e *Env) Restarted(reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.restarts = append(e.restarts, reason)
}

// Killed checks the reason; what a suite breaks need not end well.
func (e *Env) Killed(reason string) {
	if reason == "" {
		e.t.Error("killed, and not told why")
	}
}

var _ component.Environment = (*Env)(nil)
