package componenttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"aloft/value"
)

// issuer is what certifies in tests, as the issuer of services of a cluster
// does.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var theIssuer = sync.OnceValue(func() issuer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	form := &x509.Certificate{
		Subject: pkix.Name{CommonName: "issuer of a test"},
		// Also in the bubbles of testing/synctest, where it is the year 2000.
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Now().Add(50 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return issuer{sign(form, form, key.Public(), key), key}
})

func sign(form, parent *x509.Certificate, key crypto.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	var err error
	if form.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, form, parent, key, by)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

// Trust returns what verifies the certificates that are issued in this process.
func Trust() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(theIssuer().cert)
	return pool
}

// Issue certifies the key and the names of a request (PKCS#10, DER) for life
// from now, and returns the certificate and its issuer's, DER.
func Issue(request []byte, life time.Duration) ([][]byte, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, err
	}
	by := theIssuer()
	leaf := sign(&x509.Certificate{
		DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, by.cert, csr.PublicKey, by.key)
	return [][]byte{leaf.Raw, by.cert.Raw}, nil
}

// Certificate makes the files of a certificate for the names, which may be IP
// addresses, and returns what a reference to the Certificate component of them
// reads.
func Certificate(t testing.TB, names ...string) *value.Component {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	asked := &x509.CertificateRequest{}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			asked.IPAddresses = append(asked.IPAddresses, ip)
		} else {
			asked.DNSNames = append(asked.DNSNames, name)
		}
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, asked, key)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := Issue(request, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) value.String {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return value.String(path)
	}
	return Data(
		"sfClass", value.String("Certificate"),
		"certFile", write("cert.pem", "CERTIFICATE", chain[0]),
		"keyFile", write("key.pem", "PRIVATE KEY", secret),
		"chainFile", write("chain.pem", "CERTIFICATE", chain[1]),
	)
}
