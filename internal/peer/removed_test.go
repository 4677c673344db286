package peer

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/identity"
)

// managers makes two managers of one cluster: the second has joined by the first.
func (w *world) managers() (first, second *manager) {
	w.t.Helper()
	vault, tokens := &identity.MemoryVault{}, &identity.MemoryTokens{}
	shared := func(cfg *identity.ManagerConfig) { cfg.Vault, cfg.Tokens = vault, tokens }
	first = w.manager(shared)
	token, err := first.identity.NewJoinToken(w.t.Context(), identity.RoleManage, time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	dir, id := filepath.Join(w.t.TempDir(), "identity"), uuid.NewString()
	joining, err := identity.OpenJoining(dir, id, identity.RoleManage, token.String())
	if err != nil {
		w.t.Fatal(err)
	}
	asked, err := joining.Request()
	if err != nil {
		w.t.Fatal(err)
	}
	reply, _, err := first.identity.Admit(w.t.Context(), token.String(), id, identity.RoleManage, asked)
	if err == nil {
		err = joining.Install(reply)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	second = w.manager(shared, func(cfg *identity.ManagerConfig) { cfg.Dir, cfg.ID = dir, id })
	return first, second
}

// rosters has a manager tell its roster.
func (m *manager) rosters() *Rosters {
	r := m.node.NewRosters(nil)
	background(m.t, r.Run)
	r.Set(m.identity.SignedRoster())
	return r
}

func TestMachineOfARemovedManagerComesBackAndThatManagerDoesNot(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		gone, stays := w.managers()
		gone.listen()
		stays.listen()
		m := gone.machine()
		m.enrol()
		cutOff := background(t, m.node.NewContacts(gone.address).Run)
		gone.session(m.id)
		cutOff()

		// While the machine knows only the manager that let it in, that is removed.
		if err := stays.identity.Remove(t.Context(), identity.KindManager, gone.id); err != nil {
			t.Fatal(err)
		}
		stays.rosters()
		m.contact(stays.address)
		checkBothWays(t, stays, m)
		if r := m.identity.Roster(); r == nil || len(r.Revoked) == 0 {
			t.Error("the machine has not heard who is revoked")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for s, ok := m.node.Session(gone.id); ok; s, ok = m.node.Session(gone.id) {
			select { // what there was with the removed manager ends
			case <-s.Done():
			case <-ctx.Done():
				t.Fatal("the machine keeps its session with the removed manager")
			}
		}
		if _, err := gone.node.Dial(t.Context(), stays.address); err == nil {
			t.Error("the removed manager got a session with another")
		}
		if _, err := m.node.Dial(t.Context(), gone.address); err == nil {
			t.Error("the machine talks to the removed manager")
		}
	})
}

// reluctant refuses the first renewed certificate, as where the manager that
// signed it was removed in between.
type reluctant struct {
	*identity.Machine
	refused bool
}

func (r *reluctant) Install(chain, roots [][]byte) error {
	if r.Enrolled() && !r.refused {
		r.refused = true
		return status.Error(codes.PermissionDenied, "its issuer is revoked")
	}
	return r.Machine.Install(chain, roots)
}

func TestRenewedCertificateThatIsRefusedIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sim: NewNetwork(1)}
		boss := w.manager()
		background(t, boss.identity.Run)
		boss.listen()
		m := boss.machine()
		who := &reluctant{Machine: m.identity}
		background(t, (&Enrolment{Node: m.node, Credentials: who, Machine: m.id, Token: m.token}).Run)
		m.contact(boss.address)
		boss.session(m.id)
		for range 3 {
			time.Sleep(12 * time.Hour)
			if until := time.Until(m.identity.RenewAt()); until <= 0 {
				t.Errorf("its certificate should have been renewed %v ago", -until)
			}
		}
		if !who.refused {
			t.Error("no certificate was renewed")
		}
	})
}

func TestMachineThatARemovedManagerMadeUpGetsNowhere(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		gone, stays := w.managers()
		stays.listen()
		if err := stays.identity.Remove(t.Context(), identity.KindManager, gone.id); err != nil {
			t.Fatal(err)
		}
		made := gone.machine()
		request, err := made.identity.Request()
		if err != nil {
			t.Fatal(err)
		}
		// It has its folder still, but not the store: a vault of its own.
		alone, err := identity.OpenManager(identity.ManagerConfig{Dir: gone.dir, ID: gone.id, Tokens: &identity.MemoryTokens{}})
		if err != nil {
			t.Fatal(err)
		}
		token, err := alone.NewToken(t.Context(), made.id, "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		chain, roots, err := alone.Enrol(t.Context(), token.String(), made.id, request)
		if err != nil {
			t.Fatal(err)
		}
		if err := made.identity.Install(chain, roots); err != nil {
			t.Fatal(err)
		}
		s, err := made.node.Dial(t.Context(), stays.address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = peerpb.NewOwnerClient(s).Report(t.Context(), &peerpb.ReportRequest{})
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("report: %v", err)
		}
		if request, err = made.identity.Request(); err != nil {
			t.Fatal(err)
		}
		_, err = peerpb.NewEnrolmentClient(s).Renew(t.Context(), &peerpb.RenewRequest{CertificateRequest: request})
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("renew: %v", err)
		}
	})
}
