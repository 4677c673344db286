package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
func OpenMachine(dir, id, token string) (*Machine, error) {
	if !uuidForm.MatchString(id) {
		return nil, fmt.Errorf("machine id %q is not a UUID in lower case", id)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m := &Machine{Member: Member{dir: dir}, id: id}
	err := m.load()
	switch {
	case err == nil && (m.Name().ID != id || m.Name().Kind != KindMachine):
		return nil, fmt.Errorf("%s holds the identity of %s, not of machine %s", dir, m.Name(), id)
	case err == nil:
		return m, nil
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
	path := filepath.Join(dir, keyFile)
	pair, err := loadKeyPair(path)
	if errors.Is(err, fs.ErrNotExist) {
		if pair.key, err = newKey(); err == nil {
			err = pair.save(path)
		}
	}
	if err != nil {
		return nil, err
	}
	m.pending = pair.key
	m.throwaway, err = throwaway()
	return m, err
}

// throwaway makes a certificate that names nobody. TLS wants one of a machine
// that is dialled, or asked for a certificate, before it has any.
func throwaway() (*tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
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
// past. Until it is enrolled the machine accepts a manager of the pinned
// cluster and nobody else.
func (m *Machine) Verify(chain []*x509.Certificate) (name string, expires time.Time, err error) {
	if p := m.current.Load(); p != nil {
		return p.verifyPeer(chain)
	}
	trust, err := trustPinned(*m.pin, chain)
	if err != nil {
		return "", time.Time{}, err
	}
	n, expires, err := trust.Verify(chain)
	switch {
	case err != nil:
		return "", time.Time{}, err
	case n.Kind != KindManager:
		return "", time.Time{}, refuse("%s is not a manager; an unenrolled machine talks to managers only", n)
	}
	return n.String(), expires, nil
}

// Request makes a certificate request, PKCS#10 in DER. To enrol, it is always
// for the same key; to renew, for a new one.
func (m *Machine) Request() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Enrolled() {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		m.pending = key
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: m.id}}, m.pending)
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
		trust, err = trustPinned(*m.pin, pair.chain)
	}
	if err != nil {
		return nil, err
	}
	name, _, err := trust.Verify(pair.chain)
	was := m.Name()
	switch last := len(pair.chain) - 1; {
	case err != nil:
		return nil, err
	case name.Kind != KindMachine || name.ID != m.id || (was != Name{} && was != name):
		return nil, refuse("it is for %s, not for machine %s", name, m.id)
	case !pair.key.PublicKey.Equal(pair.chain[0].PublicKey):
		return nil, refuse("it is for another key than the one asked with")
	case !isRoot(pair.chain[last]):
		return nil, refuse("its chain does not end in a root")
	}
	others, err := parseChain(roots)
	if err != nil {
		return nil, err
	}
	for _, root := range others {
		if !root.Equal(pair.chain[len(pair.chain)-1]) {
			pair.other = append(pair.other, root)
		}
	}
	return newProof(pair)
}
