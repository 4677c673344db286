// Package control is the owner's loop for a system: it plans, cuts the plan by
// executor, hands the parts out, relays facts, and keeps in the store what
// came of it. It performs nothing on machines itself and asks no provider for
// anything but offers. Run owns every goroutine.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/plan"
	"aloft/internal/store"
	"aloft/provider"
)

// Machines reaches the daemons of executors.
type Machines interface {
	// Machine waits for a session with the daemon of that machine id.
	Machine(ctx context.Context, id string) (peerpb.MachineClient, error)
	// Connected reports whether there is one now.
	Connected(id string) bool
	// Silent reports whether there is none, and since when, as far as is known.
	Silent(id string) (since time.Time, silent bool)
}

// Blobs keeps what is too large for a row.
type Blobs interface {
	Put(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	Read(ctx context.Context, digest string) ([]byte, error)
}

// Config is what Control needs.
type Config struct {
	Store     store.KV
	Blobs     Blobs
	Machines  Machines
	Providers []provider.Provider // enabled modules, in order of preference
	Accounts  func(providerName string) *provider.Account
	Classes   plan.Classes
	Host      plan.Host
	Epoch     int64 // of this cluster's fences
	// Sign signs a part in the name of this manager.
	Sign  func(document []byte) (signature []byte, chain [][]byte, err error)
	NewID func() string // UUIDs
	Emit  func(event.Event)
	// Cursor is the place in the events just after the newest one.
	Cursor func() string
	Log    *slog.Logger
}

// Control owns systems.
type Control struct {
	cfg   Config
	store rows
	work  chan func(context.Context) // what Run is to start
	over  chan struct{}

	// starting is held, while rows are written, by the one plan that is being
	// made its system's newest: two first plans of a name are one too many.
	starting sync.Mutex

	mu      sync.Mutex
	systems map[string]*system
	drafts  map[string]*draft // plans that were shown and not yet applied
	order   []string          // of drafts, oldest first
}

// New returns a Control that has read the store and taken over what is there:
// each system's term is raised, so that the owner before it is refused.
func New(ctx context.Context, cfg Config) (*Control, error) {
	c := &Control{
		cfg: cfg, store: rows{kv: cfg.Store, blobs: cfg.Blobs}, work: make(chan func(context.Context)), over: make(chan struct{}),
		systems: map[string]*system{}, drafts: map[string]*draft{},
	}
	names, err := c.store.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the systems: %w", err)
	}
	for _, name := range names {
		s, err := c.restore(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("read system %s: %w", name, err)
		}
		c.systems[name] = s
	}
	return c, nil
}

// Run goes on with the plans that are under way and carries out those that are
// applied, until ctx ends. Machines go on without it.
func (c *Control) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(c.over)
	for _, s := range c.all() {
		if s.underWay() {
			wg.Go(func() { s.carryOut(ctx) })
		} else {
			wg.Go(func() { c.undo(ctx, s) }) // if that was not begun
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-c.work:
			wg.Go(func() { f(ctx) })
		}
	}
}

// spawn has Run start f.
func (c *Control) spawn(f func(context.Context)) {
	select {
	case c.work <- f:
	case <-c.over:
	}
}

// all returns the systems by name.
func (c *Control) all() []*system {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*system, 0, len(c.systems))
	for _, name := range slices.Sorted(maps.Keys(c.systems)) {
		all = append(all, c.systems[name])
	}
	return all
}

func (c *Control) system(name string) *system {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.systems[name]
}

// Report takes in what a machine tells. It is in the store when Report
// returns.
func (c *Control) Report(ctx context.Context, from string, r *peerpb.ReportRequest) error {
	facts := map[string][]*peerpb.Fact{}
	states := map[string][]*peerpb.ComponentState{}
	for _, f := range r.Facts {
		facts[f.System] = append(facts[f.System], f)
	}
	for _, st := range r.States {
		states[st.System] = append(states[st.System], st)
	}
	names := slices.Collect(maps.Keys(facts))
	for name := range states {
		if _, ok := facts[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var errs []error
	for _, name := range names {
		if s := c.system(name); s != nil {
			if err := s.report(ctx, from, facts[name], states[name]); err != nil {
				errs = append(errs, fmt.Errorf("system %s: %w", name, err))
			}
		}
	}
	for _, e := range r.Events {
		ev, err := event.FromProto(e)
		if err != nil {
			c.cfg.Log.Debug("event left out", "peer", from, "error", err)
			continue
		}
		if ev.Origin != from || !ofMachine(ev.Kind) {
			c.cfg.Log.Warn("event refused", "kind", ev.Kind, "origin", ev.Origin, "peer", from)
			continue
		}
		c.cfg.Emit(ev)
	}
	return errors.Join(errs...)
}

// ofMachine reports whether a machine may tell of events of this kind: plans,
// systems and machines are their owners' to tell of.
func ofMachine(k event.Kind) bool {
	of, _, _ := strings.Cut(string(k), ".")
	return of == "step" || of == "component" || k == event.Progress
}

// emit records an event of this daemon about a system.
func (c *Control) emit(s *system, kind event.Kind, reason string) {
	c.cfg.Emit(event.Event{
		Origin: c.cfg.Host.MachineID, Time: time.Now().UTC(), System: s.name,
		Revision: s.head.Revision, Plan: s.head.Plan, Kind: kind, Reason: reason,
	})
}
