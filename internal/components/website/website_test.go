package website_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/website"
	"aloft/internal/host"
	"aloft/value"
)

// The test binary serves the sites, as the product's does.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "website" {
		os.Exit(website.Main(os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

func daemon(t testing.TB) (component.Manager, func()) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := host.NewProcesses(slog.New(slog.DiscardHandler))
	return website.New(p, binary), componenttest.Loop(p.Run)
}

func site(port value.Integer, more ...value.Attr) *value.Component {
	c := value.NewComponent(false, value.Attr{Name: "port", Value: port})
	for _, a := range more {
		c.Set(a)
	}
	return c
}

func pages(text string) value.Attr {
	return value.Attr{Name: "pages", Value: value.NewComponent(true,
		value.Attr{Name: "/", Value: value.String(text)},
		value.Attr{Name: "style.css", Value: value.String("body {}")})}
}

func get(t testing.TB, url string) (int, string, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return 0, "", ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

func TestSuite(t *testing.T) {
	port, other := componenttest.FreePort(t), componenttest.FreePort(t)
	componenttest.Run(t, daemon, componenttest.Case{
		Name:  "pages",
		Attrs: site(port, pages("one")),
		Changes: []*value.Component{
			site(port, pages("two")),
			site(other, pages("three")),
			site(other, pages("three"), value.Attr{Name: "listen", Value: value.String("127.0.0.2")}),
			site(other, value.Attr{Name: "root", Value: value.String("www")}),
		},
		Prepare: func(t testing.TB, c *component.Call) {
			dir := filepath.Join(c.WorkDir, "www")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("four"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
				t.Fatal(err)
			}
		},
		Check: func(t testing.TB, c *component.Call) {
			want := "four"
			if v, ok := c.Attrs.Get("pages"); ok {
				text, _ := v.(*value.Component).Get("/")
				want = string(text.(value.String))
			}
			uri := string(c.Env.(*componenttest.Env).Outputs()["uri"].(value.String))
			at := "127.0.0.1"
			if v, _ := c.Attrs.Get("listen"); v != nil {
				at = string(v.(value.String))
			}
			if port, _ := c.Attrs.Get("port"); uri != fmt.Sprintf("http://%s:%d/", at, port) {
				t.Errorf("uri %s with port %v", uri, port)
			}
			if status, _, got := get(t, uri); status != 200 || got != want {
				t.Errorf("%s: %d %q, want %q", uri, status, got, want)
			}
			if want == "four" {
				if _, _, got := get(t, uri+"out"); strings.Contains(got, "root:") {
					t.Error("a link leads out of the folder")
				}
				return
			}
			if status, kind, _ := get(t, uri+"style.css"); status != 200 || !strings.HasPrefix(kind, "text/css") {
				t.Errorf("style.css: %d %s", status, kind)
			}
			if status, _, _ := get(t, uri+"none"); status != 404 {
				t.Errorf("a page that is not there: %d", status)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			p := host.NewProcesses(slog.New(slog.DiscardHandler))
			if err := p.Stop(t.Context(), c.WorkDir, 0, 0, nil); err != nil {
				t.Fatal(err)
			}
		},
	})
}

func TestAPortInUseIsNamedAndTheSiteStaysAsItWas(t *testing.T) {
	m, end := daemon(t)
	defer end()
	port := componenttest.FreePort(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	env := componenttest.NewEnv(t, m.Class())
	c := &component.Call{
		Path: "m:w", Env: env, WorkDir: t.TempDir(), Machine: component.Machine{Address: "127.0.0.1"},
		Attrs: site(port, pages("one")),
	}
	if err := m.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	defer m.Terminate(t.Context(), c)
	next := *c
	next.Old, next.Attrs = c.Attrs, site(value.Integer(l.Addr().(*net.TCPAddr).Port), pages("two"))
	if err := m.Reconfigure(t.Context(), &next); err == nil || !strings.Contains(err.Error(), "is in use by website.test") {
		t.Errorf("error %v", err)
	}
	if _, _, got := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); got != "one" {
		t.Errorf("it serves %q", got)
	}
}

func TestPlanningRefuses(t *testing.T) {
	check := (*website.Manager)(nil).Class().Check
	for name, attrs := range map[string]*value.Component{
		"a privileged port":      site(80, pages("x")),
		"no port":                site(0, pages("x")),
		"neither pages nor root": site(8080),
		"a folder outside":       site(8080, value.Attr{Name: "root", Value: value.String("/etc")}),
	} {
		if p := check(attrs, component.Target{}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
