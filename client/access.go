package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aloft/api"
)

// Access is how a cluster is reached over the network: where its managers are,
// and who the caller is. It is also the file that "aloft user add" writes,
// which holds a private key: mode 0600.
type Access struct {
	Name     string   `json:"name,omitempty"` // of the user
	Role     string   `json:"role,omitempty"`
	Cluster  string   `json:"cluster"`  // id
	Managers []string `json:"managers"` // host:port, best first

	// Identity is, in PEM, the private key (PKCS#8) and the certificates: the
	// user's with its chain, and the roots to trust, which sign themselves.
	Identity string `json:"identity"`

	machine bool // who answers is a machine
}

// homeFile is where a home says how its cluster is reached when its own daemon
// does not answer. The daemon writes it; Identity is a file in the home there.
const homeFile = "client.json"

// HomeAccess reads how the cluster of a home is reached. A home that is not in
// one has none: nil.
func HomeAccess(home string) (*Access, error) {
	text, err := os.ReadFile(filepath.Join(home, homeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("how the cluster is reached: %w", err)
	}
	var a Access
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(home, homeFile), err)
	}
	pair, err := os.ReadFile(filepath.Join(home, a.Identity))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("who the command line is: %w", err)
	}
	a.Identity = string(pair)
	return &a, nil
}

// HomeMachineAccess is how the machine at an address, host:port, is reached by
// whoever uses a home's command line: its own daemon need not run. Nil: the
// home has never had one.
func HomeMachineAccess(home, address string) (*Access, error) {
	a, err := HomeAccess(home)
	if err != nil {
		return nil, err
	}
	if a == nil {
		pair, err := os.ReadFile(filepath.Join(home, operatorFile))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("who the command line is: %w", err)
		}
		a = &Access{Identity: string(pair)}
	}
	return a.ForMachine(address)
}

// operatorFile is where the daemon of a home keeps the certificate of whoever
// uses its command line.
const operatorFile = "identity/operator.pem"

// ForMachine returns how the same user reaches a machine of the cluster at an
// address, host:port.
func (a *Access) ForMachine(address string) (*Access, error) {
	own, _, err := a.pair()
	if err != nil {
		return nil, err
	}
	m := *a
	m.Managers, m.machine = []string{address}, true
	if m.Cluster == "" && len(own.Leaf.URIs) == 1 {
		m.Cluster = own.Leaf.URIs[0].Host
	}
	return &m, nil
}

// Expires is when the certificate ends; the zero time if there is none.
func (a *Access) Expires() time.Time {
	pair, _, err := a.pair()
	if err != nil {
		return time.Time{}
	}
	return pair.Leaf.NotAfter
}

// Ageing reports whether two thirds of the certificate's life are over.
func (a *Access) Ageing(now time.Time) bool {
	pair, _, err := a.pair()
	if err != nil {
		return false
	}
	from, to := pair.Leaf.NotBefore, pair.Leaf.NotAfter
	return now.After(from.Add(to.Sub(from) * 2 / 3))
}

// NewAccess makes a key for a user, has the daemon certify it, and returns what
// the user needs to call the cluster.
func (c *Client) NewAccess(ctx context.Context, name string, role api.Role) (*Access, error) {
	return certified(name, func(request []byte) (*api.Credential, error) {
		return c.AddUser(ctx, api.UserRequest{Name: name, Role: role, Request: request})
	})
}

// RenewAccess makes another key, and a new certificate, for the caller, who is
// known by a.
func (c *Client) RenewAccess(ctx context.Context, a *Access) (*Access, error) {
	return certified(a.Name, func(request []byte) (*api.Credential, error) {
		return c.RenewUser(ctx, api.RenewRequest{Request: request})
	})
}

func certified(name string, certify func(request []byte) (*api.Credential, error)) (*Access, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cred, err := certify(request)
	if err != nil {
		return nil, err
	}
	return &Access{
		Name: cred.Name, Role: string(cred.Role), Cluster: cred.Cluster, Managers: cred.Managers,
		Identity: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})) + cred.Certificates,
	}, nil
}

// pair reads the identity: what the user presents, and whom it trusts.
func (a *Access) pair() (own tls.Certificate, roots *x509.CertPool, err error) {
	roots = x509.NewCertPool()
	trusted := 0
	var chain, key bytes.Buffer
	for rest := []byte(a.Identity); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			key.Write(pem.EncodeToMemory(block))
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return own, nil, fmt.Errorf("certificate of the user: %w", err)
		}
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			roots.AddCert(c)
			trusted++
		}
		chain.Write(pem.EncodeToMemory(block))
	}
	if trusted == 0 {
		return own, nil, errors.New("certificate of the user: no root to trust comes with it")
	}
	if own, err = tls.X509KeyPair(chain.Bytes(), key.Bytes()); err != nil {
		return own, nil, fmt.Errorf("certificate of the user: %w", err)
	}
	return own, roots, nil
}

// tlsConfig returns what a caller says and demands of a manager: to be one of
// this cluster, by a chain to its roots.
func (a *Access) tlsConfig() (*tls.Config, error) {
	own, roots, err := a.pair()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{own},
		// Managers are named by URIs, not by where they are: VerifyConnection
		// checks all that is skipped here.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range state.PeerCertificates[1:] {
				between.AddCert(c)
			}
			leaf := state.PeerCertificates[0]
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				return err
			}
			kind := "manager"
			if a.machine {
				kind = "machine"
			}
			if len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "aloft" || leaf.URIs[0].Host != a.Cluster || !strings.HasPrefix(leaf.URIs[0].Path, "/"+kind+"/") {
				return fmt.Errorf("who answers is not a %s of cluster %s", kind, a.Cluster)
			}
			return nil
		},
	}, nil
}
