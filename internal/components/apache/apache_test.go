package apache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/apache"
	"aloft/internal/host"
	"aloft/internal/host/httpd"
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
	return apache.New(p, host.NewPackages(log)), componenttest.Loop(p.Run)
}

func get(t testing.TB, port value.Value, path string) (int, string) {
	t.Helper()
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// application answers with its name and what it was told of the client.
func application(t *testing.T, name string) value.String {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s for %s at %s%s", name, r.Header.Get("X-Real-IP"), r.Host, r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return value.String(s.Listener.Addr().String())
}

// TestServers shares one root file system among what takes long to install.
func TestServers(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	t.Run("suite", suite)
	t.Run("what is wrong is told, and the server goes on as it was", troubles)
	t.Run("a change loses no request", changes)
	t.Run("what is placed in it is served", placed)
	t.Run("what hangs behind it is not its end, and what a module closes is closed", hanging)
}

var machine = component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}

func suite(t *testing.T) {
	port, other, own := componenttest.FreePort(t), componenttest.FreePort(t), componenttest.FreePort(t)
	one, two := application(t, "one"), application(t, "two")
	dead := value.String(fmt.Sprintf("127.0.0.1:%d", componenttest.FreePort(t)))
	www := t.TempDir()
	os.Chmod(www, 0o755)
	os.Chmod(filepath.Dir(www), 0o755)
	for name, text := range map[string]string{"index.html": "from a folder", "sum.php": "<?php echo 40 + 2, ' for ', $_SERVER['HTTP_HOST'];"} {
		if err := os.WriteFile(filepath.Join(www, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	site := func(pairs ...any) *value.Component { return attrs("site", attrs(pairs...)) }
	componenttest.Run(t, daemon, componenttest.Case{
		Name:    "apache",
		Machine: machine,
		Slow:    true,
		Attrs:   attrs("port", port, "sites", site("upstreams", value.Vector{one, two})),
		Changes: []*value.Component{
			attrs("port", port, "sites", site("upstreams", value.Vector{dead, two}, "balance", value.String("leastconn"))),
			attrs("port", port, "modules", value.Vector{value.String("deflate"), value.String("expires")}, "sites", site(
				"pages", attrs("/", value.String("$host; } \"text\""), "a.css", value.String(strings.Repeat("b { color: red }\n", 200)), "/api/page", value.String("a page")),
				"locations", attrs("/api/", attrs("upstreams", value.Vector{one}), "/old", attrs("redirect", value.String("http://example.org/new%20?x=1&y=%2F#z")))),
			),
			attrs("port", other, "php", value.Bool(true), "sites", attrs(
				"folder", attrs("root", value.String(www), "locations", attrs("/below", attrs("root", value.String(www)))),
				"named", attrs("serverName", value.String(".example.org other"), "pages", attrs("/", value.String("by name"))),
				"own", attrs("listen", own, "pages", attrs("/", value.String("own port"))),
			)),
			attrs("port", other),
		},
		Check: func(t testing.TB, c *component.Call) {
			p, _ := c.Attrs.Get("port")
			v, _ := c.Attrs.Get("sites")
			if v == nil {
				if status, _ := get(t, p, "/"); status != 404 {
					t.Errorf("no site: %d", status)
				}
				return
			}
			if _, ok := v.(*value.Component).Get("folder"); ok {
				folders(t, p, own)
				return
			}
			s, _ := v.(*value.Component).Get("site")
			word := func(n string) bool { _, ok := s.(*value.Component).Get(n); return ok }
			switch {
			case word("balance"): // a dead upstream is left out without an error
				for range 4 {
					if status, body := get(t, p, "/x"); status != 200 || !strings.HasPrefix(body, "two ") {
						t.Errorf("%d %q", status, body)
					}
				}
			case word("upstreams"):
				seen := map[string]bool{}
				for range 8 {
					_, body := get(t, p, "/x")
					name, rest, _ := strings.Cut(body, " ")
					seen[name] = true
					if rest != fmt.Sprintf("for 127.0.0.1 at 127.0.0.1:%d/x", p) {
						t.Errorf("told %q", rest)
					}
				}
				if !seen["one"] || !seen["two"] {
					t.Errorf("answers by %v", seen)
				}
			case word("pages"):
				if status, body := get(t, p, "/"); status != 200 || body != `$host; } "text"` {
					t.Errorf("page: %d %q", status, body)
				}
				if status, body := get(t, p, "/api/y"); status != 200 || !strings.HasPrefix(body, "one ") {
					t.Errorf("location: %d %q", status, body)
				}
				if status, body := get(t, p, "/api/page"); status != 200 || body != "a page" {
					t.Errorf("a page below a location: %d %q", status, body)
				}
				if status, _ := get(t, p, "/nothing"); status != 404 {
					t.Errorf("no page: %d", status)
				}
				resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request(t, p, "/old/x?q=1"))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if to := resp.Header.Get("Location"); resp.StatusCode != 302 || to != "http://example.org/new%20?x=1&y=%2F#z" {
					t.Errorf("redirect: %d to %s", resp.StatusCode, to)
				}
				if resp, err = (&http.Transport{DisableKeepAlives: true}).RoundTrip(request(t, p, "/a.css")); err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if kind := resp.Header.Get("Content-Type"); kind != "text/css" || resp.Header.Get("Content-Encoding") != "gzip" {
					t.Errorf("a style is %s, %q", kind, resp.Header.Get("Content-Encoding"))
				}
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			p := host.NewProcesses(slog.New(slog.DiscardHandler))
			if err := p.Stop(t.Context(), c.WorkDir, syscall.SIGTERM, 0, nil); err != nil {
				t.Error(err)
			}
		},
		Kept: func(t testing.TB, c *component.Call) {
			if left, _ := filepath.Glob("/var/lib/aloft-suite*"); len(left) != 1 {
				t.Errorf("its folder: %s", left)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			for _, pattern := range []string{"/etc/apache2/aloft-*", "/var/lib/aloft-suite*", "/run/aloft-*"} {
				if left, _ := filepath.Glob(pattern); len(left) > 0 {
					t.Errorf("left over: %s", left)
				}
			}
		},
	})
}

func request(t testing.TB, port value.Value, path string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	return req
}

func folders(t testing.TB, port, own value.Value) {
	t.Helper()
	for path, want := range map[string]string{
		"/": "from a folder", "/below/index.html": "from a folder",
		"/sum.php": fmt.Sprintf("42 for 127.0.0.1:%d", port), "/below/sum.php": fmt.Sprintf("42 for 127.0.0.1:%d", port),
	} {
		if status, body := get(t, port, path); status != 200 || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if status, body := get(t, own, "/"); status != 200 || body != "own port" {
		t.Errorf("a port of its own: %d %q", status, body)
	}
	for _, name := range []string{"example.org", "www.example.org", "other"} {
		req := request(t, port, "/")
		req.Host = name
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "by name" {
			t.Errorf("%s: %s %q", name, resp.Status, body)
		}
	}
}

func call(t *testing.T, m component.Manager, a *value.Component) *component.Call {
	return &component.Call{System: "s", Path: "m:apache", Attrs: a, WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()), Machine: machine}
}

func begin(t *testing.T, m component.Manager, c *component.Call) {
	t.Helper()
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), c); err != nil {
		output, _ := component.Detail(err)
		t.Fatalf("%v\n%s", err, strings.Join(output, "\n"))
	}
	t.Cleanup(func() {
		if err := m.Terminate(context.Background(), c); err != nil {
			t.Error(err)
		}
	})
}

func troubles(t *testing.T) {
	m, end := daemon(t)
	t.Cleanup(end)
	port, busy := componenttest.FreePort(t), componenttest.FreePort(t)
	hold, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", busy))
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	good := attrs("port", port, "sites", attrs("s", attrs("pages", attrs("/", value.String("good")))))
	c := call(t, m, good)
	begin(t, m, c)
	for name, tt := range map[string]struct {
		next *value.Component
		says []string
	}{
		"a port that is taken":         {attrs("port", busy), []string{fmt.Sprintf("port %d", busy), fmt.Sprintf("pid %d", os.Getpid())}},
		"a module that is not there":   {attrs("port", port, "modules", value.Vector{value.String("none")}), []string{"no module none", "Package"}},
		"a folder that is a path only": {attrs("port", port, "sites", attrs("s", attrs("root", value.String("/x\"y")))), []string{"root", "no web server"}},
		"a balance of another server":  {attrs("port", port, "sites", attrs("s", attrs("upstreams", value.Vector{value.String("a")}, "balance", value.String("iphash")))), []string{"iphash", "roundrobin"}},
	} {
		change := *c
		change.Old, change.Attrs = good, tt.next
		err := m.Reconfigure(t.Context(), &change)
		output, remedy := component.Detail(err)
		all := fmt.Sprint(err, remedy, output)
		for _, text := range tt.says {
			if err == nil || !strings.Contains(all, text) {
				t.Errorf("%s: %q is not in %s", name, text, all)
			}
		}
		if status, body := get(t, port, "/"); status != 200 || body != "good" {
			t.Errorf("%s: then it answers %d %q", name, status, body)
		}
	}
}

func changes(t *testing.T) {
	m, end := daemon(t)
	t.Cleanup(end)
	port := componenttest.FreePort(t)
	text := func(n int) *value.Component {
		return attrs("port", port, "sites", attrs("s", attrs("pages", attrs("/", value.String(fmt.Sprint("text ", n))))))
	}
	c := call(t, m, text(0))
	begin(t, m, c)
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			if status, body := get(t, port, "/"); status != 200 || !strings.HasPrefix(body, "text ") {
				t.Errorf("request %d: %d %q", n, status, body)
				<-stop
			}
		}
	}()
	for n := range 3 {
		change := *c
		change.Old, change.Attrs = text(n), text(n+1)
		if err := m.Reconfigure(t.Context(), &change); err != nil {
			t.Error(err)
		}
		if _, body := get(t, port, "/"); body != fmt.Sprint("text ", n+1) {
			t.Errorf("after change %d: %q", n+1, body)
		}
		c.Attrs = change.Attrs
	}
	close(stop)
	if n := <-done; n < 10 {
		t.Errorf("only %d requests meanwhile", n)
	}
}

func placed(t *testing.T) {
	m, end := daemon(t)
	t.Cleanup(end)
	port := componenttest.FreePort(t)
	c := call(t, m, attrs("port", port, "sites", attrs("s", attrs("redirect", value.String("http://example.org/")))))
	begin(t, m, c)
	output := func(name string) string {
		return string(c.Env.(*componenttest.Env).Outputs()[name].(value.String))
	}
	app := httpd.App{Server: httpd.Server{Home: output("home"), URI: output("uri")}, Owner: "wiki", Text: "RewriteRule \"^/wiki$\" \"-\" [R=410,L]\n"}
	if err := app.Up(t.Context()); err == nil {
		t.Error("it is up before it was placed")
	}
	place := func() {
		t.Helper()
		if err := app.Place(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := app.Await(ctx); err != nil {
			t.Fatal(err)
		}
	}
	place()
	if status, _ := get(t, port, "/wiki"); status != 410 {
		t.Errorf("what is placed answers %d", status)
	}
	good := app
	app.Text = "NoSuchDirective on\n"
	err := app.Place(t.Context())
	if output, _ := component.Detail(err); err == nil || !strings.Contains(strings.Join(output, "\n"), "NoSuchDirective") {
		t.Errorf("a directive that is none: %v", err)
	}
	app = good
	if err := app.Up(t.Context()); err != nil {
		t.Errorf("after what the server refuses: %v", err)
	}
	app.Text = "RewriteRule \"^/wiki$\" \"-\" [R=403,L]\n"
	place()
	if status, _ := get(t, port, "/wiki"); status != 403 {
		t.Errorf("another version answers %d", status)
	}
	// A server that is brought back has it still.
	c.Returns = true
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.Returns = false
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := app.Up(t.Context()); err != nil {
		t.Errorf("after the server was brought back: %v", err)
	}
	if err := app.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if err := app.Up(t.Context()); !errors.Is(err, httpd.ErrNotTakenUp) {
		t.Errorf("after its end: %v", err)
	}
	if status, _ := get(t, port, "/wiki"); status != 302 {
		t.Errorf("after its end its path answers %d", status)
	}
}

// hanging has an upstream that takes requests and never answers, and a module
// whose configuration closes a path.
func hanging(t *testing.T) {
	m, end := daemon(t)
	t.Cleanup(end)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	port := componenttest.FreePort(t)
	c := call(t, m, attrs("port", port, "modules", value.Vector{value.String("closed")}, "sites", attrs("s", attrs(
		"upstreams", value.Vector{value.String(silent.Addr().String())},
		"locations", attrs("/open", attrs("pages", attrs("/", value.String("open")))),
	))))
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"closed.load": "", "closed.conf": "<Location \"/closed\">\n  Require all denied\n</Location>\n"} {
		if err := os.WriteFile(filepath.Join("/etc/apache2/mods-available", file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	begin(t, m, c)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if err := m.Ping(ctx, c); err != nil {
		t.Errorf("ping: %v", err)
	}
	for path, want := range map[string]int{"/closed": 403, "/closed/x": 403, "/open": 200} {
		if status, _ := get(t, port, path); status != want {
			t.Errorf("%s answers %d, want %d", path, status, want)
		}
	}
}

func TestPlanningRefuses(t *testing.T) {
	check := (*apache.Manager)(nil).Class().Check
	target := component.Target{Isolation: true, Privileged: true}
	modules := func(name string) *value.Component { return attrs("modules", value.Vector{value.String(name)}) }
	for name, a := range map[string]*value.Component{
		"a site that serves nothing":    attrs("sites", attrs("s", attrs("serverName", value.String("x")))),
		"a site that serves two things": attrs("sites", attrs("s", attrs("root", value.String("/x"), "redirect", value.String("http://x")))),
		"a word without meaning":        attrs("sites", attrs("s", attrs("root", value.String("/x"), "rot", value.String("13")))),
		"a wrong location":              attrs("sites", attrs("s", attrs("locations", attrs("/x", attrs())))),
		"a balance of another server":   attrs("sites", attrs("s", attrs("upstreams", value.Vector{}, "balance", value.String("iphash")))),
		"a port that is none":           attrs("port", value.Integer(70000)),
		"a path for a module":           modules("../../etc/passwd"),
		"a module for processes":        modules("mpm_worker"),
		"PHP as a module":               modules("php8.2"),
		"PHP as a module by name":       modules("php"),
	} {
		if p := check(a, target); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	late := attrs("sites", attrs("s", attrs("upstreams", &value.Reference{Lazy: true})))
	if p := check(late, target); len(p) > 0 {
		t.Errorf("late upstreams: %+v", p)
	}
}

func TestAnotherCertificateLosesNoRequest(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	componenttest.AnotherCertificate(t, m)
}
