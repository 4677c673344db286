package haproxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/value"
)

// balancer is what the attributes say of one component's HAProxy, and where
// what it needs goes.
type balancer struct {
	name       string
	address    string // the machine's
	listen     int
	mode       string
	balance    string
	check      string
	serverPort int
	maxconn    int
	servers    []netip.AddrPort // without repetitions
}

func (b balancer) file() string   { return filepath.Join("/etc/haproxy", b.name+".cfg") }
func (b balancer) socket() string { return adminSocket(b.name) }

// adminSocket must be short: a socket's name has at most 107 bytes.
func adminSocket(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join("/run", "aloft-haproxy-"+hex.EncodeToString(sum[:6])+".sock")
}

func (b balancer) at() string { return net.JoinHostPort(b.address, strconv.Itoa(b.listen)) }

func (b balancer) uri() string {
	switch {
	case b.mode == "tcp":
		return "tcp://" + b.at()
	case b.listen == 80:
		return "http://" + b.address + "/"
	}
	return "http://" + b.at() + "/"
}

// modes, and what each way of balancing is called in HAProxy's configuration.
var (
	modes     = []string{"http", "tcp"}
	balancing = map[string]string{
		"roundrobin": "balance roundrobin", "leastconn": "balance leastconn", "random": "balance random",
		"source": "balance source\n  hash-type consistent",
	}
	checkPath = regexp.MustCompile(`^/[A-Za-z0-9._~!&()*+,=:@%/?-]*$`)
	hostName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

// wrong says what is wrong with an attribute that is a word, or "".
func wrong(attr, text string) (expected string) {
	switch attr {
	case "mode":
		if !slices.Contains(modes, text) {
			return `"http" or "tcp"`
		}
	case "balance":
		if balancing[text] == "" {
			return `"roundrobin", "leastconn", "random" or "source"`
		}
	case "check":
		if text != "tcp" && text != "none" && !checkPath.MatchString(text) {
			return `"tcp", "none", or the path of a page, as "/health"`
		}
	}
	return ""
}

// read reads the attributes; the servers only if asked, since before start they
// may not be known.
func read(ctx context.Context, c *component.Call, attrs *value.Component, all bool) (balancer, error) {
	v := class.Values(attrs)
	b := balancer{
		name: host.ServiceName(c), address: c.Machine.Address,
		listen: v.Int("listen"), mode: v.Text("mode"), balance: v.Text("balance"), check: v.Text("check"),
		serverPort: v.Int("serverPort"), maxconn: v.Int("maxconn"),
	}
	if err := v.Err(); err != nil {
		return b, err
	}
	for attr, text := range map[string]string{"mode": b.mode, "balance": b.balance, "check": b.check} {
		if expected := wrong(attr, text); expected != "" {
			return b, fmt.Errorf("attribute %s: %q is not %s", attr, text, expected)
		}
	}
	if !all {
		return b, nil
	}
	servers, _ := attrs.Get("servers")
	found, err := addresses(ctx, servers, b.serverPort)
	if err != nil {
		return b, fmt.Errorf("attribute servers: %w", err)
	}
	for _, at := range found { // in the order of the description: it is that of the slots
		if !slices.Contains(b.servers, at) {
			b.servers = append(b.servers, at)
		}
	}
	return b, nil
}

// addresses reads servers: "host", "host:port", a component that has an
// address, or vectors of these, as references to sets of copies become.
func addresses(ctx context.Context, v value.Value, port int) ([]netip.AddrPort, error) {
	switch v := v.(type) {
	case nil:
		return nil, fmt.Errorf("it is missing")
	case value.Vector:
		var all []netip.AddrPort
		for _, e := range v {
			some, err := addresses(ctx, e, port)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
		return all, nil
	case value.String:
		h, p, err := splitServer(string(v), port)
		if err != nil {
			return nil, err
		}
		return lookUp(ctx, h, p)
	case *value.Component:
		h, err := addressOf(v)
		if err != nil {
			return nil, err
		}
		return lookUp(ctx, h, port)
	default:
		return nil, fmt.Errorf("want addresses or components, found a %s", v.Kind())
	}
}

// addressOf returns the host of a component: what it says of itself as ip or
// host, or that of its uri.
func addressOf(c *value.Component) (string, error) {
	for _, name := range []string{"ip", "host"} {
		if s, ok := textOf(c, name); ok {
			return s, nil
		}
	}
	if s, ok := textOf(c, "uri"); ok {
		if u, err := url.Parse(s); err == nil && u.Hostname() != "" {
			return u.Hostname(), nil
		}
	}
	return "", fmt.Errorf("a component that is referred to has no ip, host or uri: it does not serve")
}

func textOf(c *value.Component, name string) (string, bool) {
	v, _ := c.Get(name)
	s, ok := v.(value.String)
	return string(s), ok && s != ""
}

// splitServer reads "host", "host:port", an IPv6 address, or that in brackets
// with a port.
func splitServer(s string, port int) (string, int, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String(), port, nil
	}
	h, p, err := net.SplitHostPort(s)
	if err != nil {
		h, p = s, strconv.Itoa(port)
	}
	n, err := strconv.Atoi(p)
	if _, perr := netip.ParseAddr(h); err != nil || n < 1 || n > 65535 || perr != nil && !hostName.MatchString(h) {
		return "", 0, fmt.Errorf("%q is not host or host:port", s)
	}
	return h, n, nil
}

// lookUpTime is how long a name may take to be found.
const lookUpTime = 5 * time.Second

// lookUp returns the addresses of a host. HAProxy is told addresses only: what
// it is told while it runs cannot be a name.
func lookUp(ctx context.Context, name string, port int) ([]netip.AddrPort, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		if a.Zone() != "" || a.IsUnspecified() {
			return nil, fmt.Errorf("%q is no address of a server", name)
		}
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), uint16(port))}, nil
	}
	if !hostName.MatchString(name) {
		return nil, fmt.Errorf("%q is not the name or address of a host", name)
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, &component.Failure{
			Err:    fmt.Errorf("look up %s: %w", name, err),
			Remedy: "give its address, or make the name known to the machine (HostEntry)",
		}
	}
	var all []netip.AddrPort
	for _, a := range found {
		all = append(all, netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return all, nil
}

// drainTime is how long a server that is taken out, or a worker that a reload
// has replaced, may go on with what it has begun.
const drainTime = 30 * time.Second

// frame is all of the configuration but the servers, which are its last lines.
// A running HAProxy with another frame has to be reloaded.
func (b balancer) frame() string {
	var w bytes.Buffer
	fmt.Fprintf(&w, "  maxconn %d\n  user haproxy\n  group haproxy\n", b.maxconn)
	fmt.Fprintf(&w, "  stats socket %s mode 600 level admin expose-fd listeners\n  stats timeout 1m\n", b.socket())
	fmt.Fprintf(&w, "  hard-stop-after %ds\n  log stdout format raw daemon info\n", int(drainTime.Seconds()))
	fmt.Fprintf(&w, "defaults\n  log global\n  mode %s\n  option %slog\n  option dontlognull\n", b.mode, b.mode)
	w.WriteString("  option redispatch 1\n  retries 3\n" +
		"  timeout connect 2s\n  timeout client 2m\n  timeout server 2m\n  timeout queue 30s\n  timeout check 5s\n")
	if b.mode == "http" {
		w.WriteString("  timeout http-request 30s\n  timeout http-keep-alive 10s\n")
	}
	fmt.Fprintf(&w, "frontend front\n  bind *:%d\n  maxconn %d\n  default_backend %s\n", b.listen, b.maxconn, backend)
	fmt.Fprintf(&w, "backend %s\n  %s\n  option allbackups\n", backend, balancing[b.balance])
	if b.mode == "http" {
		w.WriteString("  option forwardfor\n  http-request set-header X-Forwarded-Proto http\n")
	}
	if strings.HasPrefix(b.check, "/") {
		fmt.Fprintf(&w, "  option httpchk GET %s\n", b.check)
	}
	check := " check"
	if b.check == "none" {
		check = ""
	}
	fmt.Fprintf(&w, "  default-server inter 1s fastinter 500ms downinter 250ms fall 2 rise 1%s\n", check)
	return w.String()
}

// backend is the name that servers are under. Each slot is there twice: as
// slotName, which is checked, and as reserveName, which is not and gets requests
// only while no server is found up. So one that has just begun to serve, and is
// not checked yet, answers when the last other one ends, and checks that fail
// everywhere do not end a service that may work.
const backend = "back"

func slotName(i int) string    { return "s" + strconv.Itoa(i+1) }
func reserveName(i int) string { return "reserve" + strconv.Itoa(i+1) }

// digest tells frames apart; a running HAProxy is asked for that of its own.
func (b balancer) digest() string {
	sum := sha256.Sum256([]byte(b.frame()))
	return hex.EncodeToString(sum[:8])
}

// config is the whole configuration, with these servers in its slots.
func (b balancer) config(slots []netip.AddrPort) []byte {
	var w bytes.Buffer
	fmt.Fprintf(&w, "# Written by aloft; changes are overwritten.\nglobal\n  description %s\n%s", b.digest(), b.frame())
	for i, at := range slots {
		used := at.String()
		if !at.IsValid() {
			// It has to have an address, which nothing is sent to.
			used = fmt.Sprintf("127.0.0.1:%d disabled", b.serverPort)
		}
		fmt.Fprintf(&w, "  server %s %s\n  server %s %s backup no-check\n", slotName(i), used, reserveName(i), used)
	}
	return w.Bytes()
}
