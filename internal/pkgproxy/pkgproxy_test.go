package pkgproxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a proxy that serves, and a client behind it.
type running struct {
	*Proxy
	client *http.Client
	addr   string
	stop   func()
}

// start runs a proxy which, unlike a real one, may reach the test's own
// origins on the loopback network.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listener, cfg.Log = l, slog.New(slog.DiscardHandler)
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Limit == 0 {
		cfg.Limit = 1 << 20
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.allowed = func(netip.Addr) bool { return true }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})}
	stop := sync.OnceFunc(func() {
		tr.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &running{Proxy: p, client: &http.Client{Transport: tr}, addr: l.Addr().String(), stop: stop}
}

// origin is an archive that counts what it is asked.
type origin struct {
	*httptest.Server
	asked atomic.Int32
}

func serveOrigin(t *testing.T, h http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

type answer struct {
	status int
	body   string
	header http.Header
}

func (r *running) get(t *testing.T, address string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(b), resp.Header}
}

func (a answer) is(t *testing.T, status int, body, cache string) {
	t.Helper()
	if a.status != status || a.body != body || a.header.Get("X-Cache") != cache {
		t.Errorf("got %d %.60q, cache %q; want %d %.60q, %q", a.status, a.body, a.header.Get("X-Cache"), status, body, cache)
	}
}

func TestPackageIsFetchedOnceAndKeptOverARestart(t *testing.T) {
	o := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.debian.binary-package")
		fmt.Fprint(w, "package")
	})
	address := o.URL + "/debian/pool/main/h/hello_1_amd64.deb"
	p := start(t, Config{})
	p.get(t, address).is(t, 200, "package", "miss")
	p.now = func() time.Time { return time.Now().Add(1000 * time.Hour) }
	p.get(t, address).is(t, 200, "package", "hit")
	p.stop()
	p = start(t, Config{Dir: p.cfg.Dir})
	a := p.get(t, address)
	a.is(t, 200, "package", "hit")
	if o.asked.Load() != 1 || a.header.Get("Content-Type") != "application/vnd.debian.binary-package" {
		t.Errorf("asked %d times; header %v", o.asked.Load(), a.header)
	}
}

func TestIndexIsAskedForAgainWhenItIsNotFresh(t *testing.T) {
	version := atomic.Int32{}
	version.Store(1)
	o := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		tag := fmt.Sprintf(`"v%d"`, version.Load())
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", tag)
		fmt.Fprintf(w, "index %d", version.Load())
	})
	address := o.URL + "/debian/dists/stable/InRelease"
	p := start(t, Config{})
	now := time.Now()
	p.now = func() time.Time { return now }
	for _, c := range []struct {
		name  string
		later time.Duration
		new   bool
		body  string
		cache string
		asked int32
	}{
		{"first", 0, false, "index 1", "miss", 1},
		{"fresh", fresh - time.Second, true, "index 1", "hit", 1},
		{"not fresh, changed", fresh + time.Second, false, "index 2", "miss", 2},
		{"not fresh, unchanged", 2*fresh + 2*time.Second, false, "index 2", "hit", 3},
		{"fresh again", 3 * fresh, false, "index 2", "hit", 3},
	} {
		now = time.Now().Add(c.later)
		if c.new {
			version.Add(1)
		}
		p.get(t, address).is(t, 200, c.body, c.cache)
		if n := o.asked.Load(); n != c.asked {
			t.Errorf("%s: asked %d times, want %d", c.name, n, c.asked)
		}
	}
	p.get(t, address, "Cache-Control", "no-cache").is(t, 200, "index 2", "hit")
	if o.asked.Load() != 4 {
		t.Error("no-cache did not ask the origin")
	}
}

func TestNewReleaseHasItsIndicesAskedForAgain(t *testing.T) {
	var n atomic.Int32
	o := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, n.Load()) })
	p := start(t, Config{})
	now := time.Now()
	p.now = func() time.Time { return now }
	release, index := o.URL+"/dists/stable/InRelease", o.URL+"/dists/stable/main/Packages"
	p.get(t, release).is(t, 200, "0", "miss")
	now = now.Add(fresh - time.Second)
	p.get(t, index).is(t, 200, "0", "miss")
	n.Store(1)
	now = now.Add(2 * time.Second) // the release is not fresh, its index would be
	p.get(t, release).is(t, 200, "1", "miss")
	p.get(t, index).is(t, 200, "1", "miss")
}

func TestConcurrentRequestsShareOneFetchAndStreamIt(t *testing.T) {
	half := make(chan struct{})
	o := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "first")
		w.(http.Flusher).Flush()
		<-half
		fmt.Fprint(w, "-last")
	})
	p := start(t, Config{})
	address := o.URL + "/pool/a.deb"
	const clients = 20
	bodies := make([]io.ReadCloser, clients)
	for i := range bodies {
		resp, err := p.client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		bodies[i] = resp.Body
	}
	// Every client has the first half before the origin gives the second.
	for _, b := range bodies {
		first := make([]byte, 5)
		if _, err := io.ReadFull(b, first); err != nil || string(first) != "first" {
			t.Fatal(string(first), err)
		}
	}
	close(half)
	for _, b := range bodies {
		if rest, err := io.ReadAll(b); err != nil || string(rest) != "-last" {
			t.Error(string(rest), err)
		}
		_ = b.Close()
	}
	if n := o.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestBrokenDownloadIsNeverServedAsAWholeOne(t *testing.T) {
	for name, length := range map[string]string{"of a known length": "10", "of unknown length": ""} {
		t.Run(name, func(t *testing.T) {
			var breaks atomic.Bool
			breaks.Store(true)
			o := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				fmt.Fprint(w, "first")
				w.(http.Flusher).Flush()
				if breaks.Load() {
					panic(http.ErrAbortHandler)
				}
				fmt.Fprint(w, "-last")
			})
			p := start(t, Config{})
			address := o.URL + "/pool/a.deb"
			resp, err := p.client.Get(address)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			if err == nil {
				t.Error("half of it was given as all")
			}
			breaks.Store(false)
			p.get(t, address).is(t, 200, "first-last", "miss")
			p.get(t, address).is(t, 200, "first-last", "hit")
		})
	}
}

func TestWhatACrashLeftIsNotServed(t *testing.T) {
	o := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "whole package") })
	p := start(t, Config{})
	dir := p.cfg.Dir
	for _, name := range []string{"a", "b", "c"} {
		p.get(t, o.URL+"/pool/"+name+".deb")
	}
	file := func(name string) string { return p.cache.file(o.URL + "/pool/" + name + ".deb") }
	p.stop()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Truncate(file("a"), 5))                                                      // content cut short
	must(os.Remove(file("b") + ".json"))                                                 // entry not yet written
	must(os.WriteFile(file("c")+".json", []byte("{"), 0o600))                            // entry cut short
	must(os.WriteFile(filepath.Join(dir, "tmp", "x"), []byte("half a download"), 0o600)) // never placed
	p = start(t, Config{Dir: dir})
	for _, name := range []string{"a", "b", "c"} {
		p.get(t, o.URL+"/pool/"+name+".deb").is(t, 200, "whole package", "miss")
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
	if len(left) != 6 || p.cache.total != 3*13 {
		t.Errorf("files %v, %d bytes counted", left, p.cache.total)
	}
}

func TestRangesAreServedFromCacheAndFromARunningFetch(t *testing.T) {
	o := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			t.Error("a part was fetched")
		}
		w.Header().Set("Content-Length", "10")
		w.Header().Set("Last-Modified", "Mon, 04 May 2026 03:02:01 GMT")
		fmt.Fprint(w, "0123456789")
	})
	p := start(t, Config{})
	for _, cache := range []string{"miss", "hit"} {
		a := p.get(t, o.URL+"/pool/a.deb", "Range", "bytes=4-", "If-Range", "Mon, 04 May 2026 03:02:01 GMT")
		a.is(t, 206, "456789", cache)
		if a.header.Get("Content-Range") != "bytes 4-9/10" {
			t.Errorf("header %v", a.header)
		}
	}
	p.get(t, o.URL+"/pool/a.deb", "Range", "bytes=4-", "If-Range", "Mon, 04 May 2020 03:02:01 GMT").
		is(t, 200, "0123456789", "hit")
	p.get(t, o.URL+"/pool/a.deb", "If-Modified-Since", "Mon, 04 May 2026 03:02:01 GMT").is(t, 304, "", "hit")
}

func TestOldIndexIsServedWithAWarningWhenItsOriginIsGone(t *testing.T) {
	o := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "index") })
	p := start(t, Config{})
	address := o.URL + "/dists/stable/InRelease"
	p.get(t, address)
	o.Close()
	now := time.Now().Add(2 * fresh)
	p.now = func() time.Time { return now }
	for _, cache := range []string{"stale", "hit"} { // the second does not try
		a := p.get(t, address)
		a.is(t, 200, "index", cache)
		if !strings.HasPrefix(a.header.Get("Warning"), "111 ") {
			t.Errorf("header %v", a.header)
		}
	}
	a := p.get(t, o.URL+"/pool/new.deb")
	if a.status != 502 || !strings.Contains(a.body, "connection refused") {
		t.Errorf("what is not kept: %+v", a)
	}
}

func TestOldIndexIsServedWhenItsOriginIsIll(t *testing.T) {
	var ill atomic.Bool
	o := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		if ill.Load() {
			w.WriteHeader(503)
		}
		fmt.Fprint(w, "index")
	})
	p := start(t, Config{})
	address := o.URL + "/dists/stable/InRelease"
	p.get(t, address)
	ill.Store(true)
	p.now = func() time.Time { return time.Now().Add(2 * fresh) }
	p.get(t, address).is(t, 200, "index", "stale")
	p.get(t, o.URL+"/dists/stable/Other").is(t, 503, "index", "miss")
}

func TestRefusalsOfTheOriginArePassedOnAndNotKept(t *testing.T) {
	o := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "moved.deb") {
			http.Redirect(w, r, "/pool/there.deb", http.StatusFound)
			return
		}
		http.Error(w, "no such package", 404)
	})
	p := start(t, Config{})
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range 2 {
		p.get(t, o.URL+"/pool/none.deb").is(t, 404, "no such package\n", "miss")
		if a := p.get(t, o.URL+"/pool/moved.deb"); a.status != 302 || a.header.Get("Location") != "/pool/there.deb" {
			t.Errorf("redirect %+v", a)
		}
	}
	if n := o.asked.Load(); n != 4 {
		t.Errorf("asked %d times", n)
	}
}

func TestWhatIsPrivateIsNotKept(t *testing.T) {
	o := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/secret") {
			w.Header().Set("Cache-Control", "private")
		}
		fmt.Fprint(w, "for ", r.Header.Get("Authorization"))
	})
	p := start(t, Config{})
	p.get(t, o.URL+"/pool/a.deb", "Authorization", "me").is(t, 200, "for me", "")
	p.get(t, o.URL+"/pool/a.deb", "Authorization", "you").is(t, 200, "for you", "")
	p.get(t, o.URL+"/secret/pool/a.deb").is(t, 200, "for ", "miss")
	p.get(t, o.URL+"/secret/pool/a.deb").is(t, 200, "for ", "miss")
}

func TestCacheStaysInItsBoundAndKeepsWhatIsUsed(t *testing.T) {
	o := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 100)) })
	p := start(t, Config{Limit: 350})
	fetch := func(names ...string) {
		for _, n := range names {
			p.get(t, o.URL+"/pool/"+n+".deb")
		}
	}
	fetch("a", "b", "c", "a", "d") // b is the one not used for longest
	for name, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if _, kept := p.cache.get(o.URL + "/pool/" + name + ".deb"); kept != want {
			t.Errorf("%s: kept is %v", name, kept)
		}
	}
	if p.cache.total != 300 {
		t.Errorf("%d bytes", p.cache.total)
	}
}

func TestFetchesUnderWayStayInTheBoundOfTheCache(t *testing.T) {
	o := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			for {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}
		fmt.Fprint(w, strings.Repeat("x", 100))
	})
	p := start(t, Config{Limit: 10_000})
	for range 3 { // each gives its room back
		if resp, err := p.client.Get(o.URL + "/endless"); err == nil { // else it was cut off before its first bytes
			if n, err := io.Copy(io.Discard, resp.Body); err == nil || n > 10_000 {
				t.Errorf("got %d bytes, %v", n, err)
			}
			resp.Body.Close()
		}
		p.running.Wait()
		if a := p.get(t, o.URL+"/small"); a.status != 200 || len(a.body) != 100 {
			t.Errorf("afterwards: %+v", a)
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"url":"http://a/pool/b.deb","header":{"Etag":"x"},"size":3}`))
	f.Add([]byte(`{}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(dir, "e.json")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := readEntry(file); err == nil {
			_ = e.fresh(time.Now())
		}
	})
}
