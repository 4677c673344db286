package pkgproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/http/httpproxy"
)

// Upstream is the proxies that the host itself has to use, as URLs; empty
// means none.
type Upstream struct {
	HTTP  string
	HTTPS string
	// Hosts has a proxy, or "" for none, for single hosts, as apt's
	// configuration can say; "http " or "https " stands before the host.
	Hosts map[string]string
	No    string // hosts to reach without, as in the environment's no_proxy
}

// HostUpstream reads the proxies of the host: apt's own configuration first,
// then the environment (the form is os.Environ's). A host without apt has
// only the latter.
func HostUpstream(ctx context.Context, environ []string) Upstream {
	u := Upstream{Hosts: map[string]string{}}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch strings.ToLower(name) {
		case "http_proxy":
			u.HTTP = value
		case "https_proxy":
			u.HTTPS = value
		case "no_proxy":
			u.No = value
		}
	}
	out, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return u // no apt: its setting cannot exist
	}
	u.apt(out)
	return u
}

// apt takes over what "apt-config dump" prints about proxies.
func (u *Upstream) apt(dump []byte) {
	for lines := bufio.NewScanner(bytes.NewReader(dump)); lines.Scan(); {
		name, value, ok := strings.Cut(strings.TrimSuffix(lines.Text(), ";"), " ")
		if !ok {
			continue
		}
		value, err := strconv.Unquote(value)
		if err != nil {
			continue
		}
		if value == "DIRECT" || value == "false" {
			value = ""
		}
		scheme, rest, ok := cutScheme(name)
		switch {
		case !ok:
		case rest == "" && scheme == "http":
			u.HTTP = value
		case rest == "" && scheme == "https":
			u.HTTPS = value
		case strings.HasPrefix(rest, "::"):
			u.Hosts[scheme+" "+strings.ToLower(rest[2:])] = value
		}
	}
}

func cutScheme(name string) (scheme, rest string, ok bool) {
	for _, scheme := range []string{"http", "https"} {
		prefix := "acquire::" + scheme + "::proxy"
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return scheme, name[len(prefix):], true
		}
	}
	return "", "", false
}

// proxyOf returns the proxy for a destination, or nil.
func (u Upstream) proxyOf(to *url.URL) (*url.URL, error) {
	if p, ok := u.Hosts[to.Scheme+" "+strings.ToLower(to.Hostname())]; ok {
		if p == "" {
			return nil, nil
		}
		return url.Parse(p)
	}
	return (&httpproxy.Config{HTTPProxy: u.HTTP, HTTPSProxy: u.HTTPS, NoProxy: u.No}).ProxyFunc()(to)
}

// isProxy reports whether address (host:port) is one of the host's proxies.
func (u Upstream) isProxy(address string) bool {
	is := func(proxy string) bool {
		p, err := (&httpproxy.Config{HTTPProxy: proxy}).ProxyFunc()(&url.URL{Scheme: "http", Host: "example.org"})
		return err == nil && p != nil && hostPort(p) == address
	}
	for _, proxy := range u.Hosts {
		if is(proxy) {
			return true
		}
	}
	return is(u.HTTP) || is(u.HTTPS)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// dial connects to an origin, or to one of the host's own proxies. The address
// is looked at once the name is resolved, so no name can lead inside.
func (p *Proxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	if !p.cfg.Upstream.isProxy(address) {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil || !p.allowed(to.Addr()) {
				return fmt.Errorf("destination %s refused: %w", address, errOwn)
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

func containsAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}
