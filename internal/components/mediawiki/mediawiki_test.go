package mediawiki_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/apache"
	"aloft/internal/components/mediawiki"
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
	return mediawiki.New(p, host.NewPackages(log)), componenttest.Loop(p.Run)
}

// begin starts a program that is ended with the test, and waits for its port.
func begin(t *testing.T, port int, command ...string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := host.AwaitPorts(ctx, []string{fmt.Sprintf("127.0.0.1:%d", port)}); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("%s: %v\n%s", command[0], err, out.String())
	}
}

const dbPassword = `p'w"\ $(x)é`

// database installs and starts a server, and returns what a component says of
// it.
func database(t *testing.T) *value.Component {
	t.Helper()
	port := int(componenttest.FreePort(t))
	data := t.TempDir()
	if err := host.Command(t.Context(), "mariadb-install-db", "--user=root", "--datadir="+data, "--skip-test-db", "--auth-root-authentication-method=normal"); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(data, "s")
	begin(t, port, "mariadbd", "--no-defaults", "--user=root", "--datadir="+data, "--socket="+socket, "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port), "--innodb-flush-log-at-trx-commit=0")
	sql := exec.CommandContext(t.Context(), "mariadb", "--no-defaults", "--socket="+socket, "--default-character-set=utf8mb4")
	sql.Stdin = strings.NewReader(`CREATE USER 'joey'@'%' IDENTIFIED BY 'p\'w"\\ $(x)é'; GRANT ALL ON *.* TO 'joey'@'%';`)
	if out, err := sql.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return attrs("sfClass", value.String("MariaDB"), "host", value.String("127.0.0.1"), "port", value.Integer(port),
		"user", value.String("joey"), "password", value.String(dbPassword))
}

// container starts a Tomcat, and returns what a component says of it.
func container(t *testing.T) *value.Component {
	t.Helper()
	port, home := int(componenttest.FreePort(t)), t.TempDir()
	for _, dir := range []string{"conf/Catalina/localhost", "webapps", "work", "temp", "wars"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf(`<Server port="-1"><Service name="Catalina"><Connector port="%d" protocol="HTTP/1.1"/>
<Engine name="Catalina" defaultHost="localhost" backgroundProcessorDelay="1"><Host name="localhost" appBase="webapps" autoDeploy="true"/></Engine></Service></Server>`, port)
	if err := os.WriteFile(filepath.Join(home, "conf", "server.xml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	const defaults = `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"><servlet><servlet-name>default</servlet-name>
<servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class></servlet>
<servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping></web-app>`
	if err := os.WriteFile(filepath.Join(home, "conf", "web.xml"), []byte(defaults), 0o644); err != nil {
		t.Fatal(err)
	}
	begin(t, port, "java", "-Xmx128m", "-Dcatalina.base="+home, "-Dcatalina.home=/usr/share/tomcat10", "-Djava.io.tmpdir="+home+"/temp",
		"-classpath", "/usr/share/tomcat10/bin/bootstrap.jar:/usr/share/tomcat10/bin/tomcat-juli.jar", "org.apache.catalina.startup.Bootstrap", "start")
	return attrs("sfClass", value.String("Tomcat"), "home", value.String(home), "uri", value.String(fmt.Sprintf("http://127.0.0.1:%d/", port)))
}

// apacheContainer starts an Apache with PHP, and returns what a component says of
// it.
func apacheContainer(t *testing.T) *value.Component {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	processes := host.NewProcesses(log)
	t.Cleanup(componenttest.Loop(processes.Run))
	m := apache.New(processes, host.NewPackages(log))
	c := &component.Call{
		System: "s", Path: value.PathOf("web", "apache"), Attrs: attrs("port", componenttest.FreePort(t), "php", value.Bool(true)), WorkDir: t.TempDir(),
		Env: componenttest.NewEnv(t, m.Class()), Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "web"},
	}
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
	says := attrs("sfClass", value.String("Apache"), "php", value.Bool(true))
	for name, v := range c.Env.(*componenttest.Env).Outputs() {
		says.Set(value.Attr{Name: name, Value: v})
	}
	return says
}

// install brings what the test's own servers need.
func install(t *testing.T) {
	t.Helper()
	w := host.Wanted{Names: []string{"mariadb-server-core", "mariadb-client", "tomcat10-common", "libtomcat10-java"}, WorkDir: t.TempDir()}
	env := componenttest.NewEnv(t, component.Class{})
	if err := host.NewPackages(slog.New(slog.DiscardHandler)).Install(t.Context(), w, env); err != nil {
		t.Fatal(err)
	}
}

// browser is one visitor of a wiki, with what the wiki makes it remember.
type browser struct {
	t    testing.TB
	api  string
	http *http.Client
}

func visit(t testing.TB, uri string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, uri + "/api.php", &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}}
}

// do sends a request to the wiki's API and returns the answer.
func (b *browser) do(pairs ...string) map[string]any {
	b.t.Helper()
	form := url.Values{"format": {"json"}, "formatversion": {"2"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp, err := b.http.PostForm(b.api, form)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.answer(resp)
}

func (b *browser) answer(resp *http.Response) map[string]any {
	b.t.Helper()
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	var x map[string]any
	if err := json.Unmarshal(body, &x); err != nil || x["error"] != nil {
		b.t.Fatalf("%s: %v\n%.1000s", resp.Status, err, body)
	}
	return x
}

func (b *browser) token(kind string) string {
	b.t.Helper()
	x := b.do("action", "query", "meta", "tokens", "type", kind)
	return x["query"].(map[string]any)["tokens"].(map[string]any)[kind+"token"].(string)
}

func (b *browser) login(user, password string) string {
	b.t.Helper()
	x := b.do("action", "login", "lgname", user, "lgpassword", password, "lgtoken", b.token("login"))
	return x["login"].(map[string]any)["result"].(string)
}

func (b *browser) edit(title, text string) {
	b.t.Helper()
	x := b.do("action", "edit", "title", title, "text", text, "token", b.token("csrf"))
	if r := x["edit"].(map[string]any)["result"]; r != "Success" {
		b.t.Errorf("edit: %v", x)
	}
}

func (b *browser) read(title string) string {
	b.t.Helper()
	x := b.do("action", "parse", "page", title, "prop", "wikitext")
	return x["parse"].(map[string]any)["wikitext"].(string)
}

// upload sends a picture and returns where the wiki says it is.
func (b *browser) upload(name string, content []byte) string {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for k, v := range map[string]string{"action": "upload", "format": "json", "formatversion": "2", "filename": name, "ignorewarnings": "1", "token": b.token("csrf")} {
		form.WriteField(k, v)
	}
	f, _ := form.CreateFormFile("file", name)
	f.Write(content)
	form.Close()
	resp, err := b.http.Post(b.api, form.FormDataContentType(), &body)
	if err != nil {
		b.t.Fatal(err)
	}
	x := b.answer(resp)
	return x["upload"].(map[string]any)["imageinfo"].(map[string]any)["url"].(string)
}

const (
	admin    = "Admin"
	password = `corr'ect "horse" $(x) \ é`
)

func given(in, db, more *value.Component) *value.Component {
	c := attrs("container", in, "db", db, "siteName", value.String(`It's a "$wiki" <b>`), "adminUser", value.String(admin), "adminPassword", value.String(password))
	for a := range more.All() {
		c.Set(a)
	}
	return c
}

// TestWikis shares one root file system among what takes long to install.
func TestWikis(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	install(t)
	t.Run("two web machines are one wiki", twoMachines)
	t.Run("under Tomcat", func(t *testing.T) {
		suite(t, container(t), func(t testing.TB, c *component.Call) {
			if err := host.NewProcesses(slog.New(slog.DiscardHandler)).Signal(c.WorkDir, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}, attrs("siteName", value.String("Another")), attrs("siteName", value.String("Another"), "adminPassword", value.String("another password")), attrs())
	})
	t.Run("under Apache", func(t *testing.T) {
		in := apacheContainer(t)
		suite(t, in, func(t testing.TB, c *component.Call) {
			home, _ := in.Get("home")
			placed, _ := filepath.Glob(filepath.Join(string(home.(value.String)), "apps", "*.conf"))
			for _, file := range placed {
				if err := os.Remove(file); err != nil {
					t.Error(err)
				}
			}
			b, err := os.ReadFile(filepath.Join("/run", filepath.Base(string(home.(value.String))), "apache.pid"))
			pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil || pid < 2 || len(placed) != 1 {
				t.Fatalf("process %d, %v, %s", pid, err, placed)
			}
			if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
				t.Error(err)
			}
			uri, _ := in.Get("uri")
			for range 500 {
				resp, err := http.Get(string(uri.(value.String)) + "mediawiki/")
				if err == nil {
					resp.Body.Close()
				}
				if err == nil && resp.StatusCode == http.StatusNotFound {
					log := slog.New(slog.DiscardHandler) // that it is not there any more is its end
					if err := mediawiki.New(host.NewProcesses(log), host.NewPackages(log)).Ping(t.Context(), c); err == nil || errors.Is(err, component.ErrNoEnd) {
						t.Errorf("ping: %v", err)
					}
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Error("Apache goes on serving it")
		}, attrs("siteName", value.String("Another"))) // passwords change under Tomcat
	})
}

func suite(t *testing.T, in *value.Component, breaks func(testing.TB, *component.Call), changes ...*value.Component) {
	db := database(t)
	var next []*value.Component
	for _, c := range changes {
		next = append(next, given(in, db, c))
	}
	componenttest.Run(t, daemon, componenttest.Case{
		Name:    "mediawiki",
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
		Slow:    true,
		Attrs:   given(in, db, attrs()),
		Changes: next,
		Check: func(t testing.TB, c *component.Call) {
			uri := string(c.Env.(*componenttest.Env).Outputs()["uri"].(value.String))
			if !strings.HasSuffix(uri, "/mediawiki") {
				t.Errorf("uri %s", uri)
			}
			b := visit(t, uri)
			name, _ := c.Attrs.Get("siteName")
			x := b.do("action", "query", "meta", "siteinfo")
			if got := x["query"].(map[string]any)["general"].(map[string]any)["sitename"]; got != string(name.(value.String)) {
				t.Errorf("the wiki is called %q, want %q", got, name)
			}
			word, _ := c.Attrs.Get("adminPassword")
			if got := b.login(admin, string(word.(value.String))); got != "Success" {
				t.Errorf("login: %s", got)
			}
			if got := visit(t, uri).login(admin, "not the password"); got == "Success" {
				t.Error("any password will do")
			}
		},
		Break: breaks,
		Kept: func(t testing.TB, c *component.Call) {
			left, _ := filepath.Glob("/var/lib/aloft-suite*/*")
			for _, path := range left {
				if name := filepath.Base(path); name != "images" && name != "deleted" {
					t.Errorf("kept beside what was uploaded: %s", path)
				}
			}
			if len(left) == 0 {
				t.Error("what was uploaded is gone")
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			home, _ := in.Get("home")
			for _, pattern := range []string{"/var/lib/aloft-suite*", filepath.Join(string(home.(value.String)), "conf/Catalina/localhost/*"), filepath.Join(string(home.(value.String)), "apps/*")} {
				if left, _ := filepath.Glob(pattern); len(left) > 0 {
					t.Errorf("left over: %s", left)
				}
			}
		},
	})
}

// Two machines with one database are one wiki, be it under Tomcat or Apache: who has logged in at one is known
// to the other, and reads there what was written here. An edit of 100 kB, an
// upload and a redirect keep scheme, host and port.
func twoMachines(t *testing.T) {
	db := database(t)
	m, end := daemon(t)
	defer end()
	var uris []string
	var calls []*component.Call
	for name, in := range map[string]*value.Component{"web1": container(t), "web2": apacheContainer(t)} {
		c := &component.Call{
			System: "s", Path: value.PathOf(name, "wiki"), Attrs: given(in, db, attrs()), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
			Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: name},
		}
		if err := m.Deploy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		uris = append(uris, string(c.Env.(*componenttest.Env).Outputs()["uri"].(value.String)))
		calls = append(calls, c)
	}
	started := make(chan error)
	for _, c := range calls { // at the same time: one of them makes the tables
		go func() { started <- m.Start(t.Context(), c) }()
	}
	for range calls {
		if err := <-started; err != nil {
			output, _ := component.Detail(err)
			t.Fatalf("%v\n%s", err, strings.Join(output, "\n"))
		}
	}
	one := visit(t, uris[0])
	if got := one.login(admin, password); got != "Success" {
		t.Fatalf("login: %s", got)
	}
	long := strings.TrimSpace(strings.Repeat("Ünïcode & <tags> 'quoted'.\n", 4000))
	one.edit("Long", long)
	two := &browser{t, uris[1] + "/api.php", one.http} // cookies know no ports
	if got := two.read("Long"); got != long {
		t.Errorf("%d bytes were written, %d are read elsewhere", len(long), len(got))
	}
	two.edit("Written elsewhere", "by the same visitor")
	if got := one.read("Written elsewhere"); got != "by the same visitor" {
		t.Errorf("read %q", got)
	}

	for i, uri := range uris {
		looks(t, &browser{t, uri + "/api.php", one.http}, uri, fmt.Sprintf("Dot%d.png", i))
	}
	for _, c := range calls {
		if err := m.Terminate(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
}

// looks looks at what is at a wiki's address, and sends it a picture.
func looks(t *testing.T, one *browser, uri, name string) {
	t.Helper()
	picture := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"),
		"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"...)
	at := one.upload(name, picture)
	if !strings.HasPrefix(at, uri+"/images/") {
		t.Errorf("a picture sent to %s is at %s", uri, at)
	}
	got, err := one.http.Get(at)
	if err != nil {
		t.Fatalf("the picture: %v", err)
	}
	got.Body.Close()
	if got.StatusCode != http.StatusOK {
		t.Errorf("the picture: %s", got.Status)
	}
	for _, path := range []string{"", "/", "/index.php?title=long"} {
		resp, err := one.http.Get(uri + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Request.URL.String(); resp.StatusCode != http.StatusOK || !strings.HasPrefix(got, uri+"/index.php?title=") {
			t.Errorf("%s leads to %s, %s", path, got, resp.Status)
		}
	}
	for _, path := range []string{"/LocalSettings.php", "/includes/Setup.php", "/maintenance/install.php", "/WEB-INF/web.xml", "/images/", "/config/settings.json", "/skins/Vector/includes/Hooks.php", "/resources/Resources.php"} {
		resp, err := one.http.Get(uri + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %s", path, resp.Status)
		}
	}
	// Many at the same time, once more than PHP has processes: nobody is left
	// waiting.
	for _, people := range []int{2, 5, 3, 12, 12} {
		var all sync.WaitGroup
		for range people {
			all.Go(func() {
				client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
				resp, err := client.Get(uri + "/index.php?title=long")
				if err != nil {
					t.Errorf("one of %d: %v", people, err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("one of %d: %s", people, resp.Status)
				}
			})
		}
		all.Wait()
	}
	resp, err := one.http.Get(uri + "/rest.php/v1/page/Long")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("quoted")) {
		t.Errorf("the page by REST: %s %.300s", resp.Status, body)
	}
}

func TestPlanningRefuses(t *testing.T) {
	check := (*mediawiki.Manager)(nil).Class().Check
	for name, a := range map[string]*value.Component{
		"a name of two lines":    attrs("siteName", value.String("a\nb")),
		"a user that cannot be":  attrs("adminUser", value.String("a/b")),
		"a short password":       attrs("adminPassword", value.String("short")),
		"a path that is none":    attrs("path", value.String("../x")),
		"a version that is none": attrs("version", value.String("latest")),
	} {
		if p := check(a, component.Target{}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
