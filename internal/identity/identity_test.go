package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

func newManager(t *testing.T) *Manager {
	t.Helper()
	m, err := OpenManager(ManagerConfig{Dir: filepath.Join(t.TempDir(), "identity"), ID: uuid.NewString(), Tokens: &MemoryTokens{}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newMachine(t *testing.T, m *Manager) (*Machine, Token) {
	t.Helper()
	id := uuid.NewString()
	token, err := m.NewToken(t.Context(), id, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := OpenMachine(t.TempDir(), id, token.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return machine, token
}

func enrol(t *testing.T, m *Manager, machine *Machine, token Token) {
	t.Helper()
	chain, roots, err := m.Enrol(t.Context(), token.String(), machine.id, request(t, machine))
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.Install(chain, roots); err != nil {
		t.Fatal(err)
	}
}

func request(t *testing.T, m *Machine) []byte {
	t.Helper()
	csr, err := m.Request()
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func wantRefusal(t *testing.T, err error, words string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want a refusal that says %q", err, words)
	}
}

func TestEnrolledMachineAndManagerRecogniseEachOther(t *testing.T) {
	manager := newManager(t)
	machine, token := newMachine(t, manager)
	if _, _, err := machine.Verify(manager.current.Load().pair.chain); err != nil {
		t.Errorf("before enrolment the machine refuses the manager it is to join: %v", err)
	}
	enrol(t, manager, machine, token)

	name, expires, err := manager.Verify([]*x509.Certificate(machine.current.Load().pair.chain))
	if err != nil || name != machine.Name().String() || machine.Name().ID != machine.id {
		t.Errorf("manager sees %q, %v", name, err)
	}
	if left := time.Until(expires); left > DefaultLife || left < DefaultLife-time.Minute {
		t.Errorf("certificate lives %v more, want a day", left)
	}
	name, _, err = machine.Verify(manager.current.Load().pair.chain)
	if err != nil || name != manager.Name().String() {
		t.Errorf("machine sees %q, %v", name, err)
	}
}

func TestIdentitiesSurviveReopening(t *testing.T) {
	manager := newManager(t)
	machine, token := newMachine(t, manager)
	enrol(t, manager, machine, token)

	again, err := OpenManager(manager.cfg)
	if err != nil || again.Name() != manager.Name() {
		t.Fatalf("reopened as %v, %v; was %v", again.Name(), err, manager.Name())
	}
	reopened, err := OpenMachine(machine.dir, machine.id, "", nil)
	if err != nil || !reopened.Enrolled() || reopened.Name() != machine.Name() {
		t.Fatalf("reopened machine: %v", err)
	}
	if _, err := OpenMachine(machine.dir, uuid.NewString(), "", nil); err == nil {
		t.Error("another machine opened this one's identity")
	}
	cfg := manager.cfg
	cfg.ID = uuid.NewString()
	if _, err := OpenManager(cfg); err == nil {
		t.Error("another manager opened this one's identity")
	}
	filepath.WalkDir(manager.dir, func(path string, d os.DirEntry, err error) error {
		if info, _ := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, error %v; want it private", path, info.Mode(), err)
		}
		return nil
	})
}

func TestRootKeyIsUnreadableOnDisk(t *testing.T) {
	manager := newManager(t)
	ring := manager.keys.known()
	for what, sealed := range map[string][]byte{"root": ring.RootKey, "store issuer": ring.StoreKey, "secrets": ring.Secrets[0].Sealed} {
		if !strings.HasPrefix(string(sealed), "age-encryption.org/v1\n-> X25519 ") {
			t.Errorf("the key of %s is not an age file", what)
		}
		// Another manager's age identity does not open it.
		if _, err := unseal(sealed, newManager(t).keys.keeper); err == nil {
			t.Errorf("a stranger opened the key of %s", what)
		}
	}
	root, err := unsealKey(ring.RootKey, manager.keys.keeper)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range filesOf(t, manager.dir) {
		if bytes.Contains(f, der) || bytes.Contains(f, []byte(base64.StdEncoding.EncodeToString(der))) {
			t.Error("the root key is on disk in the clear")
		}
	}
}

// filesOf returns the content of every file in a folder, by path.
func filesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRootNamesOnlyMembersOfItsOwnCluster(t *testing.T) {
	a, b := newManager(t), newManager(t)
	trust, err := NewTrust(nil, a.authority.Load().root.Raw, b.authority.Load().root.Raw)
	if err != nil {
		t.Fatal(err)
	}
	// a's authority signs a certificate with a name of b's cluster.
	key, _ := newKey()
	forged, err := a.authority.Load().issue(Name{b.Name().Cluster, KindManager, uuid.NewString()}, "", &key.PublicKey, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = trust.Verify(forged)
	wantRefusal(t, err, "certificate of aloft://"+b.Name().Cluster)
	// Even with only the standard check of name constraints it is worth nothing.
	pool := x509.NewCertPool()
	pool.AddCert(a.authority.Load().root)
	between := x509.NewCertPool()
	between.AddCert(forged[1])
	_, err = forged[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err == nil {
		t.Error("the name constraint of the root did not bind")
	}
	// Both clusters' own members are fine.
	for _, m := range []*Manager{a, b} {
		if name, _, err := trust.Verify(m.current.Load().pair.chain); err != nil || name != m.Name() {
			t.Errorf("%v: %v", m.Name(), err)
		}
	}
	_, _, err = a.Verify(b.current.Load().pair.chain)
	wantRefusal(t, err, "not trusted here")
}

func TestTokenWorksOnceForOneMachineAndKey(t *testing.T) {
	manager := newManager(t)
	machine, token := newMachine(t, manager)
	thief, err := OpenMachine(t.TempDir(), machine.id, token.String(), nil)
	if err != nil {
		t.Fatal(err)
	}

	_, _, err = manager.Enrol(t.Context(), token.String(), uuid.NewString(), request(t, machine))
	wantRefusal(t, err, "it is for another machine")
	enrol(t, manager, machine, token) // the wrong machine did not spend it
	_, _, err = manager.Enrol(t.Context(), token.String(), machine.id, request(t, thief))
	wantRefusal(t, err, "used before")
	_, _, err = manager.Enrol(t.Context(), newToken(token.Pin).String(), machine.id, request(t, thief))
	wantRefusal(t, err, "unknown here")
	_, _, err = manager.Enrol(t.Context(), "aloft1.x.y", machine.id, request(t, thief))
	wantRefusal(t, err, "join token")
}

func TestEnrolmentIsAnsweredAgainAfterALostAnswer(t *testing.T) {
	manager := newManager(t)
	machine, token := newMachine(t, manager)
	if _, _, err := manager.Enrol(t.Context(), token.String(), machine.id, request(t, machine)); err != nil {
		t.Fatal(err)
	}
	// The answer is lost, and the daemon dies and comes back.
	machine, err := OpenMachine(machine.dir, machine.id, token.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	enrol(t, manager, machine, token)
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager := newManager(t)
		machine, token := newMachine(t, manager)
		time.Sleep(time.Hour + time.Second)
		_, _, err := manager.Enrol(t.Context(), token.String(), machine.id, request(t, machine))
		wantRefusal(t, err, "expired")
	})
}

func TestExpiredCertificateIsSaidToBeExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager := newManager(t)
		machine, token := newMachine(t, manager)
		enrol(t, manager, machine, token)
		time.Sleep(3 * DefaultLife)
		name, expires, err := manager.Verify(machine.current.Load().pair.chain)
		if err != nil || name == "" || !expires.Before(time.Now()) {
			t.Fatalf("got %q, %v, %v", name, expires, err)
		}
		chain, roots, err := manager.Renew(t.Context(), name, request(t, machine))
		if err != nil {
			t.Fatal(err)
		}
		if err := machine.Install(chain, roots); err != nil {
			t.Fatal(err)
		}
		if !machine.RenewAt().After(time.Now()) {
			t.Error("renewal is due again at once")
		}
	})
}

func TestManagerRenewsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager := newManager(t)
		manager.cfg.Life = 30 * DefaultLife
		first := manager.authority.Load()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- manager.Run(ctx) }()
		for range 30 { // until two thirds of the intermediate's life are over
			time.Sleep(10 * DefaultLife)
			if left := time.Until(manager.Certificate().Leaf.NotAfter); left <= 0 {
				t.Fatalf("certificate expired %v ago", -left)
			}
		}
		if manager.authority.Load() == first {
			t.Error("the intermediate outlived its time")
		}
		cancel()
		<-done
	})
}

func TestRevokedMachineIsRefused(t *testing.T) {
	manager := newManager(t)
	machine, token := newMachine(t, manager)
	enrol(t, manager, machine, token)
	if err := manager.Remove(t.Context(), KindMachine, machine.id); err != nil {
		t.Fatal(err)
	}
	_, _, err := manager.Verify(machine.current.Load().pair.chain)
	wantRefusal(t, err, "revoked")
	_, _, err = manager.Renew(t.Context(), machine.Name().String(), request(t, machine))
	wantRefusal(t, err, "revoked")
}

func TestOnlyManagersOfTheClusterSignDocuments(t *testing.T) {
	manager, stranger := newManager(t), newManager(t)
	machine, token := newMachine(t, manager)
	enrol(t, manager, machine, token)
	doc := []byte("part")

	sig, chain, err := manager.Sign(doc)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := machine.VerifySigned(doc, sig, chain); err != nil || name != manager.Name() {
		t.Errorf("got %v, %v", name, err)
	}
	_, err = machine.VerifySigned([]byte("Part"), sig, chain)
	wantRefusal(t, err, "signature is not")

	sig, chain, _ = machine.Sign(doc)
	_, err = machine.VerifySigned(doc, sig, chain)
	wantRefusal(t, err, "not a manager")

	sig, chain, _ = stranger.Sign(doc)
	_, err = machine.VerifySigned(doc, sig, chain)
	wantRefusal(t, err, "not trusted")
}

func TestUnenrolledMachineRecognisesOnlyMembersOfThePinnedCluster(t *testing.T) {
	manager, stranger := newManager(t), newManager(t)
	machine, _ := newMachine(t, manager)
	other, token := newMachine(t, manager)
	enrol(t, manager, other, token)

	_, _, err := machine.Verify(stranger.current.Load().pair.chain)
	wantRefusal(t, err, "does not belong to the cluster")
	// A host, which leads it to a manager; who joins talks to managers alone.
	host := other.current.Load().pair.chain
	if _, _, err = machine.Verify(host); err != nil {
		t.Error(err)
	}
	_, _, err = verifyPinned(nil, PinOf(host[len(host)-1]), host, KindManager)
	wantRefusal(t, err, "not a manager")
	// The right root attached to a stranger's leaf is not a chain.
	forged := append(stranger.current.Load().pair.chain[:2:2], manager.authority.Load().root)
	_, _, err = machine.Verify(forged)
	wantRefusal(t, err, "")
}

func TestInstallRefusesAnotherMachinesCertificate(t *testing.T) {
	manager := newManager(t)
	machine, _ := newMachine(t, manager)
	other, token := newMachine(t, manager)
	chain, roots, err := manager.Enrol(t.Context(), token.String(), other.id, request(t, other))
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, machine.Install(chain, roots), "not for machine")
	if machine.Enrolled() {
		t.Error("enrolled under a foreign name")
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("aloft://c/machine/6f1c1d4e-0a0b-4c0d-8e0f-001122334455")
	f.Add("aloft://c-1/user/ann.b_c")
	f.Add("aloft://c/manager/6F1C1D4E-0a0b-4c0d-8e0f-001122334455")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if n.String() != s || n.uri().String() != s {
			t.Errorf("%q printed as %q and %q", s, n, n.uri())
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add(newToken(Pin{1}).String())
	f.Add("aloft1..")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseToken(s)
		if err == nil && token.String() != s {
			t.Errorf("%q printed as %q", s, token)
		}
	})
}
