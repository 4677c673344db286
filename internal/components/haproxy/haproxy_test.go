package haproxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/haproxy"
	"aloft/internal/host"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

var attrs = componenttest.Data

func daemon(t testing.TB) (component.Manager, func()) {
	log := slog.New(slog.DiscardHandler)
	p := host.NewProcesses(log)
	return haproxy.New(p, host.NewPackages(log)), componenttest.Loop(p.Run)
}

// server answers with its name, whom it was asked for, and by which scheme.
func server(t *testing.T, name string) value.String {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s for %s by %s", name, r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	}))
	t.Cleanup(s.Close)
	return value.String(s.Listener.Addr().String())
}

// anywhere serves on all addresses of the loopback network, at one port.
func anywhere(t *testing.T) int {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "here") })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func get(port value.Value) (int, string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// answering returns which servers answer, and how many answers were none.
func answering(t testing.TB, port value.Value, requests int) (seen map[string]bool, refused int) {
	t.Helper()
	seen = map[string]bool{}
	for range requests {
		status, body, err := get(port)
		if err != nil {
			t.Error(err)
		}
		if status != http.StatusOK {
			refused++
			continue
		}
		name, rest, _ := strings.Cut(body, " ")
		seen[name] = true
		if rest != "for 127.0.0.1 by http" && rest != "for  by " {
			t.Errorf("told %q", rest)
		}
	}
	return seen, refused
}

// portOf is the port of an address.
func portOf(t *testing.T, at value.String) value.Integer {
	t.Helper()
	_, text, err := net.SplitHostPort(string(at))
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return value.Integer(port)
}

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	port, other, used := componenttest.FreePort(t), componenttest.FreePort(t), componenttest.FreePort(t)
	one, two, three := server(t, "one"), server(t, "two"), server(t, "three")
	dead := value.String(fmt.Sprintf("127.0.0.1:%d", componenttest.FreePort(t)))
	many := value.Vector{one, two}
	for n := range 20 {
		many = append(many, value.String(fmt.Sprintf("127.0.1.%d:%d", n+1, used)))
	}
	given := func(servers value.Vector, more ...any) *value.Component {
		return attrs(append([]any{"listen", port, "serverPort", used, "servers", servers}, more...)...)
	}
	componenttest.Run(t, daemon, componenttest.Case{
		Name:    "haproxy",
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
		Slow:    true,
		Attrs:   given(value.Vector{one, two}),
		Changes: []*value.Component{
			given(value.Vector{two, value.Vector{three, three}}), // by socket
			given(many), // more than there are slots
			given(value.Vector{dead, three}, "balance", value.String("leastconn")), // another frame
			given(value.Vector{dead, one}, "check", value.String("/"), "balance", value.String("leastconn")),
			attrs("listen", other, "serverPort", used, "servers", value.Vector{one}, "mode", value.String("tcp"), "maxconn", value.Integer(100)),
			given(value.Vector{}),
			attrs("listen", port, "serverPort", portOf(t, one), "servers", value.Vector{value.String("127.0.0.1")}), // of which only the host is named
			attrs("listen", port, "serverPort", portOf(t, two), "servers", value.Vector{value.String("127.0.0.1")}),
		},
		Check: func(t testing.TB, c *component.Call) {
			p, _ := c.Attrs.Get("listen")
			v, _ := c.Attrs.Get("servers")
			want := map[string]bool{}
			texts := fmt.Sprint(v)
			if serverPort, _ := c.Attrs.Get("serverPort"); texts == "[127.0.0.1]" {
				texts = fmt.Sprintf("127.0.0.1:%v", serverPort)
			}
			for name, at := range map[string]value.String{"one": one, "two": two, "three": three} {
				if strings.Contains(texts, string(at)) {
					want[name] = true
				}
			}
			deadline := time.Now().Add(20 * time.Second)
			for {
				seen, refused := answering(t, p, 8)
				if len(want) == 0 {
					if refused != 8 {
						t.Errorf("%d of 8 are refused, without a server", refused)
					}
					return
				}
				if fmt.Sprint(seen) == fmt.Sprint(want) && refused == 0 {
					return
				}
				if time.Now().After(deadline) { // what is dead is known to be after some checks
					t.Errorf("answers by %v, and %d refused; want %v", seen, refused, want)
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			p := host.NewProcesses(slog.New(slog.DiscardHandler))
			if err := p.Stop(t.Context(), c.WorkDir, syscall.SIGTERM, 0, nil); err != nil {
				t.Error(err)
			}
		},
		Kept: func(t testing.TB, c *component.Call) {
			if left, _ := filepath.Glob("/etc/haproxy/aloft-*.cfg"); len(left) != 1 {
				t.Errorf("its configuration: %s", left)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			for _, pattern := range []string{"/etc/haproxy/aloft-*", "/run/aloft-*"} {
				if left, _ := filepath.Glob(pattern); len(left) > 0 {
					t.Errorf("left over: %s", left)
				}
			}
		},
	})
}

func TestNoRequestFails(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	t.Run("while servers change", serversChange)
	t.Run("before a check has found a server up", serversNotFoundUpYet)
}

// A balancer whose servers all change, one after the other, while requests come
// and one of them takes long, fails none of them, and is the same process.
func serversChange(t *testing.T) {
	m, end := daemon(t)
	defer end()
	port := componenttest.FreePort(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-finish
		}
		fmt.Fprint(w, "slow for 127.0.0.1 by http")
	}))
	defer slow.Close()
	first := value.String(slow.Listener.Addr().String())
	given := func(servers ...value.Value) *value.Component {
		return attrs("listen", port, "serverPort", value.Integer(80), "servers", value.Vector(servers))
	}
	c := &component.Call{
		System: "s", Path: "lb", Attrs: given(first), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
	}
	do := func(what string, op func(context.Context, *component.Call) error) {
		t.Helper()
		if err := op(t.Context(), c); err != nil {
			output, _ := component.Detail(err)
			t.Fatalf("%s: %v\n%s", what, err, strings.Join(output, "\n"))
		}
	}
	do("deploy", m.Deploy)
	do("start", m.Start)
	supervisor := host.NewProcesses(slog.New(slog.DiscardHandler))
	master := supervisor.Pid(c.WorkDir)
	workers, err := supervisor.Children(c.WorkDir)
	if err != nil {
		t.Fatal(err)
	}

	var clients sync.WaitGroup
	stop := make(chan struct{})
	defer clients.Wait()
	defer sync.OnceFunc(func() { close(stop) })()
	clients.Go(func() { // at most 20 requests a second
		for n := range 2000 {
			if status, _, err := get(port); err != nil || status != http.StatusOK {
				t.Errorf("request %d: %d, %v", n, status, err)
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	long := make(chan string)
	go func() {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			long <- err.Error()
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /slow HTTP/1.0\r\n\r\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		long <- strings.TrimSpace(line)
	}()
	<-begun
	drained := make(chan struct{})
	go func() {
		time.Sleep(time.Second) // the server is being drained by then
		select {
		case <-drained:
			t.Error("a server with a request under way was given up")
		default:
		}
		close(finish)
	}()
	servers := []value.String{first, server(t, "two"), server(t, "three")}
	change := func(to *value.Component) {
		t.Helper()
		c.Old, c.Attrs = c.Attrs, to
		do("reconfigure", m.Reconfigure)
	}
	change(given(servers[1]))
	close(drained)
	if got := <-long; got != "HTTP/1.1 200 OK" && got != "HTTP/1.0 200 OK" {
		t.Errorf("the request that took long: %q", got)
	}
	for n := range 20 { // each slot is used again
		change(given(servers[1+n%2]))
	}
	now, err := supervisor.Children(c.WorkDir)
	if err != nil || supervisor.Pid(c.WorkDir) != master || fmt.Sprint(now) != fmt.Sprint(workers) {
		t.Errorf("the process was %d with %v, is %d with %v (%v)", master, workers, supervisor.Pid(c.WorkDir), now, err)
	}
	// More than there are slots: other workers, and no request fails either.
	var all []value.Value
	everywhere := anywhere(t)
	for n := range 40 {
		all = append(all, value.String(fmt.Sprintf("127.0.%d.1:%d", n, everywhere)))
	}
	change(given(all...))
	if now, err := supervisor.Children(c.WorkDir); err != nil || fmt.Sprint(now) == fmt.Sprint(workers) {
		t.Errorf("the workers are %v still (%v)", now, err)
	}
	change(given(servers[2]))
	do("ping", m.Ping)
	close(stop)
	clients.Wait()
	stop = make(chan struct{}) // the deferred close has nothing to end any more
	do("terminate", m.Terminate)
}

// Two servers take turns: as soon as one has begun to serve the other one ends,
// whatever checks have found by then. No request fails; and where every check
// fails, servers are asked all the same.
func serversNotFoundUpYet(t *testing.T) {
	m, end := daemon(t)
	defer end()
	port := componenttest.FreePort(t)
	var unwell atomic.Bool // says every check
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && unwell.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	serve := func(at string) *httptest.Server {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(answer)
		s.Listener.Close()
		s.Listener = l
		s.Start()
		return s
	}
	at := [2]string{fmt.Sprintf("127.0.0.1:%d", componenttest.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", componenttest.FreePort(t))}
	servers := [2]*httptest.Server{serve(at[0])}
	c := &component.Call{
		System: "s", Path: "lb", WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
		Attrs:   attrs("listen", port, "serverPort", value.Integer(80), "check", value.String("/health"), "servers", value.Vector{value.String(at[0]), value.String(at[1])}),
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
	}
	if err := errors.Join(m.Deploy(t.Context(), c), m.Start(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	defer m.Terminate(t.Context(), c)
	ask := func(requests int) {
		t.Helper()
		for n := range requests {
			if status, _, err := get(port); err != nil || status != http.StatusOK {
				t.Errorf("request %d: %d, %v", n, status, err)
			}
		}
	}
	serving := 0
	for range 6 {
		ask(20)
		servers[1-serving] = serve(at[1-serving])
		servers[serving].Close()
		serving = 1 - serving
	}
	defer servers[serving].Close()
	unwell.Store(true)
	for found := error(nil); !errors.Is(found, component.ErrNoEnd); found = m.Ping(t.Context(), c) {
		ask(1) // until checks have found that none is up
	}
	ask(20)
}

func TestPlanningRefuses(t *testing.T) {
	check := (*haproxy.Manager)(nil).Class().Check
	target := component.Target{Isolation: true, Privileged: true}
	for name, a := range map[string]*value.Component{
		"a mode that is none":        attrs("mode", value.String("udp")),
		"a way that is none":         attrs("balance", value.String("rr\n  stats enable")),
		"a check that is none":       attrs("check", value.String("ping")),
		"a check with more words":    attrs("check", value.String("/ HTTP/1.1\n  stats enable")),
		"pages of plain connections": attrs("check", value.String("/x"), "mode", value.String("tcp")),
		"a port that is none":        attrs("listen", value.Integer(70000)),
	} {
		if p := check(a, target); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
