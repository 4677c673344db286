package provision

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"golang.org/x/sync/semaphore"

	"aloft/provider"
)

// Task names a kind of work whose retries, pauses and limits are configured
// together.
type Task string

// The tasks of this room.
const (
	TaskPrepare Task = "prepare"
	TaskCreate  Task = "create"
	TaskBoot    Task = "boot" // ask until the machine runs
	TaskGet     Task = "get"
	TaskList    Task = "list"
	TaskDestroy Task = "destroy"
	TaskGone    Task = "gone" // ask until the machine is gone
)

// Policy says how a task is repeated. Where a provider says when to come
// again, that takes the place of the pause.
type Policy struct {
	Attempts int           // at most; 0: as many as Limit allows
	Pause    time.Duration // after the first attempt, growing by Factor
	MaxPause time.Duration
	Factor   float64       // 0 means 2
	Call     time.Duration // limit of one attempt
	Limit    time.Duration // after which no further attempt is begun; 0: none
}

// DefaultPolicies returns the policies of all tasks. Asking begins fast, since
// machines on this host are ready in milliseconds, and slows down for clouds.
func DefaultPolicies() map[Task]Policy {
	return map[Task]Policy{
		TaskPrepare: {Attempts: 4, Pause: time.Second, MaxPause: 10 * time.Second, Call: 5 * time.Minute},
		TaskCreate:  {Attempts: 6, Pause: time.Second, MaxPause: 20 * time.Second, Call: 2 * time.Minute},
		TaskBoot:    {Pause: 5 * time.Millisecond, MaxPause: 3 * time.Second, Factor: 1.5, Call: 30 * time.Second, Limit: 5 * time.Minute},
		TaskGet:     {Attempts: 4, Pause: 200 * time.Millisecond, MaxPause: 2 * time.Second, Call: 30 * time.Second},
		TaskList:    {Attempts: 5, Pause: 500 * time.Millisecond, MaxPause: 5 * time.Second, Call: time.Minute},
		TaskDestroy: {Attempts: 6, Pause: 500 * time.Millisecond, MaxPause: 20 * time.Second, Call: 2 * time.Minute},
		TaskGone:    {Pause: 5 * time.Millisecond, MaxPause: 3 * time.Second, Factor: 1.5, Call: 30 * time.Second, Limit: 5 * time.Minute},
	}
}

// Limit spaces what is asked of one account or host.
type Limit struct {
	PerSecond int // calls; 0: no limit
	AtOnce    int // creations under way; 0: no limit
}

// defaultLimit is kind to clouds, and keeps a host from making more machines
// at once than it gains by.
func defaultLimit(site provider.Site) Limit {
	if site == provider.SiteHost {
		return Limit{AtOnce: runtime.NumCPU() + 2}
	}
	return Limit{PerSecond: 20, AtOnce: 40}
}

// gate is the way to one account: all calls pass it.
type gate struct {
	rate  ratelimiter.RateLimiter[any] // nil: no limit
	makes *semaphore.Weighted          // nil: no limit

	classes locks // one preparation of a class at a time

	mu sync.Mutex
	// Guarded by mu.
	pause time.Time // until then the provider wants no calls
	ready map[provider.Class]bool
}

func newGate(l Limit) *gate {
	g := &gate{ready: map[provider.Class]bool{}, classes: locks{held: map[string]*turn{}}}
	if l.PerSecond > 0 {
		g.rate = ratelimiter.NewSmooth[any](uint(l.PerSecond), time.Second)
	}
	if l.AtOnce > 0 {
		g.makes = semaphore.NewWeighted(int64(l.AtOnce))
	}
	return g
}

// pass waits until a call may be made.
func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	wait := time.Until(g.pause)
	g.mu.Unlock()
	if err := sleep(ctx, wait); err != nil {
		return err
	}
	if g.rate == nil {
		return nil
	}
	return g.rate.AcquirePermit(ctx)
}

// hold keeps all calls back for d, as the provider asks.
func (g *gate) hold(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(d); until.After(g.pause) {
		g.pause = until
	}
}

// makeTurn waits until one more machine may be made.
func (g *gate) makeTurn(ctx context.Context) (leave func(), err error) {
	if g.makes == nil {
		return func() {}, nil
	}
	if err := g.makes.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { g.makes.Release(1) }, nil
}

// vendor is one account at one module.
type vendor struct {
	provider.Provider
	name    string
	account string
	caps    provider.Capabilities
	open    func(ctx context.Context) (provider.Account, error)
	gate    *gate
	policy  map[Task]Policy
}

func (p *Provisioner) vendor(module, account string) (*vendor, error) {
	prov, err := p.vendors.Provider(module)
	if err != nil {
		return nil, err
	}
	caps := prov.Describe()
	p.mu.Lock()
	defer p.mu.Unlock()
	key := AccountName{module, account}
	g, ok := p.gates[key]
	if !ok {
		l, set := p.limits[module]
		if !set {
			l = defaultLimit(caps.Site)
		}
		g = newGate(l)
		p.gates[key] = g
	}
	return &vendor{
		Provider: prov, name: module, account: account, caps: caps, gate: g, policy: p.policies,
		open: func(ctx context.Context) (provider.Account, error) {
			return p.vendors.Account(ctx, module, account)
		},
	}, nil
}

// patience is how long a provider may go on asking for later calls before that
// counts as a failed attempt.
const patience = 5 * time.Minute

// call makes one call of a task through the gate, with the account opened for
// it. A provider that only asks to come later is asked later: that is
// queueing, not failure, and neither it nor waiting at the gate counts towards
// the call's limit.
func call[R any](ctx context.Context, v *vendor, task Task, f func(context.Context, provider.Account) (R, error)) (R, error) {
	for begun := time.Now(); ; {
		if err := v.gate.pass(ctx); err != nil {
			var none R
			return none, err
		}
		r, err := once(ctx, v, task, f)
		wait := retryAfter(err)
		if wait <= 0 {
			return r, err
		}
		v.gate.hold(wait)
		if provider.MayHaveHappened(err) || time.Since(begun)+wait > patience {
			return r, err
		}
	}
}

func once[R any](ctx context.Context, v *vendor, task Task, f func(context.Context, provider.Account) (R, error)) (R, error) {
	a, err := v.open(ctx)
	if err != nil {
		var none R
		return none, fmt.Errorf("open account %s: %w", v.account, err)
	}
	if limit := v.policy[task].Call; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return f(ctx, a)
}

// invoke carries out a task by its policy: f is called again while again says
// so of its result. The last result is returned, whatever it is.
func invoke[R any](ctx context.Context, v *vendor, task Task, again func(R, error) bool, f func() (R, error)) (R, error) {
	pol := v.policy[task]
	if pol.Attempts == 0 {
		pol.Attempts = -1
	}
	if pol.Factor == 0 {
		pol.Factor = 2
	}
	retry := retrypolicy.NewBuilder[R]().
		HandleIf(again).
		WithMaxAttempts(pol.Attempts).
		WithMaxDuration(pol.Limit).
		WithBackoffFactor(pol.Pause, pol.MaxPause, pol.Factor).
		WithDelayFunc(func(exec failsafe.ExecutionAttempt[R]) time.Duration {
			if d := retryAfter(exec.LastError()); d > 0 {
				return d
			}
			return -1 // the policy's own pause
		}).
		ReturnLastFailure().
		Build()
	r, err := failsafe.With(retry).WithContext(ctx).Get(f)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return r, err
}

// retryable says of any result whether the same call may succeed later.
func retryable[R any](_ R, err error) bool {
	return provider.KindOf(err) == provider.Transient || provider.MayHaveHappened(err) ||
		errors.Is(err, context.DeadlineExceeded)
}

// unsure reports whether the effect of the failed call may exist: the module
// says so, or says nothing that excludes it.
func unsure(err error) bool {
	return err != nil && (provider.MayHaveHappened(err) || provider.KindOf(err) == "")
}

func retryAfter(err error) time.Duration {
	var e *provider.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

func (v *vendor) get(ctx context.Context, ref string) (provider.Resource, error) {
	return call(ctx, v, TaskGet, func(ctx context.Context, a provider.Account) (provider.Resource, error) {
		return v.Get(ctx, a, ref)
	})
}

// operate does op where the module declares it (OP1).
func (v *vendor) operate(ctx context.Context, ref string, op provider.Operation) error {
	if v.caps.Operations[op] != provider.Yes {
		return &provider.Error{
			Kind: provider.NotSupported, Provider: v.name, Op: string(op),
			Err: fmt.Errorf("%s cannot %s machines", v.name, op),
		}
	}
	_, err := call(ctx, v, TaskCreate, func(ctx context.Context, a provider.Account) (struct{}, error) {
		return struct{}{}, v.Operate(ctx, a, ref, op)
	})
	return err
}

// prepare prepares the class of spec, once.
func (v *vendor) prepare(ctx context.Context, spec provider.Proposal) error {
	class := provider.Class{Kind: provider.Compute, Template: spec.Template, Region: spec.Region, Size: spec.Size, Count: 1}
	done, err := v.gate.classes.take(ctx, fmt.Sprint(class))
	if err != nil {
		return err
	}
	defer done()
	if v.gate.prepared(class) {
		return nil
	}
	_, err = invoke(ctx, v, TaskPrepare, retryable, func() (struct{}, error) {
		return call(ctx, v, TaskPrepare, func(ctx context.Context, a provider.Account) (struct{}, error) {
			return struct{}{}, v.Prepare(ctx, a, class)
		})
	})
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	v.gate.ready[class] = true
	return nil
}

func (g *gate) prepared(class provider.Class) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ready[class]
}

// sleep waits for d, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
