package download_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/download"
	"aloft/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var attrs = componenttest.Attrs

func headers(name, text string) *value.Component {
	return value.NewComponent(true, value.Attr{Name: name, Value: value.String(text)})
}

// source serves files, counts requests, and answers some of them badly.
type source struct {
	*httptest.Server
	asked atomic.Int32
	bad   atomic.Int32 // so many answers are 503
}

func newSource(t *testing.T) *source {
	s := &source{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if s.bad.Load() > 0 {
			s.bad.Add(-1)
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		switch r.URL.Path {
		case "/one", "/two":
			fmt.Fprint(w, r.URL.Path)
		case "/closed":
			if r.Header.Get("X-Password") != "open" {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			fmt.Fprint(w, "inside")
		case "/moved":
			http.Redirect(w, r, "/one", http.StatusFound)
		case "/short":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "short")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *source) at(path string) value.String { return value.String(s.URL + path) }

func digest(content string) value.String {
	return value.String(componenttest.Digest([]byte(content)))
}

func TestSuite(t *testing.T) {
	s := newSource(t)
	folder := t.TempDir()
	path := value.String(filepath.Join(folder, "srv/files/it"))
	none := value.Integer(0)
	want := map[string]string{"/one": "/one", "/two": "/two", "/closed": "inside", "/moved": "/one"}
	componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return download.New(), func() {} }, componenttest.Case{
		Name:    "files",
		Machine: component.Machine{Folder: folder},
		Attrs:   attrs("url", s.at("/one"), "path", path, "digest", digest("/one"), "retries", none),
		Changes: []*value.Component{
			attrs("url", s.at("/two"), "path", path, "digest", digest("/two"), "retries", none),
			attrs("url", s.at("/closed"), "path", path, "headers", headers("X-Password", "open"), "retries", none),
			attrs("url", s.at("/moved"), "path", path, "retries", value.Integer(2)),
		},
		Check: func(t testing.TB, c *component.Call) {
			u, _ := c.Attrs.Get("url")
			got, err := os.ReadFile(string(path))
			if w := want[strings.TrimPrefix(string(u.(value.String)), s.URL)]; err != nil || string(got) != w {
				t.Errorf("%q, %v, want %q", got, err, w)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			if err := os.WriteFile(string(path), []byte("altered"), 0o644); err != nil {
				t.Error(err)
			}
		},
	})
}

func call(t *testing.T, a *value.Component) *component.Call {
	return &component.Call{Attrs: a, WorkDir: t.TempDir(), Machine: component.Machine{Folder: t.TempDir()}, Env: componenttest.NewEnv(t, download.New().Class())}
}

func TestWhatMayPassIsTriedAgainAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		name, path, digest, says string
		bad, asked               int32
	}{
		{"a server in repair", "/one", "", "", 1, 2},
		{"a page that is not there", "/none", "", "404 Not Found", 0, 1},
		{"a wrong digest", "/one", string(digest("/two")), "has digest " + string(digest("/one")), 0, 1},
		{"an answer that breaks off", "/short", "", "unexpected EOF", 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(t)
			s.bad.Store(tt.bad)
			a := attrs("url", s.at(tt.path), "path", value.String("it"), "retries", value.Integer(1))
			if tt.digest != "" {
				a.Set(value.Attr{Name: "digest", Value: value.String(tt.digest)})
			}
			c := call(t, a)
			err := download.New().Deploy(t.Context(), c)
			_, remedy := component.Detail(err)
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || remedy == "") {
				t.Errorf("%v (remedy %q), want %q", err, remedy, tt.says)
			}
			if n := s.asked.Load(); n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
			if _, err := os.Stat(filepath.Join(c.WorkDir, "it")); (err == nil) != (tt.says == "") {
				t.Errorf("the file: %v", err)
			}
		})
	}
}

func TestAFailedChangeLeavesTheFile(t *testing.T) {
	s := newSource(t)
	c := call(t, attrs("url", s.at("/one"), "path", value.String("it")))
	if err := download.New().Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	next := *c
	next.Old, next.Attrs = c.Attrs, attrs("url", s.at("/two"), "path", value.String("it"), "digest", digest("x"))
	if err := download.New().Reconfigure(t.Context(), &next); err == nil {
		t.Error("a wrong digest was taken")
	}
	if err := download.New().Ping(t.Context(), c); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(filepath.Join(c.WorkDir, "it")); string(b) != "/one" {
		t.Errorf("the file is %q", b)
	}
}

func TestAnotherHostIsNotShownTheHeaders(t *testing.T) {
	var seen atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("X-Password"))
	}))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer first.Close()
	c := call(t, attrs("url", value.String(first.URL), "path", value.String("it"), "headers", headers("X-Password", "open")))
	if err := download.New().Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if seen.Load() != "" {
		t.Errorf("it was shown %q", seen.Load())
	}
}

func TestPlanningRefuses(t *testing.T) {
	path := value.String("it")
	for name, a := range map[string]*value.Component{
		"a file":           attrs("url", value.String("/etc/passwd"), "path", path),
		"another protocol": attrs("url", value.String("ftp://h/x"), "path", path),
		"a way out":        attrs("url", value.String("http://h/x"), "path", value.String("../x")),
		"a bare digest":    attrs("url", value.String("http://h/x"), "path", path, "digest", value.String(strings.Repeat("0", 64))),
	} {
		if p := componenttest.Problems(download.New().Class(), a, component.Target{}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
