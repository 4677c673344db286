package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"aloft/api"
	"aloft/client"
	"aloft/internal/identity"
	"aloft/internal/store"

	"github.com/google/uuid"
)

// cluster is the identity of a cluster's manager.
type cluster struct{ *identity.Manager }

func newCluster(t testing.TB) cluster {
	t.Helper()
	m, err := identity.OpenManager(identity.ManagerConfig{Dir: filepath.Join(t.TempDir(), "identity"), ID: uuid.NewString(), Tokens: &identity.MemoryTokens{}, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	return cluster{m}
}

// user returns a user's certificate and the same as the client's access.
func (c cluster) user(t testing.TB, name string, role identity.Role, life time.Duration) (tls.Certificate, *client.Access) {
	t.Helper()
	key, request, err := identity.NewUserRequest(name)
	if err != nil {
		t.Fatal(err)
	}
	chain, roots, err := c.IssueUser(t.Context(), name, "", role, request, life)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	for _, der := range append(chain, roots...) {
		text.WriteString(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	}
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: private}, &client.Access{Name: name, Role: string(role), Cluster: c.Name().Cluster, Identity: text.String()}
}

// machine returns the certificate of an enrolled machine.
func (c cluster) machine(t testing.TB) tls.Certificate {
	t.Helper()
	id := uuid.NewString()
	token, err := c.NewToken(t.Context(), id, "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	m, err := identity.OpenMachine(filepath.Join(t.TempDir(), "machine"), id, token.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	request, err := m.Request()
	if err != nil {
		t.Fatal(err)
	}
	chain, roots, err := c.Enrol(t.Context(), token.String(), id, request)
	if err == nil {
		err = m.Install(chain, roots)
	}
	if err != nil {
		t.Fatal(err)
	}
	return *m.Certificate()
}

func (c cluster) identify(chain []*x509.Certificate) (api.Caller, error) {
	name, role, _, err := c.Trust().VerifyUser(chain)
	return api.Caller{Name: name.ID, Role: api.Role(role)}, err
}

// listen serves s over TLS at a loopback address until the test ends or the
// func it returns is called.
func (c cluster) listen(t testing.TB, s *Server) (address string, stop func()) {
	t.Helper()
	s.cfg.Identify, s.cfg.Changed = c.identify, c.Changed
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.Certificate(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.ServeNetwork(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// caller is an HTTP client with certificates, none of which are checked.
func caller(t testing.TB, http2 bool, own ...tls.Certificate) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{Certificates: own, InsecureSkipVerify: true}, ForceAttemptHTTP2: http2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// anything answers every operation with nothing.
func anything(t testing.TB) *Server {
	s := New(Config{Service: &stub{}, Log: discard()})
	// What is behind the guard is not what these tests are about.
	mux := http.NewServeMux()
	for pattern := range routes {
		guarded{mux, s}.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	}
	mux.HandleFunc("/", s.nowhere)
	s.mux = mux
	return s
}

// Every operation of the document has a row, and every row an operation.
func TestEveryOperationHasARow(t *testing.T) {
	s := New(Config{Log: discard()})
	seen := map[string]bool{}
	for path, item := range s.api.OpenAPI().Paths {
		for method, op := range map[string]any{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete, "PATCH": item.Patch, "HEAD": item.Head} {
			if fmt.Sprint(op) == "<nil>" {
				continue
			}
			pattern := method + " " + path
			seen[pattern] = true
			if _, ok := routes[pattern]; !ok {
				t.Errorf("%s has no row", pattern)
			}
			r := httptest.NewRequest(method, strings.NewReplacer("{", "", "}", "").Replace(path), nil)
			if _, got := s.mux.Handler(r); got != pattern {
				t.Errorf("%s is answered by %q", pattern, got)
			}
		}
	}
	for pattern := range routes {
		if !seen[pattern] {
			t.Errorf("the row %s is of no operation", pattern)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d operations", len(seen))
	}
}

func TestEveryRowIsTriedByEverybody(t *testing.T) {
	home, other := newCluster(t), newCluster(t)
	address, _ := home.listen(t, anything(t))
	viewer, _ := home.user(t, "vera", identity.RoleViewer, 0)
	operator, _ := home.user(t, "otto", identity.RoleOperator, 0)
	expired, _ := home.user(t, "emil", identity.RoleOperator, time.Nanosecond)
	foreign, _ := other.user(t, "otto", identity.RoleOperator, 0)
	removed, _ := home.user(t, "rita", identity.RoleOperator, 0)
	if err := home.Remove(t.Context(), identity.KindUser, "rita"); err != nil {
		t.Fatal(err)
	}
	self := httptest.NewTLSServer(nil) // a certificate that signs itself
	self.Close()
	for _, c := range []struct {
		name string
		as   *http.Client
		role api.Role // "" is refused everything
	}{
		{"a certificate of nobody", caller(t, true, self.TLS.Certificates[0]), ""},
		{"an expired one", caller(t, true, expired), ""},
		{"one of another cluster", caller(t, true, foreign), ""},
		{"a machine", caller(t, true, home.machine(t)), ""},
		{"a manager", caller(t, true, *home.Certificate()), ""},
		{"a user who was removed", caller(t, true, removed), ""},
		{"a viewer", caller(t, true, viewer), api.RoleViewer},
		{"an operator", caller(t, true, operator), api.RoleOperator},
		{"an operator by HTTP/1.1", caller(t, false, operator), api.RoleOperator},
	} {
		for pattern, row := range routes {
			method, path, _ := strings.Cut(pattern, " ")
			r, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+strings.NewReplacer("{", "", "}", "").Replace(path), nil)
			if err != nil {
				t.Fatal(err)
			}
			// Nobody on the network tells who he is by a header.
			r.Header.Set(callerHeader, "root")
			r.Header.Set(roleHeader, string(api.RoleOperator))
			resp, err := c.as.Do(r)
			if err != nil {
				t.Fatalf("%s: %s: %v", c.name, pattern, err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			want := http.StatusForbidden
			if c.role.Allows(row.role) {
				want = http.StatusOK
			}
			if resp.StatusCode != want {
				t.Errorf("%s: %s: %s, want %d: %s", c.name, pattern, resp.Status, want, text)
			}
			if want == http.StatusForbidden && resp.Header.Get("Content-Type") != api.ProblemType {
				t.Errorf("%s: %s: refused as %s", c.name, pattern, resp.Header.Get("Content-Type"))
			}
		}
	}
	// Without a certificate there is no connection, nor with an older TLS.
	if resp, err := caller(t, true).Get("https://" + address + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("a stranger without a certificate was answered")
	}
	old := &tls.Config{Certificates: []tls.Certificate{operator}, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	if conn, err := tls.Dial("tcp", address, old); err == nil {
		conn.Close()
		t.Error("TLS 1.2 was spoken")
	}
}

// Every change is told of once, with who asked for it, done or refused.
func TestEveryChangeIsToldOfDoneOrRefused(t *testing.T) {
	var told []Change
	s := anything(t)
	s.cfg.Audit = func(_ context.Context, c Change) { told = append(told, c) }
	ask := func(who api.Caller, method, path string) int {
		r := httptest.NewRequest(method, path, nil)
		w := httptest.NewRecorder()
		ctx := context.WithValue(r.Context(), linkKey{}, &link{way: bySocket})
		s.mux.ServeHTTP(w, r.WithContext(api.WithCaller(ctx, who)))
		return w.Code
	}
	otto, vera := api.Caller{Name: "otto", Role: api.RoleOperator}, api.Caller{Name: "vera", Role: api.RoleViewer}
	changes := 0
	for pattern, row := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{", "", "}", "").Replace(path)
		system := ""
		if strings.Contains(path, "/systems/") {
			system = "system"
		}
		if pattern == "POST /v1/exec" {
			path, system = path+"?machine=shop/db", "shop"
		}
		told = nil
		if status := ask(otto, method, path); status != http.StatusOK {
			t.Fatalf("%s: %d", pattern, status)
		}
		effect := row.change || row.audited
		if n := len(told); effect != (n == 1) || n > 1 {
			t.Errorf("%s is told of %d times", pattern, n)
		}
		if effect {
			changes++
			if c := told[0]; c.Caller != otto || c.Err != nil || c.System != system || !strings.Contains(c.Operation, method+" ") {
				t.Errorf("%s: told of as %+v", pattern, c)
			}
		}
		if row.role != api.RoleOperator {
			continue
		}
		told = nil
		if status := ask(vera, method, path); status != http.StatusForbidden {
			t.Errorf("%s by a viewer: %d", pattern, status)
		}
		if len(told) != 1 || told[0].Caller != vera || told[0].Err == nil {
			t.Errorf("%s, refused to a viewer, is told of as %+v", pattern, told)
		}
	}
	if changes < 15 {
		t.Errorf("only %d changes", changes)
	}
	// What cannot be written is refused to everybody, and told.
	s.cfg.Writable = func(context.Context) error { return errors.New("the disk is full") }
	told = nil
	if ask(otto, "DELETE", "/v1/users/vera"); len(told) != 1 || told[0].Err == nil {
		t.Errorf("refused as nothing can be written: %+v", told)
	}
}

func TestAnOperationWithoutARowAnswersNobody(t *testing.T) {
	s := New(Config{Service: &stub{}, Log: discard()})
	guarded{s.mux, s}.HandleFunc("GET /v1/new", func(http.ResponseWriter, *http.Request) { t.Error("it was answered") })
	if w := s.ask(t, "GET", "/v1/new", "", nil); w.Code != http.StatusForbidden {
		t.Errorf("status %d", w.Code)
	}
}

// ask sends a request as the owner of the socket would.
func (s *Server) ask(t testing.TB, method, target, body string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	uid := s.owner
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	maps.Copy(r.Header, header)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.enter(w, r.WithContext(context.WithValue(t.Context(), linkKey{}, &link{way: bySocket, uid: &uid})))
	return w
}

func TestWhatIsWrongIsAProblemDocument(t *testing.T) {
	full := &api.Error{Kind: api.KindUnavailable, Message: "the disk is full", RetryAfter: 1500 * time.Millisecond}
	s := New(Config{Service: &stub{machine: []api.Machine{}}, Log: discard(), Writable: func(context.Context) error { return full }})
	for _, c := range []struct {
		method, target, body string
		header               http.Header
		status               int
	}{
		{"GET", "/nowhere", "", nil, 404},
		{"PATCH", "/v1/machines", "", nil, 405},
		{"GET", "/v1/machines", "", http.Header{"X": {strings.Repeat("x", maxHeader)}}, 431},
		{"GET", "/v1/machines", "a body", nil, 413},
		{"POST", "/v1/systems/s/deployment", `{"plan":"` + strings.Repeat("x", small) + `"}`, nil, 413},
		{"POST", "/v1/systems/s/deployment", `{"plan":"p"}`, nil, 503},
		{"POST", "/v1/plans", `{"name"`, nil, 400},
		{"GET", "/v1/machines?limit=x", "", nil, 422},
		{"GET", "/v1/machines?cursor=x", "", nil, 422},
		{"GET", "/readyz", "", nil, 503},
	} {
		w := s.ask(t, c.method, c.target, c.body, c.header)
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.status || p.Status != c.status || p.Type == "" || p.Detail == "" || w.Header().Get("Content-Type") != api.ProblemType {
			t.Errorf("%s %s: status %d, want %d, %v: %s", c.method, c.target, w.Code, c.status, err, w.Body)
		}
		if c.status == 503 && w.Header().Get("Retry-After") != "2" {
			t.Errorf("%s %s: Retry-After %q", c.method, c.target, w.Header().Get("Retry-After"))
		}
	}
	if w := s.ask(t, "PATCH", "/v1/machines", "", nil); w.Header().Get("Allow") != "GET" {
		t.Errorf("Allow: %q", w.Header().Get("Allow"))
	}
	// Reads go on, and so does the process.
	for _, target := range []string{"/v1/machines", "/healthz", "/openapi.json"} {
		if w := s.ask(t, "GET", target, "", nil); w.Code != 200 {
			t.Errorf("%s: status %d", target, w.Code)
		}
	}
}

func TestWhoAsksTooOftenIsToldWhenToComeAgain(t *testing.T) {
	c := callers{rate: 10, burst: 3, streams: 1, known: map[string]*allowance{}}
	now := time.Unix(0, 0)
	for i := range 4 {
		err := c.admit("a", now)
		if (err != nil) != (i == 3) {
			t.Fatalf("request %d: %v", i, err)
		}
		if e, ok := errors.AsType[*api.Error](err); ok && (e.Kind != api.KindTooMany || e.RetryAfter != 100*time.Millisecond) {
			t.Errorf("%+v", e)
		}
	}
	if err := c.admit("b", now); err != nil {
		t.Errorf("another caller: %v", err)
	}
	if err := c.admit("a", now.Add(100*time.Millisecond)); err != nil {
		t.Errorf("after the time: %v", err)
	}
	end, err := c.stream("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.stream("a"); api.KindOf(err) != api.KindTooMany {
		t.Errorf("a second stream: %v", err)
	}
	end()
	if _, err := c.stream("a"); err != nil {
		t.Errorf("a stream after the first: %v", err)
	}
}

func TestWhoAsksTooOftenIsRefusedWithRetryAfter(t *testing.T) {
	home := newCluster(t)
	s := anything(t)
	s.callers.rate, s.callers.burst = 1e-6, 2 // the next is allowed long after the test
	address, _ := home.listen(t, s)
	viewer, _ := home.user(t, "vera", identity.RoleViewer, 0)
	c := caller(t, true, viewer)
	for i := range 3 {
		resp, err := c.Get("https://" + address + "/v1/systems")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if i < 2 {
			if resp.StatusCode != http.StatusOK {
				t.Errorf("request %d: %s", i, resp.Status)
			}
			continue
		}
		var p api.Problem
		if err := json.Unmarshal(text, &p); err != nil || resp.StatusCode != http.StatusTooManyRequests || p.Status != resp.StatusCode || !strings.Contains(p.Detail, "vera") {
			t.Errorf("%s, %v: %s", resp.Status, err, text)
		}
		if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || wait < 1 {
			t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
		}
	}
}

func TestAnOpenStreamEndsWhenItsUserIsRemoved(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		home := newCluster(t)
		s := New(Config{Log: discard(), Service: &stub{events: func(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
			return func(func(api.Event, error) bool) {
				if q.Follow {
					<-ctx.Done()
				}
			}, nil
		}}})
		address, _ := home.listen(t, s)
		follow := func(name string) io.ReadCloser {
			user, _ := home.user(t, name, identity.RoleViewer, 0)
			resp, err := caller(t, http2, user).Get("https://" + address + "/v1/events?follow=true")
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			t.Cleanup(func() { resp.Body.Close() })
			return resp.Body
		}
		vera, rita := follow("vera"), follow("rita")
		ended := make(chan string, 1)
		go func() {
			_, _ = io.ReadAll(vera)
			ended <- "vera"
		}()
		go func() {
			_, _ = io.ReadAll(rita)
			ended <- "rita"
		}()
		if err := home.Remove(t.Context(), identity.KindUser, "rita"); err != nil {
			t.Fatal(err)
		}
		if who := <-ended; who != "rita" {
			t.Errorf("the stream of %s ended first", who)
		}
		// The other looks on.
		select {
		case who := <-ended:
			t.Errorf("the stream of %s ended too", who)
		default:
		}
	}
}

func TestWhatIsKnownIsNotSentAgain(t *testing.T) {
	st := &stub{machine: []api.Machine{{Name: "a"}}}
	s := New(Config{Service: st, Log: discard()})
	first := s.ask(t, "GET", "/v1/machines", "", nil)
	tag := first.Header().Get("ETag")
	if w := s.ask(t, "GET", "/v1/machines", "", http.Header{"If-None-Match": {`"x", W/` + tag}}); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
	}
	st.machine = append(st.machine, api.Machine{Name: "b"})
	if w := s.ask(t, "GET", "/v1/machines", "", http.Header{"If-None-Match": {tag}}); w.Code != 200 || w.Header().Get("ETag") == tag {
		t.Errorf("after a change: status %d, tag %s", w.Code, w.Header().Get("ETag"))
	}
}

// counted counts the deployments that were begun, of which there is one to read.
type counted struct {
	stub
	applied int
}

func (c *counted) Apply(_ context.Context, system, plan string) (*api.Deployment, error) {
	if plan == "bad" {
		return nil, &api.Error{Kind: api.KindStale, Message: "old"}
	}
	c.applied++
	return &api.Deployment{System: system, Plan: plan, Revision: int64(c.applied)}, nil
}

func (c *counted) Deployment(_ context.Context, system string) (*api.Deployment, error) {
	return &api.Deployment{System: system, Revision: int64(c.applied)}, nil
}

func TestAChangeIsMadeOncePerKey(t *testing.T) {
	rows := store.NewMemory()
	c := &counted{}
	// Two managers with one store.
	one := New(Config{Service: c, Log: discard(), Rows: rows})
	two := New(Config{Service: c, Log: discard(), Rows: rows})
	const target = "/v1/systems/shop/deployment"
	key := http.Header{"Idempotency-Key": {"k1"}}
	first := one.ask(t, "POST", target, `{"plan":"p"}`, key)
	again := two.ask(t, "POST", target, `{"plan":"p"}`, key)
	if first.Code != 200 || again.Code != 200 || first.Body.String() != again.Body.String() || c.applied != 1 {
		t.Errorf("%d and %d, made %d times: %s", first.Code, again.Code, c.applied, again.Body)
	}
	if again.Header().Get("Idempotency-Replayed") != "true" {
		t.Error("it is not told that the answer is an old one")
	}
	if w := two.ask(t, "POST", target, `{"plan":"q"}`, key); w.Code != http.StatusUnprocessableEntity || c.applied != 1 {
		t.Errorf("the same key for another plan: %d, made %d times", w.Code, c.applied)
	}
	// What failed had no effect, and may be asked again.
	bad := http.Header{"Idempotency-Key": {"k2"}}
	for range 2 {
		if w := one.ask(t, "POST", target, `{"plan":"bad"}`, bad); w.Code != http.StatusConflict {
			t.Errorf("status %d", w.Code)
		}
	}
	for _, wrong := range []string{"", "with space", strings.Repeat("x", maxKey+1), "ümlaut"} {
		if w := one.ask(t, "POST", target, `{"plan":"p"}`, http.Header{"Idempotency-Key": {wrong}}); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("key %q: status %d", wrong, w.Code)
		}
	}
}

func TestAnUpdateIsNotLost(t *testing.T) {
	c := &counted{}
	s := New(Config{Service: c, Log: discard(), Rows: store.NewMemory()})
	const target = "/v1/systems/shop/deployment"
	tag := s.ask(t, "GET", target, "", nil).Header().Get("ETag")
	var mu sync.Mutex
	codes := map[int]int{}
	var both sync.WaitGroup
	for range 2 { // who have read the same
		both.Go(func() {
			w := s.ask(t, "POST", target, `{"plan":"p"}`, http.Header{"If-Match": {tag}})
			mu.Lock()
			defer mu.Unlock()
			codes[w.Code]++
		})
	}
	both.Wait()
	if codes[200] != 1 || codes[http.StatusPreconditionFailed] != 1 || c.applied != 1 {
		t.Errorf("%v, made %d times", codes, c.applied)
	}
}

func TestPagesShowEverythingOnce(t *testing.T) {
	var all []api.Machine
	for i := range 25 {
		all = append(all, api.Machine{Name: fmt.Sprintf("m%02d", i)})
	}
	s := New(Config{Service: &stub{machine: all}, Log: discard()})
	var seen []string
	target := "/v1/machines?limit=10"
	for pages := 0; target != "" && pages < 5; pages++ {
		w := s.ask(t, "GET", target, "", nil)
		var list []api.Machine
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			seen = append(seen, m.Name)
		}
		target, _, _ = strings.Cut(strings.TrimPrefix(w.Header().Get("Link"), "<"), ">")
	}
	if len(seen) != 25 || seen[0] != "m00" || seen[24] != "m24" {
		t.Errorf("%v", seen)
	}
}

// happening is a service whose events are told by the test.
type happening struct {
	stub
	mu sync.Mutex
	// under mu:
	past  []api.Event
	more  chan struct{}
	reads int // who follow
}

func (h *happening) tell(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := int64(len(h.past) + 1)
	h.past = append(h.past, api.Event{Cursor: strconv.FormatInt(n, 10), Origin: "o", Sequence: n, Kind: api.EventComponent, Reason: text})
	close(h.more)
	h.more = make(chan struct{})
}

func (h *happening) Events(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
	at, _ := strconv.Atoi(q.After)
	return func(yield func(api.Event, error) bool) {
		if q.Follow {
			h.mu.Lock()
			h.reads++
			h.mu.Unlock()
			defer func() { h.mu.Lock(); h.reads--; h.mu.Unlock() }()
		}
		for {
			h.mu.Lock()
			list, more := h.past[min(at, len(h.past)):], h.more
			h.mu.Unlock()
			for _, e := range list {
				at++
				if !yield(e, nil) {
					return
				}
			}
			if !q.Follow {
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// A client that never reads is cut, is told so, and delays nobody.
func TestWhoNeverReadsIsCutAndDelaysNobody(t *testing.T) {
	h := &happening{more: make(chan struct{})}
	home := newCluster(t)
	s := New(Config{Service: h, Log: discard()})
	address, _ := home.listen(t, s)
	viewer, access := home.user(t, "vera", identity.RoleViewer, 0)
	conn, err := tls.Dial("tcp", address, &tls.Config{Certificates: []tls.Certificate{viewer}, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

	access.Managers = []string{address}
	c, err := client.NewCluster("", access)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seq, err := c.Events(ctx, api.EventQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int64, 1000)
	go func() {
		for e := range seq {
			got <- e.Sequence
		}
	}()
	h.tell("first")
	<-got // both watch the same from here on, or will
	text := strings.Repeat("x", 64<<10)
	cut := func() bool {
		s.watch.mu.Lock()
		defer s.watch.mu.Unlock()
		for _, c := range s.watch.channels {
			for w := range c.watchers {
				w.mu.Lock()
				last := w.last
				w.mu.Unlock()
				if last != nil {
					return true
				}
			}
		}
		return false
	}
	sent := 1
	for ; sent < 400 && !cut(); sent++ { // 25 MB: more than kernels hold
		h.tell(text)
		select {
		case n := <-got:
			if n != int64(sent+1) {
				t.Fatalf("event %d came as %d", sent+1, n)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("who reads waits for who does not")
		}
	}
	if sent == 400 {
		t.Fatal("it was never cut")
	}
	// Now it reads: what the kernel held, then why there is no more.
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	rest, _ := io.ReadAll(conn)
	if !bytes.Contains(rest, []byte("event: error")) || !bytes.Contains(rest, []byte("the stream was cut")) {
		t.Errorf("%d bytes, and no reason", len(rest))
	}
}

// A change reaches 1,000 watchers at once, who share one reader of the events.
func TestAThousandWatchersHearAtOnce(t *testing.T) {
	const many = 1000
	h := &happening{more: make(chan struct{})}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Service: h, Log: discard()})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.ServeSocket(ctx, l) }()
	c := client.New(path)
	heard := make(chan int64, many)
	var watchers sync.WaitGroup
	for range many {
		seq, err := c.Events(ctx, api.EventQuery{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		watchers.Go(func() {
			for e := range seq {
				heard <- e.Sequence
			}
		})
	}
	for i := range int64(3) {
		began := time.Now()
		h.tell("now")
		for range many {
			if n := <-heard; n != i+1 {
				t.Fatalf("event %d came as %d", i+1, n)
			}
		}
		t.Logf("%d watchers after %s", many, time.Since(began))
	}
	h.mu.Lock()
	if h.reads != 1 {
		t.Errorf("%d readers of the events", h.reads)
	}
	h.mu.Unlock()
	cancel()
	watchers.Wait()
	c.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A client of two managers goes on with the other when one dies, and what it
// follows is told once.
func TestClientGoesOnThroughAnotherManager(t *testing.T) {
	h := &happening{more: make(chan struct{})}
	home := newCluster(t)
	first, kill := home.listen(t, New(Config{Service: h, Log: discard(), Rows: store.NewMemory()}))
	second, _ := home.listen(t, New(Config{Service: h, Log: discard(), Rows: store.NewMemory()}))
	_, access := home.user(t, "otto", identity.RoleOperator, 0)
	access.Managers = []string{first, second}
	c, err := client.NewCluster(filepath.Join(t.TempDir(), "no-socket"), access)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h.tell("1")
	seq, err := c.Events(t.Context(), api.EventQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	want := int64(1)
	for e, err := range seq {
		if err != nil || e.Sequence != want {
			t.Fatalf("event %d came as %d, %v", want, e.Sequence, err)
		}
		want++
		switch e.Sequence {
		case 1:
			kill()
			h.tell("2")
		case 2:
			h.tell("3")
		}
		if want > 3 {
			break
		}
	}
	if _, err := c.Apply(t.Context(), "shop", "p"); err != nil {
		t.Errorf("a change: %v", err)
	}
	// Another cluster's manager is not believed.
	_, strange := newCluster(t).user(t, "otto", identity.RoleOperator, 0)
	strange.Managers = []string{second}
	d, err := client.NewCluster("", strange)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Machines(t.Context()); err == nil {
		t.Error("a manager of another cluster was believed")
	}
}

func FuzzIfMatch(f *testing.F) {
	f.Add(`"a", W/"b"`, `"b"`)
	f.Add(`*`, `"b"`)
	f.Add(`"`, `""`)
	f.Fuzz(func(t *testing.T, line, content string) {
		tag := tagOf([]byte(content))
		if matches([]string{line}, tag, false) && !matches([]string{line}, tag, true) {
			t.Error("a strong match is no weak one")
		}
		if !matches([]string{tag + "," + line}, tag, false) {
			t.Errorf("%s is not found in front of %q", tag, line)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(place{"web", 3}.String())
	f.Add("e30")
	f.Fuzz(func(t *testing.T, text string) {
		list := []string{"a", "b", "c"}
		p, err := parsePlace(text)
		if err != nil {
			if api.KindOf(err) != api.KindInvalid {
				t.Errorf("%v", err)
			}
			return
		}
		if again, err := parsePlace(p.String()); err != nil || again != p {
			t.Errorf("%+v came back as %+v, %v", p, again, err)
		}
		for _, sorted := range []bool{true, false} {
			if _, _, err := cut(list, page{1, text}, sorted, func(s string) string { return s }); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzRequest: no request makes the server panic or answer without a status of
// HTTP, and what it refuses is a problem document.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/v1/plans", `{"name":"a"}`, "k", `"x"`)
	f.Add("GET", "/v1/events?limit=1&after=zz", "", "", "*")
	f.Add("POST", "/v1/exec?machine=a", `{"command":["x"]}`, "", "")
	f.Add("POST", "/v1/systems/a/deployment", `{"plan":"p"}`, "k", "")
	f.Add("DELETE", "/v1/users/x", "", "", "")
	st := &stub{
		plan:   func(api.PlanRequest) (*api.Plan, error) { return &api.Plan{}, nil },
		status: &api.Status{System: "shop"}, value: &api.Value{}, last: &api.Value{},
		events: func(context.Context, api.EventQuery) (iter.Seq2[api.Event, error], error) {
			return func(func(api.Event, error) bool) {}, nil
		},
		logs: func(api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
			return func(func(api.LogLine, error) bool) {}, nil
		},
		blobs: map[string]string{},
	}
	s := New(Config{Service: st, Log: discard(), Rows: store.NewMemory()})
	f.Fuzz(func(t *testing.T, method, target, body, key, tag string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://x"+target, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(target, "/v1/plans") && !strings.HasPrefix(target, "/v1/systems/") && !strings.HasPrefix(target, "/v1/events") && !strings.HasPrefix(target, "/v1/exec") && !strings.HasPrefix(target, "/v1/machines") && !strings.HasPrefix(target, "/v1/blobs") {
			return // other operations the stub has not
		}
		if strings.Contains(target, "endpoints") || method == "GET" && strings.Contains(target, "deployment") {
			return
		}
		r.RequestURI = target
		r.Header.Set("Content-Type", "application/json")
		for name, v := range map[string]string{"Idempotency-Key": key, "If-None-Match": tag} {
			if v != "" {
				r.Header.Set(name, v)
			}
		}
		uid := uint32(os.Geteuid())
		w := httptest.NewRecorder()
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		s.enter(w, r.WithContext(context.WithValue(ctx, linkKey{}, &link{way: bySocket, uid: &uid})))
		if w.Code >= 400 {
			var p api.Problem
			if json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Type == "" {
				t.Errorf("%s %s: %d %q", method, target, w.Code, w.Body)
			}
		}
	})
}
