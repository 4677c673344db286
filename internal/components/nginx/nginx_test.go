package nginx_test

import (
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

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/nginx"
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
	return nginx.New(p, host.NewPackages(log)), componenttest.Loop(p.Run)
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

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	port, other := componenttest.FreePort(t), componenttest.FreePort(t)
	one, two := application(t, "one"), application(t, "two")
	dead := value.String(fmt.Sprintf("127.0.0.1:%d", componenttest.FreePort(t)))
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes requests, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	www := t.TempDir()
	os.Chmod(www, 0o755)
	os.Chmod(filepath.Dir(www), 0o755)
	if err := os.WriteFile(filepath.Join(www, "index.html"), []byte("from a folder"), 0o644); err != nil {
		t.Fatal(err)
	}
	site := func(pairs ...any) *value.Component { return attrs("site", attrs(pairs...)) }
	componenttest.Run(t, daemon, componenttest.Case{
		Name:    "nginx",
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
		Slow:    true,
		Attrs:   attrs("port", port, "sites", site("upstreams", value.Vector{one, two})),
		Changes: []*value.Component{
			attrs("port", port, "sites", site("upstreams", value.Vector{dead, two}, "balance", value.String("leastconn")), "workers", value.Integer(1)),
			attrs("port", port, "workers", value.Integer(1), "sites", site(
				"pages", attrs("/", value.String("$host; } \"text\""), "a.css", value.String("b {}")),
				"locations", attrs("/api/", attrs("upstreams", value.Vector{one}), "/old", attrs("redirect", value.String("http://example.org/new?x=1")))),
			),
			attrs("port", other, "workers", value.String("1"), "sites", site("root", value.String(www))),
			attrs("port", other, "sites", attrs("hangs", attrs("upstreams", value.Vector{value.String(silent.Addr().String())}))), // which is not the server's end
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
			s, ok := v.(*value.Component).Get("site")
			if !ok {
				return // the suite asks whether it lives
			}
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
					if rest != "for 127.0.0.1 at 127.0.0.1/x" {
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
				if status, _ := get(t, p, "/old"); status != 302 {
					t.Errorf("redirect: %d", status)
				}
			case word("root"):
				if status, body := get(t, p, "/"); status != 200 || body != "from a folder" {
					t.Errorf("folder: %d %q", status, body)
				}
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			p := host.NewProcesses(slog.New(slog.DiscardHandler))
			if err := p.Stop(t.Context(), c.WorkDir, syscall.SIGQUIT, 0, nil); err != nil {
				t.Error(err)
			}
		},
		Kept: func(t testing.TB, c *component.Call) {
			if left, _ := filepath.Glob("/etc/nginx/aloft-*.conf"); len(left) != 1 {
				t.Errorf("its configuration: %s", left)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			for _, pattern := range []string{"/etc/nginx/aloft-*", "/var/lib/nginx/aloft-*", "/run/aloft-*"} {
				if left, _ := filepath.Glob(pattern); len(left) > 0 {
					t.Errorf("left over: %s", left)
				}
			}
		},
	})
}

func TestPlanningRefuses(t *testing.T) {
	check := (*nginx.Manager)(nil).Class().Check
	target := component.Target{Isolation: true, Privileged: true}
	for name, a := range map[string]*value.Component{
		"a site that serves nothing":    attrs("sites", attrs("s", attrs("serverName", value.String("x")))),
		"a site that serves two things": attrs("sites", attrs("s", attrs("root", value.String("/x"), "redirect", value.String("http://x")))),
		"a word without meaning":        attrs("sites", attrs("s", attrs("root", value.String("/x"), "rot", value.String("13")))),
		"a wrong location":              attrs("sites", attrs("s", attrs("locations", attrs("/x", attrs())))),
		"a port that is none":           attrs("port", value.Integer(70000)),
		"one port for two":              attrs("port", value.Integer(443), "certificate", &value.Reference{Lazy: true}),
		"a site's port for two":         attrs("certificate", &value.Reference{Lazy: true}, "sites", attrs("s", attrs("root", value.String("/x"), "listen", value.Integer(443)))),
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
