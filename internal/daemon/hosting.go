package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/agent"
	"aloft/internal/blob"
	"aloft/internal/components/vm"
	"aloft/internal/durable"
	"aloft/internal/identity"
	"aloft/internal/journal"
	"aloft/internal/member"
	"aloft/internal/peer"
	"aloft/internal/provision"
	"aloft/provider"
)

// HostWorld is what the daemon of a host that is no manager finds around it.
type HostWorld struct {
	World
	Seat
	HomeID    string // eight hexadecimal digits, in the names of everything made outside
	MachineID string // of this daemon (UUID)
	Providers []provider.Provider
	Gateways  Gateways
	Residue   Residue
}

// Host is the daemon of a host that is no manager: it makes machines for those
// who are, relays for them, and holds no store.
type Host struct {
	world     HostWorld
	identity  *identity.Machine
	blobs     *blob.Blobs
	node      *peer.Node
	contacts  *peer.Contacts
	enrolment *peer.Enrolment
	reach     *peer.Reach
	provision *provision.Provisioner
	agent     *agent.Agent
	entered   atomic.Bool // the home's command line can ask managers
	orphans   *orphans
	*ending
}

// NewHost makes the rooms of a host's daemon and hands each what it needs of
// the others. It has read what its disk holds, and has begun nothing.
func NewHost(ctx context.Context, w HostWorld) (*Host, error) {
	h := &Host{world: w, ending: newEnding()}
	var err error
	if h.identity, err = identity.OpenMachine(w.path("identity"), w.MachineID, "", w.Now); err != nil {
		return nil, fmt.Errorf("open the identity: %w", err)
	}
	if h.blobs, err = blob.Open(blob.Config{Dir: w.path("blobs"), Blob: machineBlob, Total: machineBlobs}); err != nil {
		return nil, fmt.Errorf("open the blobs: %w", err)
	}
	h.node = peer.NewNode(peer.Config{
		Identity: h.identity, Log: w.Log, Build: w.Build, Host: w.Network, Now: w.Now,
		Relay: func(id string) []string { return h.reach.Addresses(id) },
	})
	h.reach = h.node.NewReach()
	h.provision, err = provision.New(provision.Config{
		Home: w.HomeID, Vendors: provision.Fixed(w.Providers), Ledger: provision.LedgerOf(w.Journal, "machine/"), Now: w.Now, Log: w.Log,
	})
	if err != nil {
		return nil, err
	}
	machines := vm.New(vm.Config{
		Provision: reaching{h.provision, h.reach, h.retire}, Sessions: hostSessions{h.node}, Enrolments: hostEnrolments{h},
	})
	facts := component.Machine{Hostname: w.Hostname, Address: w.Address, Folder: "/", Isolation: w.Isolation}
	h.agent, err = agent.New(ctx, agent.Config{
		ID: w.MachineID, Build: w.Build, PID: os.Getpid(), Managers: newRegistry(append([]component.Manager{machines}, w.Managers...)...).managers,
		Journal: journal.New(w.Journal), Owner: managers{h.node}, Sources: fetched{h.blobs, h.node},
		Secrets: &sealed{dir: w.path("secrets"), ask: managers{h.node}.Secret},
		Verify:  func(p *peerpb.SignedPart) error { return verify(&h.identity.Member, p) },
		Machine: func(string) component.Machine { return facts }, Forgotten: forgotten{h.provision}.end,
		Clock: w.clock(), WorkDir: w.path("work"), Limit: max(operations(), hostOperations), Log: w.Log, ComponentLog: componentLog, Now: w.Now,
	})
	if err != nil {
		return nil, err
	}
	h.orphans = newOrphans(w.Orphans, w.MachineID, nil, h.agent.Emit, w.Log)
	peerpb.RegisterMachineServer(h.node, h.agent)
	peerpb.RegisterMembershipServer(h.node, peer.NewMembership(func(_ context.Context, _ peer.Peer, signed []byte) ([]byte, error) {
		err := h.takeRoster(signed)
		return h.identity.SignedRoster(), err
	}))
	peerpb.RegisterHostingServer(h.node, hosting{providers: w.Providers, promote: h.promote})
	h.contacts = h.node.NewContacts(contactsIn(h.identity.Roster())...)
	h.enrolment = &peer.Enrolment{Node: h.node, Credentials: h.identity, Machine: w.MachineID}
	h.entered.Store(asViewer(w.Dir))
	return h, nil
}

// Run runs the rooms until ctx ends or the API asked the daemon to end.
func (h *Host) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-h.stop:
			cancel()
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error { return h.node.Run(ctx) })
	if h.world.Listener != nil {
		g.Go(func() error { return h.node.Serve(ctx, h.world.Listener) })
	}
	g.Go(func() error { return h.contacts.Run(ctx) })
	g.Go(func() error { return h.reach.Run(ctx) })
	g.Go(func() error { return h.enrolment.Run(ctx) })
	g.Go(func() error { return watchClock(ctx, h.world.now, h.world.Log, h.node.ClockSet) })
	g.Go(func() error { return h.enter(ctx) })
	if h.world.Network == nil { // a second daemon on a simulated host would take its place
		g.Go(func() error { return h.learnFate(ctx) })
	}
	g.Go(func() error { return h.world.Gateways.Run(ctx, h.node.Serve) })
	if h.world.Serve != nil {
		g.Go(func() error { return h.world.Serve(ctx) })
	}
	resumed := make(chan struct{})
	g.Go(func() error {
		h.resume(ctx)
		h.orphans.tidy(ctx, h.premises())
		close(resumed)
		return h.agent.Run(ctx)
	})
	g.Go(func() error {
		<-resumed
		if h.orphans.sweep(ctx, h.provision) {
			h.reachable(ctx)
		}
		return h.provision.Run(ctx)
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return h.ended(h.reason())
}

// resume settles what a crash left of machines being made or destroyed, and
// prepares to reach those that exist.
func (h *Host) resume(ctx context.Context) {
	// Nobody but the owner knows what is wanted; what the ledger has begun is
	// finished, and the part that comes next says what is too much.
	if err := h.provision.Resume(ctx, func(provision.Entry) bool { return true }); err != nil {
		h.world.Log.Error("resume machines", "error", err)
	}
	h.reachable(ctx)
}

// reachable prepares to reach the machines that exist.
func (h *Host) reachable(ctx context.Context) {
	entries, err := h.provision.Entries()
	if err != nil {
		h.world.Log.Error("read the ledger", "error", err)
		return
	}
	for _, e := range entries {
		if e.State == provision.Running {
			h.reach.Set(e.Machine, net.JoinHostPort(e.Seen.Address, fmt.Sprint(peer.Port)))
		}
	}
	if len(entries) > 0 {
		if _, err := h.world.Gateways.Open(ctx); err != nil {
			h.world.Log.Error("listen for machines", "error", err)
		}
	}
}

// viewerRenewal is how often the certificate of the home's command line is made
// anew: well within its life of a day.
const viewerRenewal = 8 * time.Hour

// enter tells the cluster what this host is now, and again from time to time.
func (h *Host) enter(ctx context.Context) error {
	var told time.Time
	for ctx.Err() == nil {
		if time.Since(told) > viewerRenewal {
			s, err := h.node.AnyManager(ctx)
			if err == nil {
				err = h.tell(ctx, s)
			}
			if err == nil {
				told = time.Now()
				h.entered.Store(true)
			}
			if err != nil && ctx.Err() == nil {
				h.world.Log.Warn("telling the cluster what this host is", "error", err)
			}
		}
		pause(ctx, time.Second)
	}
	return ctx.Err()
}

func (h *Host) tell(ctx context.Context, s peer.Session) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	key, request, err := newViewer()
	if err != nil {
		return err
	}
	reply, err := peerpb.NewClusterClient(s).Enter(ctx, &peerpb.Seat{
		Name: h.world.Name, Roles: h.world.Roles, Address: h.world.Listen, Hostname: h.world.Hostname, Build: h.world.Build, Pid: int64(os.Getpid()),
		Viewer: request,
	})
	if err != nil || len(reply.Viewer) == 0 { // a manager of an earlier release gives none
		return err
	}
	return h.keepClient(key, reply.Viewer)
}

// retire has a manager know that a machine of this host is no more. It asks as
// long as it may: without a manager nothing else of the plan is told either.
func (h *Host) retire(ctx context.Context, machine string) error {
	for {
		s, err := h.node.AnyManager(ctx)
		if err == nil {
			err = func() error {
				ctx, cancel := context.WithTimeout(ctx, askTime)
				defer cancel()
				_, err := peerpb.NewClusterClient(s).Retire(ctx, &peerpb.RetireRequest{Machine: machine})
				return err
			}()
		}
		switch status.Code(err) {
		case codes.OK:
			return nil
		case codes.Unimplemented: // a manager of an earlier release: the certificate ends by itself
			return nil
		case codes.PermissionDenied:
			return fmt.Errorf("retire machine %s: %w", machine, err)
		}
		if pause(ctx, askAgain); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// fateEvery is how often a host without a manager asks what became of it.
const fateEvery = 3 * time.Second

// learnFate asks, while no manager takes this host's certificate, whether it was
// removed while it was away, until ctx ends. Who is not let in any more asks as
// nobody: what counts is the signature of the roster that says it.
func (h *Host) learnFate(ctx context.Context) error {
	for wait := time.Second; ; wait = fateEvery {
		if pause(ctx, wait); ctx.Err() != nil {
			return ctx.Err()
		}
		if h.inReach() || len(contactsIn(h.identity.Roster())) == 0 {
			continue
		}
		nobody, err := h.identity.Nobody()
		if err != nil {
			return err
		}
		var reply *peerpb.FateReply
		cfg := peer.Config{Identity: nobody, Log: slog.New(slog.DiscardHandler), Build: h.world.Build}
		err = calling(ctx, cfg, contactsIn(h.identity.Roster()), fateEvery, func(ctx context.Context, manager peer.Session) (err error) {
			reply, err = peerpb.NewClusterClient(manager).Fate(ctx, &peerpb.FateRequest{Id: h.world.MachineID})
			return err
		})
		if err == nil && len(reply.Roster) > 0 {
			err = h.takeRoster(reply.Roster)
		}
		if err != nil && ctx.Err() == nil {
			h.world.Log.Debug("whether this host was removed", "error", err)
		}
	}
}

// newViewer makes a key, and the request for a certificate, for whoever uses the
// command line of a host's home.
func newViewer() (key, request []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if key, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return nil, nil, err
	}
	request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	return key, request, err
}

// keepClient writes down who the home's command line is, and where it finds
// managers: it may look, and change nothing, as a host may not.
func (h *Host) keepClient(key []byte, chain [][]byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := durable.WriteFile(h.world.path(operatorIdentity), text); err != nil {
		return err
	}
	return h.findManagers()
}

// findManagers writes down where the home's command line finds managers.
func (h *Host) findManagers() error {
	return clientSettings{
		Cluster: h.identity.Name().Cluster, Managers: contactsIn(h.identity.Roster()), Identity: operatorIdentity, Role: string(identity.RoleViewer),
	}.write(h.world.Dir)
}

// promote writes down that this host is to be a manager, and ends its daemon so
// that it begins as one.
func (h *Host) promote(token, address string) error {
	if err := h.world.Become([]string{member.Manage, member.Host}, token, address); err != nil {
		return err
	}
	endSoon(func() { h.end(errChanged) })
	return nil
}

// hostSessions are the sessions of a host with the machines it made. It
// implements vm.Sessions.
type hostSessions struct{ node *peer.Node }

func (s hostSessions) Connected(id string) bool {
	_, ok := s.node.Session(id)
	return ok
}

func (s hostSessions) Wait(ctx context.Context, id string) error {
	_, err := s.node.Wait(ctx, id)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// hostEnrolments makes what the machines of a host need to enrol, with a token
// that a manager makes. It implements vm.Enrolments.
type hostEnrolments struct{ h *Host }

func (e hostEnrolments) UserData(ctx context.Context, machineID, name string) ([]byte, error) {
	gw, err := e.h.world.Gateways.Open(ctx)
	if err != nil {
		return nil, err
	}
	s, err := e.h.node.AnyManager(ctx)
	if err != nil {
		return nil, fmt.Errorf("token for machine %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := peerpb.NewClusterClient(s).Admit(ctx, &peerpb.AdmitRequest{Machine: machineID})
	if err != nil {
		return nil, fmt.Errorf("token for machine %s: %w", name, err)
	}
	return json.Marshal(userData{
		Machine: machineID, Name: name, Hostname: hostnameOf(name), Token: r.Token,
		Contacts: []string{gw.Contact}, Proxy: gw.Proxy, Isolation: gw.Isolation,
	})
}

// hosting answers managers about a host. It implements peerpb.HostingServer.
type hosting struct {
	peerpb.UnimplementedHostingServer
	providers []provider.Provider
	promote   func(token, address string) error // nil: it is a manager
}

// Offer answers with this host's proposals.
func (h hosting) Offer(ctx context.Context, r *peerpb.OfferRequest) (*peerpb.OfferReply, error) {
	var call provider.Call
	if err := json.Unmarshal(r.Call, &call); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	var all []provider.Proposal
	var failed error
	for _, p := range h.providers {
		proposals, err := p.Offer(ctx, call, nil)
		all, failed = append(all, proposals...), errors.Join(failed, err)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	reply := &peerpb.OfferReply{Proposals: text}
	if failed != nil {
		reply.Error = failed.Error()
	}
	return reply, nil
}

// Promote has this host join as a manager.
func (h hosting) Promote(_ context.Context, r *peerpb.PromoteRequest) (*peerpb.PromoteReply, error) {
	if h.promote == nil {
		return nil, status.Error(codes.FailedPrecondition, "this member is a manager already")
	}
	return &peerpb.PromoteReply{}, h.promote(r.Token, r.Address)
}
