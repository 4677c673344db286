// Package provision makes and ends the resources of accounts and hosts. It is
// the only door to vendor modules' Create, Operate and Destroy, and knows
// resources, not clouds: it keeps the ledger, adds idempotency tokens, spaces
// requests, retries, looks again when an answer was lost, and undoes what did
// not succeed.
//
// Every effect is journalled before and after it. The ledger's row of a
// machine goes intended → creating → running → destroying → destroyed, never
// back; a crash between any two instructions leaves a row from which the next
// Acquire, Release or Resume carries on with the same token, so that one
// machine id never has more than one resource for longer than the provider
// takes to list it.
//
// The package refuses to choose: what to create is a Proposal, picked by place.
// It does not keep credentials; Vendors opens them for each call. Run, which
// daemon starts, is its only goroutine beyond its callers'; Resume starts some
// and waits for them.
package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"aloft/provider"
)

// Vendors gives access to vendor modules and to the accounts at them.
type Vendors interface {
	// Provider returns the module called name.
	Provider(name string) (provider.Provider, error)
	// Account opens the account called name for one call.
	Account(ctx context.Context, module, name string) (provider.Account, error)
	// Accounts names every account that resources may be in.
	Accounts() []AccountName
}

// AccountName names an account at a module.
type AccountName struct {
	Provider string
	Account  string
}

// Config is what a Provisioner is made of.
type Config struct {
	Home    string // the 8-hex id that everything made is marked with
	Vendors Vendors
	Ledger  Ledger
	Log     *slog.Logger

	// Policies replace those of DefaultPolicies, by task.
	Policies map[Task]Policy
	// Limits are per module; what is not named gets the default of its site.
	Limits map[string]Limit
	// Now tells the time that rows are stamped with; nil: package time's.
	Now func() time.Time
}

// Provisioner makes and ends resources. Its methods may be called
// concurrently; calls for one machine follow each other.
type Provisioner struct {
	home     string
	vendors  Vendors
	rows     rows
	log      *slog.Logger
	policies map[Task]Policy
	limits   map[string]Limit
	machines locks

	mu sync.Mutex
	// Guarded by mu.
	gates map[AccountName]*gate
}

// New returns a Provisioner over cfg.Ledger. Call Resume before anything else
// when the ledger may hold what a crash left unfinished.
func New(cfg Config) (*Provisioner, error) {
	if cfg.Home == "" {
		return nil, errors.New("provision: no home id to mark resources with")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	policies := DefaultPolicies()
	maps.Copy(policies, cfg.Policies)
	return &Provisioner{
		home: cfg.Home, vendors: cfg.Vendors, rows: rows{cfg.Ledger, cfg.Now}, log: cfg.Log,
		policies: policies, limits: cfg.Limits,
		machines: locks{held: map[string]*turn{}},
		gates:    map[AccountName]*gate{},
	}, nil
}

// Want is one machine that a component asks for.
type Want struct {
	System    string
	Path      string
	MachineID string // the incarnation: a UUID given before the machine exists
	Token     string // idempotency token; one per machine id, recorded before it is used
	Proposal  provider.Proposal
	Name      string // for people and as host name

	// UserData makes what the machine's first boot is handed. It is called
	// before each series of requests, so after a crash it may be called again
	// for a machine that was already booted with an earlier answer.
	UserData func(ctx context.Context) ([]byte, error)
}

// Holder returns the claim holder of a component: "SYSTEM/PATH".
func Holder(system, path string) string { return system + "/" + path }

// Acquire returns the running machine that w asks for, made now or before, and
// claims it for w's component alone. If it cannot be made, what exists of it is
// destroyed, its id is spent, and the error says why. If ctx ends first, what
// exists is kept and recorded: ask again to go on, or Release.
func (p *Provisioner) Acquire(ctx context.Context, w Want) (provider.Resource, error) {
	if w.MachineID == "" || w.Token == "" {
		return provider.Resource{}, fmt.Errorf("acquire %s: machine id and token must be given", Holder(w.System, w.Path))
	}
	done, err := p.machines.take(ctx, w.MachineID)
	if err != nil {
		return provider.Resource{}, err
	}
	defer done()

	e, err := p.intend(w)
	if err != nil {
		return provider.Resource{}, err
	}
	v, err := p.vendor(e.Spec.Provider, e.Spec.Account)
	if err != nil {
		return provider.Resource{}, err
	}
	existed := e.State == Running
	res, err := p.bring(ctx, v, e, w.UserData)
	var broken *ledgerError
	switch {
	case err == nil:
		return res, nil
	case existed, ctx.Err() != nil, errors.As(err, &broken):
		// A machine that has served is never destroyed for a bad moment, an
		// interrupted request goes on later, and without a ledger nothing is
		// done at all.
		return res, fmt.Errorf("machine %s (%s) at %s: %w", e.Name, e.Machine, v.name, err)
	}
	err = fmt.Errorf("machine %s (%s) at %s: %w", e.Name, e.Machine, v.name, err)
	if undo := p.end(ctx, v, e, err.Error()); undo != nil {
		err = errors.Join(err, fmt.Errorf("undo: %w", undo))
	}
	return res, err
}

// intend returns the row of w's machine, written now if there was none.
func (p *Provisioner) intend(w Want) (*Entry, error) {
	holder := Holder(w.System, w.Path)
	e, err := p.rows.get(w.MachineID)
	if err != nil {
		return nil, err
	}
	if e == nil {
		e = &Entry{
			Machine: w.MachineID, Token: w.Token, Name: w.Name, Spec: w.Proposal, State: Intended,
			Mark:   provider.Mark{Home: p.home, System: w.System, Path: w.Path, Machine: w.MachineID},
			Claims: []Claim{{Holder: holder}}, Intended: p.rows.now(),
		}
		e.Spec.Account = cmp.Or(e.Spec.Account, DefaultAccount)
		return e, p.rows.put(e)
	}
	switch {
	case e.State == Destroying || e.State == Destroyed:
		return nil, fmt.Errorf("machine %s (%s) is %s and does not come back: %s", e.Name, e.Machine, e.State, e.Reason)
	case e.Token != w.Token:
		return nil, fmt.Errorf("machine %s (%s) was asked for with another token", e.Name, e.Machine)
	case !e.held(holder):
		return nil, fmt.Errorf("machine %s (%s) is held by %s, not by %s", e.Name, e.Machine, e.holders(), holder)
	}
	return e, nil
}

// bring takes e from wherever it is to running.
func (p *Provisioner) bring(ctx context.Context, v *vendor, e *Entry, userData func(context.Context) ([]byte, error)) (provider.Resource, error) {
	var res provider.Resource
	if e.Ref == "" {
		var err error
		if res, err = p.make(ctx, v, e, userData); err != nil {
			return res, err
		}
	}
	res, err := p.awaitRunning(ctx, v, e, res)
	if err != nil {
		return res, err
	}
	if e.State != Running || !same(e.Seen, res) {
		e.State, e.Seen = Running, res
		return res, p.rows.put(e)
	}
	return res, nil
}

// same reports whether two reports tell the same of a resource.
func same(a, b provider.Resource) bool {
	if !a.Created.Equal(b.Created) {
		return false
	}
	a.Created = b.Created // equal times may differ in how they are kept
	return a == b
}

// make asks for e's resource, or finds the one asked for before, and records
// its ref.
func (p *Provisioner) make(ctx context.Context, v *vendor, e *Entry, userData func(context.Context) ([]byte, error)) (provider.Resource, error) {
	if e.Asked > 0 {
		// An earlier request's answer never reached the ledger.
		if res, err := p.adopt(ctx, v, e); err != nil || e.Ref != "" {
			return res, err
		}
	}
	if err := v.prepare(ctx, e.Spec); err != nil {
		return provider.Resource{}, err
	}
	var data []byte
	if userData != nil {
		var err error
		if data, err = userData(ctx); err != nil {
			return provider.Resource{}, fmt.Errorf("make user data: %w", err)
		}
	}
	leave, err := v.gate.makeTurn(ctx)
	if err != nil {
		return provider.Resource{}, err
	}
	defer leave()
	req := provider.Request{Kind: provider.Compute, Token: e.Token, Mark: e.Mark, Spec: e.Spec, Name: e.Name, UserData: data}
	lost := false
	res, err := invoke(ctx, v, TaskCreate, retryable, func() (provider.Resource, error) {
		if lost {
			if res, err := p.adopt(ctx, v, e); err != nil || e.Ref != "" {
				return res, err
			}
		}
		e.State = Creating
		e.Asked++
		if err := p.rows.put(e); err != nil {
			return provider.Resource{}, err
		}
		res, err := call(ctx, v, TaskCreate, func(ctx context.Context, a provider.Account) (provider.Resource, error) {
			return v.Create(ctx, a, req)
		})
		lost = unsure(err)
		return res, err
	})
	if err != nil || e.Ref != "" {
		return res, err
	}
	e.Ref, e.Seen = res.Ref, res
	if res.State == provider.Running {
		return res, nil // bring writes ref and state in one row
	}
	return res, p.rows.put(e)
}

// adopt looks for what earlier requests with e's token made, records the one
// to keep and destroys the others. e.Ref stays empty when there is none.
func (p *Provisioner) adopt(ctx context.Context, v *vendor, e *Entry) (provider.Resource, error) {
	// Of a token's life half counts: the clock may have been set meanwhile, by as
	// much as the other half.
	again := v.caps.NativeTokens && p.rows.now().Sub(e.Intended).Abs() <= v.caps.TokenLife/2
	if !again {
		// Only a list that is old enough tells that there is none, or more
		// than one. With native tokens asking again is harmless.
		if err := sleep(ctx, v.caps.ListLag); err != nil {
			return provider.Resource{}, err
		}
	}
	found, err := p.withToken(ctx, v, e)
	if err != nil || len(found) == 0 {
		return provider.Resource{}, err
	}
	if again && found[0].State == provider.Failed {
		// Cut short with the request: the same token again finishes it.
		return provider.Resource{}, nil
	}
	for _, dup := range found[1:] {
		p.log.Warn("duplicate resource destroyed", "machine", e.Machine, "ref", dup.Ref, "kept", found[0].Ref)
		if err := p.destroyRef(ctx, v, dup.Ref); err != nil {
			return provider.Resource{}, fmt.Errorf("destroy duplicate %s: %w", dup.Ref, err)
		}
	}
	e.State, e.Ref, e.Seen = Creating, found[0].Ref, found[0]
	return found[0], p.rows.put(e)
}

// awaitRunning asks for e's resource until it runs; res is the last report, if
// any. A stopped machine is started.
func (p *Provisioner) awaitRunning(ctx context.Context, v *vendor, e *Entry, res provider.Resource) (provider.Resource, error) {
	if res.Ref != "" && res.State == provider.Running {
		return res, nil
	}
	started := false
	since := time.Now()
	res, err := invoke(ctx, v, TaskBoot, func(r provider.Resource, err error) bool {
		switch {
		case provider.KindOf(err) == provider.NotFound:
			return e.State != Running && time.Since(since) < v.caps.ListLag // not yet visible
		case err != nil:
			return retryable(r, err)
		case r.State == provider.Stopped:
			return !started || time.Since(since) < v.caps.ListLag
		}
		return r.State == provider.Pending || r.State == provider.Creating
	}, func() (provider.Resource, error) {
		r, err := v.get(ctx, e.Ref)
		if err == nil && r.State == provider.Stopped && !started {
			if err := v.operate(ctx, e.Ref, provider.OpStart); err != nil {
				return r, err
			}
			started = true
			r.State = provider.Creating
		}
		return r, err
	})
	if err != nil {
		return res, err
	}
	switch res.State {
	case provider.Running:
		return res, nil
	case provider.Pending, provider.Creating:
		return res, fmt.Errorf("%s after %s, which is the limit", res.State, time.Since(since).Round(time.Second))
	}
	if res.Reason != "" {
		return res, fmt.Errorf("the provider reports it %s: %s", res.State, res.Reason)
	}
	return res, fmt.Errorf("the provider reports it %s", res.State)
}

// Revive starts a machine that its provider reports stopped, with the disks it
// has, and returns it running. A running one is left alone.
func (p *Provisioner) Revive(ctx context.Context, machineID string) (provider.Resource, error) {
	done, err := p.machines.take(ctx, machineID)
	if err != nil {
		return provider.Resource{}, err
	}
	defer done()
	e, v, err := p.existing(machineID)
	if err != nil {
		return provider.Resource{}, err
	}
	if e.State == Destroying {
		return provider.Resource{}, fmt.Errorf("machine %s (%s) is being destroyed: %s", e.Name, e.Machine, e.Reason)
	}
	res, err := p.bring(ctx, v, e, nil)
	if err != nil {
		return res, fmt.Errorf("revive machine %s (%s) at %s: %w", e.Name, e.Machine, v.name, err)
	}
	return res, nil
}

// Observe asks the provider for the machine's present state. A machine that
// the ledger does not know, or the provider has lost, gives kind NotFound.
func (p *Provisioner) Observe(ctx context.Context, machineID string) (provider.Resource, error) {
	e, v, err := p.existing(machineID)
	if err != nil {
		return provider.Resource{}, err
	}
	res, err := invoke(ctx, v, TaskGet, retryable, func() (provider.Resource, error) {
		return v.get(ctx, e.Ref)
	})
	if err != nil {
		return res, fmt.Errorf("observe machine %s (%s) at %s: %w", e.Name, e.Machine, v.name, err)
	}
	return res, nil
}

// existing returns the row and module of a machine that has a resource.
func (p *Provisioner) existing(machineID string) (*Entry, *vendor, error) {
	e, err := p.rows.get(machineID)
	if err != nil {
		return nil, nil, err
	}
	if e == nil || e.Ref == "" || e.State == Destroyed {
		return nil, nil, &provider.Error{
			Kind: provider.NotFound, Provider: "ledger", Op: "get",
			Err: fmt.Errorf("no machine %s", machineID),
		}
	}
	v, err := p.vendor(e.Spec.Provider, e.Spec.Account)
	return e, v, err
}
