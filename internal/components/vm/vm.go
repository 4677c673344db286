// Package vm manages machines: components of class VM. What a machine is made
// of was decided by the plan; the manager has it provisioned, waits until its
// daemon has a session, and in the end releases it. It makes no machine by any
// other way than provision, and speaks to no provider itself.
//
// The package starts no goroutines.
package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"aloft/component"
	"aloft/internal/plan"
	"aloft/internal/provision"
	"aloft/provider"
	"aloft/value"
)

// Provisioner makes and ends machines; provision.Provisioner is one.
type Provisioner interface {
	Acquire(ctx context.Context, w provision.Want) (provider.Resource, error)
	Revive(ctx context.Context, machineID string) (provider.Resource, error)
	Observe(ctx context.Context, machineID string) (provider.Resource, error)
	Release(ctx context.Context, machineID, holder string) error
}

// Sessions knows which machines' daemons this daemon has a session with.
type Sessions interface {
	// Wait returns nil as soon as the machine's daemon has a session, or
	// ctx's error.
	Wait(ctx context.Context, machineID string) error
	// Connected reports whether there is a session now.
	Connected(machineID string) bool
}

// Enrolments makes what a machine's first boot needs to enrol: token, pin of
// the authority, contacts.
type Enrolments interface {
	UserData(ctx context.Context, machineID, name string) ([]byte, error)
}

// Config is what a Manager is made of.
type Config struct {
	Provision  Provisioner
	Sessions   Sessions
	Enrolments Enrolments
	// SessionLimit is how long a running machine's daemon may take to have a
	// session; 0 means 3 minutes.
	SessionLimit time.Duration
}

// Manager manages VM components.
type Manager struct {
	component.Keep
	cfg Config
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager.
func New(cfg Config) *Manager {
	if cfg.SessionLimit == 0 {
		cfg.SessionLimit = 3 * time.Minute
	}
	return &Manager{cfg: cfg}
}

// look is how often the provider is asked about a machine whose daemon is
// being waited for: one that stopped will never have a session.
const look = 5 * time.Second

// Deploy makes the machine of the placement, or takes up the one made before,
// and waits until its daemon has a session.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := want(c)
	if err != nil {
		return err
	}
	w.UserData = func(ctx context.Context) ([]byte, error) {
		return m.cfg.Enrolments.UserData(ctx, w.MachineID, machineName(c))
	}
	c.Env.Progress(0, "creating the machine")
	res, err := m.cfg.Provision.Acquire(ctx, w)
	if err != nil {
		return explain(err)
	}
	output(c, w.MachineID, w.Proposal.Provider, res)
	c.Env.Progress(0.7, "waiting for the machine's daemon")
	return m.await(ctx, c, w.MachineID, w.Proposal.Provider, res)
}

// Start makes a stopped machine run again and waits for its daemon; one that
// runs is left alone, also when its daemon is silent.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	w, err := want(c)
	if err != nil {
		return err
	}
	if m.cfg.Sessions.Connected(w.MachineID) {
		return nil
	}
	res, err := m.cfg.Provision.Observe(ctx, w.MachineID)
	switch {
	case provider.KindOf(err) == provider.NotFound || ctx.Err() != nil:
		return explain(err)
	case err != nil:
		// A provider that cannot be asked proves nothing; Ping asks again.
		c.Env.Log().Warn("the provider does not tell whether the machine runs", "machine", w.MachineID, "err", err)
		return nil
	case res.State == provider.Running:
		output(c, w.MachineID, w.Proposal.Provider, res)
		return nil
	}
	c.Env.Progress(0, "starting the machine")
	if res, err = m.cfg.Provision.Revive(ctx, w.MachineID); err != nil {
		return explain(err)
	}
	output(c, w.MachineID, w.Proposal.Provider, res)
	c.Env.Progress(0.7, "waiting for the machine's daemon")
	return m.await(ctx, c, w.MachineID, w.Proposal.Provider, res)
}

// Reconfigure takes over changed labels; every other attribute is fixed.
func (m *Manager) Reconfigure(context.Context, *component.Call) error { return nil }

// Terminate releases the machine and returns when its provider says that it is
// gone.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	id, ok := c.Attrs.Get(plan.AttrMachine)
	if !ok {
		return nil // the plan never came to place it
	}
	c.Env.Progress(0, "destroying the machine")
	if err := m.cfg.Provision.Release(ctx, fmt.Sprint(id), provision.Holder(c.System, c.Path.String())); err != nil {
		return explain(err)
	}
	return nil
}

// Ping succeeds while the machine's daemon has a session or its provider says
// that it runs. A provider that does not answer proves nothing (HL1).
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	w, err := want(c)
	if err != nil {
		return err
	}
	if m.cfg.Sessions.Connected(w.MachineID) {
		return nil
	}
	res, err := m.cfg.Provision.Observe(ctx, w.MachineID)
	switch {
	case provider.KindOf(err) == provider.NotFound:
		return fmt.Errorf("machine %s is gone: %w", machineName(c), err)
	case err != nil || res.State == provider.Running || res.State == provider.Creating || res.State == provider.Pending:
		return nil
	}
	return fmt.Errorf("machine %s: %s reports it %s", machineName(c), w.Proposal.Provider, told(res))
}

// await returns when the machine's daemon has a session. It gives up early
// when the provider says that the machine does not run.
func (m *Manager) await(ctx context.Context, c *component.Call, machineID, providerName string, res provider.Resource) error {
	begun := time.Now()
	for {
		left := m.cfg.SessionLimit - time.Since(begun)
		slice, cancel := context.WithTimeout(ctx, min(look, left))
		err := m.cfg.Sessions.Wait(slice, machineID)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return m.noSession(c, machineID, providerName, res, begun, ctx.Err())
		case !errors.Is(err, context.DeadlineExceeded):
			return m.noSession(c, machineID, providerName, res, begun, err)
		case time.Since(begun) >= m.cfg.SessionLimit:
			return m.noSession(c, machineID, providerName, res, begun, nil)
		}
		now, err := m.cfg.Provision.Observe(ctx, machineID)
		switch {
		case provider.KindOf(err) == provider.NotFound:
			return m.noSession(c, machineID, providerName, res, begun, err)
		case err != nil:
			continue // the provider's silence says nothing of the machine
		}
		res = now
		if res.State == provider.Failed || res.State == provider.Stopped || res.State == provider.Destroying {
			return m.noSession(c, machineID, providerName, res, begun, nil)
		}
	}
}

// noSession tells what was waited for, for how long, and what the provider
// said last.
func (m *Manager) noSession(c *component.Call, machineID, providerName string, res provider.Resource, begun time.Time, cause error) error {
	err := fmt.Errorf("the daemon of machine %s (%s, %s at %s) had no session after %s; the provider's last report: %s",
		machineName(c), machineID, res.Address, providerName, time.Since(begun).Round(100*time.Millisecond), told(res))
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &component.Failure{
		Err:    err,
		Remedy: fmt.Sprintf("see whether %s can reach this daemon, and the console of %s at %s", res.Address, res.Ref, providerName),
	}
}

// told is a report in words.
func told(res provider.Resource) string {
	if res.Reason != "" {
		return fmt.Sprintf("%s (%s)", res.State, res.Reason)
	}
	return string(res.State)
}

// explain carries a provider's remedy to the record of the failed step.
func explain(err error) error {
	if e := new(provider.Error); errors.As(err, &e) && e.Remedy != "" {
		return &component.Failure{Err: err, Remedy: e.Remedy}
	}
	return err
}

func output(c *component.Call, machineID, providerName string, res provider.Resource) {
	c.Env.Output("id", value.String(machineID))
	c.Env.Output("provider", value.String(providerName))
	c.Env.Output("hostname", value.String(res.Hostname))
	c.Env.Output("ip", value.String(res.Address))
	public := res.PublicIP
	if public == "" {
		public = res.Address
	}
	c.Env.Output("publicIp", value.String(public))
	c.Env.Output("price", value.Double(res.PerHour))
	c.Env.Output("state", value.String(res.State))
}
