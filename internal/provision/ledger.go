package provision

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/internal/crash"
	"aloft/provider"
)

// Ledger keeps one row per machine. A change is durable before the method
// returns. It takes no context: a result that has happened is recorded even
// when the caller has stopped waiting for it.
type Ledger interface {
	Put(key string, row []byte) error
	// Get returns nil without error when there is no such row.
	Get(key string) ([]byte, error)
	// List calls f for every row, in the order of keys; f's error ends it.
	List(f func(key string, row []byte) error) error
	Delete(key string) error
}

// State says how far a machine is. It only moves forward.
type State string

// The states of a ledger row.
const (
	Intended   State = "intended"   // nothing was asked of the provider
	Creating   State = "creating"   // asked; with a ref: accepted
	Running    State = "running"    // has run; what it does now, Observe tells
	Destroying State = "destroying" // is being ended and does not come back
	Destroyed  State = "destroyed"  // gone, or never made
)

// Claim is a holder's right to a machine.
type Claim struct {
	Holder string `json:"holder"`
	Shared bool   `json:"shared,omitempty"`
}

// Entry is the ledger's row of one machine.
type Entry struct {
	Schema   int               `json:"schema"`
	Machine  string            `json:"machine"` // the incarnation's UUID; the row's key
	Token    string            `json:"token"`
	Name     string            `json:"name"`
	Mark     provider.Mark     `json:"mark"`
	Spec     provider.Proposal `json:"spec"`
	State    State             `json:"state"`
	Reason   string            `json:"reason,omitempty"` // of destroying and destroyed
	Ref      string            `json:"ref,omitempty"`
	Asked    int               `json:"asked,omitempty"` // requests that may have reached the provider
	Seen     provider.Resource `json:"seen"`            // the last report recorded
	Claims   []Claim           `json:"claims,omitempty"`
	Intended time.Time         `json:"intended"`
	Changed  time.Time         `json:"changed"`
}

// schema is the number of the row's present form.
const schema = 1

// held reports whether holder has a claim on e.
func (e *Entry) held(holder string) bool {
	return slices.ContainsFunc(e.Claims, func(c Claim) bool { return c.Holder == holder })
}

func (e *Entry) holders() string {
	var names []string
	for _, c := range e.Claims {
		names = append(names, c.Holder)
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// ledgerError marks that the record could not be kept: the one failure after
// which nothing may be done outside.
type ledgerError struct{ err error }

func (e *ledgerError) Error() string { return "ledger: " + e.err.Error() }
func (e *ledgerError) Unwrap() error { return e.err }

// rows reads and writes entries.
type rows struct {
	ledger Ledger
	now    func() time.Time
}

func (r rows) get(machineID string) (*Entry, error) {
	row, err := r.ledger.Get(machineID)
	if err != nil {
		return nil, &ledgerError{fmt.Errorf("read machine %s: %w", machineID, err)}
	}
	if row == nil {
		return nil, nil
	}
	return decode(machineID, row)
}

func decode(key string, row []byte) (*Entry, error) {
	e := &Entry{}
	if err := json.Unmarshal(row, e); err != nil {
		return nil, &ledgerError{fmt.Errorf("row of machine %s: %w", key, err)}
	}
	if e.Schema > schema {
		return nil, &ledgerError{fmt.Errorf("row of machine %s has schema %d; this release knows %d: use the newer release", key, e.Schema, schema)}
	}
	return e, nil
}

func (r rows) put(e *Entry) error {
	e.Schema, e.Changed = schema, r.now()
	row, err := json.Marshal(e)
	if err != nil {
		return &ledgerError{err}
	}
	crash.Here(fmt.Sprintf("before the row of %s: %s", e.Name, e.State))
	if err := r.ledger.Put(e.Machine, row); err != nil {
		return &ledgerError{fmt.Errorf("write machine %s: %w", e.Machine, err)}
	}
	crash.Here(fmt.Sprintf("after the row of %s: %s", e.Name, e.State))
	return nil
}

func (r rows) all() (entries []*Entry, err error) {
	err = r.ledger.List(func(key string, row []byte) error {
		e, err := decode(key, row)
		if err == nil {
			entries = append(entries, e)
		}
		return err
	})
	return entries, err
}

// Entries returns every row, ordered by machine id.
func (p *Provisioner) Entries() ([]Entry, error) {
	all, err := p.rows.all()
	out := make([]Entry, 0, len(all))
	for _, e := range all {
		out = append(out, *e)
	}
	return out, err
}

// Entry returns the row of a machine, if there is one.
func (p *Provisioner) Entry(machineID string) (Entry, bool, error) {
	e, err := p.rows.get(machineID)
	if e == nil {
		return Entry{}, false, err
	}
	return *e, true, nil
}

// Memory is a Ledger in memory, for simulations and tests. The zero Memory is
// empty.
type Memory struct {
	mu   sync.Mutex
	rows map[string][]byte // guarded by mu
}

// Put keeps row under key.
func (m *Memory) Put(key string, row []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows == nil {
		m.rows = map[string][]byte{}
	}
	m.rows[key] = slices.Clone(row)
	return nil
}

// Get returns the row of key, or nil.
func (m *Memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rows[key]), nil
}

// List calls f for every row there was when it began, in the order of keys.
func (m *Memory) List(f func(key string, row []byte) error) error {
	m.mu.Lock()
	rows := maps.Clone(m.rows)
	m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		if err := f(key, rows[key]); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes the row of key, if there is one.
func (m *Memory) Delete(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, key)
	return nil
}
