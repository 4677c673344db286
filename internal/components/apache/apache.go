// Package apache manages Apache components: web servers from the
// distribution's package, each with a folder of its own, run by host.Processes
// in the foreground. What else a server has in it is placed there by others, by
// host/httpd. It starts no goroutine.
package apache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/host/httpd"
	"aloft/internal/host/sites"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Apache components.
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

// Class describes Apache.
func (*Manager) Class() component.Class { return class }

var schema = catalog.Schema("Apache")

var class = component.Class{
	Name:   "Apache",
	Site:   component.SiteMachine,
	Schema: schema,
	Attributes: []component.Attribute{
		{Name: "sites", Use: component.UseStart},
		{Name: "modules", Use: component.UseStart},
		{Name: "certificate", Use: component.UseStart, Whole: true},
	},
	Outputs: []component.Output{
		{Name: "home", Kind: value.KindString, Doc: "its folder, with its configuration"},
		{Name: "uri", Kind: value.KindString, Doc: "where it answers, as http://address:port/"},
		{Name: "httpsUri", Kind: value.KindString, Doc: "where it answers over HTTPS, if it does"},
		{Name: "log", Kind: value.KindString, Doc: "file with the requests, and with its troubles"},
	},
	Children:     true,
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
	v, _ := attrs.Get("modules")
	names, _ := v.(value.Vector)
	for _, e := range names {
		name, _ := e.(value.String)
		if what, remedy := wrongModule(string(name)); what != "" {
			problems = append(problems, component.Problem{
				Attr: "modules", Expected: "names of modules", Found: string(name), Message: what, Remedy: remedy,
			})
		}
	}
	return problems
}

// account is who the server's own processes run as, from the distribution.
const account = "www-data"

// server is what the attributes say of one component's server, with the places
// it goes to.
type server struct {
	name    string
	address string // the machine's
	port    int    // of the component
	ports   []int  // all that are listened on for HTTP, sorted
	https   int    // port for HTTPS; 0: none
	cert    *host.Certificate
	modules []string
	php     bool
	sites   []sites.Site
}

func (s server) home() string     { return filepath.Join("/var/lib", s.name) }
func (s server) at() httpd.Server { return httpd.Server{Home: s.home(), URI: s.uri()} }
func (s server) pages() string    { return filepath.Join(s.home(), "pages") }
func (s server) empty() string    { return filepath.Join(s.home(), "empty") } // what a site has that serves no folder

func (s server) uri() string { return host.URI("http", s.address, s.port) }

// listens are all ports that it listens on, the first one for HTTP.
func (s server) listens() []int {
	if s.https == 0 {
		return s.ports
	}
	return append(slices.Clone(s.ports), s.https)
}

func (s server) addresses() (all []string) {
	for _, p := range s.listens() {
		all = append(all, net.JoinHostPort(s.address, strconv.Itoa(p)))
	}
	return all
}

func read(c *component.Call, attrs *value.Component) (server, error) {
	v := class.Values(attrs)
	s := server{
		name: host.ServiceName(c), address: c.Machine.Address,
		port: v.Int("port"), modules: v.Texts("modules"), php: v.Bool("php"),
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
	for _, name := range s.modules {
		if what, remedy := wrongModule(name); what != "" {
			return s, &component.Failure{Err: fmt.Errorf("attribute modules: %s", what), Remedy: remedy}
		}
	}
	if s.sites, err = form.Read(all, s.port, host.TreeOf(c)); err != nil {
		return s, err
	}
	// Its own port is there for what is placed in it, whatever its sites say.
	if s.ports = sites.Ports(s.sites); !slices.Contains(s.ports, s.port) {
		s.ports = append([]int{s.port}, s.ports...)
	}
	return s, nil
}

func (s server) output(c *component.Call) {
	c.Env.Output("home", value.String(s.home()))
	c.Env.Output("uri", value.String(s.uri()))
	c.Env.Output("httpsUri", value.String(host.URI("https", s.address, s.https)))
	c.Env.Output("log", value.String(filepath.Join(c.WorkDir, host.OutputFile)))
}

// Deploy installs the server and makes its folder.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	v := class.Values(c.Attrs)
	s := server{name: host.ServiceName(c), address: c.Machine.Address, port: v.Int("port"), php: v.Bool("php")}
	if v.Has("certificate") {
		s.https = v.Int("https-port")
	}
	if err := v.Err(); err != nil {
		return err
	}
	if err := m.install(ctx, c, s); err != nil {
		return err
	}
	for _, dir := range []string{s.at().Apps(), s.empty()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	s.output(c)
	return nil
}

func (m *Manager) install(ctx context.Context, c *component.Call, s server) error {
	w := host.Wanted{Names: []string{"apache2"}, Proxy: c.Machine.Proxy, WorkDir: c.WorkDir}
	if s.php {
		w.Names = append(w.Names, "libapache2-mod-php")
	}
	return m.packages.Install(ctx, w, c.Env)
}

// prepared is the server as it is to run.
func (s server) prepared(ctx context.Context) host.Prepared {
	return host.Prepared{
		Prepare: func() error {
			_, err := s.place(ctx)
			return err
		},
		Spec: host.Spec{
			Command:     []string{httpd.Program, "-f", s.at().Config(), "-D", "FOREGROUND"},
			Dir:         "/",
			Env:         map[string]string{"ALOFT_PHP": strconv.FormatBool(s.php)}, // it works with processes then, and cannot change to that while it runs
			StopSignal:  syscall.SIGWINCH,                                          // lets requests end
			StopTimeout: 10 * time.Second,
			Ready:       host.Ready{Ports: s.addresses()[:1], Timeout: 30 * time.Second},
		},
	}
}

// place writes the pages, tests the configuration, and puts it where the server
// reads it. On error the old one is still in place.
func (s server) place(ctx context.Context) (httpd.Mark, error) {
	if err := s.cert.Check(); err != nil {
		return httpd.Mark{}, err
	}
	config, mark, err := s.render()
	if err != nil {
		return mark, err
	}
	return mark, s.write(ctx, config)
}

func (s server) write(ctx context.Context, config []byte) error {
	for _, dir := range []string{s.at().Run(), s.at().Apps(), s.empty()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := sites.WritePages(s.pages(), s.sites); err != nil {
		return err
	}
	next := s.at().Config() + ".next"
	if err := host.WriteFile(next, config, 0o644); err != nil {
		return err
	}
	// What is placed in the server is tested with it, also if only that changed.
	if err := httpd.Test(ctx, next); err != nil {
		return errors.Join(err, host.RemoveFile(next))
	}
	if old, err := os.ReadFile(s.at().Config()); err == nil && bytes.Equal(old, config) {
		return host.RemoveFile(next)
	}
	return os.Rename(next, s.at().Config())
}

// Start writes and tests the configuration and starts the server, or adopts the
// one that runs.
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
		// What one that was killed has left would name another process by now.
		if err := host.RemoveFile(s.at().PidFile()); err != nil {
			return err
		}
	}
	mark, err := s.place(ctx)
	if err != nil {
		return err
	}
	if _, err := m.processes.Start(ctx, c.WorkDir, s.prepared(ctx).Spec, host.Report(c)); err != nil {
		return err
	}
	if running { // it may still have an older configuration
		err = m.reload(ctx, c, s, mark)
	} else {
		err = s.answers(ctx, c, mark)
	}
	if err != nil {
		return err
	}
	sites.TidyPages(s.pages(), s.sites)
	return nil
}

// Reconfigure writes and tests the configuration and has the server take it
// over without dropping a request. With PHP or without, it is another server.
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
	if next.php && !old.php { // what PHP brought stays, once it is there
		if err := m.install(ctx, c, next); err != nil {
			return err
		}
	}
	if err := m.change(ctx, c, old, next); err != nil {
		return err
	}
	sites.TidyPages(next.pages(), next.sites)
	next.output(c)
	return nil
}

func (m *Manager) change(ctx context.Context, c *component.Call, old, next server) error {
	if old.php != next.php {
		// A server that was replaced has what it began with: there is nothing to ask.
		_, err := m.processes.Replace(ctx, c.WorkDir, old.prepared(ctx), next.prepared(ctx), host.Report(c))
		return err
	}
	err := m.apply(ctx, c, next)
	if err == nil {
		return nil
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Second)
	defer cancel()
	if backErr := m.apply(back, c, old); backErr != nil {
		return fmt.Errorf("%w (and not back to what it was: %w)", err, backErr)
	}
	return err
}

// apply has the running server work as s says.
func (m *Manager) apply(ctx context.Context, c *component.Call, s server) error {
	mark, err := s.place(ctx)
	if err != nil {
		return err
	}
	return m.reload(ctx, c, s, mark)
}

// listens reports whether this component's own server listens on port, as
// after a reconfiguration that was cut off.
func (m *Manager) listens(c *component.Call, port int) bool {
	h, ok := host.HolderOf("0.0.0.0", port)
	children, err := m.processes.Children(c.WorkDir)
	_, child := children[h.Pid]
	return ok && err == nil && (child || h.Pid == m.processes.Pid(c.WorkDir))
}

// Times of a reload.
const (
	reloadTime = 15 * time.Second
	// endTime is how long it waits for the processes that have the old
	// configuration: those that no request keeps are gone by then.
	endTime = 2 * time.Second
)

// answers waits until a server that has begun answers with its configuration.
func (s server) answers(ctx context.Context, c *component.Call, mark httpd.Mark) error {
	wait, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	if err := s.at().Await(wait, mark); err != nil {
		return &component.Failure{Err: err, Output: host.Tail(c.WorkDir)}
	}
	return host.AwaitPorts(wait, s.addresses())
}

// reload has the server read its configuration, and returns when it has, and
// only requests that are under way have the old one.
func (m *Manager) reload(ctx context.Context, c *component.Call, s server, mark httpd.Mark) error {
	before, err := m.processes.Children(c.WorkDir)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	if err := s.at().Reload(wait, mark); err != nil {
		return &component.Failure{Err: err, Output: host.Tail(c.WorkDir)}
	}
	end, cancel := context.WithTimeout(wait, endTime)
	defer cancel()
	for {
		now, err := m.processes.Children(c.WorkDir)
		if err != nil {
			return err
		}
		old := false
		for pid := range now {
			_, was := before[pid]
			old = old || was
		}
		if !old || host.Sleep(end, 20*time.Millisecond) != nil {
			break
		}
	}
	return host.AwaitPorts(wait, s.addresses())
}

// Terminate stops the server and deletes its folder, unless that is to stay. The
// package stays: others may have come to use it, and a machine goes as a whole.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if err := m.processes.Stop(ctx, c.WorkDir, syscall.SIGWINCH, 10*time.Second, host.KilledOf(c)); err != nil {
		return err
	}
	s := server{name: host.ServiceName(c)}
	if !class.Values(c.Attrs).Bool("keepOnTerminate") {
		if err := s.clear(c.Returns); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.at().Run()); err != nil {
		return err
	}
	return host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile))
}

// clear deletes the server's folder; what others have placed in it stays if it
// comes back: they need not begin anew with it.
func (s server) clear(returns bool) error {
	if !returns {
		return os.RemoveAll(s.home())
	}
	entries, err := os.ReadDir(s.home())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if path := filepath.Join(s.home(), e.Name()); path != s.at().Apps() {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// Ping asks for what the server answers by itself: that an application in it, or
// behind it, hangs is not the server's fault.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Ping(c.WorkDir); err != nil {
		return err
	}
	s, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	return s.at().Ping(ctx)
}
