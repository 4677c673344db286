// Package java manages Java components: run times from the packages of the
// machine's distribution. It starts no goroutine.
package java

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Java components.
type Manager struct {
	component.Keep
	packages *host.Packages
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager that installs with pk.
func New(pk *host.Packages) *Manager { return &Manager{packages: pk} }

// Class describes Java.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:         "Java",
	Site:         component.SiteMachine,
	Schema:       catalog.Schema("Java"),
	Outputs:      []component.Output{{Name: "home", Kind: value.KindString, Doc: "folder of the run time, as JAVA_HOME"}},
	Reconfigures: true, Repairs: true,
	Isolation: true,
}

// where distributions of the Debian family put run times, by release.
const where = "/usr/lib/jvm/java-%d-openjdk-*/bin/java"

func read(c *component.Call) (version int, err error) {
	v := class.Values(c.Attrs)
	version, vendor := v.Int("version"), v.Text("vendor")
	if err := v.Err(); err != nil {
		return 0, err
	}
	if vendor != "default" || version < 1 {
		return 0, fmt.Errorf("no Java %d of vendor %q can be installed", version, vendor)
	}
	return version, nil
}

// home returns the folder of an installed release.
func home(version int) (string, error) {
	found, err := filepath.Glob(fmt.Sprintf(where, version))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no Java %d is in %s", version, filepath.Dir(filepath.Dir(fmt.Sprintf(where, version))))
	}
	return filepath.Dir(filepath.Dir(found[0])), nil
}

// Deploy installs the run time, in place of one that came before for the same
// component.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	version, err := read(c)
	if err != nil {
		return err
	}
	w := host.Wanted{Names: []string{"openjdk-" + strconv.Itoa(version) + "-jre-headless"}, Proxy: c.Machine.Proxy, WorkDir: c.WorkDir}
	if err := m.packages.Install(ctx, w, c.Env); err != nil {
		return err
	}
	folder, err := home(version)
	if err != nil {
		return err
	}
	c.Env.Output("home", value.String(folder))
	return nil
}

// Reconfigure installs the other release. If that cannot be had, the one
// before is there still, or again.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	err := m.Deploy(ctx, c)
	if err == nil || ctx.Err() != nil {
		return err
	}
	back := *c
	back.Attrs = c.Old
	return errors.Join(err, m.Deploy(ctx, &back))
}

// Terminate takes away what was installed for the component, unless it is to stay.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	return m.packages.Remove(ctx, c.WorkDir, c.Env)
}

// Ping looks for the run time's program: to start it every few seconds would
// cost more than it tells.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	version, err := read(c)
	if err != nil {
		return err
	}
	folder, err := home(version)
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(folder, "bin", "java"))
	return err
}
