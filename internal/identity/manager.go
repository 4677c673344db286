package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
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
	Vault  Vault  // where the cluster's documents are; nil: in this process's memory

	// Life is how long certificates are good for; 0 means DefaultLife.
	Life time.Duration

	Now Clock // nil: this host's
	Log *slog.Logger
}

// Manager is a manager's identity together with its power to let others in. No
// manager has any power that the others lack.
type Manager struct {
	Member
	cfg       ManagerConfig
	keys      *keys
	authority atomic.Pointer[authority] // replaced when its intermediate ages
	clock     chan struct{}             // has room for one
}

// OpenManager reads a manager's identity from its folder. In an empty one it
// founds a new cluster with this manager as its first member. It asks the vault
// nothing, which may be out of reach: Sync does.
func OpenManager(cfg ManagerConfig) (*Manager, error) {
	if cfg.Life == 0 {
		cfg.Life = DefaultLife
	}
	if cfg.Vault == nil {
		cfg.Vault = &MemoryVault{}
	}
	cfg.Now = cfg.Now.orReal()
	k, err := openKeys(cfg.Dir, cfg.ID, cfg.Vault, cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("open the keys of the cluster: %w", err)
	}
	a, err := openAuthority(k)
	if err != nil {
		return nil, fmt.Errorf("open the certificate authority: %w", err)
	}
	m := &Manager{Member: Member{dir: cfg.Dir, now: cfg.Now}, cfg: cfg, keys: k, clock: make(chan struct{}, 1)}
	m.authority.Store(a)
	switch err := m.load(); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if have := m.Name(); have.ID != cfg.ID || have.Kind != KindManager || have.Cluster != a.cluster {
			return nil, fmt.Errorf("%s holds the identity of %s, not of manager %s of cluster %s", cfg.Dir, have, cfg.ID, a.cluster)
		}
	}
	// A certificate by another's intermediate is that of a manager which has just
	// joined: it would end with the other's removal.
	if p := m.current.Load(); p == nil || m.due() || !p.pair.chain[1].Equal(a.chain[0]) {
		if err := m.renew(); err != nil {
			return nil, err
		}
	}
	if _, err := m.renewOthers(); err != nil {
		return nil, err
	}
	if m.Roster() == nil {
		first := &Roster{Cluster: a.cluster, Epoch: 1, Version: 1, Managers: []RosterMember{{ID: cfg.ID}}}
		signed, err := m.signRoster(first)
		if err != nil {
			return nil, err
		}
		if _, err := m.AcceptRoster(signed); err != nil {
			return nil, err
		}
	}
	return m, doneJoining(cfg.Dir)
}

// Sync brings what this manager knows of the cluster's keys and roster up to
// date with the vault, and to the vault what it lacks. It is for after the store
// has opened, and whenever somebody else may have changed them.
func (m *Manager) Sync(ctx context.Context) error {
	if err := m.keys.sync(ctx); err != nil {
		return err
	}
	return m.ChangeRoster(ctx, func(*Roster) error { return nil })
}

// lookAgain bounds how long Run leaves the vault alone.
const lookAgain = 8 * time.Hour

// Run renews the manager's own certificates, and with them an ageing
// intermediate, until ctx ends; it syncs first and whenever it looks.
func (m *Manager) Run(ctx context.Context) error {
	const retry = time.Minute
	for {
		next, err := m.renewOthers()
		if m.due() {
			err = errors.Join(err, m.renew())
		}
		if err != nil {
			m.cfg.Log.Error("renewing the manager's certificates", "error", err)
		}
		now := m.now()
		wait := min(m.RenewAt().Sub(now), next.Sub(now), lookAgain)
		if lost := m.Sync(ctx); lost != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("looking for changes of the cluster's keys and roster", "error", lost)
			wait = min(wait, retry)
		}
		if err != nil || m.due() { // what a removed manager issues is never good
			wait = retry
		}
		timer := time.NewTimer(max(wait, time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		case <-m.clock:
			timer.Stop()
		}
	}
}

// ClockSet has Run look whether certificates are to be renewed: timers notice
// neither that the clock was set nor that the host was suspended.
func (m *Manager) ClockSet() {
	select {
	case m.clock <- struct{}{}:
	default: // it is about to look
	}
}

// due reports whether the manager's certificate has to be renewed now.
func (m *Manager) due() bool { return !m.now().Before(m.RenewAt()) }

// renewOthers renews, when they are due, the certificates that a manager has
// besides the one it is known by, and says when that will be due again.
func (m *Manager) renewOthers() (next time.Time, err error) {
	store, err := m.keys.renewStorePeer(m.cfg.Life)
	if err != nil {
		return time.Time{}, err
	}
	path := filepath.Join(m.dir, operatorFile)
	pair, err := loadKeyPair(path)
	if err != nil || len(pair.chain) == 0 || !fresh(pair.chain[0], m.now()) {
		if pair, err = m.newOperator(); err != nil {
			return time.Time{}, err
		}
		if err := pair.save(path); err != nil {
			return time.Time{}, err
		}
	}
	operator := renewAt(pair.chain[0])
	if store.Before(operator) {
		return store, nil
	}
	return operator, nil
}

func (m *Manager) renew() error {
	a := m.authority.Load()
	if !fresh(a.chain[0], m.now()) {
		fresh, err := openAuthority(m.keys)
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
	chain, err := a.issue(name, "", &key.PublicKey, m.cfg.Life)
	if err != nil {
		return err
	}
	p, err := newProof(m.now, keyPair{key: key, chain: chain})
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
	return m.current.Load().verifyPeer(chain)
}

// NewToken mints the token with which one machine, named by its UUID, may join
// within life. host is the UUID of the daemon that makes the machine.
func (m *Manager) NewToken(ctx context.Context, machine, host string, life time.Duration) (Token, error) {
	if !uuidForm.MatchString(machine) {
		return Token{}, fmt.Errorf("join token: machine id %q is not a UUID in lower case", machine)
	}
	t, err := m.mint(ctx, Grant{Machine: machine, Host: host, Expires: m.now().Add(life)})
	if err != nil {
		return Token{}, fmt.Errorf("join token for machine %s: %w", machine, err)
	}
	return t, nil
}

// Enrol trades a join token and a certificate request (PKCS#10, DER) for a
// chain and the roots to trust, both DER. A request repeated with the same key
// while the token lives is answered again; every other second use of a token
// is a Refusal.
func (m *Manager) Enrol(ctx context.Context, token, machine string, request []byte) (chain, roots [][]byte, err error) {
	key, err := requestedKey(request)
	if err != nil {
		return nil, nil, err
	}
	if !uuidForm.MatchString(machine) {
		return nil, nil, refuse("enrol: machine id %.40q is not a UUID in lower case", machine)
	}
	if _, err := m.spend(ctx, token, Grant{Machine: machine}, key); err != nil {
		return nil, nil, fmt.Errorf("enrol machine %s: %w", machine, err)
	}
	return m.admit(ctx, machine, key, renewal{})
}

// Renew gives the machine with this name a fresh certificate for the key in a
// request. The caller has verified the name; its certificate may have expired.
// Once a manager was removed, which may have made certificates for any machine,
// the request must prove a key that the machine was once given a certificate for.
func (m *Manager) Renew(ctx context.Context, name string, request []byte) (chain, roots [][]byte, err error) {
	n, err := ParseName(name)
	switch {
	case err != nil:
		return nil, nil, refuse("renew: %v", err)
	case n.Kind != KindMachine || n.Cluster != m.Name().Cluster:
		return nil, nil, refuse("renew: %s is not a machine of this cluster", n)
	}
	csr, key, err := parseRequest(request)
	if err != nil {
		return nil, nil, err
	}
	proven, err := provenKey(csr)
	if err != nil {
		return nil, nil, err
	}
	removed := slices.ContainsFunc(m.Roster().Revoked, func(v Revocation) bool { return v.Kind == KindManager })
	if removed && proven == nil {
		return nil, nil, refuse("renew: %s does not prove its present key, as it has to since a manager was removed", n)
	}
	return m.admit(ctx, n.ID, key, renewal{proven, removed})
}

// admit issues a certificate to a machine that is entitled to it.
func (m *Manager) admit(ctx context.Context, machine string, key *ecdsa.PublicKey, r renewal) (chain, roots [][]byte, err error) {
	a := m.authority.Load()
	name := Name{Cluster: a.cluster, Kind: KindMachine, ID: machine}
	if err := m.Trust().revoked(name, ""); err != nil {
		return nil, nil, err
	}
	digest, err := digestOf(key)
	if err != nil {
		return nil, nil, err
	}
	if err := m.issued(ctx, machine, digest, r); err != nil {
		return nil, nil, err
	}
	certs, err := a.issue(name, "", key, m.cfg.Life)
	if err != nil {
		return nil, nil, err
	}
	return rawOf(certs), m.Trust().Roots(), nil
}
