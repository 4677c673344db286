package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"
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
	root    *x509.Certificate
	keyPair // of the intermediate: chain is intermediate, root
}

// openAuthority reads the authority kept in dir. With nothing there it founds a
// cluster. An intermediate past two thirds of its life is replaced.
func openAuthority(dir, manager string) (*authority, error) {
	keeper, err := openAge(filepath.Join(dir, ageFile))
	if err != nil {
		return nil, err
	}
	root, err := openRoot(dir, keeper)
	if err != nil {
		return nil, err
	}
	cluster, err := clusterOf(root)
	if err != nil {
		return nil, err
	}
	a := &authority{cluster: cluster, root: root}
	path := filepath.Join(dir, intermediateFile)
	a.keyPair, err = loadKeyPair(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case len(a.chain) == 2 && a.chain[1].Equal(root) && time.Now().Before(renewAt(a.chain[0])):
		return a, nil
	}
	rootKey, err := openRootKey(dir, keeper)
	if err != nil {
		return nil, err
	}
	a.keyPair, err = newIntermediate(root, rootKey, cluster, manager)
	if err != nil {
		return nil, err
	}
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
		return keeper, writeFile(path, []byte(keeper.String()+"\n"))
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

// openRoot reads the root certificate, or founds a cluster: key first,
// certificate last, so that a root certificate on disk always has its key.
func openRoot(dir string, keeper *age.X25519Identity) (*x509.Certificate, error) {
	path := filepath.Join(dir, rootFile)
	content, err := os.ReadFile(path)
	if err == nil {
		root, err := x509.ParseCertificate(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return root, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	sealed, err := sealKey(key, keeper.Recipient())
	if err != nil {
		return nil, err
	}
	root, err := newRoot(key)
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, rootKeyFile), sealed); err != nil {
		return nil, err
	}
	return root, writeFile(path, root.Raw)
}

func newRoot(key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	cluster := uuid.NewString()
	now := time.Now()
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

func newIntermediate(root *x509.Certificate, rootKey *ecdsa.PrivateKey, cluster, manager string) (keyPair, error) {
	key, err := newKey()
	if err != nil {
		return keyPair{}, err
	}
	now := time.Now()
	cert, err := create(&x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "aloft manager " + manager, Organization: []string{cluster}},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(intermediateLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, root, &key.PublicKey, rootKey)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{key: key, chain: []*x509.Certificate{cert, root}}, nil
}

// issue makes a certificate that says that the holder of key is name, for life
// from now. It returns the whole chain, leaf first, root last.
func (a *authority) issue(name Name, key *ecdsa.PublicKey, life time.Duration) ([]*x509.Certificate, error) {
	if err := name.check(); err != nil {
		return nil, err
	}
	now := time.Now()
	end := now.Add(life)
	if last := a.chain[0].NotAfter; end.After(last) {
		end = last
	}
	leaf, err := create(&x509.Certificate{
		SerialNumber: serial(),
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

// sealKey encrypts a private key so that any one of the recipients can open it.
func sealKey(key *ecdsa.PrivateKey, recipients ...age.Recipient) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipients...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(der); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

func openRootKey(dir string, keeper age.Identity) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, rootKeyFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := age.Decrypt(f, keeper)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; a manager of the cluster has to wrap the root key for this one's %s", path, err, ageFile)
	}
	der, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: key is a %T, want ECDSA", path, key)
	}
	return ec, nil
}
