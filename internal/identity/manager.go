package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// DefaultLife is how long certificates are good for unless configured.
const DefaultLife = 24 * time.Hour

// ManagerConfig is what a manager's identity is opened with.
type ManagerConfig struct {
	Dir    string // made when it does not exist
	ID     string // the manager's UUID
	Tokens Tokens // where join tokens are remembered

	// Life is how long certificates are good for; 0 means DefaultLife.
	Life time.Duration

	// Revoked reports machines that are members no more; nil means none is. It is
	// asked at every handshake and renewal.
	Revoked func(machine string) bool

	Log *slog.Logger
}

// Manager is a manager's identity together with its power to let machines in.
type Manager struct {
	Member
	cfg       ManagerConfig
	authority atomic.Pointer[authority] // replaced when its intermediate ages
}

// OpenManager reads a manager's identity. In an empty folder it founds a new
// cluster with this manager as its first member.
func OpenManager(cfg ManagerConfig) (*Manager, error) {
	if cfg.Life == 0 {
		cfg.Life = DefaultLife
	}
	if cfg.Revoked == nil {
		cfg.Revoked = func(string) bool { return false }
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	a, err := openAuthority(cfg.Dir, cfg.ID)
	if err != nil {
		return nil, fmt.Errorf("open the certificate authority: %w", err)
	}
	m := &Manager{Member: Member{dir: cfg.Dir}, cfg: cfg}
	m.authority.Store(a)
	switch err := m.load(); {
	case errors.Is(err, fs.ErrNotExist):
		return m, m.renew()
	case err != nil:
		return nil, err
	}
	if have := m.Name(); have.ID != cfg.ID || have.Kind != KindManager || have.Cluster != a.cluster {
		return nil, fmt.Errorf("%s holds the identity of %s, not of manager %s of cluster %s", cfg.Dir, have, cfg.ID, a.cluster)
	}
	if time.Now().After(m.RenewAt()) {
		return m, m.renew()
	}
	return m, nil
}

// Run renews the manager's own certificate, and with it an ageing intermediate,
// until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	const retry = time.Minute
	wait := time.Until(m.RenewAt())
	for {
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		wait = retry
		if err := m.renew(); err != nil {
			m.cfg.Log.Error("renewing the manager's certificate", "error", err)
		} else if next := time.Until(m.RenewAt()); next > retry {
			wait = next
		}
	}
}

func (m *Manager) renew() error {
	a := m.authority.Load()
	if time.Now().After(renewAt(a.chain[0])) {
		fresh, err := openAuthority(m.cfg.Dir, m.cfg.ID)
		if err != nil {
			return err
		}
		a = fresh
		m.authority.Store(a)
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	name := Name{Cluster: a.cluster, Kind: KindManager, ID: m.cfg.ID}
	chain, err := a.issue(name, &key.PublicKey, m.cfg.Life)
	if err != nil {
		return err
	}
	p, err := newProof(keyPair{key: key, chain: chain})
	if err != nil {
		return err
	}
	return m.replace(p)
}

// Certificate returns what the manager presents to peers.
func (m *Manager) Certificate() *tls.Certificate { return m.current.Load().tls }

// Verify says whose a peer's chain is and when it expires, which may be in the
// past: then only renewal may be allowed. The name is empty for an unenrolled
// machine's throw-away certificate, whose holder may only enrol.
func (m *Manager) Verify(chain []*x509.Certificate) (name string, expires time.Time, err error) {
	p := m.current.Load()
	name, expires, err = p.verifyPeer(chain)
	if err != nil || name == "" {
		return name, expires, err
	}
	n, err := ParseName(name)
	if err != nil {
		return "", time.Time{}, err
	}
	if n.Kind == KindMachine && m.cfg.Revoked(n.ID) {
		return "", time.Time{}, refuse("%s is revoked", n)
	}
	return name, expires, nil
}

// NewToken mints the token with which one machine, named by its UUID, may join
// within life.
func (m *Manager) NewToken(ctx context.Context, machine string, life time.Duration) (Token, error) {
	if !uuidForm.MatchString(machine) {
		return Token{}, fmt.Errorf("join token: machine id %q is not a UUID in lower case", machine)
	}
	t := newToken(PinOf(m.authority.Load().root))
	grant := Grant{Machine: machine, Expires: time.Now().Add(life)}
	if err := m.cfg.Tokens.Put(ctx, t.hash(machine), grant); err != nil {
		return Token{}, fmt.Errorf("join token for machine %s: %w", machine, err)
	}
	return t, nil
}

// Enrol trades a join token and a certificate request (PKCS#10, DER) for a
// chain and the roots to trust, both DER. A request repeated with the same key
// while the token lives is answered again; every other second use of a token
// is a Refusal.
func (m *Manager) Enrol(ctx context.Context, token, machine string, request []byte) (chain, roots [][]byte, err error) {
	t, err := ParseToken(token)
	if err != nil {
		return nil, nil, refuse("%v", err)
	}
	key, err := requestedKey(request)
	if err != nil {
		return nil, nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, nil, err
	}
	grant, err := m.cfg.Tokens.Take(ctx, t.hash(machine), sha256.Sum256(spki))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("enrol machine %s: %w", machine, err)
	case time.Now().After(grant.Expires):
		return nil, nil, refuse("enrol machine %s: join token expired at %s", machine, grant.Expires.Format(time.RFC3339))
	case grant.Machine != machine || m.cfg.Revoked(machine):
		return nil, nil, refuse("enrol machine %s: it is not a member any more", machine)
	}
	return m.admit(machine, key)
}

// Renew gives the machine with this name a fresh certificate for the key in a
// request. The caller has verified the name; its certificate may have expired.
func (m *Manager) Renew(_ context.Context, name string, request []byte) (chain, roots [][]byte, err error) {
	n, err := ParseName(name)
	switch {
	case err != nil:
		return nil, nil, refuse("renew: %v", err)
	case n.Kind != KindMachine || n.Cluster != m.Name().Cluster:
		return nil, nil, refuse("renew: %s is not a machine of this cluster", n)
	case m.cfg.Revoked(n.ID):
		return nil, nil, refuse("renew: %s is revoked", n)
	}
	key, err := requestedKey(request)
	if err != nil {
		return nil, nil, err
	}
	return m.admit(n.ID, key)
}

func (m *Manager) admit(machine string, key *ecdsa.PublicKey) (chain, roots [][]byte, err error) {
	a := m.authority.Load()
	name := Name{Cluster: a.cluster, Kind: KindMachine, ID: machine}
	certs, err := a.issue(name, key, m.cfg.Life)
	if err != nil {
		return nil, nil, err
	}
	return rawOf(certs), m.Trust().Roots(), nil
}

// requestedKey returns the public key of a certificate request whose sender
// holds the private one. The names in the request are not even looked at.
func requestedKey(request []byte) (*ecdsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, refuse("certificate request: %v", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, refuse("certificate request: %v", err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, refuse("certificate request: key is a %T, want ECDSA", csr.PublicKey)
	}
	return key, nil
}
