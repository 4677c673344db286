// Package nginx manages Nginx components: web servers and load balancers, from
// the distribution's package, run by host.Processes in the foreground. It
// starts no goroutine.
package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/host/sites"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Nginx components.
type Manager struct {
	component.Keep
	processes *host.Processes
	packages  *host.Packages
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager whose servers are installed by pk and watched by p.
func New(p *host.Processes, pk *host.Packages) *Manager {
	return &Manager{processes: p, packages: pk}
}

// Class describes Nginx.
func (*Manager) Class() component.Class { return class }

var schema = catalog.Schema("Nginx")

var class = component.Class{
	Name:   "Nginx",
	Site:   component.SiteMachine,
	Schema: schema,
	Attributes: []component.Attribute{
		{Name: "sites", Use: component.UseStart},
		{Name: "workers", Use: component.UseStart},
		{Name: "certificate", Use: component.UseStart, Whole: true},
	},
	Outputs: []component.Output{
		{Name: "uri", Kind: value.KindString, Doc: "where it answers"},
		{Name: "httpsUri", Kind: value.KindString, Doc: "where it answers over HTTPS, if it does"},
	},
	Reconfigures: true,
	Isolation:    true,
	Check:        check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := append(host.CheckPorts(attrs, m, "port"), form.Check(attrs)...)
	if v, _ := attrs.Get("certificate"); v != nil {
		problems = append(problems, host.CheckPorts(attrs, m, "https-port")...)
		problems = append(problems, host.CheckHTTPS(attrs, schema, form.Listens(attrs)...)...)
	}
	return problems
}

// server is one component's server: its configuration and where that goes.
type server struct {
	name    string
	address string // the machine's
	port    int    // of the component
	ports   []int  // all that are listened on for HTTP, sorted
	https   int    // port for HTTPS; 0: none
	cert    *host.Certificate
	sites   []sites.Site
	config  []byte
}

func (s server) file() string   { return filepath.Join("/etc/nginx", s.name+".conf") }
func (s server) folder() string { return filepath.Join("/var/lib/nginx", s.name) }

// Deploy installs nginx and tells where it will answer.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	v := class.Values(c.Attrs)
	s := server{address: c.Machine.Address, port: v.Int("port")}
	if v.Has("certificate") {
		s.https = v.Int("https-port")
	}
	if err := v.Err(); err != nil {
		return err
	}
	w := host.Wanted{Names: []string{"nginx"}, Proxy: c.Machine.Proxy, WorkDir: c.WorkDir}
	if err := m.packages.Install(ctx, w, c.Env); err != nil {
		return err
	}
	s.output(c)
	return nil
}

func (s server) output(c *component.Call) {
	c.Env.Output("uri", value.String(host.URI("http", s.address, s.port)))
	c.Env.Output("httpsUri", value.String(host.URI("https", s.address, s.https)))
}

// place writes the pages, tests the configuration, and puts it where the
// server reads it. On error the old one is still in place.
func (s server) place(ctx context.Context) error {
	if err := s.cert.Check(); err != nil {
		return err
	}
	if err := sites.WritePages(s.folder(), s.sites); err != nil {
		return err
	}
	if old, err := os.ReadFile(s.file()); err == nil && bytes.Equal(old, s.config) {
		return nil
	}
	next := s.file() + ".next"
	if err := host.WriteFile(next, s.config, 0o644); err != nil {
		return err
	}
	if err := host.Command(ctx, "nginx", "-t", "-q", "-c", next); err != nil {
		return errors.Join(err, host.RemoveFile(next))
	}
	return os.Rename(next, s.file())
}

func (s server) addresses() []string {
	var all []string
	for _, p := range s.listens() {
		all = append(all, net.JoinHostPort(s.address, strconv.Itoa(p)))
	}
	return all
}

// listens are all ports that it listens on, the first one for HTTP.
func (s server) listens() []int {
	if s.https == 0 {
		return s.ports
	}
	return append(slices.Clone(s.ports), s.https)
}

func (s server) spec() host.Spec {
	return host.Spec{
		Command:     []string{"nginx", "-c", s.file(), "-g", "daemon off;"},
		Dir:         "/",
		StopSignal:  syscall.SIGQUIT, // lets requests end
		StopTimeout: 10 * time.Second,
		Ready:       host.Ready{Ports: s.addresses()[:1], Timeout: 30 * time.Second},
	}
}

// Start writes and tests the configuration and starts the server, or adopts
// the one that runs.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	s, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	running := m.processes.Alive(c.WorkDir) == nil
	if !running {
		if err := sites.Free(s.listens()); err != nil {
			return err
		}
	}
	if err := s.place(ctx); err != nil {
		return err
	}
	if _, err := m.processes.Start(ctx, c.WorkDir, s.spec(), host.Report(c)); err != nil {
		return err
	}
	if running { // it may still have an older configuration
		if err := m.reload(ctx, c, s); err != nil {
			return err
		}
	}
	sites.TidyPages(s.folder(), s.sites)
	return nil
}

// Reconfigure writes and tests the configuration and has the server take it
// over without dropping a request.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := read(c, c.Old)
	if err != nil {
		return err
	}
	next, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	if err := sites.Free(slices.DeleteFunc(slices.Clone(next.listens()), func(p int) bool {
		return slices.Contains(old.listens(), p) || m.listens(c, p)
	})); err != nil {
		return err
	}
	if err := next.place(ctx); err != nil {
		return err
	}
	if err := m.reload(ctx, c, next); err != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Second)
		defer cancel()
		if backErr := errors.Join(old.place(back), m.reload(back, c, old)); backErr != nil {
			return fmt.Errorf("%w (and not back to what it was: %w)", err, backErr)
		}
		return err
	}
	sites.TidyPages(next.folder(), next.sites)
	next.output(c)
	return nil
}

// listens reports whether this component's own server listens on port, as
// after a reconfiguration that was cut off.
func (m *Manager) listens(c *component.Call, port int) bool {
	h, ok := host.HolderOf("0.0.0.0", port)
	children, err := m.processes.Children(c.WorkDir)
	_, child := children[h.Pid]
	return ok && err == nil && (child || h.Pid == m.processes.Pid(c.WorkDir))
}

// reload has the server read its configuration, and returns when only
// processes with the new one take requests.
func (m *Manager) reload(ctx context.Context, c *component.Call, s server) error {
	before, err := m.processes.Children(c.WorkDir)
	if err != nil {
		return err
	}
	if err := m.processes.Signal(c.WorkDir, syscall.SIGHUP); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		now, err := m.processes.Children(c.WorkDir)
		if err != nil {
			return err
		}
		if taken(before, now) {
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-wait.Done():
			return &component.Failure{Err: errors.New("nginx did not take over its new configuration"), Output: host.Tail(c.WorkDir)}
		}
	}
	return host.AwaitPorts(wait, s.addresses())
}

// taken reports whether there are new workers, and old ones only end what they
// have begun.
func taken(before, now map[int]string) bool {
	fresh := false
	for pid, title := range now {
		_, old := before[pid]
		ending := strings.Contains(title, "shutting down")
		if old && !ending {
			return false
		}
		fresh = fresh || !old && strings.Contains(title, "worker process")
	}
	return fresh
}

// Terminate stops the server and deletes its configuration and pages, unless
// they are to stay. The package stays: others may have come to use it, and a
// machine goes as a whole.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if err := m.processes.Stop(ctx, c.WorkDir, syscall.SIGQUIT, 10*time.Second, host.KilledOf(c)); err != nil {
		return err
	}
	s := server{name: host.ServiceName(c)}
	if !class.Values(c.Attrs).Bool("keepOnTerminate") {
		if err := errors.Join(os.RemoveAll(s.folder()), host.RemoveFile(s.file())); err != nil {
			return err
		}
	}
	return errors.Join(
		host.RemoveFile(s.file()+".next"), host.RemoveFile(filepath.Join("/run", s.name+".pid")),
		host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile)),
	)
}

// Ping asks for what the server answers by itself: that an application behind it
// hangs is not the server's fault. Any answer counts.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Ping(c.WorkDir); err != nil {
		return err
	}
	s, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+s.addresses()[0]+"/", nil)
	if err != nil {
		return err
	}
	req.Host = aliveName
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// read reads the attributes and renders the configuration.
func read(c *component.Call, attrs *value.Component) (server, error) {
	v := class.Values(attrs)
	s := server{name: host.ServiceName(c), address: c.Machine.Address, port: v.Int("port")}
	workers := "auto"
	if x, ok := attrs.Get("workers"); ok {
		text, err := component.Text(x)
		if err != nil {
			return s, fmt.Errorf("attribute workers: %w", err)
		}
		if n, err := strconv.Atoi(text); text != "auto" && (err != nil || n < 1 || n > 1024) {
			return s, fmt.Errorf(`attribute workers: %q is neither "auto" nor a number from 1 to 1024`, text)
		}
		workers = text
	}
	all := v.Table("sites")
	secure := v.Int("https-port")
	if err := v.Err(); err != nil {
		return s, err
	}
	var err error
	if s.cert, err = host.ReadCertificate(attrs); err != nil {
		return s, err
	}
	if s.cert != nil {
		s.https = secure
	}
	if s.sites, err = form.Read(all, s.port, host.TreeOf(c)); err != nil {
		return s, err
	}
	if s.ports = sites.Ports(s.sites); len(s.ports) == 0 {
		s.ports = []int{s.port}
	}
	s.config = (&renderer{server: &s}).render(workers)
	return s, nil
}
