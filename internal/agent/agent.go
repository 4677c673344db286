// Package agent is a machine's loop: it takes the parts of plans that are the
// machine's, runs their steps, keeps what runs running, and reports facts. It
// decides nothing about other machines and needs nobody to go on: what it
// holds is in its journal. Run owns every goroutine; the RPC methods only hand
// things to it.
package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/event"
	"aloft/internal/journal"
	"aloft/internal/journal/journalpb"
	"aloft/internal/plan"
	"aloft/value"
)

// Owner takes what a machine has to report, and answers its references.
type Owner interface {
	// Report delivers facts, states and events. It waits for a manager to be
	// in reach as long as ctx allows.
	Report(ctx context.Context, r *peerpb.ReportRequest) error
	// Hold asks whether the machine may go on running what has a tenure: the
	// answer has the systems whose present owners grant it, and which machines
	// those do not hear of. It waits for a manager to be in reach as long as ctx
	// allows.
	Hold(ctx context.Context, systems []string) (*peerpb.HoldReply, error)
	// Read asks for what a reference leads to. It answers within seconds, and
	// may have to be asked again. It waits for a manager to be in reach as long
	// as ctx allows.
	Read(ctx context.Context, r *peerpb.ReadRequest) (*peerpb.ReadReply, error)
}

// Sources opens shipped content by digest, from this machine or a manager.
type Sources interface {
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
}

// Config is what an Agent needs.
type Config struct {
	ID       string // of this daemon's machine
	Build    string
	Managers map[string]component.Manager // by native class name
	Journal  *journal.Journal
	Owner    Owner
	Sources  Sources
	Secrets  Secrets // nil: there are none
	// Certify asks for a certificate of a component of this machine; nil: there is
	// nobody to ask.
	Certify func(ctx context.Context, r *peerpb.CertifyRequest) (*peerpb.CertifyReply, error)
	// Verify checks that a part was signed by a manager of the cluster.
	Verify func(*peerpb.SignedPart) error
	// Machine tells what managers may know of the machine; name is
	// SYSTEM/PATH, or "" on a manager's own host.
	Machine func(name string) component.Machine
	Clock   Clock // of tenures
	// Leash has all that runs on this machine ended at a time of Clock, whatever
	// this daemon does by then, unless it is called again before; 0 is never.
	// Nil: nobody would.
	Leash func(until time.Duration) error
	// Forgotten ends what a component has beyond this daemon, as a machine, where
	// what this daemon kept of it was lost; nil: there is nothing of the kind.
	Forgotten func(ctx context.Context, system string, path value.Path) error
	WorkDir   string // where components have their folders
	Limit     int    // operations at once
	// LogFiles returns where the components of a system write their logs.
	Log *slog.Logger
	// ComponentLog returns the log of one component.
	ComponentLog func(workDir string) *slog.Logger
	PID          int
	// Now tells the time that rows and events are stamped with, of this host; nil:
	// package time's.
	Now func() time.Time
}

// Agent runs the parts of one machine. It implements peerpb.MachineServer.
type Agent struct {
	peerpb.UnimplementedMachineServer

	cfg     Config
	limit   chan struct{}
	dirty   chan struct{}              // has one element when there is something to report
	work    chan func(context.Context) // what Run is to start
	begun   chan struct{}              // closed when Run has begun what was here before
	over    chan struct{}              // closed when Run has ended
	shown   blanks
	tenures sync.Once // begun to be kept
	leash   leash

	mu      sync.Mutex
	tenants map[string]*tenant
	events  []*peerpb.Event // not yet reported
	// sequence of the newest event or report
	sequence int64
}

// New returns an agent that has read its journal and done nothing yet.
func New(ctx context.Context, cfg Config) (*Agent, error) {
	a := &Agent{
		cfg: cfg, limit: make(chan struct{}, max(1, cfg.Limit)), dirty: make(chan struct{}, 1),
		work: make(chan func(context.Context)), begun: make(chan struct{}), over: make(chan struct{}), tenants: map[string]*tenant{},
	}
	if a.cfg.Now == nil {
		a.cfg.Now = time.Now
	}
	var err error
	if a.sequence, err = cfg.Journal.Reserve(ctx, "event", a.now().UnixMicro(), maxSequences); err != nil {
		return nil, fmt.Errorf("write the journal: %w", err)
	}
	parts, err := cfg.Journal.Parts.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	for _, row := range parts {
		t, err := a.restore(ctx, row)
		if err != nil {
			return nil, fmt.Errorf("read the journal of system %s: %w", row.System, err)
		}
		a.tenants[row.System] = t
	}
	return a, nil
}

// restore rebuilds a tenant from the journal.
func (a *Agent) restore(ctx context.Context, row *journalpb.Part) (*tenant, error) {
	content, err := decodePart(row.Signed.GetPart())
	if err != nil {
		return nil, err
	}
	t := newTenant(a, row.System)
	rows, err := a.cfg.Journal.Components.List(ctx, row.System)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		c, err := fromRow(row)
		if err != nil {
			return nil, fmt.Errorf("component %s: %w", row.Path, err)
		}
		t.comps[c.path] = c
	}
	if row, known, err := a.cfg.Journal.Tenures.Get(ctx, row.System); err != nil {
		return nil, err
	} else if known {
		t.tenure = tenure{row.Boot, time.Duration(row.Confirmed)}
	}
	facts, err := a.cfg.Journal.Facts.List(ctx, row.System)
	if err != nil {
		return nil, err
	}
	for _, f := range facts {
		if err := t.learn(f); err != nil {
			return nil, fmt.Errorf("fact %s: %w", f.Step, err)
		}
	}
	entries, heard, err := a.recorded(ctx, content.part)
	if err != nil {
		return nil, err
	}
	t.take(content, entries, heard, row.Interrupted)
	for path := range t.comps {
		t.show[path] = true // what has changed outside of a step may not have been reported
	}
	return t, nil
}

// recorded returns what the journal knows of a part's steps, and of steps
// elsewhere that the part waits for.
func (a *Agent) recorded(ctx context.Context, part *peerpb.Part) ([]journal.Entry, map[plan.StepID]plan.Outcome, error) {
	facts, err := a.cfg.Journal.Facts.List(ctx, part.System)
	if err != nil {
		return nil, nil, err
	}
	heard := map[plan.StepID]plan.Outcome{}
	for _, f := range facts {
		if f.Plan == part.Plan {
			heard[plan.StepID(f.Step)] = outcomes[f.Outcome]
		}
	}
	entries, err := a.cfg.Journal.Steps(ctx, part.System, part.Plan)
	return entries, heard, err
}

// Run brings back what ran before, then runs parts as they arrive, until ctx
// ends. What runs goes on without the agent.
func (a *Agent) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(a.over)
	a.changed() // what the journal holds may not have been reported
	wg.Go(func() { a.report(ctx) })
	wg.Go(func() { a.watch(ctx) })
	before := a.all()
	for _, t := range before {
		t.resuming.Store(true)
	}
	wg.Go(func() { a.live(ctx) })
	for _, t := range before {
		wg.Go(func() { t.run(ctx, true) })
	}
	close(a.begun)
	go a.keepTenures() // it waits for the loop below
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-a.work:
			wg.Go(func() { f(ctx) })
		}
	}
}

// spawn has Run start f. It waits until Run has begun, and does nothing once
// it has ended.
func (a *Agent) spawn(f func(context.Context)) {
	select {
	case a.work <- f:
	case <-a.over:
	}
}

// all returns the tenants by name.
func (a *Agent) all() []*tenant {
	a.mu.Lock()
	defer a.mu.Unlock()
	tenants := make([]*tenant, 0, len(a.tenants))
	for _, name := range slices.Sorted(maps.Keys(a.tenants)) {
		tenants = append(tenants, a.tenants[name])
	}
	return tenants
}

func (a *Agent) tenant(system string) *tenant {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tenants[system]
}

// changed wakes the reporter.
func (a *Agent) changed() {
	select {
	case a.dirty <- struct{}{}:
	default:
	}
}

// maxEvents bounds what is kept of the events while nobody can be told.
const maxEvents = 10_000

// maxSequences is how many events and reports an agent may number before it is
// made anew.
const maxSequences = 1 << 40

// now is the time to stamp rows and events with.
func (a *Agent) now() time.Time { return a.cfg.Now().UTC() }

// Emit queues an event for the owner.
func (a *Agent) Emit(ev event.Event) {
	a.mu.Lock()
	if ev.Kind.Stored() {
		a.sequence++
		ev.Sequence = a.sequence
	}
	e := ev.Proto()
	if len(a.events) >= maxEvents {
		a.events = slices.Delete(a.events, 0, maxEvents/10)
	}
	a.events = append(a.events, e)
	a.mu.Unlock()
	a.changed()
}

// batch is how long news are gathered before they are sent.
const batch = 2 * time.Millisecond

// report sends facts, states and events until ctx ends. What could not be sent
// is sent again: all of it is idempotent.
func (a *Agent) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.dirty:
		}
		sleep(ctx, batch)
		r, sent := a.news()
		if r == nil {
			continue
		}
		if err := a.cfg.Owner.Report(ctx, r); err != nil {
			if ctx.Err() != nil {
				return
			}
			a.cfg.Log.Debug("report", "error", err)
			sleep(ctx, 100*time.Millisecond)
			a.changed()
			continue
		}
		sent()
	}
}

// maxReport bounds what is told at once, in bytes: a session carries messages
// of 16 MiB, and no single value comes near the rest.
const maxReport = 4 << 20

// news returns what is not yet reported, or as much of it as is told at once,
// and what to call once it is.
func (a *Agent) news() (*peerpb.ReportRequest, func()) {
	r := &peerpb.ReportRequest{}
	var sent []func()
	room := maxReport
	for _, t := range a.all() {
		if s := t.news(r, &room); s != nil {
			sent = append(sent, s)
		}
	}
	a.mu.Lock()
	n := 0
	for n < len(a.events) && room > 0 {
		room -= proto.Size(a.events[n])
		n++
	}
	r.Events = slices.Clone(a.events[:n])
	a.sequence++
	r.Number = a.sequence
	a.mu.Unlock()
	if len(r.Facts)+len(r.States)+n == 0 {
		return nil, nil
	}
	return r, func() {
		a.mu.Lock()
		a.events = slices.Delete(a.events, 0, min(n, len(a.events)))
		a.mu.Unlock()
		for _, s := range sent {
			s()
		}
		if room <= 0 {
			a.changed() // there is more
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
