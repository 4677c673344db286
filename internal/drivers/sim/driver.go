package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"aloft/provider"
)

// Driver is the module that speaks to a Cloud. Like every module it keeps no
// state: any number of them may be made for one cloud, at once or one after
// the other.
type Driver struct{ c *Cloud }

// Driver returns a new module over c.
func (c *Cloud) Driver() *Driver { return &Driver{c} }

var _ provider.Provider = (*Driver)(nil)

// Template is the one image the cloud has.
const Template = "linux"

// size is one line of the price list.
type size struct {
	name    string
	cores   int
	memory  int // MiB
	disk    int // GB
	perHour float64
}

// The price list, cheapest first.
var (
	sizes = []size{
		{"s1", 1, 1024, 20, 0.01},
		{"s2", 2, 4096, 40, 0.04},
		{"s4", 4, 8192, 80, 0.08},
		{"s8", 8, 32768, 160, 0.20},
		{"s16", 16, 65536, 320, 0.40},
	}
	regions = []struct {
		name   string
		factor float64
	}{{"east", 1}, {"west", 1.1}}
)

// Describe tells the module's capabilities.
func (d *Driver) Describe() provider.Capabilities {
	power := provider.Yes
	if d.c.cfg.NoStop {
		power = provider.No
	}
	return provider.Capabilities{
		Name:            d.c.cfg.Name,
		Doc:             "machines that exist in memory only, for trying out plans and failures",
		Kinds:           []provider.Kind{provider.Compute},
		Operations:      map[provider.Operation]provider.Support{provider.OpStart: power, provider.OpStop: power},
		Site:            provider.SiteAccount,
		NativeTokens:    d.c.cfg.NativeTokens,
		TokenLife:       d.c.cfg.TokenLife,
		ListLag:         d.c.cfg.ListLag,
		Isolation:       true,
		DefaultTemplate: Template,
	}
}

// Offer answers each need with every line of the price list that meets it,
// cheapest first, at most five.
func (d *Driver) Offer(ctx context.Context, call provider.Call, account *provider.Account) ([]provider.Proposal, error) {
	name := "default"
	if account != nil {
		name = account.Name
	}
	if err := d.c.enter(ctx, "offer", name, name); err != nil {
		return nil, err
	}
	var out []provider.Proposal
	for _, n := range call.Needs {
		var fit []provider.Proposal
		for _, s := range sizes {
			for _, r := range regions {
				price := s.perHour * r.factor
				if s.cores < n.Cores || s.memory < n.Memory || s.disk < n.Disk ||
					n.Region != "" && n.Region != r.name ||
					n.Template != "" && n.Template != Template ||
					n.MaxPrice > 0 && price > n.MaxPrice {
					continue
				}
				fit = append(fit, provider.Proposal{
					Need: n.Name, Provider: d.c.cfg.Name, Account: name,
					Region: r.name, Zone: r.name + "-1", Size: s.name, Template: Template,
					Cores: s.cores, Memory: s.memory, Disk: s.disk,
					PerHour: price, Currency: "EUR", Isolation: true,
				})
			}
		}
		slices.SortStableFunc(fit, func(a, b provider.Proposal) int { return cmp.Compare(a.PerHour, b.PerHour) })
		out = append(out, fit[:min(len(fit), 5)]...)
	}
	return out, d.c.leaveCall(ctx, "offer", false)
}

// Prepare checks that the class names an existing size and image.
func (d *Driver) Prepare(ctx context.Context, account provider.Account, class provider.Class) error {
	if err := d.c.enter(ctx, "prepare", account.Name, account.Name); err != nil {
		return err
	}
	if err := d.c.valid("prepare", class.Kind, class.Template, class.Size); err != nil {
		return err
	}
	return d.c.leaveCall(ctx, "prepare", false)
}

// Create asks for a machine. With native tokens a known token returns the
// machine made before; otherwise only if List would show it already.
func (d *Driver) Create(ctx context.Context, account provider.Account, req provider.Request) (provider.Resource, error) {
	if err := d.c.enter(ctx, "create", account.Name, req.Token); err != nil {
		return provider.Resource{}, err
	}
	if req.Token == "" || req.Mark.Home == "" {
		return provider.Resource{}, d.c.fail("create", provider.Invalid, errors.New("a request needs a token and a mark with its home"))
	}
	if err := d.c.valid("create", req.Kind, req.Spec.Template, req.Spec.Size); err != nil {
		return provider.Resource{}, err
	}
	res, lost, err := d.c.create(account.Name, req)
	if err != nil {
		return provider.Resource{}, err
	}
	if lost {
		return provider.Resource{}, d.c.lost("create", errors.New("connection reset before the answer"))
	}
	return res, d.c.leaveCall(ctx, "create", true)
}

// Get returns the resource, or NotFound once it is gone.
func (d *Driver) Get(ctx context.Context, account provider.Account, ref string) (provider.Resource, error) {
	if err := d.c.enter(ctx, "get", account.Name, ref); err != nil {
		return provider.Resource{}, err
	}
	r, err := d.c.get("get", account.Name, ref)
	if err != nil {
		return provider.Resource{}, err
	}
	return r, d.c.leaveCall(ctx, "get", false)
}

// List returns what bears mark and has become visible, ordered by ref.
func (d *Driver) List(ctx context.Context, account provider.Account, mark provider.Mark, page provider.Page) ([]provider.Resource, provider.Page, error) {
	if err := d.c.enter(ctx, "list", account.Name, account.Name); err != nil {
		return nil, "", err
	}
	all := d.c.list(account.Name, mark, string(page))
	next := provider.Page("")
	if n := d.c.cfg.PageSize; len(all) > n {
		all = all[:n]
		next = provider.Page(all[n-1].Ref)
	}
	return all, next, d.c.leaveCall(ctx, "list", false)
}

// Operate stops a machine, or starts a stopped one.
func (d *Driver) Operate(ctx context.Context, account provider.Account, ref string, op provider.Operation) error {
	if err := d.c.enter(ctx, "operate", account.Name, ref); err != nil {
		return err
	}
	if d.Describe().Operations[op] != provider.Yes {
		return d.c.fail("operate", provider.NotSupported, fmt.Errorf("%s has no operation %q", d.c.cfg.Name, op))
	}
	if err := d.c.operate(account.Name, ref, op); err != nil {
		return err
	}
	return d.c.leaveCall(ctx, "operate", true)
}

// Destroy ends the machine; it is gone after Config.Shutdown.
func (d *Driver) Destroy(ctx context.Context, account provider.Account, ref string) error {
	if err := d.c.enter(ctx, "destroy", account.Name, ref); err != nil {
		return err
	}
	if d.c.destroy(account.Name, ref) {
		return d.c.lost("destroy", errors.New("connection reset before the answer"))
	}
	return d.c.leaveCall(ctx, "destroy", true)
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

// enter is the way to the provider: latency, rate limit, transient faults.
func (c *Cloud) enter(ctx context.Context, op, account, key string) error {
	if err := sleep(ctx, c.cfg.Latency/2); err != nil {
		return &provider.Error{Kind: provider.Transient, Provider: c.cfg.Name, Op: op, Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Calls[op]++
	if limit := c.cfg.PerSecond; limit > 0 {
		now := time.Now()
		w := c.windows[account]
		if now.Sub(w.start) >= time.Second {
			w = window{start: now}
		}
		if w.calls >= limit {
			return &provider.Error{
				Kind: provider.Transient, Provider: c.cfg.Name, Op: op,
				RetryAfter: w.start.Add(time.Second).Sub(now),
				Err:        fmt.Errorf("more than %d calls in a second", limit),
			}
		}
		w.calls++
		c.windows[account] = w
	}
	if c.happens(c.cfg.Faults.Transient, op+" transient "+key) {
		return c.fail(op, provider.Transient, errors.New("internal server error"))
	}
	return nil
}

// leaveCall is the way back. If ctx ends on it, the effect has happened.
func (c *Cloud) leaveCall(ctx context.Context, op string, effect bool) error {
	if err := sleep(ctx, c.cfg.Latency-c.cfg.Latency/2); err != nil {
		return &provider.Error{Kind: provider.Transient, Provider: c.cfg.Name, Op: op, MayHaveHappened: effect, Err: err}
	}
	return nil
}

func (c *Cloud) fail(op string, kind provider.ErrorKind, err error) error {
	return &provider.Error{Kind: kind, Provider: c.cfg.Name, Op: op, Err: err}
}

func (c *Cloud) lost(op string, err error) error {
	return &provider.Error{Kind: provider.Transient, Provider: c.cfg.Name, Op: op, MayHaveHappened: true, Err: err}
}

func (c *Cloud) valid(op string, kind provider.Kind, template, name string) error {
	switch {
	case kind != provider.Compute:
		return c.fail(op, provider.NotSupported, fmt.Errorf("%s has no resources of kind %q", c.cfg.Name, kind))
	case template != Template:
		return c.fail(op, provider.Invalid, fmt.Errorf("no template %q; there is %q", template, Template))
	case !slices.ContainsFunc(sizes, func(s size) bool { return s.name == name }):
		return c.fail(op, provider.Invalid, fmt.Errorf("no size %q", name))
	}
	return nil
}
