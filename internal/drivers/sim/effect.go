package sim

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"aloft/provider"
)

// create makes the machine of req, or finds the one made before. lost says
// that the answer will not arrive.
func (c *Cloud) create(account string, req provider.Request) (res provider.Resource, lost bool, err error) {
	c.mu.Lock()
	defer c.release()
	c.settleAll()
	now := time.Now()
	if r, ok, err := c.known(account, req, now); err != nil || ok {
		return r, false, err
	}
	if q := c.cfg.Quota; q > 0 {
		n := 0
		for _, r := range c.records {
			if r.Account == account {
				n++
			}
		}
		if n >= q {
			e := &provider.Error{
				Kind: provider.Quota, Provider: c.cfg.Name, Op: "create",
				Remedy: "raise the quota of the account, or remove machines",
				Err:    fmt.Errorf("account %s has %d of %d machines", account, n, q),
			}
			return res, false, e
		}
	}
	if c.happens(c.cfg.Faults.NoCapacity, "capacity "+req.Token) {
		return res, false, c.fail("create", provider.Capacity, fmt.Errorf("no %s left in %s", req.Spec.Size, req.Spec.Region))
	}
	r := c.make(account, req, now)
	lost = c.lose["create"] > 0
	if lost {
		c.lose["create"]--
	} else {
		lost = c.happens(c.cfg.Faults.LostAnswers, "create lost "+req.Token)
	}
	return r.Resource, lost, nil
}

// known finds what an earlier request with the same token made.
func (c *Cloud) known(account string, req provider.Request, now time.Time) (provider.Resource, bool, error) {
	if !c.cfg.NativeTokens {
		for _, ref := range c.asked[asking(account, req.Token)] {
			if r := c.records[ref]; !now.Before(r.Visible) {
				return r.Resource, true, nil
			}
		}
		return provider.Resource{}, false, nil
	}
	u, ok := c.tokens[asking(account, req.Token)]
	if !ok || now.After(u.Until) {
		return provider.Resource{}, false, nil
	}
	r, ok := c.records[u.Ref]
	if !ok {
		return provider.Resource{}, false, c.fail("create", provider.Conflict,
			fmt.Errorf("token %s made %s, which is gone", req.Token, u.Ref))
	}
	return r.Resource, true, nil
}

func (c *Cloud) make(account string, req provider.Request, now time.Time) *record {
	c.serial++
	n := c.serial
	ref := fmt.Sprintf("%s-%06d", c.cfg.Name, n)
	boot := time.Duration(float64(bootTime(c.draw("boot "+req.Token))) * c.cfg.BootScale)
	r := &record{
		Resource: provider.Resource{
			Kind: req.Kind, Ref: ref, Token: req.Token, Mark: req.Mark, Name: req.Name,
			State: provider.Creating, Template: req.Spec.Template,
			Address:  fmt.Sprintf("10.%d.%d.%d", 100+n>>16&0x3f, n>>8&0xff, n&0xff),
			PublicIP: fmt.Sprintf("198.18.%d.%d", n>>8&0xff, n&0xff),
			Hostname: req.Name, Region: req.Spec.Region, PerHour: req.Spec.PerHour, Created: now,
		},
		Account:  account,
		UserData: slices.Clone(req.UserData),
		Visible:  now.Add(c.cfg.ListLag),
		Turns:    now.Add(boot),
		Fails:    c.happens(c.cfg.Faults.NeverBoots, "boots "+req.Token),
	}
	c.records[ref] = r
	key := asking(account, req.Token)
	c.asked[key] = append(c.asked[key], ref)
	if c.cfg.NativeTokens {
		c.tokens[key] = used{ref, now.Add(c.cfg.TokenLife)}
	}
	c.stats.Created++
	c.wake(ref, r.Turns)
	c.cfg.Log.Debug("machine asked for", "machine", req.Mark.Machine, "ref", ref, "boot", boot)
	return r
}

func (c *Cloud) get(op, account, ref string) (provider.Resource, error) {
	c.mu.Lock()
	defer c.release()
	c.settle(ref)
	r, err := c.find(op, account, ref)
	if err != nil {
		return provider.Resource{}, err
	}
	return r.Resource, nil
}

// find returns account's record of ref; another account's is not found.
func (c *Cloud) find(op, account, ref string) (*record, error) {
	r, ok := c.records[ref]
	if !ok || r.Account != account {
		return nil, c.fail(op, provider.NotFound, fmt.Errorf("no machine %s", ref))
	}
	return r, nil
}

func (c *Cloud) list(account string, mark provider.Mark, after string) (out []provider.Resource) {
	c.mu.Lock()
	defer c.release()
	c.settleAll()
	now := time.Now()
	for _, ref := range slices.Sorted(maps.Keys(c.records)) {
		r := c.records[ref]
		if ref > after && r.Account == account && !now.Before(r.Visible) && bears(r.Resource.Mark, mark) {
			out = append(out, r.Resource)
		}
	}
	return out
}

// bears reports whether m has everything that want names.
func bears(m, want provider.Mark) bool {
	return m.Home == want.Home &&
		(want.System == "" || m.System == want.System) &&
		(want.Path == "" || m.Path == want.Path) &&
		(want.Machine == "" || m.Machine == want.Machine)
}

func (c *Cloud) operate(account, ref string, op provider.Operation) error {
	c.mu.Lock()
	defer c.release()
	c.settle(ref)
	r, err := c.find("operate", account, ref)
	if err != nil {
		return err
	}
	state := r.Resource.State
	switch {
	case op == provider.OpStop && state == provider.Running:
		c.leave(r, provider.Stopped, "stopped by request")
	case op == provider.OpStart && state == provider.Stopped:
		r.Resource.State, r.Resource.Reason = provider.Creating, ""
		boot := time.Duration(float64(bootTime(c.draw("boot "+r.Resource.Token))) * c.cfg.BootScale)
		r.Turns = time.Now().Add(boot / 2)
		c.wake(ref, r.Turns)
	case op == provider.OpStop && state == provider.Stopped,
		op == provider.OpStart && (state == provider.Running || state == provider.Creating):
		// Already so.
	default:
		return c.fail("operate", provider.Conflict, fmt.Errorf("cannot %s machine %s: it is %s", op, ref, state))
	}
	return nil
}

// destroy begins the end of ref and reports whether the answer gets lost.
func (c *Cloud) destroy(account, ref string) (lost bool) {
	c.mu.Lock()
	defer c.release()
	c.settle(ref)
	r, err := c.find("destroy", account, ref)
	if err != nil || r.Resource.State == provider.Destroying {
		return false
	}
	c.leave(r, provider.Destroying, "")
	r.Ends = time.Now().Add(c.cfg.Shutdown)
	heap.Push(&c.due, turn{r.Ends, ref})
	c.settle(ref)
	if c.lose["destroy"] > 0 {
		c.lose["destroy"]--
		return true
	}
	return c.happens(c.cfg.Faults.LostAnswers, "destroy lost "+ref)
}

// state is what Snapshot keeps.
type state struct {
	Records map[string]*record
	Tokens  map[string]used
	Draws   map[string]uint64
	Serial  int
	Stats   Stats
}

// Snapshot returns the cloud's state, for Restore in another process.
func (c *Cloud) Snapshot() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return json.Marshal(state{c.records, c.tokens, c.draws, c.serial, c.stats})
}

// Restore makes a new cloud what the snapshot says. Machines that ran then
// are announced to OnRunning again.
func (c *Cloud) Restore(snapshot []byte) error {
	s := state{
		Records: map[string]*record{}, Tokens: map[string]used{}, Draws: map[string]uint64{},
		Stats: Stats{Calls: map[string]int{}},
	}
	if err := json.Unmarshal(snapshot, &s); err != nil {
		return fmt.Errorf("restore simulated cloud: %w", err)
	}
	for ref, r := range s.Records {
		if r == nil {
			return fmt.Errorf("restore simulated cloud: %s has no record", ref)
		}
	}
	c.mu.Lock()
	c.records, c.tokens, c.draws, c.serial, c.stats = s.Records, s.Tokens, s.Draws, s.Serial, s.Stats
	c.due, c.asked = nil, map[string][]string{}
	for _, ref := range slices.Sorted(maps.Keys(c.records)) {
		r := c.records[ref]
		key := asking(r.Account, r.Resource.Token)
		c.asked[key] = append(c.asked[key], ref)
		switch r.Resource.State {
		case provider.Running:
			c.running(r)
		case provider.Creating:
			c.wake(ref, r.Turns)
		case provider.Destroying:
			heap.Push(&c.due, turn{r.Ends, ref})
		}
	}
	c.release()
	return nil
}
