package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"google.golang.org/protobuf/reflect/protoreflect"

	"aloft/api/peerpb"
	"aloft/internal/identity"
)

func TestEveryMethodHasARowInTheRightsTable(t *testing.T) {
	rows := len(rights)
	for _, file := range []protoreflect.FileDescriptor{peerpb.File_peer_proto, peerpb.File_cluster_proto} {
		services := file.Services()
		for i := range services.Len() {
			methods := services.Get(i).Methods()
			for j := range methods.Len() {
				name := "/" + string(services.Get(i).FullName()) + "/" + string(methods.Get(j).Name())
				if rights[name] == 0 {
					t.Errorf("%s has no row", name)
				}
				rows--
			}
		}
	}
	if rows != 0 {
		t.Errorf("%d rows too many", rows)
	}

	defer func() {
		if recover() == nil {
			t.Error("a service with a method that has no row was registered")
		}
	}()
	NewNode(Config{}).RegisterService(&grpc.ServiceDesc{ServiceName: "x", Methods: []grpc.MethodDesc{{MethodName: "Y"}}}, nil)
}

func TestUnenrolledMachineMayOnlyEnrol(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss := w.manager()
		boss.listen()
		m := boss.machine()
		s, err := m.node.Dial(t.Context(), boss.address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = peerpb.NewOwnerClient(s).Report(t.Context(), &peerpb.ReportRequest{})
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "an unenrolled machine may not call") {
			t.Errorf("report: %v", err)
		}
		_, err = peerpb.NewEnrolmentClient(s).Renew(t.Context(), &peerpb.RenewRequest{})
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("renew: %v", err)
		}
		_, err = peerpb.NewEnrolmentClient(s).Enrol(t.Context(), &peerpb.EnrolRequest{Token: m.token})
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "certificate request") {
			t.Errorf("enrol with nothing: %v", err)
		}
		if _, ok := m.node.Session(boss.id); ok {
			t.Error("the session of an unenrolled machine is offered to others")
		}
	})
}

func TestUsedTokenIsRefusedForGood(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss := w.manager()
		boss.listen()
		m := boss.machine()
		m.enrol()
		m.contact(boss.address)
		boss.session(m.id)

		thief := boss.machineWith(m.id, m.token) // same id and token, another key
		thief.contact(boss.address)
		e := &Enrolment{Node: thief.node, Credentials: thief.identity, Machine: thief.id, Token: thief.token}
		err := e.Run(t.Context())
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "used before") {
			t.Errorf("got %v", err)
		}
	})
}

func TestStrangersAreRefused(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss, other := w.manager(), w.manager()
		boss.listen()
		other.listen()
		m := boss.machine()
		m.enrol()
		m.contact(boss.address)
		boss.session(m.id)

		// A manager of another cluster dials, and is dialled.
		if _, err := other.node.Dial(t.Context(), boss.address); err == nil {
			t.Error("a stranger got a session")
		}
		if _, err := m.node.Dial(t.Context(), other.address); err == nil || !strings.Contains(err.Error(), "not trusted here") {
			t.Errorf("a machine dialled a stranger: %v", err)
		}
		// An unenrolled machine does not fall for another cluster either.
		if _, err := boss.machine().node.Dial(t.Context(), other.address); err == nil || !strings.Contains(err.Error(), "join token") {
			t.Errorf("an unenrolled machine dialled a stranger: %v", err)
		}
	})
}

// TestExpiredMachineMayOnlyRenew also shows that it then comes back by itself.
func TestExpiredMachineMayOnlyRenew(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss := w.manager()
		boss.listen()
		m := boss.machine()
		install(t, issueExpired(t, boss, m), m)

		s, err := m.node.Dial(t.Context(), boss.address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = peerpb.NewOwnerClient(s).Report(t.Context(), &peerpb.ReportRequest{})
		if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "expired") {
			t.Errorf("report: %v", err)
		}
		if _, ok := boss.node.Session(m.id); ok {
			t.Error("an expired machine is in the table")
		}
		m.enrol()
		m.contact(boss.address)
		checkBothWays(t, boss, m)
	})
}

// issueExpired has m's cluster issue a certificate whose time is over: the
// manager's folder is copied and opened with a life that ended a minute ago.
func issueExpired(t *testing.T, boss *manager, m *machine) *peerpb.Certificates {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(boss.dir)); err != nil {
		t.Fatal(err)
	}
	past, err := identity.OpenManager(identity.ManagerConfig{Dir: dir, ID: boss.id, Tokens: &identity.MemoryTokens{}, Life: -time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	token, err := past.NewToken(t.Context(), m.id, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	request, err := m.identity.Request()
	if err != nil {
		t.Fatal(err)
	}
	chain, roots, err := past.Enrol(t.Context(), token.String(), m.id, request)
	if err != nil {
		t.Fatal(err)
	}
	return &peerpb.Certificates{Chain: chain, Roots: roots}
}

// ahead is a machine whose clock is so far ahead that what it is given is to be
// renewed already.
type ahead struct{ *identity.Machine }

func (ahead) RenewAt() time.Time { return time.Now().Add(-time.Hour) }

// counted counts what it renews.
type counted struct {
	Issuer
	renewed atomic.Int64
}

func (c *counted) Renew(ctx context.Context, name string, request []byte) (chain, roots [][]byte, err error) {
	c.renewed.Add(1)
	return c.Issuer.Renew(ctx, name, request)
}

func TestAMachineWithAWrongClockMakesNoStormOfRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sim: NewNetwork(1)}
		boss := w.manager()
		issuer := &counted{Issuer: boss.identity}
		lord := w.daemon(uuid.NewString(), boss.identity, issuer)
		lord.listen()
		m := boss.machine()
		background(t, (&Enrolment{Node: m.node, Credentials: ahead{m.identity}, Machine: m.id, Token: m.token}).Run)
		m.contact(lord.address)
		time.Sleep(time.Minute)
		if n := issuer.renewed.Load(); n < 3 || n > 30 {
			t.Errorf("%d renewals in a minute", n)
		}
	})
}

func install(t testing.TB, certs *peerpb.Certificates, m *machine) {
	t.Helper()
	if err := m.identity.Install(certs.Chain, certs.Roots); err != nil {
		t.Fatal(err)
	}
}

func TestRevokedMachineIsRefused(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss := w.manager()
		boss.listen()
		m := boss.machine()
		m.enrol()
		m.contact(boss.address)
		s := boss.session(m.id)
		if err := boss.identity.Remove(t.Context(), identity.KindMachine, m.id); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if _, err := m.node.Dial(t.Context(), boss.address); err == nil {
			t.Error("a revoked machine got a session")
		}
	})
}

func TestDaemonsWithoutACommonVersionSaySo(t *testing.T) {
	for _, c := range []struct {
		oldest, newest int32
		words          string
	}{
		{1, 3, ""},
		{2, 3, `speaks protocol 2 to 3, this daemon (build "ours") 1 to 1: upgrade this daemon`},
		{0, 0, "upgrade the other daemon"},
	} {
		ours := &peerpb.Versions{Oldest: 1, Newest: 1, Build: "ours"}
		err := meet(Peer{Cluster: "c", Kind: Machine, ID: "m"}, ours, &peerpb.Versions{Oldest: c.oldest, Newest: c.newest})
		var mismatch *VersionError
		if c.words == "" && err != nil || c.words != "" && (!errors.As(err, &mismatch) || !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%d to %d: %v", c.oldest, c.newest, err)
		}
	}
}

func TestOtherProtocolsAtThePortAreRefused(t *testing.T) {
	w := &world{t: t}
	boss := w.manager()
	boss.listen()
	conn, err := tls.Dial("tcp", boss.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err == nil {
		conn.Close()
		t.Error("TLS for http/1.1 was accepted")
	}
}

func TestOnlyTLS13IsSpokenAtThePort(t *testing.T) {
	w := &world{t: t}
	boss := w.manager()
	web := boss.node.HTTP(&tls.Config{})
	t.Cleanup(func() { web.Close() })
	boss.listen()
	for _, protocol := range []string{ALPN, "h2", "http/1.1"} {
		for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: false, tls.VersionTLS13: true} {
			cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS10, MaxVersion: version}
			conn, err := tls.Dial("tcp", boss.address, cfg)
			if got := err == nil; got != want {
				t.Errorf("%s over %s: %v", protocol, tls.VersionName(version), err)
			}
			if err == nil {
				conn.Close()
			}
		}
	}
}

func TestDialOfOneselfIsRefused(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss := w.manager()
		boss.listen()
		if _, err := boss.node.Dial(t.Context(), boss.address); err == nil || !strings.Contains(err.Error(), "own") {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzReadHello(f *testing.F) {
	var whole strings.Builder
	h := hello{boot: 1, counter: 2, versions: &peerpb.Versions{Oldest: 1, Newest: 2, Build: "b"}}
	if err := h.write(&whole); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(whole.String()))
	f.Add([]byte{0, 0, 0, 16})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		var out strings.Builder
		if err := h.write(&out); err != nil {
			t.Fatal(err)
		}
		again, err := readHello(strings.NewReader(out.String()))
		if err != nil || again.boot != h.boot || again.counter != h.counter || !proto.Equal(again.versions, h.versions) {
			t.Errorf("%v read back as %v, %v", h, again, err)
		}
	})
}
