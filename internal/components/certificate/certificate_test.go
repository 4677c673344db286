package certificate_test

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/certificate"
	"aloft/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func daemon(testing.TB) (component.Manager, func()) { return certificate.New(), func() {} }

func names(all ...string) value.Vector {
	var v value.Vector
	for _, n := range all {
		v = append(v, value.String(n))
	}
	return v
}

var attrs = componenttest.Attrs

func output(c *component.Call, name string) string {
	s, _ := c.Env.(*componenttest.Env).Outputs()[name].(value.String)
	return string(s)
}

// pair reads the certificate as a server would, and verifies it as a client of
// that name.
func pair(t testing.TB, c *component.Call, name string) *x509.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(output(c, "certFile"), output(c, "keyFile"))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := os.ReadFile(output(c, "chainFile"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(chain)
	if _, err := p.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: p.Leaf.NotAfter.Add(-time.Minute)}); err != nil {
		t.Error(err)
	}
	return p.Leaf
}

func TestSuite(t *testing.T) {
	componenttest.Run(t, daemon, componenttest.Case{
		Name:  "certificate",
		Attrs: attrs("names", names("a.test", "10.0.0.1")),
		Changes: []*value.Component{
			attrs("names", names("a.test", "B.test", "::1", "*.a.test")),
			attrs("names", names("a.test"), "keyType", value.String("rsa")),
			attrs("names", names("a.test"), "days", value.Integer(30), "renewBefore", value.Integer(10)),
		},
		Check: func(t testing.TB, c *component.Call) {
			leaf := pair(t, c, "a.test")
			given, _ := c.Attrs.Get("names")
			if have := len(leaf.DNSNames) + len(leaf.IPAddresses); have != len(given.(value.Vector)) {
				t.Errorf("it names %v and %v", leaf.DNSNames, leaf.IPAddresses)
			}
			_, isRSA := leaf.PublicKey.(*rsa.PublicKey)
			if kind, _ := c.Attrs.Get("keyType"); isRSA != (kind == value.String("rsa")) {
				t.Errorf("its key is a %T", leaf.PublicKey)
			}
			info, err := os.Stat(output(c, "keyFile"))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the key is %v, %v", info.Mode(), err)
			}
			if output(c, "notAfter") != leaf.NotAfter.UTC().Format(time.RFC3339) {
				t.Errorf("it ends at %s, and says %s", leaf.NotAfter, output(c, "notAfter"))
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			if err := os.Remove(output(c, "keyFile")); err != nil {
				t.Error(err)
			}
		},
	})
}

// held is a certificate in the hands of a daemon, with fake time.
type held struct {
	t    *testing.T
	m    component.Manager
	c    *component.Call
	env  *componenttest.Env
	away error // of the cluster; nil: it certifies, for life
	life time.Duration
}

func hold(t *testing.T, a *value.Component, life time.Duration) *held {
	h := &held{t: t, m: certificate.New(), life: life}
	h.env = componenttest.NewEnv(t, h.m.Class())
	h.env.IssueBy(func(request []byte) ([][]byte, error) {
		if h.away != nil {
			return nil, h.away
		}
		return componenttest.Issue(request, h.life)
	})
	h.c = &component.Call{System: "s", Path: "m:cert", Attrs: a, WorkDir: t.TempDir(), Env: h.env}
	if err := errors.Join(h.m.Deploy(t.Context(), h.c), h.m.Start(t.Context(), h.c)); err != nil {
		t.Fatal(err)
	}
	return h
}

// reminded waits for the time that it wants to be reminded at, and does that.
func (h *held) reminded() error {
	h.t.Helper()
	at := h.env.Reminder()
	if !at.After(time.Now()) {
		h.t.Fatalf("it wants to be reminded at %s, and now is %s", at, time.Now())
	}
	time.Sleep(time.Until(at))
	h.c.Old = h.c.Attrs
	defer func() { h.c.Old = nil }()
	return h.m.Reconfigure(h.t.Context(), h.c)
}

func (h *held) ping() error { return h.m.Ping(h.t.Context(), h.c) }

const day = 24 * time.Hour

// A certificate is renewed when it is due, each time with another key; the files
// of the one before stay until the next, for who reads them still.
func TestItRenewsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, attrs("names", names("a.test")), 90*day)
		begun, changes := time.Now(), h.env.Changes()
		first := output(h.c, "certFile")
		was := pair(t, h.c, "a.test")
		if err := h.reminded(); err != nil {
			t.Fatal(err)
		}
		if after := time.Since(begun); after < 60*day-time.Minute || after > 60*day {
			t.Errorf("renewed after %s", after)
		}
		now := pair(t, h.c, "a.test")
		if output(h.c, "certFile") == first || now.SerialNumber.Cmp(was.SerialNumber) == 0 || string(now.RawSubjectPublicKeyInfo) == string(was.RawSubjectPublicKeyInfo) {
			t.Error("it is the same certificate, or the same key")
		}
		if h.env.Changes() != changes+1 {
			t.Errorf("readers were told %d times", h.env.Changes()-changes)
		}
		if _, err := os.Stat(first); err != nil {
			t.Errorf("who has not heard of it: %v", err)
		}
		if err := h.reminded(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the first one after the third: %v", err)
		}
		if err := h.ping(); err != nil {
			t.Error(err)
		}
	})
}

// While nobody certifies, a certificate that is due serves on until it ends, and
// its renewal is tried again and again. That it is late is shown after a day, and
// ends nothing.
func TestItServesUntilItsEndWhileNobodyCertifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, attrs("names", names("a.test")), 90*day)
		before := output(h.c, "certFile")
		end := pair(t, h.c, "a.test").NotAfter
		h.away = errors.New("no manager is in reach")
		for tries := 0; time.Until(end) > 2*time.Hour; tries++ {
			if err := h.reminded(); err == nil || !strings.Contains(err.Error(), "no manager is in reach") || !strings.Contains(err.Error(), "serves until") {
				t.Fatalf("try %d: %v", tries, err)
			}
			if pause := time.Until(h.env.Reminder()); pause > time.Hour || pause < time.Minute {
				t.Fatalf("the next try is in %s", pause)
			}
			late := time.Since(end.Add(-30 * day))
			switch err := h.ping(); {
			case late < day && err != nil:
				t.Fatalf("after %s: %v", late, err)
			case late > day && !errors.Is(err, component.ErrOnlyAsked):
				t.Fatalf("after %s: %v", late, err)
			}
			if output(h.c, "certFile") != before {
				t.Fatal("it has changed")
			}
		}
		pair(t, h.c, "a.test")
		// The daemon is restarted now: it goes on with what there is.
		if err := h.m.Start(t.Context(), h.c); err != nil || h.env.Reminder().IsZero() {
			t.Errorf("a new daemon: %v, reminded at %s", err, h.env.Reminder())
		}
		time.Sleep(time.Until(end))
		if err := h.ping(); err == nil || errors.Is(err, component.ErrOnlyAsked) {
			t.Errorf("after its end: %v", err)
		}
		h.away = nil
		h.c.Old = h.c.Attrs
		if err := h.m.Reconfigure(t.Context(), h.c); err != nil {
			t.Fatal(err)
		}
		if err := h.ping(); err != nil || output(h.c, "certFile") == before {
			t.Errorf("with a manager again: %v, %s", err, output(h.c, "certFile"))
		}
	})
}

// What a change cannot get leaves what was there.
func TestAChangeThatIsRefusedLeavesWhatWasThere(t *testing.T) {
	h := hold(t, attrs("names", names("a.test")), 90*day)
	h.away = errors.New(`"b.test" is none of the names`)
	old := h.c.Attrs
	h.c.Old, h.c.Attrs = old, attrs("names", names("b.test"))
	if err := h.m.Reconfigure(t.Context(), h.c); err == nil || !strings.Contains(err.Error(), "b.test") {
		t.Error(err)
	}
	h.c.Attrs = old
	if err := h.ping(); err != nil {
		t.Error(err)
	}
	pair(t, h.c, "a.test")
}

// A try that comes to nothing leaves no key behind, however far it got.
func TestTriesThatFailLeaveNothing(t *testing.T) {
	h := hold(t, attrs("names", names("a.test")), 90*day)
	h.c.Old, h.c.Attrs = h.c.Attrs, attrs("names", names("b.test"))
	issue := func(edit func(chain [][]byte) [][]byte) {
		h.env.IssueBy(func(request []byte) ([][]byte, error) {
			chain, err := componenttest.Issue(request, 90*day)
			return edit(chain), err
		})
	}
	record := filepath.Join(h.c.WorkDir, "certificate.json")
	was, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		edit  func([][]byte) [][]byte
		spoil func() error
	}{
		"no certificate":        {func([][]byte) [][]byte { return [][]byte{{1}, {2}} }, nil},
		"its issuer's for its":  {func(c [][]byte) [][]byte { return [][]byte{c[1], c[1]} }, nil},
		"a record not writable": {func(c [][]byte) [][]byte { return c }, func() error { return errors.Join(os.Remove(record), os.Mkdir(record, 0o700)) }},
	} {
		issue(tt.edit)
		if tt.spoil != nil {
			if err := tt.spoil(); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if err := h.m.Reconfigure(t.Context(), h.c); err == nil {
				t.Errorf("%s: it was taken", what)
			}
		}
		if left, err := os.ReadDir(filepath.Join(h.c.WorkDir, "certificates")); err != nil || len(left) != 1 {
			t.Errorf("%s: %d are there, %v", what, len(left), err)
		}
		if tt.spoil != nil {
			if err := errors.Join(os.Remove(record), os.WriteFile(record, was, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	pair(t, h.c, "a.test")
}

// A daemon that was restarted goes on with the certificate there is, whatever one
// that was cut off has left.
func TestARestartKeepsTheCertificate(t *testing.T) {
	h := hold(t, attrs("names", names("a.test")), 90*day)
	h.away = errors.New("it was asked again")
	was := output(h.c, "certFile")
	half := filepath.Join(h.c.WorkDir, "certificates", "2")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "key.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := certificate.New().Start(t.Context(), h.c); err != nil || output(h.c, "certFile") != was {
		t.Errorf("%v, %s", err, output(h.c, "certFile"))
	}
	h.away = nil
	h.c.Old, h.c.Attrs = h.c.Attrs, attrs("names", names("b.test"))
	if err := h.m.Reconfigure(t.Context(), h.c); err != nil {
		t.Fatal(err)
	}
	pair(t, h.c, "b.test")
}

// What drifts is noticed: files of others, a key that others may read.
func TestDriftIsNoticedAndRepaired(t *testing.T) {
	h := hold(t, attrs("names", names("a.test")), 90*day)
	other := hold(t, attrs("names", names("b.test")), 90*day)
	changes, had := 0, map[string]bool{output(h.c, "keyFile"): true}
	content := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for what, spoil := range map[string]func() error{
		"a key for all":                func() error { return os.Chmod(output(h.c, "keyFile"), 0o644) },
		"a key of another":             func() error { return os.WriteFile(output(h.c, "keyFile"), content(output(other.c, "keyFile")), 0o600) },
		"no certificate":               func() error { return os.Truncate(output(h.c, "certFile"), 0) },
		"no issuer":                    func() error { return os.Remove(output(h.c, "chainFile")) },
		"a record that cannot be read": func() error { return os.WriteFile(filepath.Join(h.c.WorkDir, "certificate.json"), []byte("{"), 0o600) },
		"no certificates":              func() error { return os.RemoveAll(filepath.Join(h.c.WorkDir, "certificates")) },
		"nothing at all": func() error {
			return errors.Join(os.RemoveAll(h.c.WorkDir), os.Mkdir(h.c.WorkDir, 0o700))
		},
		"no record": func() error { return os.Remove(filepath.Join(h.c.WorkDir, "certificate.json")) },
		"a record of what is not there": func() error {
			return os.WriteFile(filepath.Join(h.c.WorkDir, "certificate.json"), []byte(`{"number":99,"days":90}`), 0o600)
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := h.ping(); err == nil {
			t.Errorf("%s was not noticed", what)
		}
		h.c.Old = h.c.Attrs
		if err := h.m.Reconfigure(t.Context(), h.c); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := h.ping(); err != nil {
			t.Errorf("%s, repaired: %v", what, err)
		}
		pair(t, h.c, "a.test")
		if now := output(h.c, "keyFile"); had[now] {
			t.Errorf("%s: another key is where one was before", what)
		}
		had[output(h.c, "keyFile")] = true
		if changes++; h.env.Changes() != changes {
			t.Errorf("%s: readers were not told", what)
		}
	}
}

func TestPlanningRefuses(t *testing.T) {
	class := certificate.New().Class()
	for what, a := range map[string]*value.Component{
		"nobody":               attrs("names", names()),
		"a star in the middle": attrs("names", names("a.*.test")),
		"a star alone":         attrs("names", names("*")),
		"a line break":         attrs("names", names("a.test\nb.test")),
		"an address of a zone": attrs("names", names("fe80::1%eth0")),
		"an e-mail address":    attrs("names", names("a@b.test")),
		"a URL":                attrs("names", names("https://a.test")),
		"due when it is made":  attrs("names", names("a.test"), "days", value.Integer(30)),
		"another issuer":       attrs("names", names("a.test"), "issuer", value.String("https://acme.test/directory")),
		"another key":          attrs("names", names("a.test"), "keyType", value.String("dsa")),
	} {
		if p := componenttest.Problems(class, a, component.Target{}); len(p) != 1 || p[0].Remedy == "" && p[0].Rule.File == "" {
			t.Errorf("%s: %+v", what, p)
		}
	}
	late := attrs("names", value.Vector{&value.Reference{Lazy: true}, value.String("a.test")})
	if p := componenttest.Problems(class, late, component.Target{}); len(p) > 0 {
		t.Errorf("a late name: %+v", p)
	}
}

// FuzzFiles: whatever lies there is a certificate that suits, or is told of and
// replaced.
func FuzzFiles(f *testing.F) {
	f.Add([]byte(`{"number":1,"days":90}`), []byte("x"), []byte("y"))
	f.Add([]byte(`{"number":-1}`), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, record, cert, key []byte) {
		dir := t.TempDir()
		files := map[string][]byte{"certificate.json": record, "certificates/1/cert.pem": cert, "certificates/1/key.pem": key, "certificates/1/chain.pem": cert}
		for name, content := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m := certificate.New()
		c := &component.Call{System: "s", Path: "m:cert", Attrs: attrs("names", names("a.test")), WorkDir: dir, Env: componenttest.NewEnv(t, m.Class())}
		if m.Ping(context.Background(), c) == nil {
			t.Error("it suits")
		}
		if err := errors.Join(m.Start(context.Background(), c), m.Ping(context.Background(), c)); err != nil {
			t.Error(err)
		}
		pair(t, c, "a.test")
	})
}
