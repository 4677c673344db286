package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Machine is a machine's identity: before it is enrolled a throw-away key and
// the pin of the cluster it means to join, afterwards a Member.
type Machine struct {
	Member
	id        string
	pin       *Pin             // nil without a token
	throwaway *tls.Certificate // presented until enrolled

	mu sync.Mutex
	// guarded by mu
	pending *ecdsa.PrivateKey // the key of the last Request
}

// OpenMachine reads the identity of the machine with this UUID from dir, which
// is made when it does not exist. If the machine is not enrolled, token (which
// may be empty otherwise) says which cluster it will recognise.
func OpenMachine(dir, id, token string, now Clock) (*Machine, error) {
	if !uuidForm.MatchString(id) {
		return nil, fmt.Errorf("machine id %q is not a UUID in lower case", id)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	now = now.orReal()
	m := &Machine{Member: Member{dir: dir, now: now}, id: id}
	err := m.load()
	switch {
	case err == nil && (m.Name().ID != id || m.Name().Kind != KindMachine):
		return nil, fmt.Errorf("%s holds the identity of %s, not of machine %s", dir, m.Name(), id)
	case err == nil:
		return m, doneJoining(dir)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	t, err := ParseToken(token)
	if err != nil {
		return nil, fmt.Errorf("machine %s is not enrolled: %w", id, err)
	}
	m.pin = &t.Pin
	// The key is on disk before it is used, so that a machine whose daemon dies
	// between asking and hearing the answer asks again with the same key.
	if m.pending, err = openKey(filepath.Join(dir, keyFile)); err != nil {
		return nil, err
	}
	m.throwaway, err = throwaway(now())
	return m, err
}

// throwaway makes a certificate that names nobody. TLS wants one of a machine
// that is dialled, or asked for a certificate, before it has any.
func throwaway(now time.Time) (*tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial(), NotBefore: now.Add(-backdate), NotAfter: now.Add(intermediateLife)}
	cert, err := create(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return tlsCertificate(keyPair{key: key, chain: []*x509.Certificate{cert}}), nil
}

// Enrolled reports whether the machine has a certificate, expired or not.
func (m *Machine) Enrolled() bool { return m.current.Load() != nil }

// Certificate returns what the machine presents to peers: a throw-away
// certificate that names nobody until it is enrolled.
func (m *Machine) Certificate() *tls.Certificate {
	if p := m.current.Load(); p != nil {
		return p.tls
	}
	return m.throwaway
}

// Verify says whose a peer's chain is and when it expires, which may be in the
// past. Until it is enrolled the machine accepts members of the pinned
// cluster and nobody else: managers, and hosts that lead it to one.
func (m *Machine) Verify(chain []*x509.Certificate) (name string, expires time.Time, err error) {
	if p := m.current.Load(); p != nil {
		return p.verifyPeer(chain)
	}
	return verifyPinned(m.now, *m.pin, chain, KindManager, KindMachine)
}

// Nobody is a member that shows a certificate which names nobody, and
// recognises the managers of its cluster all the same: so it can ask what became
// of it when nobody takes its own.
type Nobody struct {
	member    *Machine
	throwaway *tls.Certificate
}

// Nobody returns the machine as nobody. The machine must be enrolled.
func (m *Machine) Nobody() (*Nobody, error) {
	cert, err := throwaway(m.now())
	return &Nobody{m, cert}, err
}

// Certificate returns the throw-away certificate to present.
func (n *Nobody) Certificate() *tls.Certificate { return n.throwaway }

// Verify accepts managers, as the machine does, and nobody else.
func (n *Nobody) Verify(chain []*x509.Certificate) (name string, expires time.Time, err error) {
	who, expires, err := n.member.Trust().Verify(chain)
	if err == nil && who.Kind != KindManager {
		err = refuse("%s is not a manager", who)
	}
	return who.String(), expires, err
}

// verifyPinned accepts members of some kinds of the cluster with this pin.
func verifyPinned(now Clock, pin Pin, chain []*x509.Certificate, kinds ...Kind) (name string, expires time.Time, err error) {
	trust, err := trustPinned(now, pin, chain)
	if err != nil {
		return "", time.Time{}, err
	}
	n, expires, err := trust.Verify(chain)
	switch {
	case err != nil:
		return "", time.Time{}, err
	case !slices.Contains(kinds, n.Kind):
		return "", time.Time{}, refuse("%s is not a manager; who is not enrolled talks to managers only", n)
	}
	return n.String(), expires, nil
}

// Request makes a certificate request, PKCS#10 in DER. To enrol, it is always
// for the same key; to renew, for a new one, with a proof that the present key
// is ours.
func (m *Machine) Request() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.current.Load()
	if p == nil {
		return newRequest(m.id, m.pending)
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	m.pending = key
	proof, err := newKeyProof(p.pair.key, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	return newRequest(m.id, key, proof)
}

// Install checks and takes up what was answered to the last Request: a chain,
// leaf first, and the roots to trust, DER. It is on disk when Install returns.
func (m *Machine) Install(chain, roots [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	pair := keyPair{key: m.pending}
	if pair.key == nil {
		return errors.New("install certificate: none was asked for")
	}
	var err error
	if pair.chain, err = parseChain(chain); err != nil {
		return fmt.Errorf("install certificate: %w", err)
	}
	p, err := m.check(pair, roots)
	if err != nil {
		return fmt.Errorf("install certificate: %w", err)
	}
	if err := m.replace(p); err != nil {
		return fmt.Errorf("install certificate: %w", err)
	}
	m.pending = nil
	if err := os.Remove(filepath.Join(m.dir, keyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("install certificate: %w", err)
	}
	return nil
}

// check makes sure that a chain is for the key that was asked for and for this
// very machine, in the cluster it is of or means to join.
func (m *Machine) check(pair keyPair, roots [][]byte) (*proof, error) {
	trust, err := m.Trust(), error(nil)
	if trust == nil {
		trust, err = trustPinned(m.now, *m.pin, pair.chain)
	}
	if err != nil {
		return nil, err
	}
	pair, name, err := checkChain(pair, trust, KindMachine, m.id, roots)
	if err != nil {
		return nil, err
	}
	if was := m.Name(); was != (Name{}) && was != name {
		return nil, refuse("it is for %s, not for machine %s", name, m.id)
	}
	return newProof(m.now, pair)
}

// checkChain makes sure that a chain is for the key it was asked for and for the
// daemon of this kind and id, and adds the other roots to trust.
func checkChain(pair keyPair, trust *Trust, kind Kind, id string, roots [][]byte) (keyPair, Name, error) {
	name, _, err := trust.Verify(pair.chain)
	switch last := len(pair.chain) - 1; {
	case err != nil:
		return keyPair{}, Name{}, err
	case name.Kind != kind || name.ID != id:
		return keyPair{}, Name{}, refuse("it is for %s, not for %s %s", name, kind, id)
	case !pair.key.PublicKey.Equal(pair.chain[0].PublicKey):
		return keyPair{}, Name{}, refuse("it is for another key than the one asked with")
	case !isRoot(pair.chain[last]):
		return keyPair{}, Name{}, refuse("its chain does not end in a root")
	}
	for _, c := range pair.chain[1:] {
		if trust.roster.revocation(KindManager, managerOf(c)) != nil {
			return keyPair{}, Name{}, refuse("it was signed by manager %s, which is revoked", managerOf(c))
		}
	}
	others, err := parseChain(roots)
	if err != nil {
		return keyPair{}, Name{}, refuse("%v", err)
	}
	for _, root := range others {
		if !root.Equal(pair.chain[len(pair.chain)-1]) {
			pair.other = append(pair.other, root)
		}
	}
	return pair, name, nil
}
