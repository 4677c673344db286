package tomcat_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/tomcat"
	"aloft/internal/host"
	"aloft/internal/host/catalina"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

var attrs = componenttest.Attrs

func daemon(t testing.TB) (component.Manager, func()) {
	log := slog.New(slog.DiscardHandler)
	p := host.NewProcesses(log)
	return tomcat.New(p, host.NewPackages(log)), componenttest.Loop(p.Run)
}

var machine = component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}

// get returns the answer, over HTTPS without asking who answers.
func get(t testing.TB, url string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func output(c *component.Call, name string) string {
	s, _ := c.Env.(*componenttest.Env).Outputs()[name].(value.String)
	return string(s)
}

// serve places an application into the container, and returns where it
// answers.
func serve(t testing.TB, c *component.Call) catalina.Version {
	t.Helper()
	home := output(c, "home")
	site := filepath.Join(home, "site")
	if err := os.MkdirAll(site, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(site, "index.jsp"), []byte("<%= 6 * 7 %> for <%= request.getScheme() %>"), 0o644); err != nil {
		t.Fatal(err)
	}
	v := catalina.Version{Tomcat: catalina.Tomcat{Home: home, URI: output(c, "uri"), Log: output(c, "log")}, Path: "/answer", Owner: "test", Serial: 1}
	if err := v.Place(catalina.Context{DocBase: site}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := v.Await(ctx, 0); err != nil {
		log, _ := os.ReadFile(output(c, "log"))
		t.Fatalf("%v\n%s", err, log)
	}
	return v
}

// logged waits for a line of the log, which is written after the answer.
func logged(t testing.TB, c *component.Call, line string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		log, _ := os.ReadFile(output(c, "log"))
		if strings.Contains(string(log), line) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s is not in the log:\n%s", line, log)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	port, other, secure := componenttest.FreePort(t), componenttest.FreePort(t), componenttest.FreePort(t)
	small := value.Vector{value.String("-Xmx64m"), value.String("-Dgreeting=$(touch /tmp/x); \"`'")}
	componenttest.Run(t, daemon, componenttest.Case{
		Name: "tomcat", Machine: machine, Slow: true,
		Attrs: attrs("port", port, "javaArgs", value.Vector{value.String("-Xmx64m")}),
		Changes: []*value.Component{
			attrs("port", other, "javaArgs", small, "https", value.Bool(true), "https-port", secure),
		},
		Check: func(t testing.TB, c *component.Call) {
			v := serve(t, c)
			if status, body := get(t, v.URI()); status != 200 || body != "42 for http" {
				t.Errorf("%s: %d %q", v.URI(), status, body)
			}
			logged(t, c, `"GET /answer/ HTTP/1.1" 200`)
			uri := output(c, "httpsUri")
			if https, _ := c.Attrs.Get("https"); https == nil {
				if uri != "" {
					t.Errorf("without HTTPS it is at %s", uri)
				}
				return
			}
			if status, body := get(t, uri+"answer/"); status != 200 || body != "42 for https" {
				t.Errorf("%s: %d %q", uri, status, body)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			componenttest.Freeze(t, host.NewProcesses(slog.New(slog.DiscardHandler)).Pid(c.WorkDir))
		},
		Kept: func(t testing.TB, c *component.Call) {
			if left, _ := filepath.Glob("/var/lib/tomcat/aloft-*/conf/server.xml"); len(left) != 1 {
				t.Errorf("its configuration: %s", left)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			if left, _ := filepath.Glob("/var/lib/tomcat/aloft-*"); len(left) > 0 {
				t.Errorf("left over: %s", left)
			}
		},
	})
}

func call(t testing.TB, m component.Manager, a *value.Component) *component.Call {
	return &component.Call{System: "s", Path: "m:tomcat", Attrs: a, WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()), Machine: machine}
}

// What goes wrong is told with its cause, and leaves nothing running or as it
// was before.
func TestTroublesAreToldAndUndone(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port, busy := componenttest.FreePort(t), value.Integer(taken.Addr().(*net.TCPAddr).Port)
	says := func(err error, texts ...string) {
		t.Helper()
		output, remedy := component.Detail(err)
		all := fmt.Sprint(err, "\n", remedy, "\n", strings.Join(output, "\n"))
		for _, text := range texts {
			if err == nil || !strings.Contains(all, text) {
				t.Errorf("does not say %q:\n%s", text, all)
			}
		}
	}
	c := call(t, m, attrs("port", busy))
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	says(m.Start(t.Context(), c), fmt.Sprintf("port %d", busy), fmt.Sprintf("pid %d", os.Getpid()), "choose another port")

	c.Attrs = attrs("port", port, "javaArgs", value.Vector{value.String("-Xmx64m"), value.String("-XX:NoSuchOption")})
	says(m.Start(t.Context(), c), "java exited with status 1 before it was ready", "NoSuchOption", "Could not create the Java Virtual Machine")

	good := attrs("port", port, "javaArgs", value.Vector{value.String("-Xmx64m")})
	c.Attrs = good
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	serve(t, c)
	pid := tomcatPid(t, port)
	for name, next := range map[string]*value.Component{
		"a port that is taken":      attrs("port", busy),
		"HTTPS on a port that is":   attrs("port", port, "https", value.Bool(true), "https-port", busy),
		"a program for an argument": attrs("port", port, "javaArgs", value.Vector{value.String("Main")}),
	} {
		c.Old, c.Attrs = good, next
		if err := m.Reconfigure(t.Context(), c); err == nil {
			t.Errorf("%s: taken", name)
		}
		if now := tomcatPid(t, port); now != pid {
			t.Errorf("%s: it was restarted", name)
		}
	}
	c.Attrs = attrs("port", port, "javaArgs", value.Vector{value.String("-XX:NoSuchOption")})
	says(m.Reconfigure(t.Context(), c), "NoSuchOption")
	c.Attrs = good
	if err := m.Ping(t.Context(), c); err != nil {
		t.Errorf("after arguments that Java does not know: %v", err)
	}
	serve(t, c)
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func tomcatPid(t testing.TB, port value.Integer) int {
	t.Helper()
	h, ok := host.HolderOf("127.0.0.1", int(port))
	if !ok {
		t.Errorf("nothing listens on %d", port)
	}
	return h.Pid
}

func TestPlanningRefuses(t *testing.T) {
	check := (*tomcat.Manager)(nil).Class().Check
	target := component.Target{Isolation: true, Privileged: true}
	for name, a := range map[string]*value.Component{
		"a port that is none":           attrs("port", value.Integer(70000)),
		"one port for two":              attrs("port", value.Integer(8443), "https", value.Bool(true)),
		"a program in Java's arguments": attrs("javaArgs", value.Vector{value.String("org.evil.Main")}),
		"another program":               attrs("javaArgs", value.Vector{value.String("-jar"), value.String("-x")}),
		"an argument file":              attrs("javaArgs", value.Vector{value.String("@/etc/passwd")}),
	} {
		if p := check(a, target); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p := check(attrs("port", value.Integer(80), "https", value.Bool(true), "https-port", value.Integer(443)), target); len(p) > 0 {
		t.Errorf("the usual ports: %+v", p)
	}
}

// It shows the certificate that it refers to, to clients that trust its issuer
// alone, and another one without being restarted: no request is lost. A
// certificate that cannot be used changes nothing.
func TestAnotherCertificateLosesNoRequest(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	one, two := componenttest.Certificate(t, "127.0.0.1", "a.test"), componenttest.Certificate(t, "127.0.0.1", "b.test")
	port, secure := componenttest.FreePort(t), componenttest.FreePort(t)
	shows := func(cert value.Value) *value.Component {
		return attrs("port", port, "https-port", secure, "certificate", cert, "javaArgs", value.Vector{value.String("-Xmx64m")})
	}
	c := call(t, m, shows(one))
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	serve(t, c)
	uri, address := output(c, "httpsUri")+"answer/", fmt.Sprintf("127.0.0.1:%d", secure)
	first := componenttest.Shown(t, address, "a.test")
	pid := tomcatPid(t, port)
	// Tomcat opens the file twice, for the key and for the certificate: where it
	// is exchanged just in between they do not fit until it looks again.
	stop := componenttest.Clients(t, uri, "invalid signature by the server certificate")
	c.Old, c.Attrs = c.Attrs, shows(two)
	if err := m.Reconfigure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if componenttest.Shown(t, address, "b.test") == first {
		t.Error("it shows the same certificate")
	}
	good, second := c.Attrs, componenttest.Shown(t, address, "b.test")
	key, _ := one.Get("keyFile")
	cert, _ := two.Get("certFile")
	for what, bad := range map[string]value.Value{
		"files that are not there":  componenttest.Data("certFile", value.String("/nowhere/cert.pem"), "keyFile", value.String("/nowhere/key.pem")),
		"a component without files": componenttest.Data("uri", value.String("http://a/")),
		"a key of another":          componenttest.Data("certFile", cert, "keyFile", key),
		"a path with more in it":    componenttest.Data("certFile", value.String("/x\" evil=\"y"), "keyFile", key),
	} {
		c.Old, c.Attrs = good, shows(bad)
		if err := m.Reconfigure(t.Context(), c); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	stop()
	if componenttest.Shown(t, address, "b.test") != second || tomcatPid(t, port) != pid {
		t.Error("it shows another certificate, or was restarted")
	}
	// Nor does one that it does not take up in time.
	file := filepath.Join(output(c, "home"), "conf", "tls", "pair.pem")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	componenttest.Freeze(t, pid)
	c.Old, c.Attrs = good, shows(one)
	soon, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	err = m.Reconfigure(soon, c)
	cancel()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err == nil || !strings.Contains(err.Error(), "has not taken up its certificate") || strings.Contains(err.Error(), "not back") {
		t.Errorf("it cannot take up anything: %v", err)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, before) {
		t.Errorf("what it is to take up is not the one before: %v", err)
	}
	if componenttest.Shown(t, address, "b.test") != second || tomcatPid(t, port) != pid {
		t.Error("it shows another certificate, or was restarted")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("its key: %v, %v", info, err)
	}
	c.Attrs = good
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// A container that made its certificate under a release which had it in two files
// keeps it, whoever trusts it by now, and those files go.
func TestItsOwnCertificateOutlivesAnUpgrade(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	c := call(t, m, attrs(
		"port", componenttest.FreePort(t), "https", value.Bool(true), "https-port", componenttest.FreePort(t),
		"javaArgs", value.Vector{value.String("-Xmx64m")},
	))
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(output(c, "home"), "conf", "tls")
	pair := filepath.Join(folder, "pair.pem")
	made, err := os.ReadFile(pair)
	if err != nil {
		t.Fatal(err)
	}
	before := func(chain, key []byte) {
		t.Helper()
		if err := os.Remove(pair); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"chain.pem": chain, "key.pem": key} {
			if err := os.WriteFile(filepath.Join(folder, name), content, 0o400); err != nil {
				t.Fatal(err)
			}
		}
	}
	after := func() []byte {
		t.Helper()
		if err := m.Start(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
			t.Errorf("%d files are there, %v", len(left), err)
		}
		now, err := os.ReadFile(pair)
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	at := bytes.Index(made, []byte("-----BEGIN PRIVATE KEY"))
	before(made[:at], made[at:])
	if now := after(); !bytes.Equal(now, made) {
		t.Error("it has another certificate")
	}
	before(made[:at], []byte("no key"))
	if now := after(); bytes.Equal(now, made) || !bytes.Contains(now, []byte("PRIVATE KEY")) {
		t.Error("of a certificate without its key it makes no other")
	}
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Error(err)
	}
}
