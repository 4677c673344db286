package webapp_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/tomcat"
	"aloft/internal/components/webapp"
	"aloft/internal/host"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

var attrs = componenttest.Attrs

var machine = component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}

func daemon(testing.TB) (component.Manager, func()) { return webapp.New(), func() {} }

// war returns a web application: name and content of its files.
func war(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shipped is what the command line makes of the name of a file.
func shipped(path string, content []byte) *value.Component {
	c := value.NewComponent(true)
	c.Set(value.Attr{Name: "path", Value: value.String(path)})
	c.Set(value.Attr{Name: "digest", Value: value.String(componenttest.Digest(content))})
	return c
}

// container starts a Tomcat and returns what others see of it.
func container(t *testing.T) *value.Component {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := value.Integer(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	log := slog.New(slog.DiscardHandler)
	p := host.NewProcesses(log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	m := tomcat.New(p, host.NewPackages(log))
	env := componenttest.NewEnv(t, m.Class())
	c := &component.Call{
		System: "s", Path: "m:tomcat", Attrs: attrs("port", port, "javaArgs", value.Vector{value.String("-Xmx96m")}), WorkDir: t.TempDir(), Env: env, Machine: machine,
	}
	t.Cleanup(func() {
		if err := m.Terminate(context.Background(), c); err != nil {
			t.Error(err)
		}
		cancel()
		<-done
	})
	for _, operation := range []func(context.Context, *component.Call) error{m.Deploy, m.Start} {
		if err := operation(t.Context(), c); err != nil {
			output, _ := component.Detail(err)
			t.Fatalf("%v\n%s", err, strings.Join(output, "\n"))
		}
	}
	seen := attrs("port", port)
	for name, v := range env.Outputs() {
		seen.Set(value.Attr{Name: name, Value: v})
	}
	return seen
}

func get(t testing.TB, client *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func visitor() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

func text(c *value.Component, name string) string {
	v, _ := c.Get(name)
	s, _ := v.(value.String)
	return string(s)
}

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	in := container(t)
	one := war(t, "index.html", "first")
	two := war(t, "index.jsp", "<%= \"second\" %>", "META-INF/context.xml", `<!-- mine --><Context path="/elsewhere" docBase="/etc"><Parameter name="a" value="&lt;b&gt;"/></Context>`)
	componenttest.Run(t, daemon, componenttest.Case{
		Name: "webapp", Machine: machine, Slow: true, Sources: [][]byte{one, two},
		Attrs: attrs("container", in, "url", shipped("./one.war", one)),
		Changes: []*value.Component{
			attrs("container", in, "url", shipped("./one.war", two), "digest", value.String(componenttest.Digest(two)), "drainSeconds", value.Integer(1)),
			attrs("container", in, "url", shipped("./one.war", two), "context", value.String("eu/shop")),
		},
		Check: func(t testing.TB, c *component.Call) {
			want, path := "first", "one/"
			if _, ok := c.Attrs.Get("digest"); ok {
				want = "second"
			}
			if _, ok := c.Attrs.Get("context"); ok {
				want, path = "second", "eu/shop/"
				if status, _ := get(t, visitor(), text(in, "uri")+"one/"); status != 404 {
					t.Errorf("at its former place: %d", status)
				}
			}
			uri, _ := c.Env.(*componenttest.Env).Outputs()["uri"].(value.String)
			if string(uri) != text(in, "uri")+path {
				t.Errorf("uri %s", uri)
			}
			if status, body := get(t, visitor(), string(uri)); status != 200 || strings.TrimSpace(body) != want {
				t.Errorf("%s: %d %q, want %q", uri, status, body, want)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			found, _ := filepath.Glob(text(in, "home") + "/conf/Catalina/localhost/*.xml")
			for _, f := range found {
				if err := host.RemoveFile(f); err != nil {
					t.Error(err)
				}
			}
			deadline := time.Now().Add(time.Minute)
			for status := 200; status != 404 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
				status, _ = get(t, visitor(), text(in, "uri")+"one/")
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			for _, pattern := range []string{"/conf/Catalina/localhost/*", "/wars/*", "/webapps/*"} {
				if left, _ := filepath.Glob(text(in, "home") + pattern); len(left) > 0 {
					t.Errorf("left over: %s", left)
				}
			}
		},
	})
}

// One version takes the place of another without a request lost; who has a
// session stays with the old one for as long as said. What does not come up
// leaves the old one serving.
func TestVersionsReplaceEachOther(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	in := container(t)
	m := webapp.New()
	env := componenttest.NewEnv(t, m.Class())
	page := func(name string) []byte { return war(t, "index.jsp", name+" <%= session.isNew() %>") }
	ship := func(b []byte) *value.Component { env.Ship(b); return shipped("shop.war", b) }
	c := &component.Call{System: "s", Path: "m:tomcat:shop", WorkDir: t.TempDir(), Env: env, Machine: machine}
	become := func(a *value.Component) error {
		c.Old, c.Attrs = c.Attrs, a
		return m.Reconfigure(t.Context(), c)
	}
	c.Attrs = attrs("container", in, "url", ship(page("one")), "drainSeconds", value.Integer(4))
	for _, operation := range []func(context.Context, *component.Call) error{m.Deploy, m.Start} {
		if err := operation(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	uri := text(in, "uri") + "shop/"
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	regular := visitor()
	regular.Jar = jar
	if _, body := get(t, regular, uri); body != "one true" {
		t.Fatalf("first visit: %q", body)
	}

	ctx, stop := context.WithCancel(t.Context())
	var visits sync.WaitGroup
	seen := map[string]int{}
	beside := false // the old one answered its visitor while the new one answered others
	visits.Go(func() {
		for ctx.Err() == nil {
			status, body := get(t, visitor(), uri)
			if status != 200 {
				t.Errorf("a visitor was answered %d: %s", status, body)
			}
			seen[body]++
			if _, mine := get(t, regular, uri); body == "two true" && mine == "one false" {
				beside = true
			}
		}
	})
	err = become(attrs("container", in, "url", ship(page("two")), "drainSeconds", value.Integer(4)))
	stop()
	visits.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if seen["one true"] == 0 || seen["two true"] == 0 || !beside {
		t.Errorf("answers %v; both beside each other: %v", seen, beside)
	}
	if _, body := get(t, regular, uri); !strings.HasPrefix(body, "two ") {
		t.Errorf("afterwards the visitor with a session sees %q", body)
	}

	good := c.Attrs
	whole := page("three")
	cut := whole[:len(whole)-30]
	bad := bytes.Clone(war(t, "a.txt", strings.Repeat("content", 100)))
	bad[60] ^= 1
	ghost := war(t, "WEB-INF/web.xml", `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"><listener><listener-class>no.such.Listener</listener-class></listener></web-app>`)
	wrong := war(t, "META-INF/context.xml", `<Server/>`)
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(whole) }))
	defer served.Close()
	address := value.String(served.URL + "/shop.war")
	for name, trouble := range map[string]struct {
		attrs *value.Component
		says  []string
	}{
		"cut short":        {attrs("url", ship(cut)), []string{"shop.war: it is no WAR that can be read", "build it anew"}},
		"damaged":          {attrs("url", ship(bad)), []string{"shop.war: it is no WAR that can be read: a.txt"}},
		"wrong descriptor": {attrs("url", ship(wrong)), []string{"META-INF/context.xml: the element around all is Server"}},
		"wrong digest":     {attrs("url", address, "digest", value.String(componenttest.Digest(bad))), []string{"has digest " + componenttest.Digest(whole), "give the new digest"}},
		"no answer":        {attrs("url", address+".gone", "digest", value.String(componenttest.Digest(cut))), []string{"has digest"}},
		"does not come up": {attrs("url", ship(ghost)), []string{uri + " did not come up", "no.such.Listener"}},
	} {
		trouble.attrs.Set(value.Attr{Name: "container", Value: in})
		c.Attrs = good
		err := become(trouble.attrs)
		output, remedy := component.Detail(err)
		all := fmt.Sprint(err, "\n", remedy, "\n", strings.Join(output, "\n"))
		for _, want := range trouble.says {
			if err == nil || !strings.Contains(all, want) {
				t.Errorf("%s does not say %q:\n%s", name, want, all)
			}
		}
		c.Attrs = good
		if err := m.Ping(t.Context(), c); err != nil {
			t.Errorf("after one that is %s: %v", name, err)
		}
		if _, body := get(t, visitor(), uri); body != "two true" {
			t.Errorf("after one that is %s visitors see %q", name, body)
		}
	}
	// As after a start of the daemon.
	if err := m.Start(t.Context(), c); err != nil {
		t.Error(err)
	}

	rival := &component.Call{System: "s", Path: "m:tomcat:rival", WorkDir: t.TempDir(), Env: env, Machine: machine}
	rival.Attrs = attrs("container", in, "url", address, "digest", value.String(componenttest.Digest(whole)))
	if err := m.Deploy(t.Context(), rival); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), rival); err == nil || !strings.Contains(err.Error(), "the path /shop/ of this Tomcat belongs to another component") {
		t.Errorf("two for one path: %v", err)
	}
	for _, call := range []*component.Call{rival, c} {
		if err := m.Terminate(t.Context(), call); err != nil {
			t.Error(err)
		}
	}
	if status, _ := get(t, visitor(), uri); status != 404 {
		t.Errorf("at the end: %d", status)
	}
}

func TestPlanningRefuses(t *testing.T) {
	check := webapp.New().Class().Check
	for name, a := range map[string]*value.Component{
		"an address that is none":      attrs("url", value.String("https:///a.war")),
		"a digest that is none":        attrs("url", value.String("https://h/a.war"), "digest", value.String("md5:1")),
		"a path that leads up":         attrs("url", value.String("https://h/a.war"), "context", value.String("../x")),
		"a path that Tomcat reserves":  attrs("url", value.String("https://h/a.war"), "context", value.String("WEB-INF")),
		"a name that cannot be a path": attrs("url", value.String("https://h/a%23%23b.war")),
	} {
		if p := check(a, component.Target{Isolation: true}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for name, a := range map[string]*value.Component{
		"the root":         attrs("url", value.String("https://h/x/ROOT.war")),
		"a query":          attrs("url", value.String("https://h/x/shop.war?v=1")),
		"a late address":   attrs("url", &value.Reference{Lazy: true}),
		"a file beside it": attrs("url", shipped("./apps/shop.war", nil)),
	} {
		if p := check(a, component.Target{Isolation: true}); len(p) > 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
