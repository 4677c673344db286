package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Services have certificates by an issuer of their own, which has nothing in
// common with the cluster's root: what a service shows proves nothing to a
// daemon, and nobody who trusts services trusts a machine or a user by it. The
// issuer is made when a certificate is asked for first. Its key is among the
// cluster's keys, and every manager can issue.

// Bounds of what is certified.
const (
	MaxServiceNames = 100
	leastRSA        = 2048 // bits
	mostRSA         = 8192
)

func newServiceIssuer(cluster string, key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "aloft services", Organization: []string{cluster}},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return create(template, template, &key.PublicKey, key)
}

// ServiceIssuer returns the certificate that certificates of services are
// verified with; nil where no service has asked for one yet. While the
// vault is out of reach it is what was known last.
func (m *Manager) ServiceIssuer(ctx context.Context) (*x509.Certificate, error) {
	if m.keys.known().Services == nil {
		if err := m.keys.sync(ctx); err != nil {
			m.cfg.Log.Warn("the issuer of services is that known last", "error", err)
		}
	}
	der := m.keys.known().Services
	if der == nil {
		return nil, nil
	}
	return x509.ParseCertificate(der)
}

// lookTime bounds how long an issuer of services that is known is looked for in
// the vault, which may be out of reach.
const lookTime = 5 * time.Second

// withServices returns the cluster's keys with the issuer of services among
// them: that of the vault, and while that is out of reach the one known last.
func (k *keys) withServices(ctx context.Context) (*keyring, error) {
	known := k.known()
	if known.Services != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lookTime)
		defer cancel()
	}
	err := k.change(ctx, func(r *keyring) (bool, error) {
		if r.Services != nil {
			return false, nil // another manager was first
		}
		return true, r.addServices(k.now())
	})
	switch {
	case err != nil && known.Services != nil:
		return known, nil
	case err != nil:
		return nil, fmt.Errorf("make the issuer of services' certificates: %w", err)
	}
	return k.known(), nil
}

func (r *keyring) addServices(now time.Time) error {
	root, err := r.root()
	if err != nil {
		return err
	}
	cluster, err := clusterOf(root)
	if err != nil {
		return err
	}
	to, err := r.recipients()
	if err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	issuer, err := newServiceIssuer(cluster, key, now)
	if err != nil {
		return err
	}
	if r.ServicesKey, err = sealKey(key, to...); err != nil {
		return err
	}
	r.Services = issuer.Raw
	return nil
}

// IssueService certifies the key of a certificate request (PKCS#10, DER) for
// the names in it, for life from now: host names, also such as *.example.org,
// and IP addresses. Each must be among allowed, and there must be one; all else
// in the request is ignored. It returns the certificate and that of the issuer,
// DER. What is not certified is a Refusal.
func (m *Manager) IssueService(ctx context.Context, request []byte, allowed []string, life time.Duration) (chain [][]byte, err error) {
	csr, key, err := serviceRequest(request)
	if err != nil {
		return nil, err
	}
	for _, name := range serviceNames(csr) {
		if !slices.ContainsFunc(allowed, func(a string) bool { return sameName(a, name) }) {
			return nil, refuse("certificate of a service: %q is none of the names that its description gives: %s", name, strings.Join(allowed, ", "))
		}
	}
	if life <= 0 {
		return nil, refuse("certificate of a service: it is to be good for %s", life)
	}
	ring, err := m.keys.withServices(ctx)
	if err != nil {
		return nil, err
	}
	issuer, err := x509.ParseCertificate(ring.Services)
	if err != nil {
		return nil, err
	}
	issuerKey, err := unsealKey(ring.ServicesKey, m.keys.keeper)
	if err != nil {
		return nil, fmt.Errorf("key of the issuer of services: %w", err)
	}
	leaf, err := issueService(issuer, issuerKey, csr, key, m.now(), life)
	if err != nil {
		return nil, fmt.Errorf("certificate of a service: %w", err)
	}
	return [][]byte{leaf.Raw, issuer.Raw}, nil
}

func issueService(issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey, csr *x509.CertificateRequest, key crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	end := now.Add(life)
	if end.After(issuer.NotAfter) {
		end = issuer.NotAfter
	}
	form := &x509.Certificate{
		SerialNumber: serial(),
		DNSNames:     csr.DNSNames, IPAddresses: csr.IPAddresses,
		NotBefore: now.Add(-backdate), NotAfter: end,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	// The usual place of the first name, for people; one that is too long for it
	// is in its own place alone.
	if first := serviceNames(csr)[0]; len(first) <= 64 {
		form.Subject.CommonName = first
	}
	if _, is := key.(*rsa.PublicKey); is {
		form.KeyUsage |= x509.KeyUsageKeyEncipherment // as TLS 1.2 may want
	}
	der, err := x509.CreateCertificate(rand.Reader, form, issuer, key, issuerKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// serviceRequest reads a request for the certificate of a service, whose sender
// holds the private key.
func serviceRequest(request []byte) (*x509.CertificateRequest, crypto.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, nil, refuse("certificate request: %v", err)
	}
	switch key := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return nil, nil, refuse("certificate request: the key's curve is %s, want P-256 or P-384", key.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < leastRSA || bits > mostRSA {
			return nil, nil, refuse("certificate request: the RSA key has %d bits, want %d to %d", bits, leastRSA, mostRSA)
		}
	default:
		return nil, nil, refuse("certificate request: key is a %T, want ECDSA or RSA", csr.PublicKey)
	}
	if err := checkServiceNames(csr); err != nil {
		return nil, nil, refuse("certificate request: %v", err)
	}
	return csr, csr.PublicKey, nil
}

func checkServiceNames(csr *x509.CertificateRequest) error {
	names := serviceNames(csr)
	switch {
	case len(csr.URIs) > 0 || len(csr.EmailAddresses) > 0:
		return errors.New("it asks for other names than those of hosts and IP addresses")
	case len(names) == 0:
		return errors.New("it names nothing")
	case len(names) > MaxServiceNames:
		return fmt.Errorf("it has %d names, and may have %d", len(names), MaxServiceNames)
	}
	for _, name := range csr.DNSNames {
		if len(name) > 253 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("%.300q cannot be the name of a host", name)
		}
	}
	return nil
}

// serviceNames returns all names in a request.
func serviceNames(csr *x509.CertificateRequest) []string {
	names := slices.Clone(csr.DNSNames)
	for _, ip := range csr.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// sameName reports whether a name that a description gives is one in a request.
func sameName(given, asked string) bool {
	if ip := net.ParseIP(given); ip != nil {
		return ip.Equal(net.ParseIP(asked))
	}
	return strings.EqualFold(given, asked)
}
