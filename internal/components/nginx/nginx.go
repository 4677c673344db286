// Package nginx manages Nginx components: web servers and load balancers, from
// the distribution's package, run by host.Processes in the foreground. It
// starts no goroutine.
package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
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

var class = component.Class{
	Name:   "Nginx",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Nginx"),
	Attributes: []component.Attribute{
		{Name: "sites", Use: component.UseStart},
		{Name: "workers", Use: component.UseStart},
	},
	Outputs:      []component.Output{{Name: "uri", Kind: value.KindString, Doc: "where it answers"}},
	Reconfigures: true,
	Isolation:    true,
	Check:        check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := host.CheckPorts(attrs, m, "port")
	if v, _ := attrs.Get("sites"); v != nil {
		if sites, ok := v.(*value.Component); ok {
			for a := range sites.All() {
				if c, ok := a.Value.(*value.Component); ok {
					for _, p := range checkPlace(a.Name, c, true) {
						p.Attr = "sites"
						problems = append(problems, p)
					}
				}
			}
		}
	}
	return problems
}

// server is one component's server: its configuration and where that goes.
type server struct {
	name    string
	address string // the machine's
	port    int    // of the component
	ports   []int  // all that are listened on, sorted
	config  []byte
	pages   map[string][]byte // by file name
}

func (s server) file() string   { return filepath.Join("/etc/nginx", s.name+".conf") }
func (s server) folder() string { return filepath.Join("/var/lib/nginx", s.name) }

// Deploy installs nginx and tells where it will answer.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	v := class.Values(c.Attrs)
	port := v.Int("port")
	if err := v.Err(); err != nil {
		return err
	}
	w := host.Wanted{Names: []string{"nginx"}, Proxy: c.Machine.Proxy, WorkDir: c.WorkDir}
	if err := m.packages.Install(ctx, w, c.Env); err != nil {
		return err
	}
	c.Env.Output("uri", value.String(uri(c.Machine.Address, port)))
	return nil
}

func uri(address string, port int) string {
	if port == 80 {
		return "http://" + address + "/"
	}
	return "http://" + net.JoinHostPort(address, strconv.Itoa(port)) + "/"
}

// place writes the pages, tests the configuration, and puts it where the
// server reads it. On error the old one is still in place.
func (s server) place(ctx context.Context) error {
	if err := os.MkdirAll(s.folder(), 0o755); err != nil {
		return err
	}
	for name, text := range s.pages {
		file := filepath.Join(s.folder(), name)
		if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, text) {
			continue
		}
		if err := host.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	if old, err := os.ReadFile(s.file()); err == nil && bytes.Equal(old, s.config) {
		return nil
	}
	next := s.file() + ".next"
	if err := host.WriteFile(next, s.config, 0o644); err != nil {
		return err
	}
	if err := host.Test(ctx, "nginx", "-t", "-q", "-c", next); err != nil {
		return errors.Join(err, host.RemoveFile(next))
	}
	return os.Rename(next, s.file())
}

// tidy deletes pages that are no longer served.
func (s server) tidy() {
	entries, _ := os.ReadDir(s.folder())
	for _, e := range entries {
		if _, ok := s.pages[e.Name()]; !ok {
			_ = host.RemoveFile(filepath.Join(s.folder(), e.Name()))
		}
	}
}

func (s server) addresses() []string {
	var all []string
	for _, p := range s.ports {
		all = append(all, net.JoinHostPort(s.address, strconv.Itoa(p)))
	}
	return all
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
		if err := free(s.ports); err != nil {
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
	s.tidy()
	return nil
}

func free(ports []int) error {
	for _, p := range ports {
		if err := host.CheckPort("0.0.0.0", p); err != nil {
			return err
		}
	}
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
	if err := free(slices.DeleteFunc(slices.Clone(next.ports), func(p int) bool {
		return slices.Contains(old.ports, p) || m.listens(c, p)
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
	next.tidy()
	c.Env.Output("uri", value.String(uri(next.address, next.port)))
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

// Terminate stops the server and deletes its configuration and pages. The
// package stays: others may have come to use it, and a machine goes as a whole.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if err := m.processes.Stop(ctx, c.WorkDir, syscall.SIGQUIT, 10*time.Second); err != nil {
		return err
	}
	s := server{name: host.ServiceName(c)}
	if err := os.RemoveAll(s.folder()); err != nil {
		return err
	}
	return errors.Join(
		host.RemoveFile(s.file()), host.RemoveFile(s.file()+".next"), host.RemoveFile(filepath.Join("/run", s.name+".pid")),
		host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile)),
	)
}

// Ping asks for a page. Any answer counts: that of an application that fails
// behind it is not the server's fault.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Alive(c.WorkDir); err != nil {
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
	s := server{
		name: host.ServiceName(c), address: c.Machine.Address, port: v.Int("port"),
		pages: map[string][]byte{},
	}
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
	sites := v.Table("sites")
	if err := v.Err(); err != nil {
		return s, err
	}
	r := renderer{server: &s, tree: host.TreeOf(c)}
	if err := r.render(workers, sites); err != nil {
		return s, err
	}
	s.config = r.b.Bytes()
	s.ports = slices.Sorted(maps.Keys(r.ports))
	return s, nil
}
