// Package website manages Website components: pages or a folder served over
// HTTP by a process of its own, made from the program's own binary, so that a
// restart of the daemon does not interrupt it. It starts no goroutine in the
// daemon; Main is what the process runs.
package website

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Website components.
type Manager struct {
	component.Keep
	processes *host.Processes
	binary    string
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager whose sites are served by binary, a program that
// passes the arguments after "website" to Main.
func New(p *host.Processes, binary string) *Manager {
	return &Manager{processes: p, binary: binary}
}

// Class describes Website.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "Website",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Website"),
	Attributes: []component.Attribute{
		{Name: "pages", Use: component.UseStart},
		{Name: "root", Use: component.UseStart},
	},
	Outputs: []component.Output{
		{Name: "uri", Kind: value.KindString, Doc: "where it answers, as http://address:port/"},
	},
	Reconfigures: true,
	KeepsNothing: "its pages are in the description, and its process alone serves them",
	Check:        check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := append(host.CheckPorts(attrs, m, "port"), host.CheckPaths(attrs, m, "root")...)
	_, pages := attrs.Get("pages")
	_, root := attrs.Get("root")
	if pages == root {
		problems = append(problems, component.Problem{
			Expected: "pages or root", Found: map[bool]string{true: "both", false: "neither"}[pages],
			Message: "a Website serves either pages or root", Remedy: `give one, as in: pages extends DATA { "/" "Hello"; }`,
		})
	}
	return problems
}

const configFile = "site.json"

// Deploy tells where the site will answer.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	s, err := read(c, c.Attrs, false)
	if err != nil {
		return err
	}
	c.Env.Output("uri", value.String(s.uri()))
	return nil
}

// Start serves the site, or adopts the process that does.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	s, err := read(c, c.Attrs, true)
	if err != nil {
		return err
	}
	if err := s.write(c.WorkDir); err != nil {
		return err
	}
	_, err = m.processes.Start(ctx, c.WorkDir, m.spec(c, s), host.Report(c))
	return err
}

// Reconfigure switches to another content between two requests; only another
// address or port takes a new process.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := read(c, c.Old, true)
	if err != nil {
		return err
	}
	next, err := read(c, c.Attrs, true)
	if err != nil {
		return err
	}
	if _, err := m.processes.Replace(ctx, c.WorkDir, m.prepared(c, old), m.prepared(c, next), host.Report(c)); err != nil {
		return err
	}
	c.Env.Output("uri", value.String(next.uri()))
	return nil
}

func (m *Manager) prepared(c *component.Call, s site) host.Prepared {
	return host.Prepared{Spec: m.spec(c, s), Prepare: func() error { return s.write(c.WorkDir) }}
}

// Terminate stops serving.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if err := m.processes.Stop(ctx, c.WorkDir, 0, 0, host.KilledOf(c)); err != nil {
		return err
	}
	return host.RemoveFile(filepath.Join(c.WorkDir, configFile))
}

// Ping asks for the front page. Any answer of a site that works counts.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Ping(c.WorkDir); err != nil {
		return err
	}
	s, err := read(c, c.Attrs, false)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.uri(), nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= 500 {
		return fmt.Errorf("%s answers %s", s.uri(), resp.Status)
	}
	return nil
}

// spec describes the process. The address stands in its command so that
// another address means another process.
func (m *Manager) spec(c *component.Call, s site) host.Spec {
	return host.Spec{
		Command: []string{m.binary, "website", "serve", "--config", filepath.Join(c.WorkDir, configFile)},
		Env:     map[string]string{"ALOFT_WEBSITE": s.Listen},
		Ready:   host.Ready{Ports: []string{s.Listen}, Timeout: 30 * time.Second},
	}
}

// read reads the attributes; the content only if asked, because Deploy runs
// before what it refers to is there.
func read(c *component.Call, attrs *value.Component, content bool) (site, error) {
	v := class.Values(attrs)
	listen := v.Text("listen")
	if listen == "" {
		listen = c.Machine.Address
	}
	s := site{Listen: net.JoinHostPort(listen, strconv.Itoa(v.Int("port")))}
	if !content {
		return s, v.Err()
	}
	if v.Has("root") {
		root, err := host.TreeOf(c).Path(v.Text("root"))
		if err != nil {
			return s, err
		}
		s.Root = root
		return s, v.Err()
	}
	s.Pages = map[string]string{}
	for a := range v.Table("pages").All() {
		text, err := component.Text(a.Value)
		if err != nil {
			return s, fmt.Errorf("page %q: %w", a.Name, err)
		}
		s.Pages[path.Clean("/"+a.Name)] = text
	}
	return s, v.Err()
}

func (s site) uri() string { return "http://" + s.Listen + "/" }

// write puts the configuration in place, unless it is there already.
func (s site) write(folder string) error {
	file := filepath.Join(folder, configFile)
	b, err := s.encode()
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, b) {
		return nil
	}
	return host.WriteFile(file, b, 0o600)
}
