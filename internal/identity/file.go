package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"aloft/internal/durable"
)

// Everything an identity consists of lies in one folder (0700), in files of mode
// 0600 that are replaced whole. A machine has
//
//	key.pem       the key it enrols with; gone once enrolled
//	identity.pem  private key; its chain, leaf first, root last; other roots it trusts
//
//	roster.json   the newest roster it has seen, signed
//
// and a manager also
//
//	age.key           its own age identity
//	keys.json         a copy of the cluster's keys, sealed: with it the CA exists
//	intermediate.pem  private key and chain of its own intermediate
//	operator.pem      like identity.pem, of the operator who uses this home's command line
//	store-cert.pem, store-key.pem, store-ca.pem   for TLS between store peers
//	joining.json      private keys and token of a join that is not over yet
const (
	keyFile          = "key.pem"
	identityFile     = "identity.pem"
	rosterFile       = "roster.json"
	ageFile          = "age.key"
	keysFile         = "keys.json"
	intermediateFile = "intermediate.pem"
	operatorFile     = "operator.pem"
	storeCertFile    = "store-cert.pem"
	storeKeyFile     = "store-key.pem"
	storeCAFile      = "store-ca.pem"
	joiningFile      = "joining.json"
)

// What an older version kept in place of keys.json.
const (
	oldRootKeyFile = "root.key.age" // the root key, for the manager's age recipient
	oldRootFile    = "root.pem"     // the root certificate
)

// keyPair is a private key, the chain for its public half (leaf first, root
// last; empty for a key without certificate) and further roots to trust.
type keyPair struct {
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
	other []*x509.Certificate
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// parseKey reads a private key, PKCS#8 in DER.
func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("private key is a %T, want ECDSA", key)
	}
	return ec, nil
}

func (p keyPair) save(path string) error {
	content, err := p.encode()
	if err != nil {
		return err
	}
	return durable.WriteFile(path, content)
}

func (p keyPair) encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	out = append(out, encodeCerts(p.chain)...)
	return append(out, encodeCerts(p.other)...), nil
}

func loadKeyPair(path string) (keyPair, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return keyPair{}, err
	}
	p, err := decodeKeyPair(content)
	if err != nil {
		return keyPair{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func decodeKeyPair(content []byte) (p keyPair, err error) {
	for {
		var block *pem.Block
		block, content = pem.Decode(content)
		if block == nil {
			break
		}
		switch block.Type {
		case "PRIVATE KEY":
			if p.key, err = parseKey(block.Bytes); err != nil {
				return keyPair{}, err
			}
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return keyPair{}, err
			}
			if n := len(p.chain); n > 0 && isRoot(p.chain[n-1]) {
				p.other = append(p.other, cert)
			} else {
				p.chain = append(p.chain, cert)
			}
		}
	}
	if p.key == nil {
		return keyPair{}, errors.New("no private key in it")
	}
	if len(p.chain) > 0 && !p.key.PublicKey.Equal(p.chain[0].PublicKey) {
		return keyPair{}, errors.New("certificate and private key do not belong together")
	}
	return p, nil
}

// isRoot tells the end of a chain. It says nothing about trust.
func isRoot(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

func encodeCerts(certs []*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// openKey reads a private key, or makes it: on disk before it is used.
func openKey(path string) (*ecdsa.PrivateKey, error) {
	pair, err := loadKeyPair(path)
	if errors.Is(err, fs.ErrNotExist) {
		if pair.key, err = newKey(); err == nil {
			err = pair.save(path)
		}
	}
	return pair.key, err
}

// writeFileOnce writes a file unless it has that content.
func writeFileOnce(path string, content []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, content) {
		return nil
	}
	return durable.WriteFile(path, content)
}
