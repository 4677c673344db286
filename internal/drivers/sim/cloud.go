// Package sim is a provider in memory. It rents out machines that do not
// exist, with the delays, refusals, lost answers and listing lag that real
// clouds have, drawn from a seed: the same seed and the same requests give the
// same machines in the same times, in whatever order concurrent calls arrive.
// It reads time only through package time, so that under testing/synctest an
// hour of booting takes no time.
//
// It refuses to run anything: a test that wants a daemon in a machine starts
// one in the hook OnRunning. The package starts no goroutine of its own; the
// timers that call the hooks end with Close.
package sim

import (
	"cmp"
	"container/heap"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"aloft/provider"
)

// Config says how a Cloud behaves. The zero Config is a well-behaved cloud
// with the boot times of the published measurements and emulated tokens.
type Config struct {
	Name string // the word used in cloudProvider; "" means "sim"
	Seed uint64

	NativeTokens bool
	TokenLife    time.Duration // of native tokens; 0 means 24 h
	ListLag      time.Duration // until List shows what Create made
	Latency      time.Duration // of each call, half of it before the effect
	BootScale    float64       // factor on boot times; 0 means 1
	Shutdown     time.Duration // from Destroy to gone
	NoStop       bool          // the provider can neither stop nor start machines

	Quota     int // resources of one account; 0: no quota
	PerSecond int // calls of one account; more are refused with RetryAfter; 0: no limit
	PageSize  int // resources on one page of List; 0 means 100

	Faults Faults

	// OnRunning is called when a machine begins to run, OnGone when it ceases
	// to (stopped or destroyed). The calls come one after the other, in the
	// order of what happened, and may call the cloud; they must not block.
	OnRunning func(r provider.Resource, userData []byte)
	OnGone    func(r provider.Resource)

	Log *slog.Logger // nil: silent
}

// Faults are the shares, 0 to 1, of what goes wrong.
type Faults struct {
	NoCapacity  float64 // creations refused for want of capacity
	NeverBoots  float64 // machines that are accepted and then fail; see BootFailures
	LostAnswers float64 // creations and destructions that happen, but whose answer is lost
	Transient   float64 // calls of any kind that fail without effect
}

// Stats counts what happened at the cloud since it was made.
type Stats struct {
	Created   int
	Destroyed int
	Calls     map[string]int // by operation
}

// Cloud is the provider itself: what goes on existing while the modules that
// speak to it come and go.
type Cloud struct {
	cfg Config

	mu sync.Mutex
	// Guarded by mu.
	records map[string]*record  // by ref
	due     turns               // when records turn; of those that are gone or stopped, too
	asked   map[string][]string // refs made, in their order, by account and token
	tokens  map[string]used     // native tokens
	draws   map[string]uint64   // how often a fault was drawn for a key
	windows map[string]window   // by account, for PerSecond
	timers  map[*time.Timer]struct{}
	lose    map[string]int // forced lost answers by operation
	serial  int
	stats   Stats
	closed  bool
	queue   []func() // calls of hooks to make, in order
	calling bool     // some goroutine makes them
}

// record is one resource with its future: what it will be, and when.
type record struct {
	Resource provider.Resource
	Account  string
	UserData []byte
	Visible  time.Time // List shows it from then on
	Turns    time.Time // Creating ends then
	Fails    bool      // … in Failed instead of Running
	Ends     time.Time // Destroying ends then
}

type used struct {
	Ref   string
	Until time.Time
}

type window struct {
	start time.Time
	calls int
}

// NewCloud returns an empty cloud.
func NewCloud(cfg Config) *Cloud {
	cfg.Name = cmp.Or(cfg.Name, "sim")
	cfg.TokenLife = cmp.Or(cfg.TokenLife, 24*time.Hour)
	cfg.BootScale = cmp.Or(cfg.BootScale, 1)
	cfg.PageSize = cmp.Or(cfg.PageSize, 100)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Cloud{
		cfg:     cfg,
		records: map[string]*record{},
		asked:   map[string][]string{},
		tokens:  map[string]used{},
		draws:   map[string]uint64{},
		windows: map[string]window{},
		timers:  map[*time.Timer]struct{}{},
		lose:    map[string]int{},
		stats:   Stats{Calls: map[string]int{}},
	}
}

// Close stops the timers that call the hooks. The cloud can still be asked.
func (c *Cloud) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for t := range c.timers {
		t.Stop()
	}
	clear(c.timers)
}

// Stats returns the counts so far.
func (c *Cloud) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Calls = maps.Clone(s.Calls)
	return s
}

// Resources returns everything that exists, whoever's it is, by ref. It is the
// truth that tests compare ledgers with: no lag, no faults.
func (c *Cloud) Resources() []provider.Resource {
	c.mu.Lock()
	defer c.release()
	c.settleAll()
	out := make([]provider.Resource, 0, len(c.records))
	for _, ref := range slices.Sorted(maps.Keys(c.records)) {
		out = append(out, c.records[ref].Resource)
	}
	return out
}

// LoseNext makes the next n answers of op ("create" or "destroy") get lost
// after the effect, whatever the Faults say.
func (c *Cloud) LoseNext(op string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose[op] += n
}

// SetFaults changes what goes wrong from now on.
func (c *Cloud) SetFaults(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Faults = f
}

// Stop stops a running machine behind its owner's back, as a reclaimed spot
// machine or a rebooted host would.
func (c *Cloud) Stop(ref, reason string) error {
	c.mu.Lock()
	defer c.release()
	c.settle(ref)
	r, ok := c.records[ref]
	if !ok {
		return fmt.Errorf("sim: no machine %s", ref)
	}
	if r.Resource.State == provider.Running {
		c.leave(r, provider.Stopped, reason)
	}
	return nil
}

// Lose makes a machine vanish without a word, as a burnt-down hall would.
func (c *Cloud) Lose(ref string) error {
	c.mu.Lock()
	defer c.release()
	c.settle(ref)
	r, ok := c.records[ref]
	if !ok {
		return fmt.Errorf("sim: no machine %s", ref)
	}
	c.leave(r, provider.Destroying, "")
	c.remove(ref)
	return nil
}

// release unlocks mu and makes the queued calls, unless another goroutine is
// at it.
func (c *Cloud) release() {
	if c.calling {
		c.mu.Unlock()
		return
	}
	c.calling = true
	for len(c.queue) > 0 {
		f := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		f()
		c.mu.Lock()
	}
	c.calling = false
	c.mu.Unlock()
}

// settle brings the record of ref to the present. The caller holds mu, and
// ends with release.
func (c *Cloud) settle(ref string) {
	r, ok := c.records[ref]
	if !ok {
		return
	}
	now := time.Now()
	if r.Resource.State == provider.Creating && !now.Before(r.Turns) {
		if r.Fails {
			r.Resource.State, r.Resource.Reason = provider.Failed, "did not boot"
		} else {
			r.Resource.State, r.Resource.Reason = provider.Running, ""
			c.running(r)
		}
	}
	if r.Resource.State == provider.Destroying && !now.Before(r.Ends) {
		c.remove(ref)
	}
}

// settleAll settles the records whose time has come, by ref. It looks at no
// other: there may be ten thousand, and each call comes by here.
func (c *Cloud) settleAll() {
	now := time.Now()
	var refs []string
	for len(c.due) > 0 && !now.Before(c.due[0].at) {
		refs = append(refs, heap.Pop(&c.due).(turn).ref)
	}
	slices.Sort(refs)
	for _, ref := range refs {
		c.settle(ref)
	}
}

// leave moves r out of whatever it did into state.
func (c *Cloud) leave(r *record, state provider.State, reason string) {
	ran := r.Resource.State == provider.Running
	r.Resource.State, r.Resource.Reason = state, reason
	if ran && c.cfg.OnGone != nil {
		res := r.Resource
		c.queue = append(c.queue, func() { c.cfg.OnGone(res) })
	}
}

func (c *Cloud) running(r *record) {
	if c.cfg.OnRunning != nil {
		res, data := r.Resource, slices.Clone(r.UserData)
		c.queue = append(c.queue, func() { c.cfg.OnRunning(res, data) })
	}
}

func (c *Cloud) remove(ref string) {
	r := c.records[ref]
	delete(c.records, ref)
	key := asking(r.Account, r.Resource.Token)
	c.asked[key] = slices.DeleteFunc(c.asked[key], func(one string) bool { return one == ref })
	if len(c.asked[key]) == 0 {
		delete(c.asked, key)
	}
	c.stats.Destroyed++
}

// wake arranges that ref is settled at t, so that its hook is called though
// nobody asks.
func (c *Cloud) wake(ref string, t time.Time) {
	heap.Push(&c.due, turn{t, ref})
	if c.closed || c.cfg.OnRunning == nil && c.cfg.OnGone == nil {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(t), func() {
		c.mu.Lock()
		if _, live := c.timers[timer]; !live {
			c.mu.Unlock()
			return
		}
		delete(c.timers, timer)
		c.settle(ref)
		c.release()
	})
	c.timers[timer] = struct{}{}
}
