package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"aloft/api"
	"aloft/client"
	"aloft/internal/store"
)

// managers are who owns the systems, and how they are reached.
type managers struct {
	mu sync.Mutex
	// under mu:
	owner string // of all systems; "" is who asks
	at    map[string]net.Addr
}

func (m *managers) Owner(context.Context, string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owner
}

func (m *managers) Dial(ctx context.Context, manager string) (net.Conn, error) {
	m.mu.Lock()
	at := m.at[manager]
	m.mu.Unlock()
	if at == nil {
		return nil, errors.New("no session")
	}
	return (&net.Dialer{}).DialContext(ctx, at.Network(), at.String())
}

// tunnel serves s to other managers.
func (m *managers) tunnel(t *testing.T, id string, s *Server) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return m.tunnelAt(t, id, s, l)
}

// tunnelAt serves s to other managers at l.
func (m *managers) tunnelAt(t *testing.T, id string, s *Server, l net.Listener) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.ServeTunnels(ctx, l) }()
	m.mu.Lock()
	m.at[id] = l.Addr()
	m.mu.Unlock()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// forwarding is a manager at a socket that owns nothing.
func forwarding(t *testing.T, m *managers, own Service) *client.Client {
	t.Helper()
	return forwardingWith(t, Config{Service: own, Log: discard(), Rows: store.NewMemory(), Owners: m})
}

func forwardingWith(t *testing.T, cfg Config) *client.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	s := New(cfg)
	go func() { served <- s.ServeSocket(ctx, l) }()
	c := client.New(path)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c
}

// asked is a service that notes on whose behalf it is called.
type asked struct {
	counted
	caller api.Caller
}

func (a *asked) Apply(ctx context.Context, system, plan string) (*api.Deployment, error) {
	a.caller = api.CallerOf(ctx)
	return a.counted.Apply(ctx, system, plan)
}

func TestTheOwnerAnswersAndKnowsTheCaller(t *testing.T) {
	owner := &asked{}
	owner.exec = func(_ context.Context, _ string, _ api.ExecRequest, s api.ExecStreams) (int, error) {
		_, err := io.Copy(s.Stdout, s.Stdin)
		return 3, err
	}
	m := &managers{owner: "b", at: map[string]net.Addr{}}
	m.tunnel(t, "b", New(Config{Service: owner, Log: discard(), Rows: store.NewMemory()}))
	c := forwarding(t, m, &stub{}) // which would panic
	d, err := c.Apply(t.Context(), "shop", "p")
	if err != nil || d.Revision != 1 || owner.caller.Role != api.RoleOperator || !strings.HasPrefix(owner.caller.Name, "uid:") {
		t.Errorf("%+v, %v, asked by %+v", d, err, owner.caller)
	}
	// Errors keep their kind, and upgraded connections pass.
	if _, err := c.Apply(t.Context(), "shop", "bad"); api.KindOf(err) != api.KindStale {
		t.Errorf("%v", err)
	}
	var out strings.Builder
	status, err := c.Exec(t.Context(), "shop/web", api.ExecRequest{Command: []string{"cat"}}, api.ExecStreams{Stdin: strings.NewReader("hello"), Stdout: &out, Stderr: io.Discard})
	if status != 3 || err != nil || out.String() != "hello" {
		t.Errorf("exec: %d, %v, %q", status, err, out.String())
	}
}

// loses is a service whose system goes to another manager while it is asked.
type loses struct {
	stub
	m *managers
}

func (l *loses) Apply(context.Context, string, string) (*api.Deployment, error) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.owner = "b"
	return nil, &api.Error{Kind: api.KindUnavailable, Message: "the owner of system shop changes just now"}
}

func TestWhatALostSystemCannotAnswerItsNewOwnerDoes(t *testing.T) {
	owner := &asked{}
	m := &managers{at: map[string]net.Addr{}}
	m.tunnel(t, "b", New(Config{Service: owner, Log: discard(), Rows: store.NewMemory()}))
	var told []Change
	c := forwardingWith(t, Config{Service: &loses{m: m}, Log: discard(), Rows: store.NewMemory(), Owners: m, Audit: func(_ context.Context, c Change) { told = append(told, c) }})
	d, err := c.Apply(t.Context(), "shop", "p")
	if err != nil || d.Revision != 1 || owner.caller.Role != api.RoleOperator {
		t.Errorf("%+v, %v, asked by %+v", d, err, owner.caller)
	}
	if len(told) != 0 {
		t.Errorf("who has not done it notes %+v", told)
	}
}

// What a command wrote, and its status, come through however late its input
// ends: nobody closes a connection under the caller.
func TestACommandThatDoesNotReadIsAnsweredWhole(t *testing.T) {
	owner := &asked{}
	owner.exec = func(_ context.Context, _ string, _ api.ExecRequest, s api.ExecStreams) (int, error) {
		_, err := io.WriteString(s.Stdout, "done")
		return 3, err
	}
	m := &managers{owner: "b", at: map[string]net.Addr{}}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "b")) // a write to what is closed fails at once, as in a session
	if err != nil {
		t.Fatal(err)
	}
	m.tunnelAt(t, "b", New(Config{Service: owner, Log: discard(), Rows: store.NewMemory()}), l)
	c := forwarding(t, m, &stub{})
	input := strings.Repeat("unread", 20_000)
	for range 300 {
		var out strings.Builder
		status, err := c.Exec(t.Context(), "shop/web", api.ExecRequest{Command: []string{"true"}}, api.ExecStreams{Stdin: strings.NewReader(input), Stdout: &out, Stderr: io.Discard})
		if status != 3 || err != nil || out.String() != "done" {
			t.Fatalf("%d, %v, %q", status, err, out.String())
		}
	}
}

// A manager that ends cuts the answer under way: it is asked for again, by the
// same key, and not passed on by half.
func TestAnAnswerThatIsCutIsAskedForAgain(t *testing.T) {
	m := &managers{owner: "b", at: map[string]net.Addr{}}
	m.tunnel(t, "b", New(Config{Service: &counted{}, Log: discard(), Rows: store.NewMemory()}))
	whole := m.at["b"].String()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var copies sync.WaitGroup
	defer copies.Wait()
	defer l.Close()
	copies.Go(func() {
		for first := true; ; first = false {
			in, err := l.Accept()
			if err != nil {
				return
			}
			defer in.Close()
			if first {
				_, _ = in.Read(make([]byte, 1<<10))
				_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
				in.Close()
				continue
			}
			out, err := net.Dial("tcp", whole)
			if err != nil {
				t.Error(err)
				return
			}
			copies.Go(func() { _, _ = io.Copy(out, in); out.Close() })
			copies.Go(func() { _, _ = io.Copy(in, out); in.Close() })
		}
	})
	m.mu.Lock()
	m.at["b"] = l.Addr()
	m.mu.Unlock()
	c := forwarding(t, m, &stub{}) // which would panic
	if d, err := c.Apply(t.Context(), "shop", "p"); err != nil || d.Revision != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	c.Close()
}

// slowly is a service that answers nothing before it is told to.
type slowly struct {
	counted
	asked, answer chan struct{}
}

func (s *slowly) Apply(ctx context.Context, system, plan string) (*api.Deployment, error) {
	close(s.asked)
	<-s.answer
	return s.counted.Apply(ctx, system, plan)
}

// A manager that ends while it waits for the owner says so, and does not answer
// with nothing.
func TestAManagerThatEndsWhileItForwardsSaysSo(t *testing.T) {
	owner := &slowly{asked: make(chan struct{}), answer: make(chan struct{})}
	defer close(owner.answer)
	m := &managers{owner: "b", at: map[string]net.Addr{}}
	m.tunnel(t, "b", New(Config{Service: owner, Log: discard(), Rows: store.NewMemory()}))
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- New(Config{Service: &stub{}, Log: discard(), Rows: store.NewMemory(), Owners: m}).ServeSocket(ctx, l)
	}()
	c := client.New(path)
	defer c.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Apply(t.Context(), "shop", "p")
		failed <- err
	}()
	<-owner.asked
	end()
	if err := <-failed; api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "is ending") {
		t.Errorf("got %#v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A change finds the owner that took over; a read is answered from what is here.
func TestAChangeGoesToWhoTookOver(t *testing.T) {
	m := &managers{owner: "b", at: map[string]net.Addr{}}
	here, next := &counted{}, &counted{}
	c := forwarding(t, m, here)
	if d, err := c.Deployment(t.Context(), "shop"); err != nil || d.Revision != 0 {
		t.Errorf("a read while the owner is dead: %+v, %v", d, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Apply(t.Context(), "shop", "p")
		done <- err
	}()
	m.tunnel(t, "c", New(Config{Service: next, Log: discard(), Rows: store.NewMemory()}))
	m.mu.Lock()
	m.owner = "c"
	m.mu.Unlock()
	if err := <-done; err != nil || next.applied != 1 || here.applied != 0 {
		t.Errorf("%v; made %d times there, %d times here", err, next.applied, here.applied)
	}
	m.mu.Lock()
	m.owner = ""
	m.mu.Unlock()
	if _, err := c.Apply(t.Context(), "shop", "q"); err != nil || here.applied != 1 {
		t.Errorf("once we own it: %v, made %d times", err, here.applied)
	}
}

func TestAnUnreachableOwnerIsToldOf(t *testing.T) {
	m := &managers{owner: "b", at: map[string]net.Addr{}}
	c := forwarding(t, m, &counted{})
	_, err := c.Apply(t.Context(), "shop", "p")
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Kind != api.KindUnavailable || e.RetryAfter == 0 {
		t.Errorf("%v", err)
	}
}

func TestAForwardedRequestIsNotForwardedAgain(t *testing.T) {
	m := &managers{owner: "elsewhere", at: map[string]net.Addr{}}
	m.tunnel(t, "b", New(Config{Service: &counted{}, Log: discard(), Owners: m}))
	m.mu.Lock()
	at := m.at["b"].String()
	m.mu.Unlock()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at+"/v1/systems/shop/deployment", strings.NewReader(`{"plan":"p"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(callerHeader, "otto")
	r.Header.Set(roleHeader, string(api.RoleOperator))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s", resp.Status)
	}
}
