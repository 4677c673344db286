// Package directory manages Directory components: folders, empty or with the
// files of a folder that was sent along. It starts no goroutine.
package directory

import (
	"context"
	"fmt"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Directory components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes Directory.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "Directory",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Directory"),
	Attributes: []component.Attribute{
		{Name: "path", Fixed: true},
		{Name: "source", Source: true},
	},
	Outputs:      []component.Output{{Name: "workDir", Kind: value.KindString, Doc: "the component's work folder"}},
	Reconfigures: true, Repairs: true,
	Check: func(attrs *value.Component, m component.Target) []component.Problem {
		return append(host.CheckPaths(attrs, m, "path"), host.CheckMode(attrs, "mode")...)
	},
}

func read(c *component.Call) (host.Folder, error) {
	v := class.Values(c.Attrs)
	f := host.Folder{WorkDir: c.WorkDir, Owned: host.Owned{Owner: v.Text("owner"), Group: v.Text("group")}}
	path, mode := v.Text("path"), v.Text("mode")
	var files value.Value
	if v.Has("source") {
		files, _ = v.Table("source").Get("files")
	}
	if err := v.Err(); err != nil {
		return f, err
	}
	if v.Has("source") {
		vector, ok := files.(value.Vector)
		if !ok {
			return f, fmt.Errorf("attribute source: want a folder, found a file")
		}
		for _, e := range vector {
			one, _ := e.(*value.Component)
			s, err := host.ReadShipped(one)
			if err != nil {
				return f, err
			}
			f.Files = append(f.Files, s)
		}
	}
	var err error
	if f.Owned.Mode, err = host.ParseMode(mode); err != nil {
		return f, err
	}
	f.Path, err = host.TreeOf(c).Path(path)
	return f, err
}

// Deploy makes the folder and copies its files.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	f, err := read(c)
	if err != nil {
		return err
	}
	c.Env.Output("workDir", value.String(c.WorkDir))
	return f.Put(ctx, c.Env)
}

// Reconfigure adjusts it.
func (m Manager) Reconfigure(ctx context.Context, c *component.Call) error { return m.Deploy(ctx, c) }

// Terminate deletes what Deploy made.
func (Manager) Terminate(ctx context.Context, c *component.Call) error {
	v := class.Values(c.Attrs)
	if v.Bool("keepOnTerminate") {
		return nil
	}
	return host.RemoveFolder(c.WorkDir, v.Bool("recursive"))
}

// Ping checks that the folder and its files are there.
func (Manager) Ping(ctx context.Context, c *component.Call) error {
	f, err := read(c)
	if err != nil {
		return err
	}
	return f.Check()
}
