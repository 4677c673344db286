package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"

	"aloft/internal/durable"
)

// cluster is what managers of a test share: what the store does for real ones.
type cluster struct {
	t      *testing.T
	vault  *MemoryVault
	tokens *MemoryTokens
}

func newCluster(t *testing.T) (*cluster, *Manager) {
	t.Helper()
	c := &cluster{t, &MemoryVault{}, &MemoryTokens{}}
	first := c.open(filepath.Join(t.TempDir(), "first"), uuid.NewString())
	return c, first
}

// open opens a folder as a manager of the cluster.
func (c *cluster) open(dir, id string) *Manager {
	c.t.Helper()
	m, err := OpenManager(ManagerConfig{Dir: dir, ID: id, Tokens: c.tokens, Vault: c.vault, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = m.Sync(c.t.Context())
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// join has another manager join by way of one there is.
func (c *cluster) join(by *Manager) *Manager {
	c.t.Helper()
	j, token := c.joining(by, RoleManage)
	c.admit(by, j, token)
	return c.open(j.dir, j.state.ID)
}

func (c *cluster) joining(by *Manager, role MemberRole) (*Joining, Token) {
	c.t.Helper()
	token, err := by.NewJoinToken(c.t.Context(), role, time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	j, err := OpenJoining(filepath.Join(c.t.TempDir(), "joining"), uuid.NewString(), role, token.String())
	if err != nil {
		c.t.Fatal(err)
	}
	return j, token
}

func (c *cluster) admit(by *Manager, j *Joining, token Token) {
	c.t.Helper()
	reply, err := c.ask(by, j, token)
	if err == nil {
		err = j.Install(reply)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) ask(by *Manager, j *Joining, token Token) ([]byte, error) {
	c.t.Helper()
	asked, err := j.Request()
	if err != nil {
		c.t.Fatal(err)
	}
	reply, _, err := by.Admit(c.t.Context(), token.String(), j.state.ID, j.state.Role, asked)
	return reply, err
}

func chainOf(m *Member) []*x509.Certificate { return m.current.Load().pair.chain }

func remove(t *testing.T, by *Manager, kind Kind, id string) {
	t.Helper()
	if err := by.Remove(t.Context(), kind, id); err != nil {
		t.Fatal(err)
	}
}

// tell brings a member the roster of another.
func tell(t *testing.T, from *Manager, to *Member) {
	t.Helper()
	if _, err := to.AcceptRoster(from.SignedRoster()); err != nil {
		t.Fatal(err)
	}
}

func TestAnyManagerCanDoWhatTheFirstCouldOnceThatIsGoneForEver(t *testing.T) {
	c, first := newCluster(t)
	second := c.join(first)
	third := c.join(second)
	machine, token := newMachine(t, first)
	enrol(t, first, machine, token)
	keys, err := first.SecretKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	if err := os.RemoveAll(first.dir); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Manager{second, third} {
		if name, _, err := machine.Verify(chainOf(&m.Member)); err != nil || name != m.Name().String() {
			t.Errorf("the machine sees %q, %v", name, err)
		}
		fresh, token := newMachine(t, m)
		enrol(t, m, fresh, token)
		if _, _, err := machine.Verify(chainOf(&fresh.Member)); err != nil {
			t.Errorf("enrolled by another manager: %v", err)
		}
		chain, roots, err := m.Renew(t.Context(), machine.Name().String(), request(t, machine))
		if err == nil {
			err = machine.Install(chain, roots)
		}
		if err != nil {
			t.Errorf("renew: %v", err)
		}
		have, err := m.SecretKeys(t.Context())
		if err != nil || len(have) != 1 || have[0].String() != keys[0].String() {
			t.Errorf("keys of secrets: %d, %v", len(have), err)
		}
		// A new intermediate needs the root key, and a new store peer the issuer's.
		for _, f := range []string{intermediateFile, storeCertFile} {
			if err := os.Remove(filepath.Join(m.dir, f)); err != nil {
				t.Fatal(err)
			}
		}
		c.join(c.open(m.dir, m.cfg.ID))
	}
}

func TestLoneManagersKeysMoveFromItsFolderToTheStore(t *testing.T) {
	// A folder as the version before left it: the root key in a file of its own.
	dir, id := t.TempDir(), uuid.NewString()
	keeper, err := openAge(filepath.Join(dir, ageFile))
	if err != nil {
		t.Fatal(err)
	}
	root, key, err := foundRoot(dir, keeper, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealKey(key, keeper.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{oldRootFile: root.Raw, oldRootKeyFile: sealed} {
		if err := durable.WriteFile(filepath.Join(dir, name), content); err != nil {
			t.Fatal(err)
		}
	}
	c := &cluster{t, &MemoryVault{}, &MemoryTokens{}}
	m := c.open(dir, id)
	if !m.authority.Load().root.Equal(root) {
		t.Error("another root")
	}
	doc, err := c.vault.Load(t.Context(), keysDocument)
	if err != nil || doc.Version == 0 {
		t.Fatalf("nothing in the store: %v", err)
	}
	ring, err := decodeKeyring(doc.Content)
	if err != nil {
		t.Fatal(err)
	}
	if moved, err := unsealKey(ring.RootKey, keeper); err != nil || !moved.Equal(key) {
		t.Errorf("the root key in the store: %v", err)
	}
	for _, name := range []string{oldRootFile, oldRootKeyFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there still: %v", name, err)
		}
	}
	c.join(m)
	c.open(dir, id)
}

func TestManagerOfAnotherClusterDoesNotTakeTheStoresKeys(t *testing.T) {
	c, _ := newCluster(t)
	stranger := newManager(t)
	stranger.cfg.Vault, stranger.keys.vault = c.vault, c.vault
	before := stranger.keys.known()
	if err := stranger.Sync(t.Context()); err == nil || stranger.keys.known() != before {
		t.Errorf("took the keys of another cluster: %v", err)
	}
}

func TestCutJoinIsRepeatedWithTheSameTokenAndKeys(t *testing.T) {
	c, first := newCluster(t)
	j, token := c.joining(first, RoleManage)
	if _, err := c.ask(first, j, token); err != nil { // the answer is lost
		t.Fatal(err)
	}
	if _, err := OpenManager(ManagerConfig{Dir: j.dir, ID: j.state.ID, Tokens: c.tokens}); err == nil {
		t.Fatal("founded a cluster where a join has begun")
	}
	again, err := OpenJoining(j.dir, j.state.ID, RoleManage, token.String())
	if err != nil {
		t.Fatal(err)
	}
	c.admit(first, again, token)
	again, err = OpenJoining(j.dir, j.state.ID, RoleManage, token.String())
	if err != nil { // cut after the answer was written, before the daemon began
		t.Fatal(err)
	}
	c.admit(first, again, token)
	m := c.open(j.dir, j.state.ID)
	if got := len(m.keys.known().Managers); got != 2 {
		t.Errorf("the keys are sealed for %d managers, want 2", got)
	}
	_, err = OpenJoining(j.dir, j.state.ID, RoleManage, token.String())
	wantRefusal(t, err, "belongs to a member of cluster "+m.Name().Cluster)
}

func TestJoinTokenIsGoodForOneKeyOneRoleAndItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, first := newCluster(t)
		host, token := c.joining(first, RoleHost)
		thief, err := OpenJoining(filepath.Join(t.TempDir(), "thief"), host.state.ID, RoleHost, token.String())
		if err != nil {
			t.Fatal(err)
		}
		greedy, err := OpenJoining(filepath.Join(t.TempDir(), "greedy"), host.state.ID, RoleManage, token.String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.ask(first, greedy, token)
		wantRefusal(t, err, "another role")
		c.admit(first, host, token) // the wrong role did not spend it
		_, err = c.ask(first, thief, token)
		wantRefusal(t, err, "used before")
		_, err = c.ask(first, thief, newToken(token.Pin))
		wantRefusal(t, err, "unknown here")
		_, stranger := newCluster(t)
		_, err = c.ask(stranger, thief, token)
		wantRefusal(t, err, "another cluster")
		_, err = first.NewJoinToken(t.Context(), "root", time.Hour)
		wantRefusal(t, err, `role "root"`)

		late, token := c.joining(first, RoleManage)
		time.Sleep(time.Hour + time.Second)
		_, err = c.ask(first, late, token)
		wantRefusal(t, err, "expired at")
		// Nor is a machine's token one for a role.
		_, token = newMachine(t, first)
		_, err = c.ask(first, late, token)
		wantRefusal(t, err, "another role")
	})
}

func TestHostJoinsAsAMachine(t *testing.T) {
	c, first := newCluster(t)
	j, token := c.joining(first, RoleHost)
	c.admit(first, j, token)
	host, err := OpenMachine(j.dir, j.state.ID, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Name{first.Name().Cluster, KindMachine, j.state.ID}); host.Name() != want {
		t.Errorf("joined as %s, want %s", host.Name(), want)
	}
	if host.Roster() == nil || host.Roster().Managers[0].ID != first.cfg.ID {
		t.Errorf("it knows the roster %v", host.Roster())
	}
	for name := range filesOf(t, j.dir) {
		if base := filepath.Base(name); base != identityFile && base != rosterFile {
			t.Errorf("a host has %s", base)
		}
	}
	chain, roots, err := first.Renew(t.Context(), host.Name().String(), request(t, host))
	if err == nil {
		err = host.Install(chain, roots)
	}
	if err != nil {
		t.Errorf("renew: %v", err)
	}
}

func TestJoinerTakesNothingFromAnybodyButTheTokensCluster(t *testing.T) {
	c, first := newCluster(t)
	_, stranger := newCluster(t)
	j, token := c.joining(first, RoleManage)
	other, _ := c.joining(first, RoleManage)
	_, _, err := j.Verify(chainOf(&stranger.Member))
	wantRefusal(t, err, "does not belong to the cluster")
	if _, _, err := j.Verify(chainOf(&first.Member)); err != nil {
		t.Errorf("a manager of the token's cluster: %v", err)
	}

	reply, err := c.ask(first, j, token)
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, other.Install(reply), "not for manager "+other.state.ID)
	var good joinReply
	if err := json.Unmarshal(reply, &good); err != nil {
		t.Fatal(err)
	}
	foreign, err := json.Marshal(stranger.keys.known())
	if err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*joinReply){
		"a stranger's chain":        func(r *joinReply) { r.Chain = rawOf(chainOf(&stranger.Member)) },
		"no chain":                  func(r *joinReply) { r.Chain = nil },
		"a stranger's keys":         func(r *joinReply) { r.Keys = foreign },
		"a stranger's roster":       func(r *joinReply) { r.Roster = stranger.SignedRoster() },
		"another's intermediate":    func(r *joinReply) { r.Intermediate = first.authority.Load().chain[0].Raw },
		"an intermediate as a peer": func(r *joinReply) { r.Store = r.Intermediate },
		"no store peer":             func(r *joinReply) { r.Store = nil },
	} {
		bad := good
		spoil(&bad)
		content, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		before := filesOf(t, j.dir)
		wantRefusal(t, j.Install(content), "")
		if after := filesOf(t, j.dir); len(after) != len(before) {
			t.Errorf("%s: files were written", what)
		}
	}
	if err := j.Install(reply); err != nil {
		t.Errorf("the good answer: %v", err)
	}
}

func TestRemovedManagerAndAllItSignedIsRefused(t *testing.T) {
	c, first := newCluster(t)
	second := c.join(first)
	machine, token := newMachine(t, first)
	enrol(t, first, machine, token)
	byRemoved, token := newMachine(t, second)
	enrol(t, second, byRemoved, token)

	remove(t, first, KindManager, second.cfg.ID)
	tell(t, first, &machine.Member)
	for _, who := range []interface {
		Verify([]*x509.Certificate) (string, time.Time, error)
	}{first, machine} {
		_, _, err := who.Verify(chainOf(&second.Member))
		wantRefusal(t, err, "is revoked since")
		// A certificate that it makes afterwards, for whatever name.
		for _, name := range []Name{{first.Name().Cluster, KindManager, uuid.NewString()}, {first.Name().Cluster, KindManager, first.cfg.ID}, {first.Name().Cluster, KindUser, "ann"}} {
			key, _ := newKey()
			forged, err := second.authority.Load().issue(name, RoleOperator, &key.PublicKey, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = who.Verify(forged)
			wantRefusal(t, err, "signed by manager "+second.cfg.ID)
		}
		// A machine's counts as expired, whatever it says.
		_, expires, err := who.Verify(chainOf(&byRemoved.Member))
		if err != nil || !expires.Before(time.Now()) {
			t.Errorf("a machine's certificate that it signed: expires %v, %v", expires, err)
		}
	}
	sig, chain, err := second.Sign([]byte("part"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = machine.VerifySigned([]byte("part"), sig, chain)
	wantRefusal(t, err, "revoked")

	// It cannot open what is sealed from now on, and its id does not come back.
	doc, err := c.vault.Load(t.Context(), keysDocument)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := decodeKeyring(doc.Content)
	if err != nil {
		t.Fatal(err)
	}
	for _, sealed := range [][]byte{ring.RootKey, ring.StoreKey, ring.Secrets[0].Sealed} {
		if _, err := unseal(sealed, second.keys.keeper); err == nil {
			t.Error("a removed manager opens the keys")
		}
		if _, err := unseal(sealed, first.keys.keeper); err != nil {
			t.Errorf("the one that stays does not: %v", err)
		}
	}
	again, err := first.NewJoinToken(t.Context(), RoleManage, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	j, err := OpenJoining(t.TempDir(), second.cfg.ID, RoleManage, again.String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.ask(first, j, again)
	wantRefusal(t, err, "revoked")
}

func TestKeyOfSecretsChangesWithTheRemovalOfAManager(t *testing.T) {
	c, first := newCluster(t)
	second := c.join(first)
	before, err := first.SecretKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // repeated, as after a cut
		remove(t, first, KindManager, second.cfg.ID)
	}
	after, err := first.SecretKeys(t.Context())
	if err != nil || len(after) != 2 || after[1].String() != before[0].String() || after[0].String() == before[0].String() {
		t.Fatalf("%d keys, %v", len(after), err)
	}
	if err := first.ForgetSecretKeys(t.Context(), after[0].Recipient().String()); err != nil {
		t.Fatal(err)
	}
	if left, err := first.SecretKeys(t.Context()); err != nil || len(left) != 1 || left[0].String() != after[0].String() {
		t.Errorf("%d keys are left, %v", len(left), err)
	}
}

func TestMachineComesBackAfterTheManagerThatSignedForItWasRemoved(t *testing.T) {
	c, first := newCluster(t)
	second := c.join(first)
	machine, token := newMachine(t, first)
	enrol(t, first, machine, token)
	// One renewal whose answer is lost: the machine has its old key still.
	if _, _, err := first.Renew(t.Context(), machine.Name().String(), request(t, machine)); err != nil {
		t.Fatal(err)
	}
	changed := machine.Changed()
	remove(t, second, KindManager, first.cfg.ID)

	// The removed manager makes certificates for this machine and for another.
	for _, id := range []string{machine.id, uuid.NewString()} {
		key, _ := newKey()
		forged, err := first.authority.Load().issue(Name{first.Name().Cluster, KindMachine, id}, "", &key.PublicKey, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		name, expires, err := second.Verify(forged)
		if err != nil || !expires.Before(time.Now()) {
			t.Fatalf("%v, %v", expires, err)
		}
		next, _ := newKey()
		proof, err := newKeyProof(key, &next.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		asked, err := newRequest(id, next, proof)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = second.Renew(t.Context(), name, asked)
		wantRefusal(t, err, "never had a certificate for the key")
		asked, err = newRequest(id, next)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = second.Renew(t.Context(), name, asked)
		wantRefusal(t, err, "does not prove")
	}

	// The machine hears of it, wants another certificate, and gets it.
	if !machine.RenewAt().After(time.Now()) {
		t.Error("renewal was due before the machine knew")
	}
	tell(t, second, &machine.Member)
	select {
	case <-changed:
	default:
		t.Error("nobody was told that something changed")
	}
	if machine.RenewAt().After(time.Now()) {
		t.Error("renewal is not due")
	}
	for range 2 {
		chain, roots, err := second.Renew(t.Context(), machine.Name().String(), request(t, machine))
		if err == nil {
			err = machine.Install(chain, roots)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, expires, err := second.Verify(chainOf(&machine.Member)); err != nil || !expires.After(time.Now()) {
			t.Errorf("expires %v, %v", expires, err)
		}
	}
	// What the removed one issues is not taken.
	key, err := requestedKey(request(t, machine))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := first.authority.Load().issue(machine.Name(), "", key, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, machine.Install(rawOf(chain), nil), "signed by manager "+first.cfg.ID)
}

func TestRemovedHostIsRefusedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, first := newCluster(t)
		j, token := c.joining(first, RoleHost)
		c.admit(first, j, token)
		host, err := OpenMachine(j.dir, j.state.ID, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		remove(t, first, KindMachine, host.id)
		_, _, err = first.Verify(chainOf(&host.Member))
		wantRefusal(t, err, "is revoked since")
		// The roster forgets it when its certificate is long over. The record does not.
		time.Sleep(7 * DefaultLife)
		first.renew()
		remove(t, first, KindUser, "somebody")
		if first.Roster().revocation(KindMachine, host.id) != nil {
			t.Error("the roster grows without end")
		}
		_, _, err = first.Renew(t.Context(), host.Name().String(), request(t, host))
		wantRefusal(t, err, "revoked")
	})
}

func TestMachineThatIsNoMoreGetsNoOtherCertificate(t *testing.T) {
	_, first := newCluster(t)
	machine, token := newMachine(t, first)
	enrol(t, first, machine, token)
	for range 2 {
		if err := first.Retire(t.Context(), machine.id); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := first.Renew(t.Context(), machine.Name().String(), request(t, machine))
	wantRefusal(t, err, "revoked")
	if len(first.Roster().Revoked) != 0 {
		t.Error("the roster grows with every machine that ends")
	}
}

func TestRosterIsReplacedByNewerOnesOnly(t *testing.T) {
	c, first := newCluster(t)
	machine, token := newMachine(t, first)
	enrol(t, first, machine, token)
	old := first.SignedRoster()
	tell(t, first, &machine.Member)
	if err := first.ChangeRoster(t.Context(), func(r *Roster) error {
		r.Managers[0].Name, r.Managers[0].Addresses = "one", []string{"127.0.0.2:7400"}
		r.Version, r.Epoch = 77, 77 // not the editor's to say
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	newer := first.SignedRoster()
	if r := first.Roster(); r.Version != 2 || r.Epoch != 1 || r.Managers[0].Name != "one" {
		t.Errorf("the roster is %+v", r)
	}
	for _, step := range []struct {
		signed []byte
		want   bool
	}{{newer, true}, {old, false}, {newer, false}} {
		if got, err := machine.AcceptRoster(step.signed); err != nil || got != step.want {
			t.Errorf("taken: %v, %v, want %v", got, err, step.want)
		}
	}
	// A higher epoch is newer, whatever the version; raised twice it grows twice.
	if err := first.RaiseEpoch(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := first.RaiseEpoch(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	tell(t, first, &machine.Member)
	if r := machine.Roster(); r.Epoch != 6 {
		t.Errorf("the epoch is %d", r.Epoch)
	}
	machine, err := OpenMachine(machine.dir, machine.id, "", nil)
	if err != nil || machine.Roster() == nil || machine.Roster().Epoch != 6 {
		t.Errorf("after a restart: %v", err)
	}
	// Another manager finds it in the store; an edit that changes nothing makes none.
	second := c.join(first)
	if second.Roster().Version != first.Roster().Version {
		t.Errorf("version %d, and %d for a new manager", first.Roster().Version, second.Roster().Version)
	}
}

func TestRosterOfAStoreRestoredFromABackupDoesNotUndoARevocation(t *testing.T) {
	c, first := newCluster(t)
	backup, err := c.vault.Load(t.Context(), rosterDocument)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, first, KindUser, "ann")
	now, err := c.vault.Load(t.Context(), rosterDocument)
	if err == nil {
		err = c.vault.Store(t.Context(), rosterDocument, backup.Content, now.Version)
	}
	if err == nil {
		err = first.Sync(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.vault.Load(t.Context(), rosterDocument)
	if err != nil || !bytes.Equal(after.Content, first.SignedRoster()) || first.Roster().revocation(KindUser, "ann") == nil {
		t.Errorf("the older roster stands: %v", err)
	}
}

func TestForgedRosterIsRefused(t *testing.T) {
	_, first := newCluster(t)
	_, stranger := newCluster(t)
	machine, token := newMachine(t, first)
	enrol(t, first, machine, token)
	var s signedRoster
	if err := json.Unmarshal(first.SignedRoster(), &s); err != nil {
		t.Fatal(err)
	}
	changed := s
	changed.Roster = bytes.Replace(s.Roster, []byte(`"version":1`), []byte(`"version":9`), 1)
	mine, err := SignRoster(&Roster{Cluster: first.Name().Cluster, Epoch: 9, Version: 9}, first.current.Load().pair.key)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := unsealKey(stranger.keys.known().RootKey, stranger.keys.keeper)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := SignRoster(&Roster{Cluster: first.Name().Cluster, Epoch: 9, Version: 9}, theirs)
	if err != nil {
		t.Fatal(err)
	}
	altered, err := json.Marshal(changed)
	if err != nil {
		t.Fatal(err)
	}
	for what, signed := range map[string][]byte{
		"altered": altered, "signed by a manager's own key": mine, "signed by another root": foreign,
		"another cluster's": stranger.SignedRoster(), "nothing": nil, "huge": make([]byte, 3*maxRoster),
	} {
		if _, err := machine.AcceptRoster(signed); err == nil {
			t.Errorf("a roster that is %s was taken", what)
		}
	}
}

func TestUserHasTheRoleInItsCertificateForADayAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, m := newCluster(t)
		_, asked, err := NewUserRequest("ann")
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range Roles {
			chain, _, err := m.IssueUser(t.Context(), "ann", "", role, asked, 1000*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			certs, err := parseChain(chain)
			if err != nil {
				t.Fatal(err)
			}
			name, got, expires, err := m.Trust().VerifyUser(certs)
			if err != nil || got != role || name.ID != "ann" || name.Kind != KindUser || time.Until(expires) > DefaultLife {
				t.Errorf("%v %v until %v, %v", name, got, expires, err)
			}
			time.Sleep(DefaultLife + time.Second)
			_, _, _, err = m.Trust().VerifyUser(certs)
			wantRefusal(t, err, "expired at")
		}
		_, _, err = m.IssueUser(t.Context(), "ann", "", "admin", asked, 0)
		wantRefusal(t, err, "is not known")
		_, _, err = m.IssueUser(t.Context(), "Ann/../root", "", RoleViewer, asked, 0)
		wantRefusal(t, err, "user name")
		_, _, _, err = m.Trust().VerifyUser(chainOf(&m.Member))
		wantRefusal(t, err, "is not a user")

		key, _ := newKey()
		later, err := m.authority.Load().issue(Name{m.Name().Cluster, KindUser, "ann"}, "deployer", &key.PublicKey, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, err = m.Trust().VerifyUser(later)
		wantRefusal(t, err, `role "deployer" is not known here`)

		chain, _, err := m.IssueUser(t.Context(), "ann", "", RoleOperator, asked, 0)
		if err != nil {
			t.Fatal(err)
		}
		certs, err := parseChain(chain)
		if err != nil {
			t.Fatal(err)
		}
		remove(t, m, KindUser, "ann")
		_, _, _, err = m.Trust().VerifyUser(certs)
		wantRefusal(t, err, "revoked")
		_, _, err = m.IssueUser(t.Context(), "ann", "", RoleOperator, asked, 0)
		wantRefusal(t, err, "revoked")
	})
}

// A name that was removed is free at once: whoever had it stays refused, and who
// has it now is not.
func TestANameThatWasRemovedIsFreeAtOnce(t *testing.T) {
	_, m := newCluster(t)
	_, asked, err := NewUserRequest("ann")
	if err != nil {
		t.Fatal(err)
	}
	of := func(series string) []*x509.Certificate {
		t.Helper()
		chain, _, err := m.IssueUser(t.Context(), "ann", series, RoleViewer, asked, 0)
		if err != nil {
			t.Fatal(err)
		}
		certs, err := parseChain(chain)
		if err != nil {
			t.Fatal(err)
		}
		return certs
	}
	var gone [][]*x509.Certificate
	for _, series := range []string{"one", "two", "three"} {
		now := of(series)
		for _, old := range gone {
			_, _, _, err := m.Trust().VerifyUser(old)
			wantRefusal(t, err, "revoked")
		}
		if _, _, _, err := m.Trust().VerifyUser(now); err != nil {
			t.Errorf("who has the name now: %v", err)
		}
		if err := m.RemoveUser(t.Context(), "ann", series); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, now)
		_, _, err := m.IssueUser(t.Context(), "ann", series, RoleViewer, asked, 0)
		wantRefusal(t, err, "revoked")
	}
}

func TestHomeHasAnOperatorsCertificateThatRenewsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newCluster(t)
		second := c.join(m)
		m.cfg.Log = slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		operator := func(m *Manager) (Name, error) {
			pair, err := loadKeyPair(filepath.Join(m.dir, operatorFile))
			if err != nil {
				return Name{}, err
			}
			name, role, _, err := second.Trust().VerifyUser(pair.chain)
			if err == nil && role != RoleOperator {
				t.Errorf("its role is %s", role)
			}
			return name, err
		}
		for range 10 {
			time.Sleep(DefaultLife / 2)
			if name, err := operator(m); err != nil || name.ID != OperatorName(m.cfg.ID) {
				t.Errorf("%v, %v", name, err)
			}
			checkStorePeer(t, m)
		}
		cancel()
		<-done
		remove(t, second, KindManager, m.cfg.ID)
		_, err := operator(m)
		wantRefusal(t, err, "revoked")
	})
}

// checkStorePeer verifies the files for the store's TLS as another peer would.
func checkStorePeer(t *testing.T, m *Manager) {
	t.Helper()
	files, err := OpenStoreTLS(m.dir, m.cfg.ID)
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) *x509.Certificate {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(content)
		if block == nil {
			t.Fatalf("%s holds no certificate", path)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	pool := x509.NewCertPool()
	pool.AddCert(read(files.CA))
	cert := read(files.Cert)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		_, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: files.ServerName, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: time.Now()})
		if err != nil {
			t.Errorf("store peer: %v", err)
		}
	}
	if left := time.Until(cert.NotAfter); left > DefaultLife {
		t.Errorf("the store peer's certificate lives %v", left)
	}
	if _, _, err := m.Trust().Verify([]*x509.Certificate{cert}); err == nil {
		t.Error("a store peer's certificate names a member")
	}
	if cert.CheckSignatureFrom(m.authority.Load().root) == nil {
		t.Error("the root signs for store peers")
	}
}

func TestClocksTenMinutesOffDoNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const off = 10 * time.Minute
		c, m := newCluster(t)
		early := time.Now()
		time.Sleep(2 * off)
		second := c.join(m)
		machine, token := newMachine(t, second)
		enrol(t, second, machine, token)
		for _, chain := range [][]*x509.Certificate{chainOf(&second.Member), chainOf(&machine.Member)} {
			for _, at := range []time.Time{early.Add(off), time.Now(), time.Now().Add(off)} {
				for i := range len(chain) - 1 {
					if at.Before(chain[i].NotBefore) || at.After(chain[i].NotAfter) {
						t.Errorf("a clock that says %v refuses %s", at, chain[i].Subject)
					}
				}
			}
		}
		// Renewal is due long before anybody's clock says that it is too late.
		if spare := chainOf(&machine.Member)[0].NotAfter.Sub(machine.RenewAt()); spare < 2*off {
			t.Errorf("only %v between renewal and the end", spare)
		}
	})
}

func FuzzVerifyRoster(f *testing.F) {
	key, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	root, err := newRoot(key, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	cluster, err := clusterOf(root)
	if err != nil {
		f.Fatal(err)
	}
	trust, err := NewTrust(nil, root.Raw)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := SignRoster(&Roster{Cluster: cluster, Epoch: 1, Version: 2, Managers: []RosterMember{{ID: "a"}}}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte(`{"roster":"e30=","signature":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := trust.VerifyRoster(cluster, b)
		if err != nil {
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				t.Errorf("not a refusal: %v", err)
			}
			return
		}
		if r.Cluster != cluster || r.Version != 2 || len(r.Managers) != 1 {
			t.Errorf("forged: %+v", r)
		}
	})
}

// FuzzRosterContent decodes what a root has signed, as by a later version.
func FuzzRosterContent(f *testing.F) {
	key, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	root, err := newRoot(key, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	cluster, _ := clusterOf(root)
	trust, err := NewTrust(nil, root.Raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"cluster":"` + cluster + `","epoch":1,"version":2,"revoked":[{"kind":"user","id":"a"}],"later":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		signature, err := ecdsa.SignASN1(rand.Reader, key, rosterDigest(b))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := json.Marshal(signedRoster{Roster: b, Signature: signature})
		if err != nil {
			t.Fatal(err)
		}
		r, err := trust.VerifyRoster(cluster, signed)
		if err == nil && (r.Cluster != cluster || r.Epoch < 1 || r.Version < 1) {
			t.Errorf("accepted %+v", r)
		}
	})
}

func FuzzInstall(f *testing.F) {
	keeper, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	pin := Pin{1}
	state, err := newJoining(uuid.NewString(), RoleManage, pin)
	if err != nil {
		f.Fatal(err)
	}
	j := &Joining{dir: dir, state: *state, keeper: keeper}
	m, err := OpenManager(ManagerConfig{Dir: f.TempDir(), ID: uuid.NewString(), Tokens: &MemoryTokens{}})
	if err != nil {
		f.Fatal(err)
	}
	keys, err := json.Marshal(m.keys.known())
	if err != nil {
		f.Fatal(err)
	}
	sample, err := json.Marshal(joinReply{Chain: rawOf(chainOf(&m.Member)), Roots: m.Trust().Roots(), Roster: m.SignedRoster(), Keys: keys})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := j.Install(b); err == nil {
			t.Error("an answer without the pinned root was taken")
		}
		var asked joinRequest
		if decodeJoin("join request", b, &asked) == nil {
			_, _, _ = parseRequest(asked.Identity)
		}
		_, _ = decodeKeyring(b)
	})
}

func FuzzAdmit(f *testing.F) {
	m, err := OpenManager(ManagerConfig{Dir: f.TempDir(), ID: uuid.NewString(), Tokens: &MemoryTokens{}})
	if err != nil {
		f.Fatal(err)
	}
	token := newToken(PinOf(m.authority.Load().root)).String()
	key, _ := newKey()
	asked, err := newRequest("x", key)
	if err != nil {
		f.Fatal(err)
	}
	content, err := json.Marshal(joinRequest{Identity: asked, Intermediate: asked, Store: asked, Recipient: "age1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token, uuid.NewString(), "manage", content)
	f.Fuzz(func(t *testing.T, token, id, role string, content []byte) {
		_, _, err := m.Admit(t.Context(), token, id, MemberRole(role), content)
		var refusal *Refusal
		if !errors.As(err, &refusal) {
			t.Errorf("not a refusal: %v", err)
		}
	})
}

// FuzzRenewalRequest feeds certificate requests, with whatever proof is in them.
func FuzzRenewalRequest(f *testing.F) {
	old, _ := newKey()
	next, _ := newKey()
	proof, err := newKeyProof(old, &next.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(proof.Value)
	f.Fuzz(func(t *testing.T, value []byte) {
		proof.Value = value
		der, err := newRequest("x", next, proof)
		if err != nil {
			return
		}
		csr, _, err := parseRequest(der)
		if err != nil {
			return
		}
		digest, err := provenKey(csr)
		if want, _ := digestOf(&old.PublicKey); err == nil && digest != nil && *digest != want {
			t.Errorf("a proof of a key that signed nothing")
		}
	})
}

func FuzzRoleOf(f *testing.F) {
	f.Add("role:viewer", "x")
	f.Add("role:operator", "role:viewer")
	f.Fuzz(func(t *testing.T, one, two string) {
		c := &x509.Certificate{}
		c.Subject.OrganizationalUnit = []string{one, two}
		role, err := roleOf(c)
		if err == nil && !slices.Contains(Roles, role) {
			t.Errorf("role %q", role)
		}
	})
}
