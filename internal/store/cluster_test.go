package store

import (
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
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// issuer makes certificates as the issuer of a store does.
type issuer struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	return newIssuerIn(t, t.TempDir())
}

func newIssuerIn(t testing.TB, dir string) *issuer {
	t.Helper()
	i := &issuer{dir: dir}
	i.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "store"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, i.key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	if i.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	i.write(t, "ca.pem", "CERTIFICATE", der)
	return i
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (i *issuer) write(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(i.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// peer returns a free loopback address with a certificate for it.
func (i *issuer) peer(t testing.TB, serial int64) *Peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{Listen: l.Addr().String(), CA: filepath.Join(i.dir, "ca.pem")}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	i.issue(t, p, serial)
	return p
}

// issue writes a new certificate and key for p.
func (i *issuer) issue(t testing.TB, p *Peer, serial int64) {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: p.Listen}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, i.cert, key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(p.Listen)
	p.Cert, p.Key = i.write(t, port+".pem", "CERTIFICATE", der), i.write(t, port+".key", "PRIVATE KEY", keyDER)
}

// cluster is a store with several members, each with its own folder.
type cluster struct {
	t       testing.TB
	dir     string
	issuer  *issuer
	configs []Config
	members []*Store // nil: closed
}

func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	c := newClusterIn(t, t.TempDir(), n)
	t.Cleanup(c.close)
	return c
}

func newClusterIn(t testing.TB, dir string, n int) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: dir, issuer: newIssuerIn(t, dir)}
	for range n {
		c.add()
	}
	return c
}

func (c *cluster) close() {
	var closing sync.WaitGroup
	for _, s := range c.members {
		if s != nil {
			closing.Go(s.Close)
		}
	}
	closing.Wait()
	_ = os.RemoveAll(c.dir)
}

func (c *cluster) config() Config {
	i := len(c.configs)
	return Config{
		Dir: filepath.Join(c.dir, fmt.Sprint("store-", i)), Log: slog.New(slog.DiscardHandler),
		Name: fmt.Sprintf("manager-%d", i), Peer: c.issuer.peer(c.t, int64(i+2)),
	}
}

// add lets another manager join, and waits until it has a vote.
func (c *cluster) add() *Store {
	c.t.Helper()
	cfg := c.config()
	if len(c.members) > 0 {
		c.join(&cfg)
	}
	c.configs = append(c.configs, cfg)
	c.members = append(c.members, nil)
	s := c.start(len(c.members) - 1)
	if cfg.Join != nil {
		if err := c.living().Promote(c.t.Context(), cfg.Join.Member); err != nil {
			c.t.Fatal(err)
		}
	}
	return s
}

func (c *cluster) join(cfg *Config) {
	c.t.Helper()
	j, err := c.living().AddLearner(c.t.Context(), cfg.Name, cfg.Peer.Listen)
	if err != nil {
		c.t.Fatal(err)
	}
	cfg.Join = &j
}

func (c *cluster) living() *Store {
	for _, s := range c.members {
		if s != nil {
			return s
		}
	}
	c.t.Fatal("no member lives")
	return nil
}

func (c *cluster) start(i int) *Store {
	c.t.Helper()
	s, err := Open(c.t.Context(), c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	c.members[i] = s
	return s
}

func (c *cluster) stop(i int) {
	c.members[i].Close()
	c.members[i] = nil
}

// leader returns the index of the member that leads.
func (c *cluster) leader() int {
	c.t.Helper()
	for range 100 {
		for i, s := range c.members {
			if s != nil && s.member != nil && s.member.etcd.Server.Lead() == uint64(s.member.etcd.Server.MemberID()) {
				return i
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatal("no member leads")
	return 0
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestEveryMemberReadsWhatAnyWrote(t *testing.T) {
	c := newCluster(t, 3)
	for i, s := range c.members {
		key := fmt.Sprint("row/", i)
		put(t, s, key, "x")
		for _, other := range c.members {
			if _, err := other.Get(t.Context(), key); err != nil {
				t.Errorf("member %s: %v", other.cfg.Name, err)
			}
		}
	}
	all, err := c.members[1].Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaders := 0
	for _, m := range all {
		if m.Learner || !m.Alive || m.Name == "" || m.Address == "" || m.Self != (m.Name == "manager-1") {
			t.Errorf("member %+v", m)
		}
		if m.Leader {
			leaders++
		}
	}
	if len(all) != 3 || leaders != 1 {
		t.Errorf("%d members, %d leaders", len(all), leaders)
	}
}

func TestLoneMemberMovesToAnAddressAndBack(t *testing.T) {
	i, dir := newIssuer(t), t.TempDir()
	config := func(p *Peer) Config { return Config{Dir: dir, Log: slog.New(slog.DiscardHandler), Peer: p} }
	var rev int64
	for n, p := range []*Peer{nil, i.peer(t, 2), i.peer(t, 3), nil} {
		s, err := Open(t.Context(), config(p))
		if err != nil {
			t.Fatalf("opening %d: %v", n, err)
		}
		if n == 0 {
			rev = put(t, s, "a", "1")
		}
		e, err := s.Get(t.Context(), "a")
		if err != nil || e.Revision != rev {
			t.Errorf("opening %d: %+v, %v", n, e, err)
		}
		all, err := s.Members(t.Context())
		want := ""
		if p != nil {
			want = p.Listen
		}
		if err != nil || len(all) != 1 || all[0].Address != want {
			t.Errorf("opening %d: members %+v, %v", n, all, err)
		}
		s.Close()
	}
}

func TestMemberOfSeveralMovesToAnotherAddress(t *testing.T) {
	c := newCluster(t, 3)
	put(t, c.members[0], "a", "1")
	c.stop(2)
	c.configs[2].Peer = c.issuer.peer(t, 9)
	s := c.start(2)
	for range 100 {
		all, err := c.members[0].Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.Name == "manager-2" && m.Address == c.configs[2].Peer.Listen && m.Alive {
				put(t, s, "b", "1")
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the others do not know the address")
}

func TestMemberOfSeveralIsNotOpenedWithoutItsAddress(t *testing.T) {
	c := newCluster(t, 2)
	cfg := c.configs[1]
	c.stop(1)
	cfg.Peer, cfg.Join = nil, nil
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "needs its own address") {
		t.Errorf("got %v", err)
	}
	put(t, c.start(1), "a", "1")
}

// Cut off from the majority a manager refuses changes with that reason, and
// still reads.
func TestMinorityRefusesWritesAndReadsWhatItHas(t *testing.T) {
	c := newCluster(t, 3)
	put(t, c.members[0], "a", "1")
	s := c.members[0]
	c.stop(1)
	c.stop(2)
	begin := time.Now()
	_, err := s.Commit(t.Context(), Txn{Put: []Put{{Key: "a", Value: []byte("2")}}})
	if !errors.Is(err, ErrNoQuorum) || !strings.Contains(err.Error(), "of the 3 managers") ||
		!strings.Contains(err.Error(), "manager-1 at ") || !strings.Contains(err.Error(), "manager-2 at ") {
		t.Errorf("write: %v", err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("refused after %v", d)
	}
	begin = time.Now()
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read: %v", err)
	}
	if d := time.Since(begin); d >= patience {
		t.Errorf("the second refusal took %v", d)
	}
	for name, r := range map[string]Reader{"local": s.Local(), "stale": Stale(s)} {
		if e, err := r.Get(t.Context(), "a"); err != nil || string(e.Value) != "1" {
			t.Errorf("%s read: %+v, %v", name, e, err)
		}
		if all, _, err := r.List(t.Context(), ""); err != nil || len(all) != 1 {
			t.Errorf("%s list: %+v, %v", name, all, err)
		}
	}
	c.start(1)
	eventually(t, "writes are taken again", func() bool {
		_, err := s.Commit(t.Context(), Txn{Put: []Put{{Key: "a", Value: []byte("3")}}})
		return err == nil
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in 20 s: %s", what)
}

// All managers at once: each that comes back serves what it has, and all of it
// once the majority is there.
func TestMembersThatWereAllDownComeBackOneByOne(t *testing.T) {
	c := newCluster(t, 3)
	put(t, c.members[0], "a", "1")
	for i := range c.members {
		c.stop(i)
	}
	first := c.start(2)
	if e, err := first.Local().Get(t.Context(), "a"); err != nil || string(e.Value) != "1" {
		t.Errorf("local read: %+v, %v", e, err)
	}
	if _, err := first.Get(t.Context(), "a"); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read: %v", err)
	}
	c.start(1)
	eventually(t, "two of three serve", func() bool {
		_, err := first.Get(t.Context(), "a")
		return err == nil
	})
	put(t, c.start(0), "a", "2")
}

func TestWatchGoesOnOverAChangeOfLeader(t *testing.T) {
	c := newCluster(t, 3)
	leader := c.leader()
	s := c.members[(leader+1)%3]
	w := s.Watch(t.Context(), "w/", put(t, s, "w/a", "1"))
	equal(t, next(t, w, 1), []string{"w/a=1"})
	c.stop(leader)
	put(t, s, "w/a", "2")
	equal(t, next(t, w, 1), []string{"w/a=2"})
	put(t, c.start(leader), "w/a", "3")
	equal(t, next(t, w, 1), []string{"w/a=3"})
}

// A member that was removed while it was away learns it.
func TestRemovedMemberKnowsIt(t *testing.T) {
	c := newCluster(t, 3)
	id := func(i int) MemberID { return MemberID(c.members[i].member.etcd.Server.MemberID().String()) }
	one, two := id(1), id(2)
	warning, err := c.members[0].Remove(t.Context(), one)
	if err != nil || !strings.Contains(warning, "2 managers bear the loss of 0") {
		t.Fatalf("%q, %v", warning, err)
	}
	eventually(t, "the removed one refuses", func() bool {
		_, err := c.members[1].Get(t.Context(), "a")
		return errors.Is(err, ErrRemoved)
	})
	if err := c.members[1].Run(t.Context()); !errors.Is(err, ErrRemoved) {
		t.Errorf("run: %v", err)
	}
	if _, err := c.members[0].Remove(t.Context(), one); err != nil {
		t.Errorf("remove twice: %v", err)
	}
	c.stop(2)
	// The remaining one has no majority, so it cannot remove the silent one.
	if _, err := c.members[0].Remove(within(t, 10*time.Second), two); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("remove without a majority: %v", err)
	}
	c.start(2)
	eventually(t, "the other one is removed", func() bool {
		_, err := c.members[0].Remove(t.Context(), two)
		return err == nil
	})
	put(t, c.members[0], "a", "1")
	if _, err := c.members[0].Remove(t.Context(), MemberID(c.members[0].member.etcd.Server.MemberID().String())); err == nil ||
		!strings.Contains(err.Error(), "is the last one") {
		t.Errorf("remove the last: %v", err)
	}
}

func TestRemovalKeepsAMajority(t *testing.T) {
	members := func(alive ...bool) []Member {
		var all []Member
		for i, a := range alive {
			all = append(all, Member{ID: MemberID(fmt.Sprint(i)), Name: fmt.Sprint("m", i), Alive: a})
		}
		return all
	}
	for _, c := range []struct {
		name          string
		members       []Member
		id            MemberID
		warning, says string
	}{
		{"the last", members(true), "0", "", "is the last one"},
		{"of two", members(true, true), "1", "", ""},
		{"of two, the living one", members(true, false), "0", "", "only 0 of 1 managers would answer"},
		{"of two, the dead one", members(true, false), "1", "", ""},
		{"of three", members(true, true, true), "1", "2 managers bear the loss of 0, as 1 would", ""},
		{"of three, a dead one", members(true, true, false), "2", "2 managers bear", ""},
		{"of three, a living one", members(true, true, false), "1", "", "which is no majority (silent: m2)"},
		{"of four", members(true, true, true, true), "1", "", ""},
		{"of five, with two dead", members(true, true, true, false, false), "0", "", "only 2 of 4"},
		{"unknown", members(true), "7", "", ""},
		{"a learner", append(members(true), Member{ID: "9", Learner: true}), "9", "", ""},
		{"the last beside a learner", append(members(true), Member{ID: "9", Learner: true, Alive: true}), "0", "", "is the last one"},
	} {
		warning, err := Removal(c.members, c.id)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if (warning == "") != (c.warning == "") || !strings.Contains(warning, c.warning) {
			t.Errorf("%s: warning %q", c.name, warning)
		}
	}
}

// A join that is cut anywhere can be repeated, and leaves no learner behind.
func TestJoinCutAnywhereIsRepeated(t *testing.T) {
	c := newCluster(t, 1)
	ctx := t.Context()
	cfg := c.config()
	first, err := c.members[0].AddLearner(ctx, cfg.Name, cfg.Peer.Listen)
	if err != nil {
		t.Fatal(err)
	}
	// Cut before it started: the same again.
	again, err := c.members[0].AddLearner(ctx, cfg.Name, cfg.Peer.Listen)
	if err != nil || again.Member != first.Member {
		t.Fatalf("%+v, then %+v, %v", first, again, err)
	}
	// Cut after it started, before its promotion.
	cfg.Join = &again
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the learner has its name", func() bool {
		all, err := c.members[0].Members(ctx)
		return err == nil && len(all) == 2 && all[0].Name != "" && all[1].Name != ""
	})
	s.Close()
	// The other end took it for dead and removed it; it joins anew over its rest.
	if _, err := c.members[0].Remove(ctx, again.Member); err != nil {
		t.Fatal(err)
	}
	c.join(&cfg)
	if cfg.Join.Member == again.Member {
		t.Fatal("a removed member came back under its id")
	}
	if s, err = Open(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	s.Close()
	// And once more from another address: the learner moves there.
	former := cfg.Join.Member
	cfg.Peer = c.issuer.peer(t, 77)
	c.join(&cfg)
	if cfg.Join.Member == former {
		t.Fatal("the learner kept its address")
	}
	if s, err = Open(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		if err := c.members[0].Promote(within(t, 20*time.Second), cfg.Join.Member); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "a", "1")
	all, err := c.members[0].Members(ctx)
	if err != nil || len(all) != 2 || all[0].Learner || all[1].Learner {
		t.Errorf("members %+v, %v", all, err)
	}
	// Opened again with the join it came by, it is what it is.
	s.Close()
	if s, err = Open(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if e, err := s.Get(ctx, "a"); err != nil || string(e.Value) != "1" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestJoinIntoAFolderOfAnotherClusterIsRefused(t *testing.T) {
	c := newCluster(t, 1)
	cfg := c.config()
	other := open(t, cfg.Dir)
	put(t, other, "mine", "1")
	other.Close()
	c.join(&cfg)
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "holds the store of another cluster") {
		t.Errorf("got %v", err)
	}
	if e, err := open(t, cfg.Dir).Get(t.Context(), "mine"); err != nil || string(e.Value) != "1" {
		t.Errorf("the store was changed: %+v, %v", e, err)
	}
}

func TestStoreWithoutAnAddressTakesNoOthers(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.AddLearner(t.Context(), "x", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no address that others can reach") {
		t.Errorf("got %v", err)
	}
}

// Strangers are refused at the handshake: without a certificate, with one of
// another issuer, with an older TLS.
func TestStrangersAreRefusedAtThePeerPort(t *testing.T) {
	c := newCluster(t, 1)
	peer := c.configs[0].Peer
	dial := func(i *issuer, with *Peer, version uint16) error {
		roots := x509.NewCertPool()
		roots.AddCert(i.cert)
		cfg := &tls.Config{RootCAs: roots, MaxVersion: version}
		if with != nil {
			pair, err := tls.LoadX509KeyPair(with.Cert, with.Key)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{pair}
		}
		conn, err := tls.Dial("tcp", peer.Listen, cfg)
		if err != nil {
			return err
		}
		defer conn.Close()
		// With TLS 1.3 the server's refusal comes with the first bytes it sends.
		if _, err := fmt.Fprintf(conn, "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	other := newIssuer(t)
	stranger := other.peer(t, 2)
	if err := dial(c.issuer, peer, tls.VersionTLS13); err != nil {
		t.Errorf("a member: %v", err)
	}
	for name, err := range map[string]error{
		"nobody":      dial(c.issuer, nil, tls.VersionTLS13),
		"stranger":    dial(c.issuer, stranger, tls.VersionTLS13),
		"other roots": dial(other, peer, tls.VersionTLS13),
		"old TLS":     dial(c.issuer, peer, tls.VersionTLS12),
	} {
		if err == nil {
			t.Errorf("%s was let in", name)
		}
	}
}

// A stranger whose address was added is no member: its certificate counts.
func TestMemberWithAStrangersCertificateDoesNotJoin(t *testing.T) {
	c := newCluster(t, 1)
	cfg := c.config()
	c.join(&cfg)
	cfg.Peer = newIssuer(t).peer(t, 5)
	c.issuer.issue(t, &Peer{Listen: cfg.Peer.Listen}, 6)
	j, err := c.members[0].AddLearner(t.Context(), cfg.Name, cfg.Peer.Listen)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Join = &j
	if s, err := Open(within(t, 20*time.Second), cfg); err == nil {
		s.Close()
		t.Error("it joined")
	}
}

// Certificates live for hours; a member does not restart for a new one.
func TestRenewedCertificateIsUsedWithoutARestart(t *testing.T) {
	c := newCluster(t, 1)
	peer := c.configs[0].Peer
	serial := func() int64 {
		pair, err := tls.LoadX509KeyPair(peer.Cert, peer.Key)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", peer.Listen, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 2 {
		t.Errorf("serial %d", n)
	}
	c.issuer.issue(t, peer, 55)
	if n := serial(); n != 55 {
		t.Errorf("serial %d after renewal", n)
	}
}
