package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
)

// askService asks for a certificate with these names, by a key that is made.
func askService(t testing.TB, form x509.CertificateRequest, key crypto.Signer) []byte {
	t.Helper()
	if key == nil {
		made, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		key = made
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &form, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// issuerOf returns the certificate of the issuer of services, DER.
func issuerOf(t testing.TB, m *Manager) []byte {
	t.Helper()
	cert, err := m.ServiceIssuer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if cert == nil {
		return nil
	}
	return cert.Raw
}

func named(names ...string) x509.CertificateRequest { return x509.CertificateRequest{DNSNames: names} }

// The certificate of a service verifies as a server's by the issuer of services,
// and proves nothing to a daemon: it is neither a machine nor a user, alone or
// with all that could come along.
func TestACertificateOfAServiceIsNobodyInTheCluster(t *testing.T) {
	_, m := newCluster(t)
	if issuerOf(t, m) != nil {
		t.Error("there is an issuer before anybody has asked")
	}
	allowed := []string{"Wiki.example.org", "*.shop.example.org", "10.0.0.2", "fd00::1"}
	request := x509.CertificateRequest{
		DNSNames: []string{"wiki.example.org", "*.shop.example.org"}, IPAddresses: []net.IP{net.ParseIP("10.0.0.2"), net.ParseIP("fd00:0:0::1")},
	}
	raw, err := m.IssueService(t.Context(), askService(t, request, nil), allowed, 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := parseChain(raw)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(chain[1])
	for _, name := range []string{"wiki.example.org", "eu.shop.example.org", "10.0.0.2", "fd00::1"} {
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("it serves as a client's")
	}
	if life := time.Until(chain[0].NotAfter); life > 48*time.Hour || life < 47*time.Hour {
		t.Errorf("it is good for %s", life)
	}
	if !bytes.Equal(issuerOf(t, m), chain[1].Raw) {
		t.Error("the issuer is another one")
	}
	for what, c := range map[string][]*x509.Certificate{"alone": chain[:1], "with its issuer": chain, "with the root": append(chain[:1:1], m.authority.Load().root)} {
		if name, _, err := m.Verify(c); err == nil && name != "" {
			t.Errorf("%s it is %s", what, name)
		}
		if _, _, _, err := m.Trust().VerifyUser(c); err == nil {
			t.Errorf("%s it is a user", what)
		}
	}
}

// Only names that the description gives are certified, and only keys that are
// good for something.
func TestWhatIsNotAllowedIsNotCertified(t *testing.T) {
	_, m := newCluster(t)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	short, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	member, err := url.Parse("aloft://" + m.Name().Cluster + "/machine/" + m.Name().ID)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := askService(t, named("a.test"), nil)
	spoilt[len(spoilt)-1] ^= 1
	for what, tt := range map[string]struct {
		request []byte
		says    string
	}{
		"a name of somebody else":    {askService(t, named("a.test", "bank.test"), nil), `"bank.test" is none of the names`},
		"a star for a name":          {askService(t, named("*.test"), nil), `"*.test" is none of the names`},
		"an address":                 {askService(t, x509.CertificateRequest{IPAddresses: []net.IP{{10, 0, 0, 1}}}, nil), `"10.0.0.1" is none`},
		"no name":                    {askService(t, named(), nil), "names nothing"},
		"the name of a machine":      {askService(t, x509.CertificateRequest{DNSNames: []string{"a.test"}, URIs: []*url.URL{member}}, nil), "other names than those of hosts"},
		"an address of mail":         {askService(t, x509.CertificateRequest{DNSNames: []string{"a.test"}, EmailAddresses: []string{"a@a.test"}}, nil), "other names"},
		"a small key":                {askService(t, named("a.test"), small), "1024 bits"},
		"a curve that is too short":  {askService(t, named("a.test"), short), "P-224"},
		"a key that is none of ours": {askService(t, named("a.test"), edwards), "want ECDSA or RSA"},
		"a key of somebody else":     {spoilt, "certificate request"},
		"nothing":                    {nil, "certificate request"},
	} {
		_, err := m.IssueService(t.Context(), tt.request, []string{"a.test", "b.test"}, time.Hour)
		t.Run(what, func(t *testing.T) { wantRefusal(t, err, tt.says) })
	}
	if _, err := m.IssueService(t.Context(), askService(t, named("a.test"), nil), []string{"a.test"}, 0); err == nil {
		t.Error("one that is good for no time was made")
	}
	if issuerOf(t, m) != nil {
		t.Error("an issuer was made for what was refused")
	}
}

// All managers issue by one issuer, whoever made it, who came later and who was
// removed.
func TestAllManagersIssueByOneIssuer(t *testing.T) {
	c, first := newCluster(t)
	second := c.join(first)
	issue := func(m *Manager) []byte {
		t.Helper()
		chain, err := m.IssueService(t.Context(), askService(t, named("a.test"), nil), []string{"a.test"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return chain[1]
	}
	want := issue(second)
	if !bytes.Equal(issue(first), want) || !bytes.Equal(issuerOf(t, first), want) {
		t.Error("the first manager has another issuer")
	}
	third := c.join(first)
	if !bytes.Equal(issue(third), want) {
		t.Error("who joined later has another issuer")
	}
	remove(t, first, KindManager, second.Name().ID)
	again := c.open(first.dir, first.Name().ID)
	if !bytes.Equal(issue(again), want) || !bytes.Equal(issue(third), want) {
		t.Error("the issuer has changed with the removal of a manager")
	}
	if err := second.keys.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := second.IssueService(t.Context(), askService(t, named("a.test"), nil), []string{"a.test"}, time.Hour); err == nil {
		t.Error("the removed manager opens the key as it is sealed now")
	}
}

// rewrite has something else write the keys in the vault, as JSON.
func (c *cluster) rewrite(edit func(ring map[string]json.RawMessage)) {
	c.t.Helper()
	doc, err := c.vault.Load(c.t.Context(), keysDocument)
	if err != nil {
		c.t.Fatal(err)
	}
	var ring map[string]json.RawMessage
	if err := json.Unmarshal(doc.Content, &ring); err != nil {
		c.t.Fatal(err)
	}
	edit(ring)
	content, err := json.Marshal(ring)
	if err == nil {
		err = c.vault.Store(c.t.Context(), keysDocument, content, doc.Version)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// A manager of a release that knows no issuer of services writes the keys without
// it, sealed for managers of its own choice. Who knows the issuer brings it back
// before it does anything else with the keys, for those managers.
func TestAnOlderManagerDoesNotEndTheIssuerOfServices(t *testing.T) {
	c, first := newCluster(t)
	second := c.join(first)
	issue := func(m *Manager) []byte {
		t.Helper()
		chain, err := m.IssueService(t.Context(), askService(t, named("a.test"), nil), []string{"a.test"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return chain[1]
	}
	want := issue(second)
	if !bytes.Equal(issue(first), want) {
		t.Fatal("they have two issuers to begin with")
	}
	older := func() {
		c.rewrite(func(ring map[string]json.RawMessage) {
			delete(ring, "services")
			delete(ring, "services_key")
		})
	}
	for what, act := range map[string]func(){
		"issuing":           func() { issue(first) },
		"looking":           func() { _ = first.Sync(t.Context()) },
		"after a restart":   func() { first = c.open(first.dir, first.Name().ID) },
		"letting one join":  func() { c.join(first) },
		"removing one":      func() { remove(t, first, KindManager, c.join(second).Name().ID) },
		"one that joins it": func() { issue(c.join(first)) },
	} {
		older()
		act()
		for _, m := range []*Manager{second, first, c.join(second)} {
			if !bytes.Equal(issue(m), want) || !bytes.Equal(issuerOf(t, m), want) {
				t.Fatalf("%s: the issuer has changed", what)
			}
		}
	}
	// A removed manager brings nothing back, and nobody seals anything for it.
	remove(t, first, KindManager, second.Name().ID)
	older()
	if err := second.keys.sync(t.Context()); err != nil {
		t.Error(err)
	}
	c.rewrite(func(ring map[string]json.RawMessage) {
		if ring["services"] != nil {
			t.Error("a removed manager has written to the vault")
		}
	})
	issue(first)
	if _, err := second.IssueService(t.Context(), askService(t, named("a.test"), nil), []string{"a.test"}, time.Hour); err == nil {
		t.Error("the removed manager opens the key as it was brought back")
	}
}

// Where the vault has another issuer than the one known, that of the vault counts,
// and the one known only while the vault is out of reach.
func TestTheIssuerOfTheVaultCounts(t *testing.T) {
	c, first := newCluster(t)
	issue := func() []byte {
		t.Helper()
		chain, err := first.IssueService(t.Context(), askService(t, named("a.test"), nil), []string{"a.test"}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return chain[1]
	}
	was := issue()
	err := first.keys.change(t.Context(), func(r *keyring) (bool, error) { return true, r.addServices(time.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	vaults := first.keys.known()
	stale := *vaults
	stale.Services = was
	first.keys.ring = &stale
	if got := issue(); !bytes.Equal(got, vaults.Services) {
		t.Error("it issues by one that it remembers")
	}
	first.keys.vault = awayVault{c.vault}
	if got := issue(); !bytes.Equal(got, vaults.Services) {
		t.Error("while the vault is away it issues by another")
	}
}

// awayVault is out of reach.
type awayVault struct{ *MemoryVault }

func (awayVault) Load(context.Context, string) (Document, error) {
	return Document{}, errors.New("out of reach")
}

// What a newer release has put into the keys stays there, whatever this one does
// with them.
func TestFieldsOfANewerReleaseStay(t *testing.T) {
	c, first := newCluster(t)
	const content = `{"by":["a newer release",1]}`
	c.rewrite(func(ring map[string]json.RawMessage) { ring["later"] = json.RawMessage(content) })
	second := c.join(first)
	remove(t, first, KindManager, c.join(second).Name().ID)
	if _, err := second.IssueService(t.Context(), askService(t, named("a.test"), nil), []string{"a.test"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	again := c.open(second.dir, second.Name().ID)
	keys, err := again.SecretKeys(t.Context())
	if err == nil {
		err = again.ForgetSecretKeys(t.Context(), keys[0].Recipient().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	c.rewrite(func(ring map[string]json.RawMessage) {
		if string(ring["later"]) != content || len(ring) != len(knownFields)+1 {
			t.Errorf("it is %q, among %d", ring["later"], len(ring))
		}
	})
	c.vault = new(MemoryVault) // an empty one gets all of it
	c.open(again.dir, again.Name().ID)
	c.rewrite(func(ring map[string]json.RawMessage) {
		if string(ring["later"]) != content {
			t.Errorf("in another vault it is %q", ring["later"])
		}
	})
}

// FuzzServiceRequest: a request is certified for names that are allowed, or
// refused.
func FuzzServiceRequest(f *testing.F) {
	m, err := OpenManager(ManagerConfig{Dir: f.TempDir(), ID: uuid.NewString(), Tokens: &MemoryTokens{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(askService(f, named("a.test"), nil))
	f.Add(askService(f, named("b.test"), nil))
	f.Add(askService(f, x509.CertificateRequest{IPAddresses: []net.IP{{1, 2, 3, 4}}}, nil))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, request []byte) {
		chain, err := m.IssueService(t.Context(), request, []string{"a.test"}, time.Hour)
		if _, refused := errors.AsType[*Refusal](err); err != nil && !refused {
			t.Fatalf("not a refusal: %v", err)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(issuerOf(t, m), chain[1]) {
			t.Error("by another issuer")
		}
		leaf, err := x509.ParseCertificate(chain[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range leaf.DNSNames {
			if !sameName("a.test", name) {
				t.Errorf("%q was certified", name)
			}
		}
		if len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) > 0 || leaf.IsCA {
			t.Errorf("certified: %+v", leaf)
		}
	})
}
