package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/agent"
	"aloft/internal/blob"
	"aloft/internal/components/vm"
	"aloft/internal/control"
	"aloft/internal/identity"
	"aloft/internal/journal"
	"aloft/internal/observe"
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

// epoch of this cluster's fences; a restore from a backup will raise it.
const epoch = 1

// Manager is the managing daemon of a home.
type Manager struct {
	world     ManagerWorld
	blobs     *blob.Blobs
	identity  *identity.Manager
	node      *peer.Node
	self      *toSelf
	reach     *peer.Reach
	provision *provision.Provisioner
	classes   *registry
	agent     *agent.Agent
	control   *control.Control
	events    *events
	metrics   *observe.Metrics
	absence   *absence
	stop      chan struct{} // closed when the API asked the daemon to end
	stopOnce  sync.Once
}

// NewManager makes the rooms of a managing daemon and hands each what it needs
// of the others. It has read what its disk and the store hold, and has begun
// nothing.
func NewManager(ctx context.Context, w ManagerWorld) (_ *Manager, err error) {
	happened, err := observe.OpenEvents(w.path("events"), w.MachineID, w.Log)
	if err != nil {
		return nil, err
	}
	m := &Manager{world: w, stop: make(chan struct{}), events: &events{Events: happened, origin: w.MachineID}, metrics: observe.NewMetrics(w.Build), absence: newAbsence()}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.events.Close())
		}
	}()
	if m.blobs, err = blob.Open(blob.Config{Dir: w.path("blobs"), Blob: managerBlob, Total: managerBlobs}); err != nil {
		return nil, fmt.Errorf("open the blobs: %w", err)
	}
	m.identity, err = identity.OpenManager(identity.ManagerConfig{
		Dir: w.path("identity"), ID: w.MachineID, Tokens: tokens{w.Store}, Log: w.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the identity: %w", err)
	}
	m.node = peer.NewNode(peer.Config{Identity: m.identity, Log: w.Log, Build: w.Build, Host: w.Network})
	m.self = &toSelf{node: m.node, id: w.MachineID}
	m.reach = m.node.NewReach()
	m.provision, err = provision.New(provision.Config{
		Home: w.HomeID, Vendors: provision.Fixed(w.Providers), Ledger: provision.LedgerOf(w.Journal, "machine/"), Log: w.Log,
	})
	if err != nil {
		return nil, err
	}
	machines := vm.New(vm.Config{
		Provision: reaching{m.provision, m.reach}, Sessions: sessions{m}, Enrolments: enrolments{m.identity, w.Gateways},
	})
	m.classes = newRegistry(append([]component.Manager{machines}, w.Managers...)...)
	facts := component.Machine{Hostname: w.Hostname, Address: w.Address, Folder: "/", Isolation: w.Isolation}
	m.agent, err = agent.New(ctx, agent.Config{
		ID: w.MachineID, Build: w.Build, PID: os.Getpid(), Managers: m.classes.managers,
		Journal: journal.New(w.Journal), Owner: m.self, Sources: kept{m.blobs},
		Verify:  func(p *peerpb.SignedPart) error { return verify(&m.identity.Member, p) },
		Machine: func(string) component.Machine { return facts },
		WorkDir: w.path("work"), Limit: max(operations(), hostOperations), Log: w.Log, ComponentLog: componentLog,
	})
	if err != nil {
		return nil, err
	}
	m.control, err = control.New(ctx, control.Config{
		Store: w.Store, Blobs: kept{m.blobs}, Machines: sessions{m}, Providers: w.Providers,
		Accounts: func(string) *provider.Account { return nil },
		Classes:  m.classes, Host: plan.Host{MachineID: w.MachineID, Hostname: w.Hostname, Addresses: []string{w.Address, "localhost"}},
		Epoch: epoch, Sign: m.identity.Sign, NewID: w.NewID,
		Emit: m.events.Emit, Cursor: m.events.Cursor, Log: w.Log,
	})
	if err != nil {
		return nil, err
	}
	peerpb.RegisterEnrolmentServer(m.node, peer.NewEnrolment(m.identity, w.Gateways.Contacts))
	peerpb.RegisterOwnerServer(m.node, owner{m: m})
	peerpb.RegisterMachineServer(m.node, m.agent)
	return m, nil
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
	g.Go(func() error { return m.reach.Run(ctx) })
	g.Go(func() error { return m.identity.Run(ctx) })
	g.Go(func() error { return m.measure(ctx) })
	g.Go(func() error { return m.watchSessions(ctx) })
	g.Go(func() error { return m.world.Gateways.Run(ctx, m.node.Serve) })
	if m.world.Serve != nil {
		g.Go(func() error { return m.world.Serve(ctx) })
	}
	resumed := make(chan struct{})
	g.Go(func() error {
		m.resume(ctx)
		m.tidy(ctx)
		close(resumed)
		return m.agent.Run(ctx)
	})
	g.Go(func() error {
		<-resumed
		m.sweep(ctx)
		return m.provision.Run(ctx)
	})
	g.Go(func() error { return m.control.Run(ctx) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// resume settles what a crash left of machines being made or destroyed, and
// prepares to reach those that exist.
func (m *Manager) resume(ctx context.Context) {
	wanted := func(e provision.Entry) bool { return m.control.Wants(e.Machine) }
	if err := m.provision.Resume(ctx, wanted); err != nil {
		m.world.Log.Error("resume machines", "error", err)
	}
	entries, err := m.provision.Entries()
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

// sweep removes what carries this home's id and is not in its ledger.
func (m *Manager) sweep(ctx context.Context) {
	report, err := m.provision.Sweep(ctx, "", true)
	if err != nil && ctx.Err() == nil {
		m.world.Log.Warn("look for what is left over", "error", err)
	}
	for _, s := range report.Strays {
		m.world.Log.Warn("left over", "provider", s.Provider, "ref", s.Ref, "machine", s.Mark.Machine, "removed", s.Removed)
	}
}

// endSoon makes the daemon end after the answer to the call that asked for it.
func (m *Manager) endSoon() {
	m.stopOnce.Do(func() { time.AfterFunc(50*time.Millisecond, func() { close(m.stop) }) })
}
