package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"aloft/api/peerpb"
	"aloft/client"
	"aloft/component"
	"aloft/internal/agent"
	"aloft/internal/blob"
	"aloft/internal/components/vm"
	"aloft/internal/control"
	"aloft/internal/drivers/local"
	"aloft/internal/host"
	"aloft/internal/identity"
	"aloft/internal/journal"
	"aloft/internal/peer"
	"aloft/internal/plan"
	"aloft/internal/provision"
	"aloft/internal/server"
	"aloft/internal/store"
	"aloft/provider"
)

// Limits of what a manager keeps of shipped content and documents.
const (
	managerBlob  = 4 << 30
	managerBlobs = 64 << 30
)

// epoch of this cluster's fences; a restore from a backup will raise it.
const epoch = 1

// manager is the managing daemon of a home.
type manager struct {
	options   Options
	home      *home
	log       *slog.Logger
	store     *store.Store
	journal   *journal.File
	blobs     *blob.Blobs
	identity  *identity.Manager
	node      *peer.Node
	reach     *peer.Reach
	driver    *local.Driver
	vendors   provision.Fixed
	provision *provision.Provisioner
	gateways  *gateways
	classes   *registry
	processes *host.Processes
	agent     *agent.Agent
	control   *control.Control
	events    *memEvents
	stop      chan struct{} // closed when the API asked the daemon to end
	stopOnce  sync.Once
}

// runManager runs the managing daemon of a home.
func runManager(ctx context.Context, h *home, o Options, log *slog.Logger) error {
	m := &manager{options: o, home: h, log: log, stop: make(chan struct{})}
	defer m.close()
	if err := m.open(ctx); err != nil {
		return err
	}
	if err := m.wire(ctx); err != nil {
		return err
	}
	return m.run(ctx)
}

// open opens what lies on disk.
func (m *manager) open(ctx context.Context) (err error) {
	h := m.home
	if m.store, err = store.Open(ctx, store.Config{Dir: h.path("store"), Log: m.log}); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	if m.journal, err = journal.Open(h.path("journal.db")); err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	if m.blobs, err = blob.Open(blob.Config{Dir: h.path("blobs"), Blob: managerBlob, Total: managerBlobs}); err != nil {
		return fmt.Errorf("open the blobs: %w", err)
	}
	m.identity, err = identity.OpenManager(identity.ManagerConfig{
		Dir: h.path("identity"), ID: h.machine, Tokens: tokens{m.store}, Log: m.log,
	})
	if err != nil {
		return fmt.Errorf("open the identity: %w", err)
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	m.driver, err = local.New(local.Config{Home: h.dir, ID: h.id, Binary: binary, HostID: h.machine, Log: m.log})
	if err != nil {
		return fmt.Errorf("open the local driver: %w", err)
	}
	m.events = newMemEvents()
	return err
}

func (m *manager) close() {
	var errs []error
	if m.driver != nil {
		errs = append(errs, m.driver.Close())
	}
	if m.journal != nil {
		errs = append(errs, m.journal.Close())
	}
	if m.store != nil {
		m.store.Close()
	}
	if err := errors.Join(errs...); err != nil {
		m.log.Error("close", "error", err)
	}
}

// wire makes the rooms and hands each what it needs of the others.
func (m *manager) wire(ctx context.Context) (err error) {
	h := m.home
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	m.node = peer.NewNode(peer.Config{Identity: m.identity, Log: m.log, Build: m.options.Version})
	m.reach = m.node.NewReach()
	m.processes = host.NewProcesses(m.log)
	m.vendors = provision.Fixed{m.driver}
	m.provision, err = provision.New(provision.Config{
		Home: h.id, Vendors: m.vendors, Ledger: provision.LedgerOf(m.journal, "machine/"), Log: m.log,
	})
	if err != nil {
		return err
	}
	m.gateways = newGateways(m)
	machines := vm.New(vm.Config{Provision: reaching{m.provision, m.reach}, Sessions: sessions{m}, Enrolments: m.gateways})
	m.classes = newRegistry(append(machineManagers(m.processes, binary), machines)...)
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	facts := component.Machine{Hostname: hostname, Address: "127.0.0.1", Folder: "/", Isolation: os.Geteuid() == 0}
	m.agent, err = agent.New(ctx, agent.Config{
		ID: h.machine, Build: m.options.Version, PID: os.Getpid(), Managers: m.classes.managers,
		Journal: journal.New(m.journal), Owner: toSelf{m.node}, Sources: kept{m.blobs},
		Verify:  func(p *peerpb.SignedPart) error { return verify(&m.identity.Member, p) },
		Machine: func(string) component.Machine { return facts },
		WorkDir: h.path("work"), Limit: max(operations(), hostOperations), Log: m.log, ComponentLog: componentLog,
	})
	if err != nil {
		return err
	}
	m.control, err = control.New(ctx, control.Config{
		Store: m.store, Blobs: kept{m.blobs}, Machines: sessions{m}, Providers: []provider.Provider{m.driver},
		Accounts: func(string) *provider.Account { return nil },
		Classes:  m.classes, Host: plan.Host{MachineID: h.machine, Hostname: hostname, Addresses: []string{"127.0.0.1", "localhost"}},
		Epoch: epoch, Sign: m.identity.Sign, NewID: uuid.NewString,
		Emit: m.events.Emit, Cursor: m.events.Cursor, Log: m.log,
	})
	if err != nil {
		return err
	}
	peerpb.RegisterEnrolmentServer(m.node, peer.NewEnrolment(m.identity, m.gateways.contacts))
	peerpb.RegisterOwnerServer(m.node, owner{m: m})
	peerpb.RegisterMachineServer(m.node, m.agent)
	return nil
}

// hostOperations is how many operations the agent of a managing host has under
// way at once: most of them wait for a machine's daemon, and cost nothing.
const hostOperations = 64

// run serves until the daemon is to end.
func (m *manager) run(ctx context.Context) error {
	listener, err := server.Listen(m.options.Socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := client.RecordSocket(m.home.dir, m.options.Socket); err != nil {
		return err
	}
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
	g.Go(func() error { return m.processes.Run(ctx) })
	g.Go(func() error { return m.gateways.run(ctx) })
	g.Go(func() error {
		m.resume(ctx)
		return m.agent.Run(ctx)
	})
	g.Go(func() error { return m.control.Run(ctx) })
	g.Go(func() error { return server.Serve(ctx, listener, server.New(service{m.control, m}, m.log), m.log) })
	m.log.Info("daemon", "home", m.home.dir, "home_id", m.home.id, "pid", os.Getpid())
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// resume settles what a crash left of machines being made or destroyed, and
// prepares to reach those that exist.
func (m *manager) resume(ctx context.Context) {
	if err := m.provision.Resume(ctx, nil); err != nil {
		m.log.Error("resume machines", "error", err)
	}
	entries, err := m.provision.Entries()
	if err != nil {
		m.log.Error("read the ledger", "error", err)
		return
	}
	exist := slices.DeleteFunc(entries, func(e provision.Entry) bool { return e.State != provision.Running })
	if len(exist) > 0 {
		if _, err := m.gateways.open(ctx); err != nil {
			m.log.Error("listen for machines", "error", err)
		}
	}
	for _, e := range exist {
		m.reach.Set(e.Machine, net.JoinHostPort(e.Seen.Address, fmt.Sprint(peer.Port)))
	}
}

// sessions reaches daemons by machine id. It implements control.Machines and
// vm.Sessions.
type sessions struct{ m *manager }

func (s sessions) Machine(ctx context.Context, id string) (peerpb.MachineClient, error) {
	session, err := s.session(ctx, id)
	if err != nil {
		return nil, err
	}
	return peerpb.NewMachineClient(session), nil
}

func (s sessions) session(ctx context.Context, id string) (peer.Session, error) {
	if id == s.m.home.machine {
		return s.m.node.Self(ctx)
	}
	return s.m.node.Wait(ctx, id)
}

func (s sessions) Connected(id string) bool {
	if id == s.m.home.machine {
		return true
	}
	_, ok := s.m.node.Session(id)
	return ok
}

func (s sessions) Wait(ctx context.Context, id string) error {
	_, err := s.m.node.Wait(ctx, id)
	return err
}

// reaching tells reach where machines are as they come and go.
type reaching struct {
	*provision.Provisioner
	reach *peer.Reach
}

func (r reaching) Acquire(ctx context.Context, w provision.Want) (provider.Resource, error) {
	res, err := r.Provisioner.Acquire(ctx, w)
	if err == nil {
		r.reach.Set(w.MachineID, net.JoinHostPort(res.Address, fmt.Sprint(peer.Port)))
	}
	return res, err
}

func (r reaching) Release(ctx context.Context, machineID, holder string) error {
	r.reach.Remove(machineID)
	return r.Provisioner.Release(ctx, machineID, holder)
}

// toSelf reports to the manager that this very daemon is.
type toSelf struct{ node *peer.Node }

func (t toSelf) Report(ctx context.Context, r *peerpb.ReportRequest) error {
	s, err := t.node.Self(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	_, err = peerpb.NewOwnerClient(s).Report(ctx, r)
	return err
}

// kept is shipped content and documents on this daemon's own disk.
type kept struct{ blobs *blob.Blobs }

func (k kept) Open(_ context.Context, digest string) (io.ReadCloser, error) {
	return k.blobs.Open(digest)
}

func (k kept) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	return k.blobs.Put(ctx, r)
}

func (k kept) Read(_ context.Context, digest string) ([]byte, error) {
	f, err := k.blobs.Open(digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// owner answers machines.
type owner struct {
	peerpb.UnimplementedOwnerServer
	m *manager
}

func (o owner) Report(ctx context.Context, r *peerpb.ReportRequest) (*peerpb.ReportReply, error) {
	if err := o.m.control.Report(ctx, peer.Caller(ctx).ID, r); err != nil {
		return nil, err
	}
	return &peerpb.ReportReply{}, nil
}

// chunkSize of shipped content on its way to a machine.
const chunkSize = 128 << 10

func (o owner) Fetch(r *peerpb.FetchRequest, stream peerpb.Owner_FetchServer) error {
	f, err := o.m.blobs.Open(r.Digest)
	if err != nil {
		return fmt.Errorf("content %s: %w", r.Digest, err)
	}
	defer f.Close()
	buf := make([]byte, chunkSize)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := stream.Send(&peerpb.Chunk{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// endSoon makes the daemon end after the answer to the call that asked for it.
func (m *manager) endSoon() {
	m.stopOnce.Do(func() { time.AfterFunc(50*time.Millisecond, func() { close(m.stop) }) })
}
