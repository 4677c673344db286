package identity

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Refusal is a "no" that repeating will not change: a wrong token, a stranger's
// certificate, a revoked machine. Its kind survives gRPC as PermissionDenied.
type Refusal struct{ Reason string }

// Error gives the reason.
func (r *Refusal) Error() string { return r.Reason }

// GRPCStatus makes a handler that returns a Refusal answer PermissionDenied.
func (r *Refusal) GRPCStatus() *status.Status {
	return status.New(codes.PermissionDenied, r.Reason)
}

func refuse(format string, args ...any) error {
	return &Refusal{Reason: fmt.Sprintf(format, args...)}
}

// Trust is an immutable set of root certificates, each good for the names of
// its own cluster only: the root of cluster A cannot name a member of B. It may
// have a roster of its own cluster, and refuses whom that revokes.
type Trust struct {
	roots    []*x509.Certificate
	clusters map[string]*x509.CertPool
	roster   *Roster // nil: nobody is revoked
	now      Clock
}

// under returns the same trust with another roster.
func (t *Trust) under(r *Roster) *Trust {
	u := *t
	u.roster = r
	return &u
}

// NewTrust makes a set of roots, each given in DER. A root says in its own URI
// (aloft://CLUSTER) which cluster it is for.
func NewTrust(now Clock, roots ...[]byte) (*Trust, error) {
	t := &Trust{clusters: map[string]*x509.CertPool{}, now: now.orReal()}
	for _, der := range roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("root certificate: %w", err)
		}
		cluster, err := clusterOf(root)
		if err != nil {
			return nil, err
		}
		if t.clusters[cluster] == nil {
			t.clusters[cluster] = x509.NewCertPool()
		}
		t.clusters[cluster].AddCert(root)
		t.roots = append(t.roots, root)
	}
	return t, nil
}

// Roots returns the set in DER, in the order in which it was given.
func (t *Trust) Roots() [][]byte { return rawOf(t.roots) }

// Verify checks that a chain, leaf first, leads to a root of the cluster its
// leaf names, and says whose it is and when it expires. A leaf that has expired
// is verified as of its last moment and returned with that past time, because
// renewal accepts it: every caller but renewal must look at expires. One that is
// not good yet, because a clock is or was wrong, is verified as of its first
// moment and counts as expired likewise. Whom the
// roster revokes is refused, and whatever an intermediate of a revoked manager
// signed; only a machine's certificate that such a manager has signed counts as
// expired when the manager was revoked, so that the machine can come back with a
// proof that it is the same (Manager.Renew).
func (t *Trust) Verify(chain []*x509.Certificate) (name Name, expires time.Time, err error) {
	if len(chain) == 0 {
		return Name{}, time.Time{}, refuse("no certificate")
	}
	leaf := chain[0]
	if len(leaf.URIs) != 1 {
		return Name{}, time.Time{}, refuse("certificate carries %d names, want one", len(leaf.URIs))
	}
	name, err = ParseName(leaf.URIs[0].String())
	if err != nil {
		return Name{}, time.Time{}, refuse("certificate: %v", err)
	}
	roots := t.clusters[name.Cluster]
	if roots == nil {
		return Name{}, time.Time{}, refuse("%s is of a cluster that is not trusted here", name)
	}
	now := t.now()
	past := now.Add(-time.Second)
	at, expires := now, leaf.NotAfter
	switch {
	case now.After(leaf.NotAfter):
		at = leaf.NotAfter
	case now.Before(leaf.NotBefore):
		at, expires = leaf.NotBefore, past
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	ways, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return Name{}, time.Time{}, refuse("certificate of %s: %v", name, err)
	}
	if err := t.revoked(name, leaf.Subject.SerialNumber); err != nil {
		return Name{}, time.Time{}, err
	}
	by := t.signedByRevoked(name.Cluster, ways)
	switch {
	case by == nil:
		return name, expires, nil
	case name.Kind != KindMachine:
		return Name{}, time.Time{}, refuse("certificate of %s: it was signed by manager %s, which is revoked", name, by.ID)
	}
	for _, t := range []time.Time{by.At, leaf.NotAfter} {
		if t.Before(past) {
			past = t
		}
	}
	return name, past, nil
}

// revoked refuses somebody whom the roster revokes, or the series of whose
// certificate, if it is a user's.
func (t *Trust) revoked(name Name, series string) error {
	if t.roster == nil || t.roster.Cluster != name.Cluster {
		return nil
	}
	if v := t.roster.revocationOf(name.Kind, name.ID, series); v != nil {
		return refuse("%s is revoked since %s", name, v.At.Format(time.RFC3339))
	}
	return nil
}

// signedByRevoked returns the revoked manager whose intermediate is in every
// one of the chains; nil if one of them is good.
func (t *Trust) signedByRevoked(cluster string, ways [][]*x509.Certificate) (by *Revocation) {
	if t.roster == nil || t.roster.Cluster != cluster {
		return nil
	}
	for _, way := range ways {
		var bad *Revocation
		for _, c := range way[1:] {
			if v := t.roster.revocation(KindManager, managerOf(c)); v != nil {
				bad = v
			}
		}
		if bad == nil {
			return nil
		}
		by = bad
	}
	return by
}

// Pin is the digest of a root's public key. Who knows it needs nothing else to
// recognise the cluster.
type Pin [sha256.Size]byte

// PinOf digests the public key of a certificate.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// trustPinned makes a set of the one root in chain, its last certificate, if its
// key is the pinned one.
func trustPinned(now Clock, pin Pin, chain []*x509.Certificate) (*Trust, error) {
	if len(chain) == 0 {
		return nil, refuse("no certificate")
	}
	root := chain[len(chain)-1]
	if PinOf(root) != pin {
		return nil, refuse("the other side does not belong to the cluster of this join token")
	}
	return NewTrust(now, root.Raw)
}

func clusterOf(root *x509.Certificate) (string, error) {
	if !root.IsCA || len(root.URIs) != 1 || root.URIs[0].Scheme != "aloft" || root.URIs[0].Path != "" {
		return "", errors.New("root certificate does not name the cluster it is for (aloft://CLUSTER)")
	}
	cluster := root.URIs[0].Host
	if !clusterForm.MatchString(cluster) {
		return "", fmt.Errorf("root certificate: cluster id %q is malformed", cluster)
	}
	return cluster, nil
}

// signingContext keeps a signature over a document from being taken for one
// made by the same key for anything else, such as TLS.
const signingContext = "aloft signed document 1\x00"

func documentDigest(document []byte) []byte {
	h := sha256.New()
	h.Write([]byte(signingContext))
	h.Write(document)
	return h.Sum(nil)
}

// VerifySigned checks that a manager of cluster signed document, with a
// certificate that is valid now, and says which. chain is the signer's, leaf
// first, DER.
func (t *Trust) VerifySigned(cluster string, document, signature []byte, chain [][]byte) (Name, error) {
	certs, err := parseChain(chain)
	if err != nil {
		return Name{}, refuse("signed document: %v", err)
	}
	name, expires, err := t.Verify(certs)
	switch {
	case err != nil:
		return Name{}, fmt.Errorf("signed document: %w", err)
	case t.now().After(expires):
		return Name{}, refuse("signed document: the certificate of %s %s", name, good(certs[0], t.now()))
	case name.Cluster != cluster || name.Kind != KindManager:
		return Name{}, refuse("signed document: %s is not a manager of cluster %s", name, cluster)
	}
	key, ok := certs[0].PublicKey.(*ecdsa.PublicKey)
	if !ok || !ecdsa.VerifyASN1(key, documentDigest(document), signature) {
		return Name{}, refuse("signed document: the signature is not that of %s over these bytes", name)
	}
	return name, nil
}

// good says in words, which follow the name of a certificate, when it is good.
func good(c *x509.Certificate, now time.Time) string {
	const form = time.RFC3339
	if now.Before(c.NotBefore) {
		return fmt.Sprintf("is good from %s on, and it is %s here: a clock is wrong", c.NotBefore.UTC().Format(form), now.UTC().Format(form))
	}
	return "expired at " + c.NotAfter.UTC().Format(form)
}

func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	certs := make([]*x509.Certificate, 0, len(chain))
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

func rawOf(certs []*x509.Certificate) [][]byte {
	raw := make([][]byte, 0, len(certs))
	for _, c := range certs {
		raw = append(raw, c.Raw)
	}
	return raw
}
