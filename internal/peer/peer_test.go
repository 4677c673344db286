package peer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is one daemon of a test: its node, running, with every service.
type daemon struct {
	t       testing.TB
	node    *Node
	id      string
	address string
	stop    func() // ends its sessions and calls
	deafen  func() // ends its listening
	born    time.Time
	*answers
}

// answers are services that remember who called.
type answers struct {
	peerpb.UnimplementedMachineServer
	peerpb.UnimplementedOwnerServer

	mu sync.Mutex
	// guarded by mu
	callers []Peer
	roster  func(signed []byte) // is given what managers tell, if it is not nil
	hold    chan struct{}       // Inspect answers when it is closed, if it is not nil
}

func (a *answers) note(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.callers = append(a.callers, Caller(ctx))
}

func (d *daemon) takeRoster(_ context.Context, _ Peer, signed []byte) ([]byte, error) {
	d.mu.Lock()
	f := d.roster
	d.mu.Unlock()
	if f != nil {
		f(signed)
		return signed, nil
	}
	m, ok := d.node.cfg.Identity.(interface{ AcceptRoster([]byte) (bool, error) })
	if !ok {
		return signed, nil
	}
	newer, err := m.AcceptRoster(signed)
	if newer {
		d.node.Recheck()
	}
	return signed, err
}

// called returns who called so far.
func (a *answers) called() []Peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.callers)
}

func (a *answers) Tell(ctx context.Context, _ *peerpb.TellRequest) (*peerpb.TellReply, error) {
	a.note(ctx)
	return &peerpb.TellReply{}, nil
}

func (a *answers) Report(ctx context.Context, _ *peerpb.ReportRequest) (*peerpb.ReportReply, error) {
	a.note(ctx)
	return &peerpb.ReportReply{}, nil
}

func (a *answers) Inspect(ctx context.Context, req *peerpb.InspectRequest) (*peerpb.InspectReply, error) {
	a.note(ctx)
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &peerpb.InspectReply{DaemonVersion: "answered " + req.System}, nil
}

// Exec echoes.
func (a *answers) Exec(stream peerpb.Machine_ExecServer) error {
	a.note(stream.Context())
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&peerpb.ExecOutput{Stdout: in.Stdin}); err != nil {
			return err
		}
	}
}

func (a *answers) Logs(_ *peerpb.LogsRequest, stream peerpb.Machine_LogsServer) error {
	for _, text := range []string{"a", "b", "c"} {
		if err := stream.Send(&peerpb.LogLine{Text: text}); err != nil {
			return err
		}
	}
	return status.Error(codes.DataLoss, "log ends here")
}

// background runs f until stop is called or the test ends.
func background(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// world is where daemons of a test live: the real loopback, or a simulated
// network.
type world struct {
	t   testing.TB
	sim *Network // nil: real

	quiet  bool        // without log
	before func(*Node) // is given each node before it runs
}

// inBothWorlds runs a scenario over TCP and on the simulated twin.
func inBothWorlds(t *testing.T, scenario func(*testing.T, *world)) {
	t.Run("real", func(t *testing.T) { scenario(t, &world{t: t}) })
	t.Run("simulated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { scenario(t, &world{t: t, sim: NewNetwork(1)}) })
	})
}

func (w *world) daemon(id string, who Identity, issuer Issuer, configure ...func(*Config)) *daemon {
	w.t.Helper()
	d := &daemon{t: w.t, id: id, answers: &answers{}, born: time.Now()}
	cfg := Config{Identity: who, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)), Build: "test"}
	if w.quiet {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if w.sim != nil {
		cfg.Host = w.sim.Host(id)
	}
	for _, c := range configure {
		c(&cfg)
	}
	d.node = NewNode(cfg)
	peerpb.RegisterMachineServer(d.node, d.answers)
	peerpb.RegisterOwnerServer(d.node, d.answers)
	if issuer != nil {
		peerpb.RegisterEnrolmentServer(d.node, NewEnrolment(issuer, func() []string { return []string{d.address} }))
	}
	peerpb.RegisterMembershipServer(d.node, NewMembership(d.takeRoster))
	if w.before != nil {
		w.before(d.node)
	}
	d.stop = background(w.t, d.node.Run)
	return d
}

// listen makes the daemon accept sessions, at the address it has if it has one.
func (d *daemon) listen() {
	d.t.Helper()
	if h := d.node.cfg.Host; h != nil {
		d.address = h.name + ":7400"
		d.deafen = background(d.t, func(ctx context.Context) error { return d.node.Serve(ctx, h.Listen()) })
		synctest.Wait()
		return
	}
	if d.address == "" {
		d.address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", d.address)
	// A port that was free for a moment may be the own end of a connection by now,
	// even of one to itself.
	for began := time.Now(); errors.Is(err, syscall.EADDRINUSE) && time.Since(began) < 10*time.Second; ln, err = net.Listen("tcp", d.address) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.address = ln.Addr().String()
	d.deafen = background(d.t, func(ctx context.Context) error { return d.node.Serve(ctx, ln) })
}

func (d *daemon) session(id string) Session {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	s, err := d.node.Wait(ctx, id)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// leaves returns once the session with a daemon goes over another connection: it
// may be another session, or the same one, where the new connection was there
// before the end of the old one was noticed.
func (d *daemon) leaves(id string, over *link) {
	d.t.Helper()
	v, stop := d.node.view(id)
	defer stop()
	late := time.After(20 * time.Second)
	for {
		if s, ok := d.node.Session(id); ok && s.(*session).current() != over {
			return
		}
		select {
		case <-v.wake:
		case <-late:
			d.t.Fatalf("after 20 s no session with %s over another connection", id)
		}
	}
}

type manager struct {
	*daemon
	world    *world
	identity *identity.Manager
	dir      string
	shared   shared
	reach    *Reach
}

// relays makes a manager a relay to what it reaches.
func (m *manager) relays(cfg *Config) {
	cfg.Relay = func(id string) []string { return m.reach.Addresses(id) }
}

func (w *world) manager(configure ...func(*identity.ManagerConfig)) *manager {
	w.t.Helper()
	return w.managerWith(shared{&identity.MemoryTokens{}, &identity.MemoryVault{}}, configure...)
}

// shared is what the managers of a cluster have in their store.
type shared struct {
	tokens identity.Tokens
	vault  identity.Vault
}

func (w *world) managerWith(s shared, configure ...func(*identity.ManagerConfig)) *manager {
	w.t.Helper()
	cfg := identity.ManagerConfig{
		Dir: filepath.Join(w.t.TempDir(), "identity"), ID: uuid.NewString(), Tokens: s.tokens, Vault: s.vault,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range configure {
		c(&cfg)
	}
	who, err := identity.OpenManager(cfg)
	if err == nil {
		err = who.Sync(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	m := &manager{world: w, identity: who, dir: cfg.Dir, shared: s}
	m.daemon = w.daemon(cfg.ID, who, who, m.relays)
	m.reach = m.node.NewReach()
	background(w.t, m.reach.Run)
	return m
}

// colleague is another manager of the same cluster, which was let in as such. It
// knows the same tokens.
func (m *manager) colleague() *manager {
	m.t.Helper()
	dir, id := filepath.Join(m.t.TempDir(), "identity"), uuid.NewString()
	token, err := m.identity.NewJoinToken(m.t.Context(), identity.RoleManage, time.Hour)
	if err != nil {
		m.t.Fatal(err)
	}
	joining, err := identity.OpenJoining(dir, id, identity.RoleManage, token.String())
	if err != nil {
		m.t.Fatal(err)
	}
	request, err := joining.Request()
	if err != nil {
		m.t.Fatal(err)
	}
	reply, _, err := m.identity.Admit(m.t.Context(), token.String(), id, identity.RoleManage, request)
	if err == nil {
		err = joining.Install(reply)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return m.world.managerWith(m.shared, func(cfg *identity.ManagerConfig) { cfg.Dir, cfg.ID = dir, id })
}

type machine struct {
	*daemon
	identity *identity.Machine
	token    string
	contacts *Contacts // once contact was called
}

func (m *manager) machine() *machine {
	m.t.Helper()
	id := uuid.NewString()
	token, err := m.identity.NewToken(m.t.Context(), id, "", time.Hour)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.machineWith(id, token.String())
}

func (m *manager) machineWith(id, token string, configure ...func(*Config)) *machine {
	m.t.Helper()
	who, err := identity.OpenMachine(m.t.TempDir(), id, token, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return &machine{m.world.daemon(id, who, nil, configure...), who, token, nil}
}

// host is a machine that relays.
func (m *manager) host() *machine {
	m.t.Helper()
	id := uuid.NewString()
	token, err := m.identity.NewToken(m.t.Context(), id, "", time.Hour)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.machineWith(id, token.String(), func(cfg *Config) { cfg.Relay = func(string) []string { return nil } })
}

func (m *machine) enrol() {
	e := &Enrolment{Node: m.node, Credentials: m.identity, Machine: m.id, Token: m.token}
	background(m.t, e.Run)
}

func (m *machine) contact(addresses ...string) {
	m.contacts = m.node.NewContacts(addresses...)
	background(m.t, m.contacts.Run)
}

func TestMachineThatOnlyDialsEnrolsAndBothSidesCall(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss := w.manager()
		boss.listen()
		m := boss.machine()
		m.enrol()
		m.contact(boss.address)
		checkBothWays(t, boss, m)
	})
}

func TestManagerThatCannotBeDialledDialsTheMachine(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss := w.manager()
		m := boss.machine()
		m.listen()
		m.enrol()
		reach := boss.node.NewReach()
		background(t, reach.Run)
		reach.Set(m.id, m.address)
		checkBothWays(t, boss, m)
	})
}

func checkBothWays(t *testing.T, boss *manager, m *machine) {
	t.Helper()
	down := boss.session(m.id)
	if _, err := peerpb.NewMachineClient(down).Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
		t.Fatal(err)
	}
	up := m.session(boss.id)
	if _, err := peerpb.NewOwnerClient(up).Report(t.Context(), &peerpb.ReportRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := m.called()[0]; got != boss.node.Name() || got.Kind != Manager || got != up.Peer() {
		t.Errorf("the machine was called by %v", got)
	}
	if got := boss.called()[0]; got != m.node.Name() || got.ID != m.id || got != down.Peer() {
		t.Errorf("the manager was called by %v", got)
	}

	_, err := peerpb.NewMachineClient(up).Tell(t.Context(), &peerpb.TellRequest{})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), m.id) {
		t.Errorf("a machine calls what only managers may: %v", err)
	}
	_, err = peerpb.NewEnrolmentClient(up).Enrol(t.Context(), &peerpb.EnrolRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("an enrolled machine enrols: %v", err)
	}
	checkStreams(t, down)
}

func checkStreams(t *testing.T, s Session) {
	t.Helper()
	exec, err := peerpb.NewMachineClient(s).Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two"} {
		if err := exec.Send(&peerpb.ExecInput{Stdin: []byte(word)}); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Recv()
		if err != nil || string(out.Stdout) != word {
			t.Fatalf("sent %q, got %q, %v", word, out.GetStdout(), err)
		}
	}
	exec.CloseSend()
	if _, err := exec.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("stream ends with %v", err)
	}
	logs, err := peerpb.NewMachineClient(s).Logs(t.Context(), &peerpb.LogsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var text string
	for {
		line, err := logs.Recv()
		if err != nil {
			if status.Code(err) != codes.DataLoss || text != "abc" {
				t.Errorf("got %q, then %v", text, err)
			}
			return
		}
		text += line.Text
	}
}
