// Package control is the owner's loop for a system: it plans, cuts the plan by
// executor, hands the parts out, relays facts, and keeps in the store what
// came of it. It performs nothing on machines itself and asks no provider for
// anything but offers. Run owns every goroutine.
package control

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/ownership"
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
	// Removed reports whether a host was removed from the cluster for good, and
	// the name it had.
	Removed(id string) (name string, removed bool)
}

// Blobs keeps what is too large for a row.
type Blobs interface {
	Put(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	Read(ctx context.Context, digest string) ([]byte, error)
}

// Config is what Control needs.
type Config struct {
	Store    store.KV
	Blobs    Blobs
	Machines Machines
	// Others reaches another manager, to whom what is told or asked here is
	// passed on.
	Others    func(ctx context.Context, manager string) (peerpb.OwnerClient, error)
	Providers []provider.Provider // enabled modules, in order of preference
	Accounts  func(providerName string) *provider.Account
	Classes   plan.Classes
	Secrets   Secrets
	Host      plan.Host
	// Manager tells name, process and address of a manager, as far as known.
	Manager func(id string) api.SystemOwner
	Keeper  *ownership.Keeper // of this manager's claims; it tells Take of systems
	Epoch   func() int64      // of this cluster's fences
	// Issue certifies the key in a request (PKCS#10, DER) for those of the names
	// in it that are allowed, and returns the certificate and its issuer's, DER.
	Issue func(ctx context.Context, request []byte, allowed []string, life time.Duration) (chain [][]byte, err error)
	// Sign signs a part in the name of this manager.
	Sign  func(document []byte) (signature []byte, chain [][]byte, err error)
	NewID func() string // UUIDs
	Emit  func(event.Event)
	// Cursor is the place in the events just after the newest one.
	Cursor func() string
	Now    func() time.Time // that rows and events are stamped with; nil: package time's
	Log    *slog.Logger
}

// Control carries out the plans of the systems that this manager owns. Others
// are not in its memory: what it tells of them it reads in the store.
type Control struct {
	cfg   Config
	store rows                       // as they are
	known rows                       // as they are, or were when a majority of the managers last answered
	work  chan func(context.Context) // what Run is to start
	over  chan struct{}

	mu      sync.Mutex
	systems map[string]*system       // those of this manager that were read
	turns   map[string]chan struct{} // by system: closed when who reads or begins it is done
	drafts  map[string]*draft        // plans that were shown and not yet applied
	order   []string                 // of drafts, oldest first
}

// New returns a Control that has read nothing yet: systems come by Take.
func New(cfg Config) *Control {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Control{
		cfg: cfg, store: rows{kv: cfg.Store, blobs: cfg.Blobs}, known: rows{kv: store.Stale(cfg.Store), blobs: cfg.Blobs}, work: make(chan func(context.Context)), over: make(chan struct{}),
		systems: map[string]*system{}, turns: map[string]chan struct{}{}, drafts: map[string]*draft{},
	}
}

// now is the time to stamp rows and events with.
func (c *Control) now() time.Time { return c.cfg.Now().UTC() }

// Run goes on with the plans that are under way and carries out those that are
// applied, until ctx ends. Machines go on without it.
func (c *Control) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(c.over)
	wg.Go(func() { c.watchLost(ctx) })
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

func (c *Control) system(name string) *system {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.systems[name]
}

// emit records an event of this daemon about a system.
func (c *Control) emit(s *system, kind event.Kind, reason string) {
	c.cfg.Emit(event.Event{
		Origin: c.cfg.Host.MachineID, Time: c.now(), System: s.name,
		Revision: s.head.Revision, Plan: s.head.Plan, Kind: kind, Reason: reason,
	})
}
