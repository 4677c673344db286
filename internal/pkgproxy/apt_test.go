package pkgproxy

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// The real apt, the host's real mirror, folders of the test's own: what the
// second machine asks for comes from the cache.
func TestAptUpdatesAndDownloadsFromTheCacheTheSecondTime(t *testing.T) {
	if testing.Short() {
		t.Skip("loads indices of some megabytes from the host's mirror")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("this host has no apt")
	}
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		t.Fatal(err)
	}
	var source string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); source == "" && len(f) == 3 && strings.HasPrefix(f[0], "http://") {
			source = "deb [trusted=yes] " + strings.Join(f, " ") + "\n"
		}
	}
	if source == "" {
		t.Skip("this host has no mirror over HTTP")
	}

	// A proxy of the host counts what leaves it; it has the host's own before it.
	var asked atomic.Int32
	host := HostUpstream(t.Context(), os.Environ())
	direct := &http.Transport{
		Proxy:              func(r *http.Request) (*url.URL, error) { return host.proxyOf(r.URL) },
		DisableCompression: true,
	}
	defer direct.CloseIdleConnections()
	counter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		(&Proxy{transport: direct}).pass(w, r)
	}))
	defer counter.Close()
	p := start(t, Config{
		Limit: 1 << 30, Upstream: Upstream{HTTP: counter.URL},
		Refuse: []netip.Prefix{netip.MustParsePrefix("10.88.0.0/13")},
	})
	p.allowed = p.outside

	machine := func() (debs []string) {
		root := t.TempDir()
		for _, dir := range []string{"lists/partial", "archives/partial", "work", "etc"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		list := filepath.Join(root, "etc", "sources.list")
		if err := os.WriteFile(list, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		apt := func(args ...string) {
			cmd := exec.Command("apt-get", append([]string{
				"-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=2",
				"-o", "Acquire::http::Proxy=http://" + p.addr,
				"-o", "Dir::State::lists=" + filepath.Join(root, "lists"),
				"-o", "Dir::Cache=" + root, "-o", "Dir::Cache::archives=" + filepath.Join(root, "archives"),
				"-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=" + filepath.Join(root, "etc"),
			}, args...)...)
			cmd.Dir = filepath.Join(root, "work")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("apt-get %v: %v\n%s", args, err, out)
			}
		}
		apt("update")
		apt("download", "hello")
		debs, _ = filepath.Glob(filepath.Join(root, "work", "*.deb"))
		return debs
	}
	first := machine()
	n := asked.Load()
	second := machine()
	if len(first) != 1 || len(second) != 1 {
		t.Fatalf("downloaded %v and %v", first, second)
	}
	if n < 3 || asked.Load() != n {
		t.Errorf("the mirror was asked %d times for the first machine, then %d more", n, asked.Load()-n)
	}
	a, _ := os.ReadFile(first[0])
	b, _ := os.ReadFile(second[0])
	if len(a) == 0 || string(a) != string(b) {
		t.Errorf("packages of %d and %d bytes", len(a), len(b))
	}
}

func BenchmarkHit(b *testing.B) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 100<<10))
	}))
	defer o.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	p, err := New(Config{Listener: l, Dir: b.TempDir(), Limit: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	p.allowed = func(netip.Addr) bool { return true }
	b.SetBytes(100 << 10)
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, o.URL+"/pool/a.deb", nil)
		w := httptest.NewRecorder()
		if p.ServeHTTP(w, r); w.Code != 200 || w.Body.Len() != 100<<10 {
			b.Fatal(w.Code, w.Body.Len())
		}
	}
	p.running.Wait()
	p.transport.CloseIdleConnections()
}
