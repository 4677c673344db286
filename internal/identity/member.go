package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Member is a daemon's proof of who it is, and whom it trusts: what a Manager
// and an enrolled Machine have in common. It is safe for concurrent use; what
// it gives changes at renewal.
type Member struct {
	dir     string
	current atomic.Pointer[proof]
}

// proof is one generation of a member's identity, replaced whole.
type proof struct {
	name  Name
	pair  keyPair
	trust *Trust
	tls   *tls.Certificate
}

func newProof(pair keyPair) (*proof, error) {
	roots := append(pair.chain[len(pair.chain)-1:len(pair.chain):len(pair.chain)], pair.other...)
	trust, err := NewTrust(rawOf(roots)...)
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
	p, err := newProof(pair)
	if err != nil {
		return err
	}
	m.current.Store(p)
	return nil
}

// replace writes a new generation to disk, then uses it.
func (m *Member) replace(p *proof) error {
	if err := p.pair.save(filepath.Join(m.dir, identityFile)); err != nil {
		return err
	}
	m.current.Store(p)
	return nil
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

// RenewAt says when to renew: at two thirds of the certificate's life. It is
// the zero time before a machine is enrolled.
func (m *Member) RenewAt() time.Time {
	if p := m.current.Load(); p != nil {
		return renewAt(p.pair.chain[0])
	}
	return time.Time{}
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
