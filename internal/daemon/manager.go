package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sync/errgroup"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/agent"
	"aloft/internal/blob"
	"aloft/internal/control"
	"aloft/internal/crash"
	"aloft/internal/identity"
	"aloft/internal/journal"
	"aloft/internal/member/memberpb"
	"aloft/internal/observe"
	"aloft/internal/ownership"
	"aloft/internal/peer"
	"aloft/internal/plan"
	"aloft/internal/provision"
	"aloft/internal/server"
	"aloft/provider"
)

// Limits of what a manager keeps of shipped content and documents.
const (
	managerBlob  = 4 << 30
	managerBlobs = 64 << 30
)

// Manager is the managing daemon of a home.
type Manager struct {
	world     ManagerWorld
	blobs     *blob.Blobs
	identity  *identity.Manager
	ruled     int64 // epoch of the store
	node      *peer.Node
	self      *toSelf
	reach     *peer.Reach
	rosters   *peer.Rosters
	provision *provision.Provisioner
	classes   *registry
	secrets   secrets
	agent     *agent.Agent
	control   *control.Control
	fellows   *fellows
	met       []*memberpb.Member // what meet was told last; fellows' goroutine has it
	keeper    *ownership.Keeper
	accounts  *accounts
	orphans   *orphans
	events    *events
	metrics   *observe.Metrics
	absence   *absence
	probe     probe
	*ending
}

// NewManager makes the rooms of a managing daemon and hands each what it needs
// of the others. It has read what its disk and the store hold, and has begun
// nothing.
func NewManager(ctx context.Context, w ManagerWorld) (_ *Manager, err error) {
	if w.Roles == nil {
		w.Roles = alone().Roles
	}
	crash.In(w.Dir, "manager")
	happened, err := observe.OpenEvents(w.path("events"), w.MachineID, w.now, w.Log)
	if err != nil {
		return nil, err
	}
	m := &Manager{world: w, ending: newEnding(), events: &events{Events: happened, origin: w.MachineID}, metrics: observe.NewMetrics(w.Build), absence: newAbsence()}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.events.Close())
		}
	}()
	if m.blobs, err = blob.Open(blob.Config{Dir: w.path("blobs"), Blob: managerBlob, Total: managerBlobs}); err != nil {
		return nil, fmt.Errorf("open the blobs: %w", err)
	}
	m.identity, err = identity.OpenManager(identity.ManagerConfig{
		Dir: w.path("identity"), ID: w.MachineID, Tokens: tokens{w.Store, w.now}, Vault: vault{w.Store}, Now: w.Now, Log: w.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the identity: %w", err)
	}
	if m.ruled, err = storedEpoch(ctx, w.Store, m.identity); err != nil {
		return nil, err
	}
	m.secrets = secrets{w.Store, m.identity}
	m.node = peer.NewNode(peer.Config{
		Identity: m.identity, Log: w.Log, Build: w.Build, Host: w.Network, Now: w.Now,
		Relay: func(id string) []string { return m.reach.Addresses(id) },
	})
	m.rosters = m.node.NewRosters(m.hearRoster)
	m.rosters.Set(m.identity.SignedRoster())
	m.self = &toSelf{node: m.node, id: w.MachineID}
	m.reach = m.node.NewReach()
	m.fellows = newFellows(w.Store, w.Log, m.meet)
	m.provision, err = provision.New(provision.Config{
		Home: w.HomeID, Vendors: siteOf(w.Providers, provider.SiteHost), Ledger: provision.LedgerOf(w.Journal, "machine/"), Now: w.Now, Log: w.Log,
	})
	if err != nil {
		return nil, err
	}
	m.accounts = newAccounts(m, siteOf(w.Providers, provider.SiteAccount))
	machines := m.machines(m.provision)
	m.classes = newRegistry(append([]component.Manager{machines}, w.Managers...)...)
	facts := component.Machine{Hostname: w.Hostname, Address: w.Address, Folder: "/", Isolation: w.Isolation}
	m.agent, err = agent.New(ctx, agent.Config{
		ID: w.MachineID, Build: w.Build, PID: os.Getpid(), Managers: m.classes.managers,
		Journal: journal.New(w.Journal), Owner: m.self, Sources: m.kept(), Secrets: &sealed{dir: w.path("secrets"), ask: m.self.Secret}, Certify: m.self.Certify,
		Verify:  func(p *peerpb.SignedPart) error { return verify(&m.identity.Member, p) },
		Machine: func(string) component.Machine { return facts }, Forgotten: forgotten{m.provision}.end,
		Clock: w.clock(), WorkDir: w.path("work"), Limit: max(operations(), hostOperations), Log: w.Log, ComponentLog: componentLog, Now: w.Now,
	})
	if err != nil {
		return nil, err
	}
	m.keeper, err = ownership.New(ctx, ownership.Config{
		Store: w.Store, Manager: w.MachineID, Managers: m.fellows.managers, Take: m.take, Log: w.Log,
	})
	if err != nil {
		return nil, err
	}
	m.control = control.New(control.Config{
		Store: w.Store, Blobs: m.kept(), Machines: sessions{m}, Others: sessions{m}.owner, Providers: m.everyHosts(),
		Accounts: func(string) *provider.Account { return nil },
		Classes:  m.classes, Secrets: m.secrets, Host: plan.Host{MachineID: w.MachineID, Hostname: w.Hostname, Addresses: []string{w.Address, "localhost"}},
		Manager: m.fellows.owner, Keeper: m.keeper, Epoch: m.epoch, Issue: m.identity.IssueService, Sign: m.identity.Sign, NewID: w.NewID,
		Emit: m.events.Emit, Cursor: m.events.Cursor, Now: w.Now, Log: w.Log,
	})
	m.orphans = newOrphans(w.Orphans, w.MachineID, m.control.Wants, m.events.Emit, w.Log)
	peerpb.RegisterEnrolmentServer(m.node, peer.NewEnrolment(m.identity, func() []string { return contactsBy(m.identity, w.Gateways.Contacts()...) }))
	peerpb.RegisterOwnerServer(m.node, owner{m: m})
	peerpb.RegisterObservationServer(m.node, observation{events: m.events})
	peerpb.RegisterMachineServer(m.node, executors{m: m})
	peerpb.RegisterMembershipServer(m.node, peer.NewMembership(func(_ context.Context, _ peer.Peer, signed []byte) ([]byte, error) {
		err := m.takeRoster(signed)
		return m.identity.SignedRoster(), err
	}))
	peerpb.RegisterClusterServer(m.node, admission{m: m})
	peerpb.RegisterHostingServer(m.node, hosting{providers: w.Providers})
	return m, nil
}

// kept is what shipped content and documents are put in and read from.
func (m *Manager) kept() kept {
	return kept{blobs: m.blobs, node: m.node, self: m.world.MachineID, managers: m.fellows.managers}
}

// epoch comes first in every fence of this cluster. It is that of the store, and
// not the newest one heard of: a manager whose cluster was restored elsewhere is
// not to speak in the name of that.
func (m *Manager) epoch() int64 { return m.ruled }

// take is told of what has become this manager's.
func (m *Manager) take(claim *ownership.Claim) {
	m.control.Take(claim)
	m.accounts.Take(claim)
}

// hostOperations is how many operations the agent of a managing host has under
// way at once: most of them wait for a machine's daemon, and cost nothing.
const hostOperations = 64

// Service returns what the Service API answers.
func (m *Manager) Service() server.Service { return service{m.control, m} }

// Run runs the rooms until ctx ends or the service was told to stop the
// daemon, which is no error.
func (m *Manager) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, m.events.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-m.stop:
			cancel()
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error { return m.node.Run(ctx) })
	if m.world.Listener != nil {
		g.Go(func() error { return m.node.Serve(ctx, m.world.Listener) })
	}
	g.Go(func() error { return m.rosters.Run(ctx) })
	g.Go(func() error { return m.enter(ctx) })
	g.Go(func() error { return m.reach.Run(ctx) })
	g.Go(func() error { return m.identity.Run(ctx) })
	g.Go(func() error { return watchClock(ctx, m.world.now, m.world.Log, m.identity.ClockSet, m.node.ClockSet) })
	g.Go(func() error { return m.measure(ctx) })
	g.Go(func() error { return m.watchSessions(ctx) })
	g.Go(func() error { return m.follow(ctx) })
	g.Go(func() error { return m.keepSealed(ctx) })
	g.Go(func() error { return m.world.Gateways.Run(ctx, m.node.Serve) })
	if m.world.Serve != nil {
		g.Go(func() error { return m.world.Serve(ctx) })
	}
	resumed := make(chan struct{})
	g.Go(func() error {
		m.resume(ctx, m.provision)
		m.orphans.tidy(ctx, m.premises())
		close(resumed)
		return m.agent.Run(ctx)
	})
	g.Go(func() error {
		<-resumed
		if m.orphans.sweep(ctx, m.provision) {
			m.reachable(ctx, m.provision)
		}
		return m.provision.Run(ctx)
	})
	g.Go(func() error { return m.fellows.Run(ctx) })
	g.Go(func() error { return m.forget(ctx) })
	g.Go(func() error { return m.gatherAll(ctx) })
	g.Go(func() error { return m.keeper.Run(ctx) })
	g.Go(func() error { return m.accounts.Run(ctx) })
	g.Go(func() error { return m.control.Run(ctx) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return m.reason()
}

// resume settles what a crash left of machines being made or destroyed, and
// prepares to reach those that exist.
func (m *Manager) resume(ctx context.Context, p *provision.Provisioner) {
	wanted := func(e provision.Entry) bool {
		wanted, err := m.control.Wants(ctx, e.Machine)
		if err != nil {
			m.world.Log.Warn("whether a machine is wanted", "machine", e.Machine, "error", err)
		}
		return wanted
	}
	if err := p.Resume(ctx, wanted); err != nil {
		m.world.Log.Error("resume machines", "error", err)
	}
	m.reachable(ctx, p)
}

// reachable prepares to reach the machines that exist.
func (m *Manager) reachable(ctx context.Context, p *provision.Provisioner) {
	entries, err := p.Entries()
	if err != nil {
		m.world.Log.Error("read the ledger", "error", err)
		return
	}
	exist := false
	for _, e := range entries {
		switch e.State {
		case provision.Running:
			m.reach.Set(e.Machine, net.JoinHostPort(e.Seen.Address, fmt.Sprint(peer.Port)))
			exist = true
		case provision.Creating:
			exist = true // it may boot while nobody has asked for it again yet
		}
	}
	if !exist {
		return
	}
	if _, err := m.world.Gateways.Open(ctx); err != nil {
		m.world.Log.Error("listen for machines", "error", err)
	}
}
