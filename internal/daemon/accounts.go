package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/agent"
	"aloft/internal/components/vm"
	"aloft/internal/journal"
	"aloft/internal/ownership"
	"aloft/internal/peer"
	"aloft/internal/plan"
	"aloft/internal/provision"
	"aloft/provider"
)

// accounts are the executors of account resources. Each is an agent whose
// journal and ledger are rows of the store; the owner of the account runs it,
// and calls to it find the present owner.
type accounts struct {
	m     *Manager
	names map[string]provision.AccountName // by executor id
	work  chan *ownership.Claim            // what Run is to serve
	over  chan struct{}

	mu sync.Mutex
	// guarded by mu
	serving map[*ownership.Claim]bool
	running map[string]*account // by executor id
}

// account is the executor of one account, while this manager owns it.
type account struct {
	agent     *agent.Agent
	provision *provision.Provisioner
}

func newAccounts(m *Manager, vendors provision.Fixed) *accounts {
	a := &accounts{
		m: m, names: map[string]provision.AccountName{}, work: make(chan *ownership.Claim), over: make(chan struct{}),
		serving: map[*ownership.Claim]bool{}, running: map[string]*account{},
	}
	for _, name := range vendors.Accounts() {
		a.names[plan.AccountExecutor(name.Provider, name.Account)] = name
	}
	return a
}

// siteOf returns the providers whose resources are the accounts', or the hosts'.
func siteOf(all []provider.Provider, site provider.Site) (some provision.Fixed) {
	for _, p := range all {
		if p.Describe().Site == site {
			some = append(some, p)
		}
	}
	return some
}

// Run serves the accounts that become this manager's, each as long as it is.
func (a *accounts) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(a.over)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case claim := <-a.work:
			wg.Go(func() { a.serve(ctx, claim) })
		}
	}
}

// Take is told of a shard that this manager owns. It does not block.
func (a *accounts) Take(claim *ownership.Claim) {
	vendor, name, ok := ownership.AccountOf(claim.Shard())
	if _, known := a.names[plan.AccountExecutor(vendor, name)]; !ok || !known {
		return
	}
	a.mu.Lock()
	twice := a.serving[claim]
	a.serving[claim] = true
	a.mu.Unlock()
	if twice {
		return
	}
	go func() {
		select {
		case a.work <- claim:
		case <-a.over:
		}
	}()
}

func (a *accounts) serve(ctx context.Context, claim *ownership.Claim) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-claim.Lost():
		case <-ctx.Done():
		}
		cancel()
	}()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.serving, claim)
	}()
	vendor, name, _ := ownership.AccountOf(claim.Shard())
	for ctx.Err() == nil {
		err := a.execute(ctx, claim, plan.AccountExecutor(vendor, name), provision.AccountName{Provider: vendor, Account: name})
		if err != nil && ctx.Err() == nil {
			a.m.world.Log.Error("account", "provider", vendor, "account", name, "error", err)
		}
		pause(ctx, time.Second)
	}
}

// execute runs the executor of an account until ctx ends.
func (a *accounts) execute(ctx context.Context, claim *ownership.Claim, id string, name provision.AccountName) error {
	m, w := a.m, a.m.world
	rows := claimedRows{kv: w.Store, claim: claim, prefix: "executor/" + claim.Shard() + "/", kept: m.kept()}
	vendors := slices.DeleteFunc(siteOf(w.Providers, provider.SiteAccount), func(p provider.Provider) bool { return p.Describe().Name != name.Provider })
	acc := &account{}
	var err error
	acc.provision, err = provision.New(provision.Config{Home: w.HomeID, Vendors: vendors, Ledger: provision.LedgerOf(rows, "machine/"), Now: w.Now, Log: w.Log})
	if err != nil {
		return err
	}
	acc.agent, err = agent.New(ctx, agent.Config{
		ID: id, Build: w.Build, PID: os.Getpid(), Managers: newRegistry(m.machines(acc.provision)).managers,
		Journal: journal.New(rows), Owner: within{m, id}, Sources: m.kept(), Secrets: &sealed{dir: w.path("accounts", id, "secrets"), ask: m.self.Secret},
		Verify:  func(p *peerpb.SignedPart) error { return verify(&m.identity.Member, p) },
		Machine: func(string) component.Machine { return component.Machine{Hostname: w.Hostname, Folder: "/"} },
		Clock:   w.clock(), WorkDir: w.path("accounts", id), Limit: max(operations(), hostOperations), Log: w.Log, ComponentLog: componentLog, Now: w.Now,
	})
	if err != nil {
		return err
	}
	m.resume(ctx, acc.provision)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.mu.Lock()
	a.running[id] = acc
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.running[id] == acc {
			delete(a.running, id)
		}
	}()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return acc.agent.Run(ctx) })
	g.Go(func() error {
		if m.orphans.sweep(ctx, acc.provision) {
			m.reachable(ctx, acc.provision)
		}
		return acc.provision.Run(ctx)
	})
	return g.Wait()
}

// machines manages the machines that a provisioner makes: those of accounts go
// from one manager to the next, others are on this host.
func (m *Manager) machines(p *provision.Provisioner) component.Manager {
	host, retire := "", m.identity.Retire
	if p == m.provision {
		host, retire = m.world.MachineID, m.retire
	}
	return vm.New(vm.Config{
		Provision: reaching{p, m.reach, retire}, Sessions: sessions{m}, Enrolments: enrolments{host, m.identity, m.world.Gateways},
	})
}

// provisioners are those of this host, and of the accounts that this manager
// owns.
func (m *Manager) provisioners() []*provision.Provisioner {
	all := []*provision.Provisioner{m.provision}
	m.accounts.mu.Lock()
	defer m.accounts.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(m.accounts.running)) {
		all = append(all, m.accounts.running[id].provision)
	}
	return all
}

// within reports to the rooms of this very daemon in the name of an account.
type within struct {
	m  *Manager
	id string
}

func (w within) Report(ctx context.Context, r *peerpb.ReportRequest) error {
	return w.m.control.Report(ctx, w.id, r, false)
}

func (w within) Hold(ctx context.Context, systems []string) (*peerpb.HoldReply, error) {
	return w.m.control.Hold(ctx, w.id, systems, false)
}

func (w within) Read(ctx context.Context, r *peerpb.ReadRequest) (*peerpb.ReadReply, error) {
	return w.m.control.Read(ctx, w.id, r, false)
}

// shard returns the shard of the account that has this executor id.
func (a *accounts) shard(id string) (shard string, ok bool) {
	name, ok := a.names[id]
	return ownership.Account(name.Provider, name.Account), ok
}

// owner returns the manager that runs an executor; that is this one if none did.
func (a *accounts) owner(ctx context.Context, shard string) (string, error) {
	if manager := a.m.keeper.Owner(shard); manager != "" && manager != a.m.world.MachineID {
		return manager, nil
	}
	claim, err := a.m.keeper.Acquire(ctx, shard)
	if owned, ok := errors.AsType[*ownership.OwnedError](err); ok {
		return owned.Manager, nil
	}
	if err != nil {
		return "", err
	}
	a.Take(claim)
	return a.m.world.MachineID, nil
}

// session reaches the executor of an account where it is run at present.
func (a *accounts) session(ctx context.Context, id, shard string) (grpc.ClientConnInterface, error) {
	manager, err := a.owner(ctx, shard)
	if err != nil {
		return nil, err
	}
	var s peer.Session
	if manager == a.m.world.MachineID {
		s, err = a.m.self.session(ctx)
	} else if there, ok := a.m.node.Session(manager); ok {
		s = there
	} else {
		err = status.Errorf(codes.Unavailable, "manager %s, which owns %s, does not answer", manager, shard)
	}
	return addressed{s, id}, err
}

// connected reports whether the executor of an account can be reached.
func (a *accounts) connected(shard string) bool {
	manager := a.m.keeper.Owner(shard)
	if manager == "" || manager == a.m.world.MachineID {
		return true
	}
	_, ok := a.m.node.Session(manager)
	return ok
}

// executorKey names, in a call to a manager's Machine service, the executor that
// is meant where it is not the manager's own host.
const executorKey = "aloft-executor"

// addressed is a session whose calls are for an executor that a manager runs.
type addressed struct {
	peer.Session
	executor string
}

func (s addressed) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return s.Session.Invoke(metadata.AppendToOutgoingContext(ctx, executorKey, s.executor), method, args, reply, opts...)
}

func (s addressed) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return s.Session.NewStream(metadata.AppendToOutgoingContext(ctx, executorKey, s.executor), desc, method, opts...)
}

// executors answers calls to this daemon's own agent and to those of accounts.
type executors struct {
	peerpb.UnimplementedMachineServer
	m *Manager
}

// meant returns the agent that a call is for.
func (e executors) meant(ctx context.Context) (*agent.Agent, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	ids := md.Get(executorKey)
	if len(ids) == 0 {
		return e.m.agent, nil
	}
	e.m.accounts.mu.Lock()
	defer e.m.accounts.mu.Unlock()
	acc := e.m.accounts.running[ids[0]]
	if acc == nil {
		return nil, status.Error(codes.Unavailable, fmt.Sprintf("executor %s does not run on this manager", ids[0]))
	}
	return acc.agent, nil
}

func (e executors) Deliver(ctx context.Context, r *peerpb.SignedPart) (*peerpb.Receipt, error) {
	a, err := e.meant(ctx)
	if err != nil {
		return nil, err
	}
	return a.Deliver(ctx, r)
}

func (e executors) Tell(ctx context.Context, r *peerpb.TellRequest) (*peerpb.TellReply, error) {
	a, err := e.meant(ctx)
	if err != nil {
		return nil, err
	}
	return a.Tell(ctx, r)
}

func (e executors) Interrupt(ctx context.Context, r *peerpb.InterruptRequest) (*peerpb.InterruptReply, error) {
	a, err := e.meant(ctx)
	if err != nil {
		return nil, err
	}
	return a.Interrupt(ctx, r)
}

func (e executors) Inspect(ctx context.Context, r *peerpb.InspectRequest) (*peerpb.InspectReply, error) {
	a, err := e.meant(ctx)
	if err != nil {
		return nil, err
	}
	return a.Inspect(ctx, r)
}

func (e executors) Check(ctx context.Context, r *peerpb.CheckRequest) (*peerpb.CheckReply, error) {
	a, err := e.meant(ctx)
	if err != nil {
		return nil, err
	}
	return a.Check(ctx, r)
}

func (e executors) Spare(ctx context.Context, r *peerpb.SpareRequest) (*peerpb.SpareReply, error) {
	a, err := e.meant(ctx)
	if err != nil {
		return nil, err
	}
	return a.Spare(ctx, r)
}

func (e executors) Reread(ctx context.Context, r *peerpb.RereadRequest) (*peerpb.RereadReply, error) {
	a, err := e.meant(ctx)
	if err != nil {
		return nil, err
	}
	return a.Reread(ctx, r)
}

func (e executors) Logs(r *peerpb.LogsRequest, stream grpc.ServerStreamingServer[peerpb.LogLine]) error {
	a, err := e.meant(stream.Context())
	if err != nil {
		return err
	}
	return a.Logs(r, stream)
}

func (e executors) Exec(stream grpc.BidiStreamingServer[peerpb.ExecInput, peerpb.ExecOutput]) error {
	a, err := e.meant(stream.Context())
	if err != nil {
		return err
	}
	return a.Exec(stream)
}
