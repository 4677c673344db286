package certificate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// Every certificate has a folder of its own beside the others', with its key:
// the files of one are never those of another, not even for an instant, and who
// reads them goes on with the old ones until it is told of the new. The record
// says which one counts; it is written last.

const recordFile = "certificate.json"

// record is what is noted of the certificate that counts.
type record struct {
	Number int `json:"number"`
	Days   int `json:"days"` // that it was asked for; what it is good for may be less
}

// issued is a certificate as it lies in its folder.
type issued struct {
	record
	dir   string
	leaf  *x509.Certificate
	key   crypto.Signer
	chain *x509.CertPool
}

func folder(workDir string, number int) string {
	return filepath.Join(workDir, "certificates", strconv.Itoa(number))
}

func (i *issued) certFile() string  { return filepath.Join(i.dir, "cert.pem") }
func (i *issued) keyFile() string   { return filepath.Join(i.dir, "key.pem") }
func (i *issued) chainFile() string { return filepath.Join(i.dir, "chain.pem") }

// load reads the certificate that counts; errNone where there is none.
func load(workDir string) (*issued, error) {
	var r record
	found, err := host.ReadRecord(workDir, recordFile, &r)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNone
	}
	i := &issued{record: r, dir: folder(workDir, r.Number)}
	return i, i.read()
}

// read reads the files.
func (i *issued) read() error {
	pair, err := tls.LoadX509KeyPair(i.certFile(), i.keyFile())
	if err != nil {
		return fmt.Errorf("the certificate in %s: %w", i.dir, err)
	}
	chain, err := os.ReadFile(i.chainFile())
	if err != nil {
		return fmt.Errorf("the certificate of the issuer: %w", err)
	}
	i.chain = x509.NewCertPool()
	if !i.chain.AppendCertsFromPEM(chain) {
		return fmt.Errorf("%s holds no certificate", i.chainFile())
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return fmt.Errorf("%s is no key that signs", i.keyFile())
	}
	i.leaf, i.key = pair.Leaf, key
	return nil
}

// suits returns nil if a certificate is what is wanted, whenever it ends.
func (w wanted) suits(i *issued) error {
	names := i.leaf.DNSNames
	for _, ip := range i.leaf.IPAddresses {
		names = append(names, ip.String())
	}
	_, isRSA := i.key.(*rsa.PrivateKey)
	info, err := os.Stat(i.keyFile())
	switch {
	case err != nil:
		return err
	case info.Mode().Perm() != 0o600:
		return fmt.Errorf("the key %s is open to others: its mode is %04o", i.keyFile(), info.Mode().Perm())
	case !same(names, w.names):
		return errors.New("the certificate has other names")
	case isRSA != (w.kind == "rsa"):
		return errors.New("the key is of another kind")
	case i.Days != w.days:
		return fmt.Errorf("the certificate was made for %d days, not %d", i.Days, w.days)
	}
	_, err = i.leaf.Verify(x509.VerifyOptions{Roots: i.chain, CurrentTime: i.leaf.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fmt.Errorf("the certificate in %s: %w", i.dir, err)
	}
	return nil
}

// request makes a key and asks for it to be certified.
func (w wanted) request() (key crypto.Signer, request []byte, err error) {
	if w.kind == "rsa" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	form := &x509.CertificateRequest{}
	if len(w.names[0]) <= 64 {
		form.Subject = pkix.Name{CommonName: w.names[0]}
	}
	for _, name := range w.names {
		if ip := net.ParseIP(name); ip != nil {
			form.IPAddresses = append(form.IPAddresses, ip)
		} else {
			form.DNSNames = append(form.DNSNames, name)
		}
	}
	request, err = x509.CreateCertificateRequest(rand.Reader, form, key)
	return key, request, err
}

// issue has a new key certified, and makes the certificate the one that counts.
// The one before stays until the next: who has not heard of this one reads it.
func (w wanted) issue(ctx context.Context, c *component.Call) (next *issued, err error) {
	var was record
	if _, err := host.ReadRecord(c.WorkDir, recordFile, &was); err != nil {
		was = record{} // it tells of nothing that could be used
	}
	number, err := nextNumber(c.WorkDir, was.Number)
	if err != nil {
		return nil, err
	}
	key, request, err := w.request()
	if err != nil {
		return nil, err
	}
	chain, err := c.Env.Certify(ctx, request)
	if err != nil {
		return nil, &component.Failure{Err: fmt.Errorf("certify: %w", err), Remedy: "see that a manager of the cluster is in reach (aloft cluster), and that the names are those of the description"}
	}
	if len(chain) < 2 {
		return nil, fmt.Errorf("certify: %d certificates came, want that of the service and its issuer's", len(chain))
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	next = &issued{record: record{Number: number, Days: w.days}}
	next.dir = folder(c.WorkDir, next.Number)
	dir, counts := next.dir, false
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if !counts { // or each try would leave a key
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := errors.Join(
		host.WriteFile(next.keyFile(), encode("PRIVATE KEY", secret), 0o600),
		host.WriteFile(next.certFile(), encode("CERTIFICATE", chain[:len(chain)-1]...), 0o644),
		host.WriteFile(next.chainFile(), encode("CERTIFICATE", chain[len(chain)-1]), 0o644),
	); err != nil {
		return nil, err
	}
	err = next.read()
	if err == nil {
		err = w.suits(next)
	}
	if err != nil {
		return nil, fmt.Errorf("what was certified: %w", err)
	}
	if err := host.WriteRecord(c.WorkDir, recordFile, next.record); err != nil {
		return nil, err
	}
	counts = true
	return next, tidy(c.WorkDir, next.Number, was.Number)
}

// nextNumber returns the number of the next certificate: after that of the record
// and all those there are, also of one that was cut off. It is no less than the
// time in milliseconds, so that where all of them were lost none comes back: the
// path of a certificate is never that of another.
func nextNumber(workDir string, newest int) (int, error) {
	entries, err := os.ReadDir(filepath.Join(workDir, "certificates"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			newest = max(newest, n)
		}
	}
	return max(newest+1, int(time.Now().UnixMilli())), nil
}

// tidy deletes all certificates but those with the numbers.
func tidy(workDir string, keep ...int) error {
	entries, err := os.ReadDir(filepath.Join(workDir, "certificates"))
	for _, e := range entries {
		if n, nerr := strconv.Atoi(e.Name()); nerr != nil || !slices.Contains(keep, n) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(workDir, "certificates", e.Name())))
		}
	}
	return err
}

func remove(workDir string) error {
	return errors.Join(os.RemoveAll(filepath.Join(workDir, "certificates")), host.RemoveFile(filepath.Join(workDir, recordFile)))
}

func encode(kind string, ders ...[]byte) (out []byte) {
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return out
}
