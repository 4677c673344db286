package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"aloft/api"
	"aloft/client"
	"aloft/internal/store"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The client offers exactly what the service does.
var _ Service = (*client.Client)(nil)

// stub answers with what a test has set; other methods panic.
type stub struct {
	Service
	plan    func(api.PlanRequest) (*api.Plan, error)
	status  *api.Status
	value   *api.Value
	last    *api.Value // the cached one
	events  func(context.Context, api.EventQuery) (iter.Seq2[api.Event, error], error)
	logs    func(api.LogQuery) (iter.Seq2[api.LogLine, error], error)
	exec    func(context.Context, string, api.ExecRequest, api.ExecStreams) (int, error)
	machine []api.Machine

	mu sync.Mutex
	// under mu:
	blobs map[string]string
}

func (s *stub) Plan(_ context.Context, r api.PlanRequest) (*api.Plan, error) { return s.plan(r) }

func (s *stub) Apply(_ context.Context, system, plan string) (*api.Deployment, error) {
	return &api.Deployment{System: system, Plan: plan, State: api.DeploymentRunning, Since: time.Unix(1e9, 0).UTC()}, nil
}

func (s *stub) Status(_ context.Context, system string) (*api.Status, error) {
	if system != s.status.System {
		return nil, &api.Error{Kind: api.KindNotFound, Message: "no system " + system, Nearest: []string{s.status.System}}
	}
	return s.status, nil
}

func (s *stub) Get(_ context.Context, _, _ string, cached bool) (*api.Value, error) {
	if cached {
		return s.last, nil
	}
	return s.value, nil
}
func (s *stub) Machines(context.Context) ([]api.Machine, error) { return s.machine, nil }
func (s *stub) Systems(context.Context) ([]api.System, error)   { return nil, errors.New("disk on fire") }

func (s *stub) Events(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
	return s.events(ctx, q)
}

func (s *stub) Logs(_ context.Context, q api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
	return s.logs(q)
}

func (s *stub) Exec(ctx context.Context, m string, r api.ExecRequest, st api.ExecStreams) (int, error) {
	return s.exec(ctx, m, r, st)
}

func (s *stub) MissingBlobs(_ context.Context, digests []string) (missing []string, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range digests {
		if _, ok := s.blobs[d]; !ok {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

func (s *stub) PutBlob(_ context.Context, digest string, r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[digest] = string(text)
	return nil
}

// start serves s on a socket of its own until the test ends.
func start(t *testing.T, s Service) *client.Client {
	t.Helper()
	c, _ := startAt(t, filepath.Join(t.TempDir(), "aloft.sock"), s, uint32(os.Geteuid()))
	return c
}

// startAt also returns what ends the server before the test does.
func startAt(t *testing.T, path string, s Service, owner uint32) (*client.Client, func()) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	srv := New(Config{Service: s, Log: discard()})
	srv.owner = owner
	go func() { served <- srv.ServeSocket(ctx, l) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	c := client.New(path)
	t.Cleanup(func() { c.Close(); stop() })
	return c, stop
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestAnswersComeBackAsGiven(t *testing.T) {
	plan := &api.Plan{
		ID: "p1", System: "shop", Revision: 2, Base: 1, OldFile: "/a.sf",
		Steps:    []api.Step{{ID: "s", Path: "web", Action: "deploy", Change: api.ChangeAdd, Attributes: []api.AttrChange{{Name: "port", New: "80"}}}},
		Machines: []api.PlanMachine{{Path: "web", Provider: "local", Change: api.ChangeReplace}},
		Notes:    []string{"n"},
	}
	var got api.PlanRequest
	s := &stub{
		plan:   func(r api.PlanRequest) (*api.Plan, error) { got = r; return plan, nil },
		status: &api.Status{System: "shop", Revision: 3, State: "running", Components: []api.Component{{Path: "ROOT"}}, Machines: []api.Machine{}},
		last:   &api.Value{System: "shop", Path: "a", Kind: "integer", Value: json.RawMessage(`7`)},
		value:  &api.Value{System: "shop", Path: "a", Kind: "long", Value: json.RawMessage(`{"$long":9007199254740993}`)},
	}
	c := start(t, s)
	ctx := t.Context()

	req := api.PlanRequest{Name: "shop", File: "/b.sf", Description: json.RawMessage(`{"big":"` + strings.Repeat("x", 3<<20) + `"}`), Sources: []api.Source{{Digest: "sha256:1", Size: 2}}}
	p, err := c.Plan(ctx, req)
	if err != nil || !reflect.DeepEqual(p, plan) {
		t.Errorf("plan: %+v, %v", p, err)
	}
	if !reflect.DeepEqual(got, req) {
		t.Error("the request changed on its way")
	}
	d, err := c.Apply(ctx, "shop", "p1")
	if err != nil || d.System != "shop" || d.Plan != "p1" || d.Since.Unix() != 1e9 {
		t.Errorf("apply: %+v, %v", d, err)
	}
	if st, err := c.Status(ctx, "shop"); err != nil || !reflect.DeepEqual(st, s.status) {
		t.Errorf("status: %+v, %v", st, err)
	}
	if v, err := c.Get(ctx, "shop", "a", true); err != nil || !reflect.DeepEqual(v, s.last) {
		t.Errorf("cached value: %+v, %v", v, err)
	}
	if v, err := c.Get(ctx, "shop", "a", false); err != nil || !reflect.DeepEqual(v, s.value) {
		t.Errorf("get: %s, %v", v.Value, err)
	}
	if m, err := c.Machines(ctx); err != nil || m == nil || len(m) != 0 {
		t.Errorf("no machines: %#v, %v; want an empty list, not null", m, err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	conflict := &api.Error{Kind: api.KindConflict, Message: "revision 4 is under way", Revision: 4, Since: time.Unix(5, 0).UTC()}
	c := start(t, &stub{
		status: &api.Status{System: "shop"},
		plan:   func(api.PlanRequest) (*api.Plan, error) { return nil, fmt.Errorf("plan: %w", conflict) },
	})
	_, err := c.Plan(t.Context(), api.PlanRequest{Name: "shop"})
	if got, ok := errors.AsType[*api.Error](err); !ok || !reflect.DeepEqual(got, conflict) {
		t.Errorf("conflict came back as %#v", err)
	}
	_, err = c.Status(t.Context(), "shp")
	if got, ok := errors.AsType[*api.Error](err); !ok || got.Kind != api.KindNotFound || !reflect.DeepEqual(got.Nearest, []string{"shop"}) {
		t.Errorf("not found came back as %#v", err)
	}
	_, err = c.Systems(t.Context())
	if api.KindOf(err) != api.KindInternal || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("unknown error came back as %#v", err)
	}
	_, err = c.Plan(t.Context(), api.PlanRequest{Name: "Not A Name"})
	if got, ok := errors.AsType[*api.Error](err); !ok || got.Kind != api.KindInvalid || len(got.Diagnostics) != 1 || got.Diagnostics[0].Attribute != "body.name" {
		t.Errorf("a request against the schema came back as %#v", err)
	}
}

// A daemon that ends closes its store before it answers nobody any more: whoever
// asks in between is to ask another, not told of a mistake of ours.
func TestADaemonThatEndsSaysSo(t *testing.T) {
	c := start(t, &stub{plan: func(api.PlanRequest) (*api.Plan, error) {
		return nil, fmt.Errorf("list rows system/: %w", store.ErrClosed)
	}})
	_, err := c.Plan(t.Context(), api.PlanRequest{Name: "shop"})
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Kind != api.KindUnavailable || e.RetryAfter == 0 || !strings.Contains(e.Message, "is ending") {
		t.Errorf("got %#v", err)
	}
}

// A deadline for reading a request must not end a call that takes its time.
func TestSlowCallIsNotCancelled(t *testing.T) {
	ops := 0
	for path, item := range New(Config{Log: discard()}).api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post} {
			if op == nil || op.BodyReadTimeout == 0 {
				continue // answered without huma, or without a body
			}
			if ops++; op.BodyReadTimeout > 0 {
				t.Errorf("%s: cancelled after %s", path, op.BodyReadTimeout)
			}
		}
	}
	if ops == 0 {
		t.Error("no operation was looked at")
	}
}

func TestBlobsGoUpOnce(t *testing.T) {
	s := &stub{blobs: map[string]string{"sha256:a": "x"}}
	c := start(t, s)
	missing, err := c.MissingBlobs(t.Context(), []string{"sha256:a", "sha256:b"})
	if err != nil || !reflect.DeepEqual(missing, []string{"sha256:b"}) {
		t.Fatalf("missing: %v, %v", missing, err)
	}
	big := strings.Repeat("0123456789", 1<<19)
	if err := c.PutBlob(t.Context(), "sha256:b", strings.NewReader(big)); err != nil {
		t.Fatal(err)
	}
	if s.blobs["sha256:b"] != big {
		t.Error("the content changed on its way")
	}
}

func TestNoDaemonIsAnErrorOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aloft.sock")
	if _, err := client.New(path).Daemon(t.Context()); !errors.Is(err, client.ErrNoDaemon) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := client.New(path).Daemon(t.Context()); !errors.Is(err, client.ErrNoDaemon) {
		t.Errorf("socket of a dead daemon: %v", err)
	}
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("the socket of a dead daemon is in the way: %v", err)
	}
	again.Close()
}

func TestConnectionsInReserveDoNotHoldUpTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aloft.sock")
	c, stop := startAt(t, path, &stub{}, uint32(os.Geteuid()))
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := c.Machines(t.Context()); err != nil { // answered: conn was accepted before
		t.Fatal(err)
	}
	began := time.Now()
	stop()
	if d := time.Since(began); d >= grace {
		t.Errorf("it took %s", d)
	}
}

func TestOtherUsersAreRefused(t *testing.T) {
	s := New(Config{Service: &stub{}, Log: discard()})
	s.owner = 1000
	uid := func(n uint32) *uint32 { return &n }
	for _, c := range []struct {
		name   string
		uid    *uint32
		status int
	}{
		{"the owner", uid(1000), http.StatusOK},
		{"root", uid(0), http.StatusOK},
		{"somebody else", uid(1001), http.StatusForbidden},
		{"nobody knows", nil, http.StatusForbidden},
	} {
		r := httptest.NewRequest(http.MethodGet, "/v1/machines", nil)
		w := httptest.NewRecorder()
		s.enter(w, r.WithContext(context.WithValue(t.Context(), linkKey{}, &link{way: bySocket, uid: c.uid})))
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d", c.name, w.Code, c.status)
		}
	}
}

func TestUidOfTheCallerIsRead(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if uid := linkOf(withLink(t.Context(), bySocket, server)).uid; uid == nil || *uid != uint32(os.Geteuid()) {
		t.Errorf("uid %v, want ours", uid)
	}
}

func TestSocketIsOursAlone(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(filepath.Join(dir, "new", "aloft.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, mode := range map[string]os.FileMode{"new": 0o700, "new/aloft.sock": 0o600} {
		st, err := os.Stat(filepath.Join(dir, path))
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %v", path, st.Mode(), err, mode)
		}
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if l, err := Listen(filepath.Join(open, "aloft.sock")); err == nil {
		l.Close()
		t.Error("a folder that others may write to was taken")
	}
}

// The document in api is what other programs are generated from.
func TestOpenAPIDocumentIsUpToDate(t *testing.T) {
	const file = "../../api/openapi.json"
	text, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var now bytes.Buffer
	if err := json.Indent(&now, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	now.WriteByte('\n')
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, now.Bytes()) {
		t.Errorf("%s is not what the server offers; run the test with UPDATE=1 and read the difference", file)
	}
}

func TestOpenAPIDocumentIsWhole(t *testing.T) {
	text, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("version %s", doc.OpenAPI)
	}
	ids := map[string]bool{}
	for _, methods := range doc.Paths {
		for _, op := range methods {
			ids[strings.ToLower(fmt.Sprint(op.(map[string]any)["operationId"]))] = true
		}
	}
	for method := range reflect.TypeFor[Service]().Methods() {
		id := strings.ToLower(method.Name)
		if id == "get" {
			id = "value"
		}
		if !ids[id] {
			t.Errorf("the document lacks %s", method.Name)
		}
	}
}
