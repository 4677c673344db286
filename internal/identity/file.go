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
	"os"
	"path/filepath"
)

// Everything an identity consists of lies in one folder (0700), in files of mode
// 0600 that are replaced whole. A machine has
//
//	key.pem       the key it enrols with; gone once enrolled
//	identity.pem  private key; its chain, leaf first, root last; other roots it trusts
//
// and a manager also
//
//	age.key           its own age identity
//	root.key.age      the root key, for every manager's age recipient
//	root.pem          the root certificate, written last: with it the CA exists
//	intermediate.pem  private key and chain of its own intermediate
const (
	keyFile          = "key.pem"
	identityFile     = "identity.pem"
	ageFile          = "age.key"
	rootKeyFile      = "root.key.age"
	rootFile         = "root.pem"
	intermediateFile = "intermediate.pem"
)

// writeFile replaces a file whole and durably: after a crash there is the old
// one or the new one.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// keyPair is a private key, the chain for its public half (leaf first, root
// last; empty for a key without certificate) and further roots to trust.
type keyPair struct {
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
	other []*x509.Certificate
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func (p keyPair) save(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	out = append(out, encodeCerts(p.chain)...)
	return writeFile(path, append(out, encodeCerts(p.other)...))
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
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return keyPair{}, err
			}
			ec, ok := key.(*ecdsa.PrivateKey)
			if !ok {
				return keyPair{}, fmt.Errorf("private key is a %T, want ECDSA", key)
			}
			p.key = ec
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
