package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Member is a daemon's proof of who it is, and whom it trusts: what a Manager
// and an enrolled Machine have in common. It is safe for concurrent use; what
// it gives changes at renewal.
type Member struct {
	dir     string
	now     Clock
	current atomic.Pointer[proof]

	replacing sync.Mutex // held while current is replaced, and its files with it
	// changed is closed and replaced when current is; guarded by replacing
	changed chan struct{}
}

// proof is one generation of a member's identity, replaced whole.
type proof struct {
	name   Name
	pair   keyPair
	trust  *Trust
	signed []byte // the roster in trust, as it came
	tls    *tls.Certificate
}

// with returns the proof with another roster.
func (p *proof) with(r *Roster, signed []byte) *proof {
	q := *p
	q.trust, q.signed = p.trust.under(r), signed
	return &q
}

func newProof(now Clock, pair keyPair) (*proof, error) {
	roots := append(pair.chain[len(pair.chain)-1:len(pair.chain):len(pair.chain)], pair.other...)
	trust, err := NewTrust(now, rawOf(roots)...)
	if err != nil {
		return nil, err
	}
	name, _, err := trust.Verify(pair.chain)
	if err != nil {
		return nil, err
	}
	return &proof{name: name, pair: pair, trust: trust, tls: tlsCertificate(pair)}, nil
}

func tlsCertificate(pair keyPair) *tls.Certificate {
	return &tls.Certificate{Certificate: rawOf(pair.chain), PrivateKey: pair.key, Leaf: pair.chain[0]}
}

// load takes up the identity on disk.
func (m *Member) load() error {
	pair, err := loadKeyPair(filepath.Join(m.dir, identityFile))
	if err != nil {
		return err
	}
	if len(pair.chain) == 0 {
		return refuse("%s: no certificate in it", filepath.Join(m.dir, identityFile))
	}
	p, err := newProof(m.now, pair)
	if err != nil {
		return err
	}
	m.replacing.Lock()
	defer m.replacing.Unlock()
	if p, err = m.loadRoster(p); err != nil {
		return err
	}
	m.use(p)
	return nil
}

// replace writes a new generation to disk, then uses it. The roster stays.
func (m *Member) replace(p *proof) error {
	m.replacing.Lock()
	defer m.replacing.Unlock()
	if err := p.pair.save(filepath.Join(m.dir, identityFile)); err != nil {
		return err
	}
	if now := m.current.Load(); now != nil {
		p = p.with(now.trust.roster, now.signed)
	}
	m.use(p)
	return nil
}

// use makes p what the member is. m.replacing is held.
func (m *Member) use(p *proof) {
	m.current.Store(p)
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// Changed returns a channel that is closed when the member's certificate or
// roster is replaced: RenewAt may say something else then, and Verify refuse
// somebody whom it has accepted.
func (m *Member) Changed() <-chan struct{} {
	m.replacing.Lock()
	defer m.replacing.Unlock()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.changed
}

// Name returns the member's own name; the zero Name before a machine is enrolled.
func (m *Member) Name() Name {
	if p := m.current.Load(); p != nil {
		return p.name
	}
	return Name{}
}

// Trust returns whom the member trusts at present; nil before it is enrolled.
func (m *Member) Trust() *Trust {
	if p := m.current.Load(); p != nil {
		return p.trust
	}
	return nil
}

// RenewAt says when to renew: at two thirds of the certificate's life, or as
// soon as the manager whose intermediate signed it is revoked, or at once where
// it is good in future only, since the clock was wrong. It is the zero time
// before a machine is enrolled.
func (m *Member) RenewAt() time.Time {
	p := m.current.Load()
	if p == nil {
		return time.Time{}
	}
	due := renewAt(p.pair.chain[0])
	if now := m.now(); now.Before(p.pair.chain[0].NotBefore) {
		due = now
	}
	for _, c := range p.pair.chain[1:] {
		if v := p.trust.roster.revocation(KindManager, managerOf(c)); v != nil && v.At.Before(due) {
			due = v.At
		}
	}
	return due
}

// Sign signs a document so that every member of the cluster can tell which
// manager it is from. It returns the signature and the signer's chain, DER.
func (m *Member) Sign(document []byte) (signature []byte, chain [][]byte, err error) {
	p := m.current.Load()
	if p == nil {
		return nil, nil, refuse("sign: this daemon is not enrolled")
	}
	signature, err = ecdsa.SignASN1(rand.Reader, p.pair.key, documentDigest(document))
	return signature, rawOf(p.pair.chain), err
}

// VerifySigned checks that a manager of the member's own cluster signed
// document, with a certificate valid now, and says which. Anything else is a
// Refusal.
func (m *Member) VerifySigned(document, signature []byte, chain [][]byte) (Name, error) {
	p := m.current.Load()
	if p == nil {
		return Name{}, refuse("signed document: this daemon is not enrolled")
	}
	return p.trust.VerifySigned(p.name.Cluster, document, signature, chain)
}

// verifyPeer is Verify for members of a cluster: a stranger without a name is
// let through as nobody (the empty name), who may enrol and nothing else.
func (p *proof) verifyPeer(chain []*x509.Certificate) (string, time.Time, error) {
	if len(chain) == 1 && len(chain[0].URIs) == 0 {
		return "", chain[0].NotAfter, nil
	}
	name, expires, err := p.trust.Verify(chain)
	if err != nil {
		return "", time.Time{}, err
	}
	return name.String(), expires, nil
}
