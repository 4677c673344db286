package peer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
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
	t       *testing.T
	node    *Node
	id      string
	address string
	*answers
}

// answers are services that remember who called.
type answers struct {
	peerpb.UnimplementedMachineServer
	peerpb.UnimplementedOwnerServer

	mu sync.Mutex
	// guarded by mu
	callers []Peer
	hold    chan struct{} // Inspect answers when it is closed, if it is not nil
}

func (a *answers) note(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.callers = append(a.callers, Caller(ctx))
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

// background runs f until the test ends.
func background(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func newDaemon(t *testing.T, id string, who Identity, issuer Issuer) *daemon {
	t.Helper()
	d := &daemon{t: t, id: id, answers: &answers{}}
	d.node = NewNode(Config{Identity: who, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Build: "test"})
	peerpb.RegisterMachineServer(d.node, d.answers)
	peerpb.RegisterOwnerServer(d.node, d.answers)
	if issuer != nil {
		peerpb.RegisterEnrolmentServer(d.node, NewEnrolment(issuer, func() []string { return []string{d.address} }))
	}
	background(t, d.node.Run)
	return d
}

// listen makes the daemon accept sessions.
func (d *daemon) listen() {
	d.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	d.address = ln.Addr().String()
	background(d.t, func(ctx context.Context) error { return d.node.Serve(ctx, ln) })
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

type manager struct {
	*daemon
	identity *identity.Manager
}

func newManager(t *testing.T, configure ...func(*identity.ManagerConfig)) *manager {
	t.Helper()
	cfg := identity.ManagerConfig{Dir: filepath.Join(t.TempDir(), "identity"), ID: uuid.NewString(), Tokens: &identity.MemoryTokens{}}
	for _, c := range configure {
		c(&cfg)
	}
	who, err := identity.OpenManager(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &manager{newDaemon(t, cfg.ID, who, who), who}
}

type machine struct {
	*daemon
	identity *identity.Machine
	token    string
}

func (m *manager) newMachine() *machine {
	m.t.Helper()
	id := uuid.NewString()
	token, err := m.identity.NewToken(m.t.Context(), id, time.Hour)
	if err != nil {
		m.t.Fatal(err)
	}
	who, err := identity.OpenMachine(m.t.TempDir(), id, token.String())
	if err != nil {
		m.t.Fatal(err)
	}
	return &machine{newDaemon(m.t, id, who, nil), who, token.String()}
}

func (m *machine) enrol() {
	e := &Enrolment{Node: m.node, Credentials: m.identity, Machine: m.id, Token: m.token}
	background(m.t, e.Run)
}

func (m *machine) contact(addresses ...string) {
	background(m.t, m.node.NewContacts(addresses...).Run)
}

func TestMachineThatOnlyDialsEnrolsAndBothSidesCall(t *testing.T) {
	boss := newManager(t)
	boss.listen()
	m := boss.newMachine()
	m.enrol()
	m.contact(boss.address)

	checkBothWays(t, boss, m)
}

func TestManagerThatCannotBeDialledDialsTheMachine(t *testing.T) {
	boss := newManager(t)
	m := boss.newMachine()
	m.listen()
	m.enrol()
	reach := boss.node.NewReach()
	background(t, reach.Run)
	reach.Set(m.id, m.address)

	checkBothWays(t, boss, m)
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
	if got := m.callers[0]; got != boss.node.Name() || got.Kind != Manager || got != up.Peer() {
		t.Errorf("the machine was called by %v", got)
	}
	if got := boss.callers[0]; got != m.node.Name() || got.ID != m.id || got != down.Peer() {
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
