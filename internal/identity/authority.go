package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"

	"aloft/internal/durable"
)

const (
	// backdate makes certificates good on machines whose clock is behind.
	backdate         = time.Hour
	rootLife         = 20 * 365 * 24 * time.Hour
	intermediateLife = 365 * 24 * time.Hour
)

// authority is one manager's power to issue: its own intermediate under the
// cluster's root. The root key itself is opened only to make an intermediate.
type authority struct {
	cluster string
	now     Clock
	root    *x509.Certificate
	keyPair // of the intermediate: chain is intermediate, root
}

// openAuthority reads a manager's intermediate, or makes it, with the root key,
// when there is none or two thirds of its life are over.
func openAuthority(k *keys) (*authority, error) {
	ring := k.known()
	root, err := ring.root()
	if err != nil {
		return nil, err
	}
	cluster, err := clusterOf(root)
	if err != nil {
		return nil, err
	}
	a := &authority{cluster: cluster, now: k.now, root: root}
	path := filepath.Join(k.dir, intermediateFile)
	a.keyPair, err = loadKeyPair(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case len(a.chain) == 2 && a.chain[1].Equal(root) && fresh(a.chain[0], k.now()):
		return a, nil
	}
	rootKey, err := unsealKey(ring.RootKey, k.keeper)
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := newIntermediate(root, rootKey, k.manager, &key.PublicKey, k.now())
	if err != nil {
		return nil, err
	}
	a.keyPair = keyPair{key: key, chain: []*x509.Certificate{cert, root}}
	return a, a.save(path)
}

// openAge reads the manager's own age identity, or makes it.
func openAge(path string) (*age.X25519Identity, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		keeper, err := age.GenerateX25519Identity()
		if err != nil {
			return nil, err
		}
		return keeper, durable.WriteFile(path, []byte(keeper.String()+"\n"))
	}
	if err != nil {
		return nil, err
	}
	keeper, err := age.ParseX25519Identity(string(bytes.TrimSpace(content)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keeper, nil
}

// foundRoot makes the root of a new cluster, unless an older version has made
// one in dir, and returns it with its key.
func foundRoot(dir string, keeper *age.X25519Identity, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, oldRootFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := newKey()
		if err != nil {
			return nil, nil, err
		}
		root, err := newRoot(key, now)
		return root, key, err
	}
	if err != nil {
		return nil, nil, err
	}
	root, err := x509.ParseCertificate(content)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	path = filepath.Join(dir, oldRootKeyFile)
	sealed, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	key, err := unsealKey(sealed, keeper)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return root, key, nil
}

func newRoot(key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	cluster := uuid.NewString()
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "aloft root", Organization: []string{cluster}},
		URIs:         []*url.URL{{Scheme: "aloft", Host: cluster}},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1,
		KeyUsage: x509.KeyUsageCertSign,
		// Even software that does not know our rule that a root names members of
		// its own cluster only will not accept others.
		PermittedURIDomains: []string{cluster}, PermittedDNSDomainsCritical: true,
	}
	return create(template, template, &key.PublicKey, key)
}

// intermediateName is in the subject of an intermediate, before its manager's id.
const intermediateName = "aloft manager "

func newIntermediate(root *x509.Certificate, rootKey *ecdsa.PrivateKey, manager string, key *ecdsa.PublicKey, now time.Time) (*x509.Certificate, error) {
	return create(&x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: intermediateName + manager, Organization: root.Subject.Organization},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(intermediateLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, root, key, rootKey)
}

// managerOf returns the id of the manager whose intermediate c is, or "".
func managerOf(c *x509.Certificate) string {
	id, _ := strings.CutPrefix(c.Subject.CommonName, intermediateName)
	return id
}

// issue makes a certificate that says that the holder of key is name, for life
// from now; role is a user's, else "". It returns the whole chain, leaf first,
// root last.
func (a *authority) issue(name Name, role Role, key *ecdsa.PublicKey, life time.Duration) ([]*x509.Certificate, error) {
	return a.issueSeries(name, role, "", key, life)
}

// issueSeries is issue for a user who has a series.
func (a *authority) issueSeries(name Name, role Role, series string, key *ecdsa.PublicKey, life time.Duration) ([]*x509.Certificate, error) {
	if err := name.check(); err != nil {
		return nil, err
	}
	now := a.now()
	end := now.Add(life)
	if last := a.chain[0].NotAfter; end.After(last) {
		end = last
	}
	leaf, err := create(&x509.Certificate{
		SerialNumber: serial(),
		Subject:      role.subject(series),
		URIs:         []*url.URL{name.uri()},
		NotBefore:    now.Add(-backdate), NotAfter: end,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.chain[0], key, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate to %s: %w", name, err)
	}
	return append([]*x509.Certificate{leaf}, a.chain...), nil
}

func create(template, parent *x509.Certificate, key *ecdsa.PublicKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func serial() *big.Int {
	id := uuid.New()
	return new(big.Int).SetBytes(id[:])
}

// renewAt is when two thirds of a certificate's life are over.
func renewAt(c *x509.Certificate) time.Time {
	from := c.NotBefore.Add(backdate)
	return from.Add(c.NotAfter.Sub(from) * 2 / 3)
}

// fresh reports whether a certificate of our own need not be renewed: it is good
// by the clock, and not for its last third only. One that is good in future only
// was made while the clock was wrong.
func fresh(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(renewAt(c))
}
