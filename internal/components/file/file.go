// Package file manages File components: files with a given content. It starts
// no goroutine.
package file

import (
	"context"
	"fmt"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages File components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes File.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "File",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("File"),
	Attributes: []component.Attribute{
		{Name: "path", Fixed: true},
		{Name: "source", Source: true},
		{Name: "backup", Fixed: true},
	},
	Outputs:      []component.Output{{Name: "workDir", Kind: value.KindString, Doc: "the component's work folder"}},
	Reconfigures: true, Repairs: true,
	Check: check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := append(host.CheckPaths(attrs, m, "path"), host.CheckMode(attrs, "mode")...)
	given := 0
	for _, name := range []string{"content", "bytes", "source"} {
		if _, ok := attrs.Get(name); ok {
			given++
		}
	}
	if given != 1 {
		problems = append(problems, component.Problem{
			Expected: "one of content, bytes, source", Found: fmt.Sprintf("%d of them", given),
			Message: "a File has one content", Remedy: "give exactly one of content, bytes and source",
		})
	}
	return problems
}

// wanted is what the attributes say.
type wanted struct {
	kept    host.Kept
	owned   host.Owned
	content []byte
	shipped *host.Shipped
}

func read(c *component.Call) (wanted, error) {
	v := class.Values(c.Attrs)
	w := wanted{
		owned:   host.Owned{Owner: v.Text("owner"), Group: v.Text("group")},
		kept:    host.Kept{WorkDir: c.WorkDir, Name: "file", Backup: v.Bool("backup")},
		content: []byte(v.Text("content")),
	}
	if v.Has("bytes") {
		w.content = v.Bytes("bytes")
	}
	var err error
	if v.Has("source") {
		s, err := host.ReadShipped(v.Table("source"))
		if err != nil {
			return w, err
		}
		w.shipped = &s
	}
	if w.owned.Mode, err = host.ParseMode(v.Text("mode")); err != nil {
		return w, err
	}
	path := v.Text("path")
	if err := v.Err(); err != nil {
		return w, err
	}
	w.kept.Path, err = host.TreeOf(c).Path(path)
	return w, err
}

// Deploy writes the file.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(c)
	if err != nil {
		return err
	}
	if w.shipped != nil {
		if w.content, err = w.shipped.Fetch(ctx, c.Env); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.Env.Output("workDir", value.String(c.WorkDir))
	_, err = w.kept.Put(w.content, w.owned)
	return err
}

// Reconfigure writes it anew.
func (m Manager) Reconfigure(ctx context.Context, c *component.Call) error { return m.Deploy(ctx, c) }

// Terminate restores what was there before, or deletes the file.
func (Manager) Terminate(ctx context.Context, c *component.Call) error {
	// An attribute that cannot be read now was never carried out; what was is
	// in the record.
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	return host.Kept{WorkDir: c.WorkDir, Name: "file"}.Restore()
}

// Ping checks that the file is as it was written.
func (Manager) Ping(ctx context.Context, c *component.Call) error {
	w, err := read(c)
	if err != nil {
		return err
	}
	if w.shipped != nil {
		return w.kept.CheckDigest(w.shipped.Digest, w.owned)
	}
	return w.kept.CheckDigest(host.Digest(w.content), w.owned)
}
