package tomcat

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"aloft/internal/host"
)

func (t container) tlsFolder() string { return filepath.Join(t.base(), "conf", "tls") }

// pairFile has the certificate and its key in one: so the one is never read with
// the other of another.
func (t container) pairFile() string { return filepath.Join(t.tlsFolder(), "pair.pem") }

// formerFiles are where earlier releases had the certificate that the
// container made for itself, and its key.
func (t container) formerFiles() (chain, key string) {
	return filepath.Join(t.tlsFolder(), "chain.pem"), filepath.Join(t.tlsFolder(), "key.pem")
}

// renew gives the container the certificate that it is to have now, if it has
// HTTPS. Nobody else may read the key.
func (t container) renew() error {
	if t.https == 0 {
		return nil
	}
	u, err := host.LookupUser(account)
	if err != nil {
		return err
	}
	pair, err := t.pair()
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(t.pairFile()); err != nil || !bytes.Equal(old, pair) {
		if err := host.WriteFileFor(t.pairFile(), pair, 0o400, u.UID, u.GID); err != nil {
			return err
		}
	}
	chain, key := t.formerFiles()
	return errors.Join(host.RemoveFile(chain), host.RemoveFile(key))
}

// pair returns the certificate that the container is to show, and its key.
func (t container) pair() ([]byte, error) {
	if t.cert == nil {
		return t.own()
	}
	if err := t.cert.Check(); err != nil {
		return nil, err
	}
	chain, err := os.ReadFile(t.cert.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(t.cert.KeyFile)
	if err != nil {
		return nil, err
	}
	return append(chain, key...), nil
}

// Times until a container that runs shows another certificate.
const (
	lookEvery = 10 * time.Second // that it looks for one
	showTime  = 4 * lookEvery
	askEvery  = 250 * time.Millisecond
)

// shows waits until the container shows the certificate that it is to have.
func (t container) shows(ctx context.Context) error {
	if t.cert == nil {
		return nil
	}
	pem, err := os.ReadFile(t.pairFile())
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, showTime)
	defer cancel()
	for {
		leaf, err := t.shown(wait)
		if err == nil && bytes.Equal(leaf, pair.Leaf.Raw) {
			return nil
		}
		if host.Sleep(wait, askEvery) != nil {
			if err == nil {
				err = errors.New("it shows another one")
			}
			return fmt.Errorf("tomcat has not taken up its certificate within %s: %w", showTime, err)
		}
	}
}

// shown returns the certificate that the container shows, DER.
func (t container) shown(ctx context.Context) ([]byte, error) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // it is looked which one it is
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(t.address, strconv.Itoa(t.https)))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, nil
}

// ownTime is how long a certificate of its own is good.
const ownTime = 10 * 365 * 24 * time.Hour

// own returns the certificate that the container has made for itself, and its
// key, or makes them.
func (t container) own() ([]byte, error) {
	pair, err := os.ReadFile(t.pairFile())
	if errors.Is(err, fs.ErrNotExist) {
		pair, err = t.formerOwn()
	}
	if err == nil && t.isOwn(pair) {
		return pair, nil
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	form := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: t.address},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(ownTime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(t.address); ip != nil {
		form.IPAddresses = []net.IP{ip}
	} else {
		form.DNSNames = []string{t.address}
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, private.Public(), private)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), nil
}

// formerOwn returns what an earlier release had in two files.
func (t container) formerOwn() ([]byte, error) {
	chainFile, keyFile := t.formerFiles()
	chain, err := os.ReadFile(chainFile)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(keyFile)
	return append(chain, key...), err
}

// isOwn reports whether this is a certificate that the container has made
// for its address, good for a while yet.
func (t container) isOwn(content []byte) bool {
	pair, err := tls.X509KeyPair(content, content)
	if err != nil || len(pair.Certificate) != 1 {
		return false
	}
	leaf := pair.Leaf
	return bytes.Equal(leaf.RawIssuer, leaf.RawSubject) && leaf.VerifyHostname(t.address) == nil && time.Until(leaf.NotAfter) > 30*24*time.Hour
}
