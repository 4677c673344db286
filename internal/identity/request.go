package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"slices"
)

// newRequest makes a certificate request, PKCS#10 in DER. The name in it is for
// people; nobody believes it.
func newRequest(name string, key *ecdsa.PrivateKey, extensions ...pkix.Extension) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name}, ExtraExtensions: extensions,
	}, key)
}

// NewUserRequest makes a key for a user and a request for its certificate:
// PKCS#8 and PKCS#10, DER.
func NewUserRequest(name string) (key, request []byte, err error) {
	private, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	if key, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return nil, nil, err
	}
	request, err = newRequest(name, private)
	return key, request, err
}

// requestedKey returns the public key of a certificate request whose sender
// holds the private one. The names in the request are not even looked at.
func requestedKey(request []byte) (*ecdsa.PublicKey, error) {
	_, key, err := parseRequest(request)
	return key, err
}

func parseRequest(request []byte) (*x509.CertificateRequest, *ecdsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, nil, refuse("certificate request: %v", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, nil, refuse("certificate request: %v", err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, nil, refuse("certificate request: key is a %T, want ECDSA", csr.PublicKey)
	}
	return csr, key, nil
}

// A request for renewal proves that its sender has the key of the certificate
// that is renewed. TLS has proven that as well, but a removed manager can make
// certificates for any machine, good for renewal like an expired one; the key
// that was once issued to is what it does not have.
type keyProof struct {
	Old       []byte // the present public key, PKIX
	Signature []byte // by it, over the new one
}

// keyProofID marks the proof among a request's extensions. It is read by us
// alone, and under 2.25, where identifiers need no registration.
var keyProofID = asn1.ObjectIdentifier{2, 25, 7400, 1}

func keyProofDigest(newKey []byte) []byte {
	digest := sha256.Sum256(append([]byte("aloft renewal 1\x00"), newKey...))
	return digest[:]
}

func newKeyProof(old *ecdsa.PrivateKey, next *ecdsa.PublicKey) (pkix.Extension, error) {
	was, err := x509.MarshalPKIXPublicKey(&old.PublicKey)
	if err != nil {
		return pkix.Extension{}, err
	}
	will, err := x509.MarshalPKIXPublicKey(next)
	if err != nil {
		return pkix.Extension{}, err
	}
	signature, err := ecdsa.SignASN1(rand.Reader, old, keyProofDigest(will))
	if err != nil {
		return pkix.Extension{}, err
	}
	value, err := asn1.Marshal(keyProof{Old: was, Signature: signature})
	return pkix.Extension{Id: keyProofID, Value: value}, err
}

// provenKey returns the digest of the key that a request proves to have, besides
// the one it is for; nil when it proves none.
func provenKey(csr *x509.CertificateRequest) (*KeyDigest, error) {
	for _, e := range csr.Extensions {
		if !e.Id.Equal(keyProofID) {
			continue
		}
		var p keyProof
		if rest, err := asn1.Unmarshal(e.Value, &p); err != nil || len(rest) > 0 {
			return nil, refuse("certificate request: the proof of the present key is malformed")
		}
		old, err := x509.ParsePKIXPublicKey(p.Old)
		if err != nil {
			return nil, refuse("certificate request: present key: %v", err)
		}
		key, ok := old.(*ecdsa.PublicKey)
		if !ok || !ecdsa.VerifyASN1(key, keyProofDigest(csr.RawSubjectPublicKeyInfo), p.Signature) {
			return nil, refuse("certificate request: the signature of the present key is not over the new one")
		}
		digest := KeyDigest(sha256.Sum256(p.Old))
		return &digest, nil
	}
	return nil, nil
}

// KeyDigest identifies a public key.
type KeyDigest [sha256.Size]byte

func digestOf(key *ecdsa.PublicKey) (KeyDigest, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	return sha256.Sum256(spki), err
}

// machineRecord is what managers remember of a machine.
type machineRecord struct {
	// Keys are digests of the keys that a certificate was issued for last: the
	// one that the machine had then, and the new one, which it may never have got.
	Keys    [][]byte `json:"keys,omitempty"`
	Removed bool     `json:"removed,omitempty"` // for ever
}

// decodeMachine reads the record of a machine; nil is that of one never seen.
func decodeMachine(machine string, content []byte) (r machineRecord, err error) {
	if content == nil {
		return r, nil
	}
	if err := json.Unmarshal(content, &r); err != nil {
		return machineRecord{}, fmt.Errorf("record of machine %s: %w", machine, err)
	}
	return r, nil
}

// renewal is on what grounds a machine gets another certificate; the zero value
// is a join token.
type renewal struct {
	proven *KeyDigest // the key that it has
	known  bool       // that key must be one that we issued for
}

// issued records that a machine is given a certificate for key.
func (m *Manager) issued(ctx context.Context, machine string, key KeyDigest, on renewal) error {
	_, err := change(ctx, m.cfg.Vault, machineDocument(machine), func(content []byte) ([]byte, error) {
		r, err := decodeMachine(machine, content)
		if err != nil {
			return nil, err
		}
		if r.Removed {
			return nil, refuse("machine %s is revoked", machine)
		}
		had := on.proven != nil && slices.ContainsFunc(r.Keys, func(k []byte) bool { return bytes.Equal(k, on.proven[:]) })
		if on.known && !had {
			return nil, refuse("renew: machine %s has never had a certificate for the key that it proves: it has to join again", machine)
		}
		r.Keys = [][]byte{key[:]}
		if on.proven != nil {
			r.Keys = [][]byte{on.proven[:], key[:]}
		}
		return json.Marshal(r)
	})
	return err
}

// Retire records that a machine is no more: it gets no other certificate, and
// the one it has ends within its life. To have it refused at once, Remove it.
func (m *Manager) Retire(ctx context.Context, machine string) error {
	_, err := change(ctx, m.cfg.Vault, machineDocument(machine), func([]byte) ([]byte, error) {
		return json.Marshal(machineRecord{Removed: true})
	})
	return err
}
