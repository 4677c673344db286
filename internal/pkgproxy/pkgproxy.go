// Package pkgproxy is the caching forward proxy that package managers inside
// machines use: with it a machine needs no forwarding, no address translation
// and no name service, and forty machines load a package once.
//
// What cannot change under its address (packages, indices by hash) is kept
// until room is needed; everything else is asked for again after a few
// minutes, and served old, with a Warning, when its origin cannot be reached.
// A download that broke is never served as a whole one. HTTPS is tunnelled to
// port 443 and not looked into.
//
// The proxy refuses methods that change something, and destinations that are
// the host's own: loopback, link-local, the addresses of its interfaces, and
// what Config.Refuse names. What is being fetched takes no more room than the
// cache may. Run starts all goroutines and ends when they have ended.
package pkgproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fresh is how long an index is served without asking its origin.
	fresh = 5 * time.Minute
	// down is how long an origin that could not be reached is not asked again,
	// where an old copy can be served.
	down = 10 * time.Second
	// dialTimeout and headerTimeout bound the wait for an origin that is silent.
	dialTimeout   = 10 * time.Second
	headerTimeout = 20 * time.Second
	// grace is how long requests under way may take when Run is to end.
	grace = time.Second
)

// Config says where a proxy listens and what it may use.
type Config struct {
	Listener net.Listener   // closed by Run
	Dir      string         // folder of the cache; made with mode 0700
	Limit    int64          // bytes of the cache at most
	Upstream Upstream       // the proxies that the host itself uses
	Refuse   []netip.Prefix // destinations to refuse: the bridge's network
	Log      *slog.Logger
}

// Proxy is one proxy with its cache.
type Proxy struct {
	cfg       Config
	cache     *cache
	transport *http.Transport
	allowed   func(netip.Addr) bool
	now       func() time.Time

	running sync.WaitGroup // fetches and tunnels
	coming  atomic.Int64   // bytes of fetches that have not ended

	mu sync.Mutex
	// The fields below are guarded by mu.
	flights map[string]*flight   // by URL
	silent  map[string]time.Time // hosts that could not be reached, and until when not to try
	tunnels map[net.Conn]bool    // both ends of each
	ending  bool
}

// New opens the cache. Run serves.
func New(cfg Config) (*Proxy, error) {
	c, err := openCache(cfg.Dir, cfg.Limit)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg: cfg, cache: c, now: time.Now,
		flights: map[string]*flight{}, silent: map[string]time.Time{}, tunnels: map[net.Conn]bool{},
	}
	p.allowed = p.outside
	p.transport = &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return cfg.Upstream.proxyOf(r.URL) },
		DialContext:           p.dial,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   8,
		DisableCompression:    true, // keep the bytes that the origin signs
	}
	return p, nil
}

// Run serves until ctx ends, and returns when every request has ended.
func (p *Proxy) Run(ctx context.Context) error {
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(base) },
		ErrorLog:          slog.NewLogLogger(p.cfg.Log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(p.cfg.Listener) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		if srv.Shutdown(stop) != nil {
			_ = srv.Close()
		}
		cancel()
		<-served
	}
	p.end()
	p.running.Wait()
	p.transport.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("package proxy: %w", err)
	}
	return nil
}

// end cuts tunnels and fetches, and keeps new ones from starting.
func (p *Proxy) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = true
	for c := range p.tunnels {
		_ = c.Close()
	}
	for _, f := range p.flights {
		f.cancel()
	}
}

// ServeHTTP answers one request of a package manager.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodConnect:
		p.tunnel(w, r)
	case http.MethodGet, http.MethodHead:
		if r.URL.Scheme != "http" || r.URL.Host == "" {
			refuse(w, http.StatusBadRequest, "this is a proxy for packages: ask it for http://HOST/PATH, or to CONNECT")
			return
		}
		if err := p.mayReach(r.URL.Hostname()); err != nil {
			refuse(w, http.StatusForbidden, err.Error())
			return
		}
		p.get(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, CONNECT")
		refuse(w, http.StatusMethodNotAllowed, "the package proxy takes GET, HEAD and CONNECT only")
	}
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "aloft: "+text+"\n")
}

// get answers from the cache, from a fetch that others wait for too, or from
// the origin.
func (p *Proxy) get(w http.ResponseWriter, r *http.Request) {
	key := keyOf(r.URL)
	// What was made for one user is none of the others'.
	if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.URL.User != nil {
		p.pass(w, r)
		return
	}
	again := strings.Contains(r.Header.Get("Cache-Control"), "no-cache")
	for range 3 {
		if e, file := p.cache.open(key); file != nil {
			if !again && (e.fresh(p.now()) || p.isSilent(r.URL.Host)) {
				warning := ""
				if !e.fresh(p.now()) {
					warning = stale
				}
				p.serve(w, r, e, file, "hit", warning)
				return
			}
			_ = file.Close()
		}
		if r.Method == http.MethodHead {
			p.pass(w, r)
			return
		}
		f := p.join(key, r)
		if f == nil {
			refuse(w, http.StatusServiceUnavailable, "the package proxy is ending")
			return
		}
		if p.follow(w, r, f) {
			return
		}
		again = false // the fetch found that what is kept still holds
	}
	refuse(w, http.StatusServiceUnavailable, "the package cache is too small for "+key)
}

// stale is the header of RFC 7234 for what is served although its origin
// could not be asked.
const stale = `111 aloft "Revalidation Failed"`

// follow answers from f. It returns false when the cache has the answer now.
func (p *Proxy) follow(w http.ResponseWriter, r *http.Request, f *flight) bool {
	defer p.leave(f)
	select {
	case <-f.ready:
	case <-r.Context().Done():
		return true
	}
	switch {
	case f.err != nil:
		if e, file := p.cache.open(f.key); file != nil {
			p.serve(w, r, e, file, "stale", stale)
			return true
		}
		refuse(w, statusOf(f.err), fmt.Sprintf("fetch %s: %v", f.key, f.err))
		return true
	case f.unchanged:
		return false
	}
	maps.Copy(w.Header(), f.header)
	w.Header().Set("X-Cache", "miss")
	if f.status != http.StatusOK {
		w.WriteHeader(f.status)
		_, _ = w.Write(f.body)
		return true
	}
	content := &growing{ctx: r.Context(), flight: f, flush: http.NewResponseController(w).Flush}
	if f.size >= 0 && f.header.Get("Content-Encoding") == "" {
		// A broken fetch leaves the answer shorter than announced, and the
		// server closes the connection.
		http.ServeContent(w, r, "", modified(f.header), content)
		return true
	}
	w.WriteHeader(http.StatusOK)
	if _, err := io.Copy(w, content); err != nil {
		panic(http.ErrAbortHandler) // the only way to tell that there is more
	}
	return true
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, e entry, file *os.File, how, warning string) {
	defer file.Close()
	for name, value := range e.Header {
		w.Header().Set(name, value)
	}
	w.Header().Set("X-Cache", how)
	if warning != "" {
		w.Header().Set("Warning", warning)
	}
	t, _ := http.ParseTime(e.Header["Last-Modified"])
	http.ServeContent(w, r, "", t, file)
}

// pass forwards a request and its answer, and keeps nothing.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	dropHops(out.Header)
	resp, err := p.transport.RoundTrip(out)
	if err != nil {
		refuse(w, statusOf(err), fmt.Sprintf("fetch %s: %v", keyOf(r.URL), err))
		return
	}
	defer resp.Body.Close()
	dropHops(resp.Header)
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// keyOf is the address something is kept under.
func keyOf(u *url.URL) string {
	k := *u
	k.User, k.Fragment, k.RawFragment = nil, "", ""
	k.Host = strings.TrimSuffix(strings.ToLower(k.Host), ":80")
	return k.String()
}

// immutable reports whether what has this path never changes.
func immutable(path string) bool {
	return strings.Contains(path, "/by-hash/") || strings.Contains(path, "/pool/") ||
		slices.ContainsFunc([]string{".deb", ".udeb", ".ddeb"}, func(end string) bool { return strings.HasSuffix(path, end) })
}

// dropHops deletes the headers that are between two neighbours only.
func dropHops(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade",
	} {
		h.Del(name)
	}
}

func modified(h http.Header) time.Time {
	t, _ := http.ParseTime(h.Get("Last-Modified"))
	return t
}

func (p *Proxy) isSilent(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now().Before(p.silent[host])
}

func (p *Proxy) setSilent(host string, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.silent, host)
	if silent {
		maps.DeleteFunc(p.silent, func(_ string, until time.Time) bool { return until.Before(p.now()) })
		p.silent[host] = p.now().Add(down)
	}
}

// errOwn says that a destination belongs to the host.
var errOwn = errors.New("it is the host's own or not on the network")

func statusOf(err error) int {
	if errors.Is(err, errOwn) {
		return http.StatusForbidden
	}
	return http.StatusBadGateway
}

// mayReach refuses names and addresses that are plainly the host's own. What
// a name leads to is looked at when it is dialled.
func (p *Proxy) mayReach(host string) error {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	addr, err := netip.ParseAddr(host)
	if name == "" || (err != nil && (name == "localhost" || strings.HasSuffix(name, ".localhost"))) ||
		(err == nil && !p.allowed(addr)) {
		return fmt.Errorf("destination %s refused: %w", host, errOwn)
	}
	return nil
}

// outside reports whether the proxy may connect to addr for a machine.
func (p *Proxy) outside(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() || addr.IsMulticast() {
		return false
	}
	return !slices.ContainsFunc(p.cfg.Refuse, func(n netip.Prefix) bool { return n.Contains(addr) }) && !own(addr)
}

// own reports whether addr is one of this host's at present: its services may
// take who comes from there for one of its users.
func own(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(a net.Addr) bool {
		n, err := netip.ParsePrefix(a.String())
		return err == nil && n.Addr().Unmap() == addr
	})
}
