package pkgproxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestOnlyReadingAndOnlyOutside(t *testing.T) {
	p := start(t, Config{Refuse: []netip.Prefix{netip.MustParsePrefix("10.88.0.0/20")}})
	p.allowed = p.outside
	for _, c := range []struct {
		method, url string
		status      int
	}{
		{"POST", "http://example.org/", 405},
		{"PUT", "http://example.org/", 405},
		{"GET", "http://127.0.0.1:80/", 403},
		{"GET", "http://[::1]/", 403},
		{"GET", "http://[::ffff:127.0.0.1]/", 403},
		{"GET", "http://localhost./", 403},
		{"GET", "http://0.0.0.0/", 403},
		{"GET", "http://169.254.169.254/latest/meta-data", 403},
		{"GET", "http://[fe80::1]/", 403},
		{"HEAD", "http://10.88.0.1/", 403},
		{"GET", "ftp://example.org/", 400},
		{"GET", "/relative", 400},
		{"CONNECT", "127.0.0.1:443", 403},
		{"CONNECT", "example.org:22", 403},
		{"CONNECT", "example.org:80", 403},
	} {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", c.method, c.url)
		b, _ := io.ReadAll(conn)
		_ = conn.Close()
		if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); !strings.HasPrefix(string(b), want) {
			t.Errorf("%s %s: %.60q, want %d", c.method, c.url, b, c.status)
		}
	}
}

// A name that leads inside is refused when it is dialled.
func TestNameThatLeadsInsideIsRefused(t *testing.T) {
	p := start(t, Config{})
	p.allowed = p.outside
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := net.LookupHost(name)
	if err != nil {
		t.Skip("this host cannot resolve its own name")
	}
	for _, a := range addrs {
		p.cfg.Refuse = append(p.cfg.Refuse, netip.PrefixFrom(netip.MustParseAddr(a), netip.MustParseAddr(a).BitLen()))
	}
	if a := p.get(t, "http://"+name+":1/pool/a.deb"); a.status != 403 {
		t.Errorf("got %+v", a)
	}
}

func TestTLSIsTunnelledAlsoByTheHostsProxy(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") }))
	defer secure.Close()
	// The origin's port is not 443: a proxy of the host leads there.
	asked := make(chan string, 1)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization")
		far, err := net.Dial("tcp", secure.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}))
	defer host.Close()
	p := start(t, Config{Upstream: Upstream{HTTPS: strings.Replace(host.URL, "http://", "http://me:pass@", 1)}})
	tr := p.client.Transport.(*http.Transport)
	tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	p.get(t, "https://packages.test/").is(t, 200, "secret", "")
	if got := <-asked; got != "CONNECT packages.test:443 Basic bWU6cGFzcw==" {
		t.Errorf("the host's proxy was asked %q", got)
	}
}

func TestTunnelEndsWithRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // a proxy that connects and is silent then
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}()
	p := start(t, Config{Upstream: Upstream{HTTPS: "http://" + l.Addr().String()}})
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "CONNECT packages.test:443 HTTP/1.1\r\nHost: packages.test:443\r\n\r\n")
	if _, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 200"))); err != nil {
		t.Fatal(err)
	}
	p.stop() // returns only when all has ended
	if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

func TestHostsProxyIsUsed(t *testing.T) {
	host := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "by proxy: ", r.URL) })
	p := start(t, Config{Upstream: Upstream{
		HTTP:  host.URL,
		Hosts: map[string]string{"http direct.test": ""},
	}})
	p.allowed = p.outside // the proxy itself is inside, and allowed
	p.get(t, "http://archive.test/pool/a.deb").is(t, 200, "by proxy: http://archive.test/pool/a.deb", "miss")
	if a := p.get(t, "http://direct.test/pool/a.deb"); a.status != 502 {
		t.Errorf("a host without proxy: %+v", a)
	}
}

func TestAptsProxiesAreRead(t *testing.T) {
	u := Upstream{HTTP: "http://of.environment:1", HTTPS: "http://of.environment:2", Hosts: map[string]string{}}
	u.apt([]byte(`APT "";
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://cache.test:3142";
Acquire::HTTP::Proxy::Other.test "DIRECT";
Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";
Acquire::https::Proxy "false";
Acquire::http::Pipeline-Depth "5";
`))
	for address, want := range map[string]string{
		"http://deb.test/":   "http://cache.test:3142",
		"http://other.test/": "",
		"https://deb.test/":  "",
	} {
		to, _ := url.Parse(address)
		got, err := u.proxyOf(to)
		if err != nil || (got == nil) != (want == "") || (got != nil && got.String() != want) {
			t.Errorf("%s: %v, %v; want %q", address, got, err, want)
		}
	}
	if !u.isProxy("cache.test:3142") || u.isProxy("deb.test:80") {
		t.Error("the host's proxies are not told from others")
	}
	if got := HostUpstream(t.Context(), []string{"no_proxy=a.test", "x"}).No; got != "a.test" {
		t.Errorf("no_proxy is %q", got)
	}
}

func FuzzAptDump(f *testing.F) {
	f.Add([]byte("Acquire::http::Proxy \"http://cache.test:3142\";\n"), "http://deb.test/x")
	f.Add([]byte("Acquire::https::Proxy::a \"%\";"), "https://a/")
	f.Fuzz(func(t *testing.T, dump []byte, address string) {
		to, err := url.Parse(address)
		if err != nil {
			return
		}
		u := Upstream{Hosts: map[string]string{}}
		u.apt(dump)
		if p, err := u.proxyOf(to); err == nil && p != nil && p.String() == "" {
			t.Errorf("an empty proxy for %q", address)
		}
	})
}

func TestAddressesOfTheHostAreItsOwn(t *testing.T) {
	p := start(t, Config{})
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if addr := netip.MustParsePrefix(a.String()).Addr(); p.outside(addr) {
			t.Errorf("%s may be reached", addr)
		}
	}
	if other := netip.MustParseAddr("192.0.2.1"); !p.outside(other) {
		t.Errorf("%s may not be reached", other)
	}
}
