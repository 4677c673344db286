// Package archive manages Archive components: the files of an archive that was
// sent along with the description or comes from the network. It starts no
// goroutine.
package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Archive components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes Archive.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "Archive",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Archive"),
	Attributes: []component.Attribute{
		{Name: "source", Source: true},
		{Name: "destination", Fixed: true},
	},
	Outputs:      []component.Output{{Name: "workDir", Kind: value.KindString, Doc: "the component's work folder"}},
	Reconfigures: true, Repairs: true,
	Check: check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := host.CheckPaths(attrs, m, "destination")
	v, _ := attrs.Get("source")
	if address, ok := v.(value.String); ok && strings.Contains(string(address), "://") {
		problems = append(problems, host.CheckFetch(attrs, "source")...)
		if _, ok := attrs.Get("digest"); !ok {
			problems = append(problems, component.Problem{
				Attr: "digest", Expected: `"sha256:…"`, Found: "none", Message: "what comes from the network is unpacked only if its digest is given",
				Remedy: "take what sha256sum prints for the archive, after sha256:",
			})
		}
	}
	v, _ = attrs.Get("only")
	only, _ := v.(value.Vector)
	for _, e := range only {
		pattern, ok := e.(value.String)
		if !ok {
			continue
		}
		if _, err := path.Match(string(pattern), ""); err != nil || pattern == "" {
			problems = append(problems, component.Problem{
				Attr: "only", Expected: "patterns such as bin/*", Found: string(pattern),
				Message: fmt.Sprintf("%q is not a pattern", pattern), Remedy: "write names of files or folders; * and ? stand for any characters but /",
			})
		}
	}
	return problems
}

// wanted is what the attributes say.
type wanted struct {
	choice
	destination string
	shipped     *host.Shipped // nil: fetch
	fetch       host.Fetch
}

func read(c *component.Call, attrs *value.Component) (wanted, error) {
	v := class.Values(attrs)
	w := wanted{choice: choice{strip: v.Int("strip"), only: v.Texts("only")}}
	w.fetch = host.Fetch{Digest: v.Text("digest"), Retries: 3, Proxy: c.Machine.Proxy}
	if source, _ := attrs.Get("source"); source != nil && source.Kind() == value.KindString {
		w.fetch.URL = v.Text("source")
		if err := w.fetch.Check(); err != nil {
			return w, err
		}
	} else {
		s, err := host.ReadShipped(v.Table("source"))
		if err != nil {
			return w, err
		}
		if w.fetch.Digest != "" && w.fetch.Digest != s.Digest {
			return w, fmt.Errorf("source %s has digest %s, want %s", s.Path, s.Digest, w.fetch.Digest)
		}
		w.shipped = &s
	}
	destination := v.Text("destination")
	if err := v.Err(); err != nil {
		return w, err
	}
	var err error
	w.destination, err = host.TreeOf(c).Path(destination)
	return w, err
}

// key is equal for what unpacks to the same files.
func (w wanted) key() string {
	source := w.fetch.URL + " " + w.fetch.Digest
	if w.shipped != nil {
		source = w.shipped.Digest
	}
	b, err := json.Marshal([]any{source, w.strip, w.only, w.destination})
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// archiveFile is where an archive stands in the work folder while it is
// unpacked.
const archiveFile = "archive.aloft-new"

// get returns the archive, in a file that is to be closed and removed.
func (w wanted) get(ctx context.Context, c *component.Call) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.WorkDir, archiveFile), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if w.shipped == nil {
		_, err = w.fetch.To(ctx, f, c.Env)
	} else {
		err = w.shipped.To(ctx, f, c.Env)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// name of the archive, for people.
func (w wanted) name() string {
	if w.shipped != nil {
		return w.shipped.Path
	}
	return w.fetch.URL
}

// Deploy unpacks the archive, unless that was done.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	c.Env.Output("workDir", value.String(c.WorkDir))
	t, err := readTree(c.WorkDir, w.destination)
	if err != nil {
		return err
	}
	if t.Done == w.key() && t.check() == nil {
		return nil
	}
	f, err := w.get(ctx, c)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		_ = host.RemoveFile(f.Name()) // the next one truncates it
	}()
	err = t.replace(func(folder string) error { return unpack(ctx, f, folder, w.choice) }, w.key())
	if err == nil {
		return nil
	}
	output, remedy := component.Detail(err)
	return &component.Failure{Err: fmt.Errorf("%s: %w", strings.TrimPrefix(w.name(), "./"), err), Output: output, Remedy: remedy}
}

// Reconfigure unpacks another archive in its place.
func (m Manager) Reconfigure(ctx context.Context, c *component.Call) error { return m.Deploy(ctx, c) }

// Terminate deletes what was unpacked.
func (Manager) Terminate(_ context.Context, c *component.Call) error {
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	return removeTree(c.WorkDir)
}

// Ping checks that the files are there.
func (Manager) Ping(_ context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	t, err := readTree(c.WorkDir, w.destination)
	if err != nil {
		return err
	}
	if t.Done != w.key() {
		return fmt.Errorf("%s is not unpacked", w.name())
	}
	return t.check()
}
