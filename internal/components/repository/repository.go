// Package repository manages Repository components: sources of packages, with
// their keys. It starts no goroutine.
package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Repository components.
type Manager struct {
	component.Keep
	packages *host.Packages
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager that shares p with all that install packages.
func New(p *host.Packages) *Manager { return &Manager{packages: p} }

// Class describes Repository.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:         "Repository",
	Site:         component.SiteMachine,
	Schema:       catalog.Schema("Repository"),
	Attributes:   []component.Attribute{{Name: "name", Fixed: true}},
	Reconfigures: true, Repairs: true,
	Isolation: true,
	Check:     check,
}

func check(attrs *value.Component, _ component.Target) (problems []component.Problem) {
	text := func(name string) string {
		v, _ := attrs.Get(name)
		s, _ := v.(value.String) // "" where it comes late, or the schema refuses it
		return string(s)
	}
	s := host.Source{Name: text("name"), URL: text("url"), Suite: text("suite"), Key: text("key")}
	v, _ := attrs.Get("components")
	vector, _ := v.(value.Vector)
	for _, e := range vector {
		if one, ok := e.(value.String); ok {
			s.Components = append(s.Components, string(one))
		}
	}
	for _, p := range s.Problems() {
		problems = append(problems, component.Problem{Attr: p.Attr, Found: p.Found, Message: p.Message, Remedy: p.Remedy})
	}
	return problems
}

func read(c *component.Call, attrs *value.Component) (host.Source, error) {
	v := class.Values(attrs)
	s := host.Source{
		Name: v.Text("name"), URL: v.Text("url"), Suite: v.Text("suite"), Components: v.Texts("components"), Key: v.Text("key"),
		Proxy: c.Machine.Proxy, WorkDir: c.WorkDir,
	}
	if err := v.Err(); err != nil {
		return s, err
	}
	for name, given := range map[string]string{"name": s.Name, "url": s.URL, "key": s.Key} {
		if given == "" {
			return s, fmt.Errorf("attribute %s is empty", name)
		}
	}
	if s.Suite == "" {
		var err error
		if s.Suite, err = release(); err != nil {
			return s, err
		}
	}
	if len(s.Components) == 0 && !strings.HasSuffix(s.Suite, "/") {
		s.Components = []string{"main"}
	}
	return s, nil
}

// release returns the name of the release that the machine's system is of.
func release() (string, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok && name != "" {
			return strings.Trim(name, `"'`), nil
		}
	}
	return "", &component.Failure{Err: errors.New("this system does not say which release it is"), Remedy: "give suite"}
}

// Deploy adds the source and reads its list.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	s, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	return m.packages.AddSource(ctx, s, c.Env)
}

// Reconfigure rewrites it. What does not work is written back.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	err := m.Deploy(ctx, c)
	if err == nil {
		return nil
	}
	old, readErr := read(c, c.Old)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	return errors.Join(err, m.packages.AddSource(context.WithoutCancel(ctx), old, c.Env))
}

// Terminate removes it.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	v := class.Values(c.Attrs)
	if v.Bool("keepOnTerminate") {
		return nil
	}
	return m.packages.RemoveSource(ctx, host.Source{Name: v.Text("name"), WorkDir: c.WorkDir})
}

// Ping checks that it is there.
func (m *Manager) Ping(_ context.Context, c *component.Call) error {
	s, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	return m.packages.HasSource(s)
}
