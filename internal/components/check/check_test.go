package check_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/check"
	"aloft/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var attrs = componenttest.Attrs

// listen returns a port that accepts and closes connections, and what ends it.
func listen(t testing.TB) (port value.Integer, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return value.Integer(l.Addr().(*net.TCPAddr).Port), func() { l.Close(); <-done }
}

const here = value.String("127.0.0.1")

func TestTCPSuite(t *testing.T) {
	one, end := listen(t)
	defer end()
	two, endTwo := listen(t)
	defer endTwo()
	broken := func() (value.Integer, func()) { return listen(t) }
	port, endPort := broken()
	componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return check.TCP{}, func() {} },
		componenttest.Case{
			Name:    "ports",
			Attrs:   attrs("host", here, "port", one, "attempts", value.Integer(1)),
			Changes: []*value.Component{attrs("host", here, "port", two), attrs("host", value.String("localhost"), "port", two, "attempts", value.Integer(2), "timeout", value.Integer(900), "interval", value.Integer(10))},
		},
		componenttest.Case{
			Name:  "one that closes",
			Attrs: attrs("host", here, "port", port, "attempts", value.Integer(1)),
			Break: func(testing.TB, *component.Call) { endPort() },
			Prepare: func(t testing.TB, c *component.Call) {
				if conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
					conn.Close()
					return
				}
				p, end := broken() // it was closed by an earlier case's break
				c.Attrs = attrs("host", here, "port", p, "attempts", value.Integer(1))
				t.Cleanup(end)
			},
		})
	endPort()
}

func TestHTTPSuite(t *testing.T) {
	var down atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case down.Load():
			http.Error(w, "in repair", http.StatusServiceUnavailable)
		case r.URL.Path == "/old":
			http.Redirect(w, r, "/", http.StatusMovedPermanently)
		default:
			fmt.Fprintln(w, "all is well")
		}
	}))
	defer s.Close()
	page := func(path string, more ...any) *value.Component {
		return attrs(append([]any{"url", value.String(s.URL + path), "attempts", value.Integer(1)}, more...)...)
	}
	componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return check.HTTP{}, func() {} },
		componenttest.Case{
			Name:    "pages",
			Attrs:   page("/"),
			Changes: []*value.Component{page("/", "contains", value.String("well")), page("/old", "status", value.Integer(301)), page("/", "attempts", value.Integer(3), "timeout", value.Integer(900), "interval", value.Integer(10))},
			Check: func(t testing.TB, c *component.Call) {
				if _, ok := c.Env.(*componenttest.Env).Outputs()["latency"]; !ok {
					t.Error("no latency")
				}
			},
			Prepare: func(testing.TB, *component.Call) { down.Store(false) },
			Break:   func(testing.TB, *component.Call) { down.Store(true) },
		})
}

// call is a component that starts without a suite.
func call(t *testing.T, m component.Manager, a *value.Component) *component.Call {
	return &component.Call{Attrs: a, Env: componenttest.NewEnv(t, m.Class())}
}

func TestWhatIsWrongWithThePageIsSaid(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/old":
			http.Redirect(w, r, "/new", http.StatusFound)
		case "/500":
			http.Error(w, "no database\n\nat shop.go:7", http.StatusInternalServerError)
		case "/slow":
			<-r.Context().Done()
		default:
			fmt.Fprintln(w, "<h1>It works</h1>")
		}
	}))
	defer s.Close()
	for _, tt := range []struct{ path, contains, says, output string }{
		{"/old", "", "answers 302 Found (to /new), want 200", ""},
		{"/500", "", "answers 500 Internal Server Error, want 200", "no database|at shop.go:7"},
		{"/slow", "", "context deadline exceeded", ""},
		{"/", "welcome", `answers 200 OK without "welcome"`, "<h1>It works</h1>"},
	} {
		a := attrs("url", value.String(s.URL+tt.path), "contains", value.String(tt.contains),
			"attempts", value.Integer(2), "interval", value.Integer(1), "timeout", value.Integer(300))
		err := check.HTTP{}.Start(t.Context(), call(t, check.HTTP{}, a))
		output, remedy := component.Detail(err)
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "after 2 attempts") || remedy == "" {
			t.Errorf("%s: %v (remedy %q)", tt.path, err, remedy)
		}
		if got := strings.Join(output, "|"); tt.output != "" && got != tt.output {
			t.Errorf("%s: output %q, want %q", tt.path, got, tt.output)
		}
	}
}

func TestAttemptsAreMadeAtTheirPaceAndEndWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// No such port: refused without any network, and without the resolver of
		// names, which may not be used here first: what it makes stays of this bubble.
		a := attrs("host", here, "port", value.Integer(70000), "attempts", value.Integer(5), "interval", value.Integer(1000))
		begun := time.Now()
		err := check.TCP{}.Start(t.Context(), call(t, check.TCP{}, a))
		if d := time.Since(begun); err == nil || d != 4*time.Second {
			t.Errorf("%v after %s, want an error after 4 s", err, d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		begun = time.Now()
		err = check.TCP{}.Start(ctx, call(t, check.TCP{}, a))
		if d := time.Since(begun); err == nil || d != 1500*time.Millisecond || !strings.Contains(err.Error(), "2 attempts") {
			t.Errorf("%v after %s", err, d)
		}
	})
}

func TestPlanningRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		class component.Class
		attrs *value.Component
	}{
		"a port in the host":    {check.TCP{}.Class(), attrs("host", value.String("db:3306"), "port", value.Integer(3306))},
		"port 0":                {check.TCP{}.Class(), attrs("host", here, "port", value.Integer(0))},
		"no host":               {check.TCP{}.Class(), attrs("port", value.Integer(1))},
		"no attempts":           {check.TCP{}.Class(), attrs("host", here, "port", value.Integer(1), "attempts", value.Integer(0))},
		"a path as page":        {check.HTTP{}.Class(), attrs("url", value.String("/index.html"))},
		"a page without a host": {check.HTTP{}.Class(), attrs("url", value.String("http:///x"))},
		"a control character":   {check.HTTP{}.Class(), attrs("url", value.String("http://h/\n"))},
		"another protocol":      {check.HTTP{}.Class(), attrs("url", value.String("ftp://h/"))},
	} {
		p := componenttest.Problems(tt.class, tt.attrs, component.Target{})
		if len(p) != 1 || p[0].Message == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
