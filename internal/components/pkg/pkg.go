// Package pkg manages Package components: packages of the machine's
// distribution. It starts no goroutine.
package pkg

import (
	"context"
	"fmt"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Package components.
type Manager struct {
	component.Keep
	packages *host.Packages
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager that installs with p.
func New(p *host.Packages) *Manager { return &Manager{packages: p} }

// Class describes Package.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:         "Package",
	Site:         component.SiteMachine,
	Schema:       catalog.Schema("Package"),
	Reconfigures: true, Repairs: true,
	Isolation:  true,
	KeepsData:  true,
	Disposable: true,
	Check:      check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	_, name := attrs.Get("name")
	_, names := attrs.Get("names")
	if name == names {
		return []component.Problem{{
			Expected: "name or names", Found: map[bool]string{true: "both", false: "neither"}[name],
			Message: "a Package installs either name or names", Remedy: `give one, as in: name "python3";`,
		}}
	}
	w := host.Wanted{}
	add := func(v value.Value) bool {
		s, ok := v.(value.String)
		w.Names = append(w.Names, string(s))
		return ok
	}
	if v, _ := attrs.Get("name"); name && !add(v) {
		return nil // late, or of a kind that the schema refuses
	}
	if v, _ := attrs.Get("names"); names {
		vector, ok := v.(value.Vector)
		if !ok {
			return nil
		}
		for _, e := range vector {
			if !add(e) {
				return nil
			}
		}
	}
	if v, _ := attrs.Get("version"); v != nil {
		if s, ok := v.(value.String); ok {
			w.Version = string(s)
		}
	}
	if err := w.Check(); err != nil {
		return []component.Problem{{
			Attr: map[bool]string{true: "name", false: "names"}[name], Expected: "names of packages", Found: fmt.Sprint(w.Names),
			Message: err.Error(), Remedy: "name packages as the distribution does",
		}}
	}
	return nil
}

func read(c *component.Call) (host.Wanted, error) {
	v := class.Values(c.Attrs)
	w := host.Wanted{WorkDir: c.WorkDir, Names: v.Texts("names"), Version: v.Text("version"), Proxy: v.Text("proxy")}
	if v.Has("name") {
		w.Names = append(w.Names, v.Text("name"))
	}
	if v.Has("refresh") {
		refresh := v.Bool("refresh")
		w.Refresh = &refresh
	}
	if w.Proxy == "" {
		w.Proxy = c.Machine.Proxy
	}
	if err := v.Err(); err != nil {
		return w, err
	}
	return w, w.Check()
}

// Deploy installs what is missing.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(c)
	if err != nil {
		return err
	}
	return m.packages.Install(ctx, w, c.Env)
}

// Reconfigure installs and removes the difference.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error { return m.Deploy(ctx, c) }

// Terminate removes what was installed, if the description says so.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	return m.packages.Remove(ctx, c.WorkDir, c.Env)
}

// Ping checks that the packages are installed.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	w, err := read(c)
	if err != nil {
		return err
	}
	return m.packages.Installed(ctx, w)
}
