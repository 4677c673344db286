package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"aloft/internal/identity"
	"aloft/internal/store"
)

// maker is as much of a manager as knows which host makes which machine.
func maker(t *testing.T) *Manager {
	t.Helper()
	kv := store.NewMemory()
	t.Cleanup(func() { kv.Close() })
	id, err := identity.OpenManager(identity.ManagerConfig{
		Dir: t.TempDir(), ID: uuid.NewString(), Tokens: tokens{kv, time.Now}, Vault: vault{kv}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := &Manager{identity: id}
	m.world.Store = kv
	return m
}

func requestOf(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// enrolled lets in a machine that a host makes, and returns its id and how it
// asks for another certificate.
func (m *Manager) enrolled(t *testing.T, host string) (id string, renew func() error) {
	t.Helper()
	id = uuid.NewString()
	token, err := m.identity.NewToken(t.Context(), id, host, time.Hour)
	if err == nil {
		_, _, err = m.identity.Enrol(t.Context(), token.String(), id, requestOf(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	name := identity.Name{Cluster: m.identity.Name().Cluster, Kind: identity.KindMachine, ID: id}.String()
	return id, func() error {
		_, _, err := m.identity.Renew(t.Context(), name, requestOf(t))
		return err
	}
}

func TestAMachineIsRetiredByTheHostThatMadeItAndByNoOther(t *testing.T) {
	m := maker(t)
	host, other := uuid.NewString(), uuid.NewString()
	id, renew := m.enrolled(t, host)
	if err := renew(); err != nil {
		t.Fatal(err)
	}
	if err := m.retireOf(t.Context(), other, id); !errors.Is(err, errNotMade) {
		t.Errorf("another host retires it: %v", err)
	}
	if err := renew(); err != nil {
		t.Errorf("it gets no certificate although its host has not retired it: %v", err)
	}
	for range 2 { // the first answer may be lost
		if err := m.retireOf(t.Context(), host, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := renew(); err == nil || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("a machine that is no more gets a certificate: %v", err)
	}
}

// A member's id is no machine's: a host cannot keep another from renewing.
func TestAHostRetiresNobodyElse(t *testing.T) {
	m := maker(t)
	host := uuid.NewString()
	stranger, renew := m.enrolled(t, "") // an account's: it goes from one manager to the next
	if err := m.retireOf(t.Context(), host, stranger); err != nil {
		t.Fatal(err)
	}
	if err := renew(); err != nil {
		t.Errorf("a host retired what it did not make: %v", err)
	}
}

func TestTheMachinesOfARemovedHostAreRefusedAtOnce(t *testing.T) {
	m := maker(t)
	host, other := uuid.NewString(), uuid.NewString()
	one, renewOne := m.enrolled(t, host)
	two, _ := m.enrolled(t, host)
	stays, renewOther := m.enrolled(t, other)
	for range 2 {
		if err := m.revokeMachines(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	}
	r := m.identity.Roster()
	for id, gone := range map[string]bool{one: true, two: true, stays: false} {
		if revoked(r, identity.KindMachine, id) != gone {
			t.Errorf("machine %s is revoked: %v, want %v", id, !gone, gone)
		}
	}
	if err := renewOne(); err == nil {
		t.Error("a machine of the removed host gets a certificate")
	}
	if err := renewOther(); err != nil {
		t.Errorf("a machine of another host gets none: %v", err)
	}
}
