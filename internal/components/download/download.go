// Package download manages Download components: files that come from the
// network. It starts no goroutine.
package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Download components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes Download.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "Download",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Download"),
	Attributes: []component.Attribute{
		{Name: "path", Fixed: true},
		{Name: "headers", Secret: true},
	},
	Outputs:      []component.Output{{Name: "workDir", Kind: value.KindString, Doc: "the component's work folder"}},
	Reconfigures: true, Repairs: true,
	Check: func(attrs *value.Component, m component.Target) []component.Problem {
		return append(host.CheckPaths(attrs, m, "path"), host.CheckFetch(attrs, "url")...)
	},
}

var owned = host.Owned{Mode: 0o644}

// wanted is what the attributes say.
type wanted struct {
	host.Fetch
	kept host.Kept
}

func read(c *component.Call, attrs *value.Component) (wanted, error) {
	v := class.Values(attrs)
	w := wanted{
		Fetch: host.Fetch{
			URL: v.Text("url"), Digest: v.Text("digest"), Retries: v.Int("retries"), Proxy: c.Machine.Proxy, Header: map[string]string{},
		},
		kept: host.Kept{WorkDir: c.WorkDir, Name: "file"},
	}
	for a := range v.Table("headers").All() {
		text, err := component.Text(a.Value)
		if err != nil {
			return w, fmt.Errorf("attribute headers:%s: %w", a.Name, err)
		}
		w.Header[a.Name] = text
	}
	path := v.Text("path")
	if err := v.Err(); err != nil {
		return w, err
	}
	if err := w.Check(); err != nil {
		return w, err
	}
	var err error
	w.kept.Path, err = host.TreeOf(c).Path(path)
	return w, err
}

// fetched is the record of what came. Source covers all that decides what the
// answer is, and shows nothing of it.
type fetched struct {
	Source string `json:"source"`
	Digest string `json:"digest"`
}

const recordFile = "download.json"

func (w wanted) source() string {
	b, err := json.Marshal([]any{w.URL, w.Header})
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func readRecord(workDir string) (r fetched, err error) {
	_, err = host.ReadRecord(workDir, recordFile, &r)
	return r, err
}

func (r fetched) write(workDir string) error { return host.WriteRecord(workDir, recordFile, r) }

// there reports whether the file is what is wanted: by the digest that is
// given, else by where it came from.
func (w wanted) there(r fetched) bool {
	if w.Digest != "" {
		return w.kept.CheckDigest(w.Digest, owned) == nil
	}
	return r.Source == w.source() && w.kept.CheckDigest(r.Digest, owned) == nil
}

// Deploy fetches the file, unless it is there.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	c.Env.Output("workDir", value.String(c.WorkDir))
	r, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	if r.Digest != "" && w.there(r) {
		return fetched{w.source(), r.Digest}.write(c.WorkDir)
	}
	if w.Digest == "" {
		c.Env.Log().Warn("a download without a digest: whatever comes is taken", "url", w.URL)
	}
	r = fetched{Source: w.source()}
	if err := w.kept.Fill(owned, func(f *os.File) (err error) {
		r.Digest, err = w.To(ctx, f, c.Env)
		return err
	}); err != nil {
		return err
	}
	return r.write(c.WorkDir)
}

// Reconfigure fetches it anew if another one is wanted.
func (m Manager) Reconfigure(ctx context.Context, c *component.Call) error { return m.Deploy(ctx, c) }

// Terminate deletes it.
func (Manager) Terminate(_ context.Context, c *component.Call) error {
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	return host.Kept{WorkDir: c.WorkDir, Name: "file"}.Restore()
}

// Ping checks that the file is as it came.
func (Manager) Ping(_ context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	r, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	return w.kept.CheckDigest(r.Digest, owned)
}
