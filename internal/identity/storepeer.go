package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"aloft/internal/durable"
)

// StoreTLS is what a manager's store peer needs to talk TLS 1.3 with the
// others: paths of PEM files. Certificate and key are replaced while the daemon
// runs and have to be read at every handshake, as etcd does. The issuer has
// nothing in common with the cluster's root, so a store peer proves nothing to
// daemons, nor a daemon anything to the store.
type StoreTLS struct {
	Cert, Key, CA string
	// ServerName is in every store peer's certificate, in place of addresses: to
	// be expected by whoever dials (etcd: ServerName, and SkipClientSANVerify).
	ServerName string
}

// StoreServerName is the name in the certificates of all store peers.
const StoreServerName = "peer.store.aloft"

// OpenStoreTLS returns the files for a manager's store peer, and makes those
// that are missing or old. It is for before the store is open, on which
// OpenManager relies; from then on Manager.Run renews them. In an empty folder
// it founds a cluster.
func OpenStoreTLS(dir, manager string) (StoreTLS, error) {
	k, err := openKeys(dir, manager, nil, nil)
	if err != nil {
		return StoreTLS{}, err
	}
	if _, err := k.renewStorePeer(DefaultLife); err != nil {
		return StoreTLS{}, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	return StoreTLS{Cert: at(storeCertFile), Key: at(storeKeyFile), CA: at(storeCAFile), ServerName: StoreServerName}, nil
}

func newStoreIssuer(cluster string, key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "aloft store", Organization: []string{cluster}},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:            x509.KeyUsageCertSign,
		PermittedDNSDomains: []string{StoreServerName}, PermittedDNSDomainsCritical: true,
	}
	return create(template, template, &key.PublicKey, key)
}

func issueStorePeer(issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey, manager string, key *ecdsa.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	return create(&x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: manager},
		DNSNames:     []string{StoreServerName},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(life),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, issuer, key, issuerKey)
}

// renewStorePeer makes the certificate of this manager's store peer anew when
// two thirds of its life are over, and says when it will be due again. The key
// stays: certificate and key are two files, which could not be replaced at once.
func (k *keys) renewStorePeer(life time.Duration) (time.Time, error) {
	ring := k.known()
	issuer, err := x509.ParseCertificate(ring.Store)
	if err != nil {
		return time.Time{}, err
	}
	key, err := k.storeKey()
	if err != nil {
		return time.Time{}, err
	}
	if err := writeFileOnce(filepath.Join(k.dir, storeCAFile), encodeCerts([]*x509.Certificate{issuer})); err != nil {
		return time.Time{}, err
	}
	path := filepath.Join(k.dir, storeCertFile)
	if content, err := os.ReadFile(path); err == nil {
		if block, _ := pem.Decode(content); block != nil {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err == nil && cert.CheckSignatureFrom(issuer) == nil && key.PublicKey.Equal(cert.PublicKey) && fresh(cert, k.now()) {
				return renewAt(cert), nil
			}
		}
	}
	issuerKey, err := unsealKey(ring.StoreKey, k.keeper)
	if err != nil {
		return time.Time{}, fmt.Errorf("key of the issuer of store peers: %w", err)
	}
	cert, err := issueStorePeer(issuer, issuerKey, k.manager, &key.PublicKey, k.now(), life)
	if err != nil {
		return time.Time{}, fmt.Errorf("certificate of the store peer: %w", err)
	}
	return renewAt(cert), durable.WriteFile(path, encodeCerts([]*x509.Certificate{cert}))
}

// storeKey reads the private key of this manager's store peer, or makes it.
func (k *keys) storeKey() (*ecdsa.PrivateKey, error) {
	return openKey(filepath.Join(k.dir, storeKeyFile))
}
