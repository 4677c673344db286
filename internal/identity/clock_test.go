package identity

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

// A clock that was two days ahead, and is right again: what was made meanwhile
// is good in future only. A manager replaces it at once, at its start too; a
// machine may renew with it, and nothing else. (In each of the bubbles it is the
// same time at first.)
func TestCertificateFromTheFutureIsRenewedAtOnce(t *testing.T) {
	dir := t.TempDir()
	cfg := ManagerConfig{Dir: filepath.Join(dir, "manager"), ID: uuid.NewString(), Tokens: &MemoryTokens{}}
	id, token := uuid.NewString(), ""
	open := func(t *testing.T) (*Manager, *Machine) {
		t.Helper()
		manager, err := OpenManager(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if token == "" {
			minted, err := manager.NewToken(t.Context(), id, uuid.NewString(), 3*DefaultLife)
			if err != nil {
				t.Fatal(err)
			}
			token = minted.String()
		}
		machine, err := OpenMachine(filepath.Join(dir, "machine"), id, token, nil)
		if err != nil {
			t.Fatal(err)
		}
		return manager, machine
	}
	synctest.Test(t, func(t *testing.T) {
		manager, _ := open(t)
		time.Sleep(2 * DefaultLife)
		if err := manager.renew(); err != nil {
			t.Fatal(err)
		}
		if _, err := manager.renewOthers(); err != nil {
			t.Fatal(err)
		}
		manager, machine := open(t)
		chain, roots, err := manager.Enrol(t.Context(), token, id, request(t, machine))
		if err != nil {
			t.Fatal(err)
		}
		if err := machine.Install(chain, roots); err != nil {
			t.Fatal(err)
		}
		if !machine.RenewAt().After(time.Now()) {
			t.Error("renewal is due while the clock is ahead")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		manager, machine := open(t)
		if leaf := manager.Certificate().Leaf; time.Now().Before(leaf.NotBefore) || manager.due() {
			t.Errorf("the manager has a certificate from %v on", leaf.NotBefore)
		}
		if machine.RenewAt().After(time.Now()) {
			t.Error("the machine does not renew what is good in future only")
		}
		name, expires, err := manager.Verify(chainOf(&machine.Member))
		if err != nil || name != machine.Name().String() || time.Now().Before(expires) {
			t.Errorf("got %q, %v, %v; want it to count as expired", name, expires, err)
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
