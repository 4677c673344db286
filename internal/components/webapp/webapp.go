// Package webapp manages WebApp components: web applications in a Tomcat of
// the same machine, placed there by host/catalina. It starts no goroutine.
package webapp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/host/catalina"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages WebApp components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes WebApp.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "WebApp",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("WebApp"),
	Attributes: []component.Attribute{
		{Name: "container", Whole: true, Around: "uri"},
		{Name: "url", Source: true},
	},
	Outputs:      []component.Output{{Name: "uri", Kind: value.KindString, Doc: "where it answers, as http://address:port/context/"}},
	Reconfigures: true,
	KeepsNothing: "its Tomcat would go on serving what nothing watches or takes away",
	Isolation:    true,
	StartTimeout: 5 * time.Minute,
	Check:        check,
}

func check(attrs *value.Component, _ component.Target) []component.Problem {
	var problems []component.Problem
	address, _ := attrs.Get("url")
	text, isText := address.(value.String)
	if isText && strings.Contains(string(text), "://") {
		problems = host.CheckFetch(attrs, "url")
	}
	context, given := attrs.Get("context")
	name, isName := context.(value.String)
	shipped, _ := address.(*value.Component)
	if given && !isName || !given && !isText && shipped == nil {
		return problems // late
	}
	if !given {
		name = value.String(fileName(address))
	}
	if _, err := contextPath(string(name)); err != nil {
		problems = append(problems, component.Problem{
			Attr: "context", Expected: `a path such as "shop"`, Found: string(name), Message: err.Error(),
			Remedy: `give context, with letters, digits and the signs . _ ~ - between slashes, or "ROOT"`,
		})
	}
	return problems
}

// fileName returns the name of the WAR without its ending.
func fileName(address value.Value) string {
	var name string
	switch a := address.(type) {
	case value.String:
		name = string(a)
		if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			name = u.Path
		}
	case *value.Component:
		v, _ := a.Get("path")
		s, _ := v.(value.String)
		name = string(s)
	}
	name = path.Base(name)
	if strings.EqualFold(path.Ext(name), ".war") {
		name = name[:len(name)-4]
	}
	return name
}

// contextPath returns the path of URLs that a name of an application stands for.
func contextPath(name string) (string, error) {
	name = "/" + strings.Trim(name, "/")
	if name == "/" || name == "/ROOT" {
		name = ""
	}
	return name, catalina.CheckPath(name)
}

// wanted is what the attributes say.
type wanted struct {
	tomcat  catalina.Tomcat
	path    string
	shipped *host.Shipped // nil: fetch
	fetch   host.Fetch
	drain   time.Duration
}

func read(c *component.Call, attrs *value.Component) (wanted, error) {
	v := class.Values(attrs)
	w := wanted{drain: time.Duration(v.Int("drainSeconds")) * time.Second}
	w.fetch = host.Fetch{Digest: v.Text("digest"), Retries: 3, Proxy: c.Machine.Proxy}
	address, _ := attrs.Get("url")
	if _, ok := address.(value.String); ok {
		w.fetch.URL = v.Text("url")
		if err := w.fetch.Check(); err != nil {
			return w, err
		}
	} else {
		s, err := host.ReadShipped(v.Table("url"))
		if err != nil {
			return w, err
		}
		if w.fetch.Digest != "" && w.fetch.Digest != s.Digest {
			return w, fmt.Errorf("%s has digest %s, want %s", s.Path, s.Digest, w.fetch.Digest)
		}
		w.shipped = &s
	}
	name := fileName(address)
	if v.Has("context") {
		name = v.Text("context")
	}
	container := v.Table("container")
	if err := v.Err(); err != nil {
		return w, err
	}
	var err error
	if w.path, err = contextPath(name); err != nil {
		return w, fmt.Errorf("attribute context: %w", err)
	}
	for output, to := range map[string]*string{"home": &w.tomcat.Home, "uri": &w.tomcat.URI, "log": &w.tomcat.Log} {
		x, _ := container.Get(output)
		text, ok := x.(value.String)
		if !ok {
			return w, &component.Failure{
				Err:    fmt.Errorf("attribute container: the component it names has no %s: it is no Tomcat", output),
				Remedy: "put the WebApp inside a Tomcat, or refer to one",
			}
		}
		*to = string(text)
	}
	return w, nil
}

// source is equal for what is the same WAR.
func (w wanted) source() string {
	if w.shipped != nil {
		return w.shipped.Digest
	}
	return w.fetch.URL + " " + w.fetch.Digest
}

// name of the WAR, for people.
func (w wanted) name() string {
	if w.shipped != nil {
		return strings.TrimPrefix(w.shipped.Path, "./")
	}
	return w.fetch.URL
}

// warFile is the copy in the work folder.
const warFile = "app.war"

func kept(c *component.Call) host.Kept {
	return host.Kept{Path: filepath.Join(c.WorkDir, warFile), WorkDir: c.WorkDir, Name: "war"}
}

// get brings the WAR to the work folder, unless it is there.
func (w wanted) get(ctx context.Context, c *component.Call, r *record) error {
	if _, err := os.Stat(kept(c).Path); err == nil && r.Source == w.source() {
		return nil
	}
	if w.shipped == nil && w.fetch.Digest == "" {
		c.Env.Log().Warn("a WAR without a digest: whatever comes is taken", "url", w.fetch.URL)
	}
	err := kept(c).Fill(host.Owned{Mode: 0o600}, func(f *os.File) error {
		if w.shipped != nil {
			if err := w.shipped.To(ctx, f, c.Env); err != nil {
				return err
			}
		} else if _, err := w.fetch.To(ctx, f, c.Env); err != nil {
			return err
		}
		_, err := checkWAR(ctx, f)
		return err
	})
	if err != nil {
		output, remedy := component.Detail(err)
		return &component.Failure{Err: fmt.Errorf("%s: %w", w.name(), err), Output: output, Remedy: remedy}
	}
	r.Source = w.source()
	return r.write(c.WorkDir)
}

// Deploy brings the WAR to the machine, and tells where it will answer.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	r, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	if err := w.get(ctx, c, &r); err != nil {
		return err
	}
	c.Env.Output("uri", value.String(catalina.Version{Tomcat: w.tomcat, Path: w.path}.URI()))
	return nil
}

// Start has Tomcat serve it, and waits until it does.
func (Manager) Start(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	r, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	if err := w.serve(ctx, c, &r); err != nil {
		return err
	}
	return r.removeOld(ctx, c)
}

// Reconfigure puts another version beside the one that serves. When it is up,
// the old one is drained and taken away; if it does not come up, it goes.
func (Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	r, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	if err := w.get(ctx, c, &r); err != nil {
		return err
	}
	if err := w.serve(ctx, c, &r); err != nil {
		return err
	}
	c.Env.Output("uri", value.String(catalina.Version{Tomcat: w.tomcat, Path: w.path}.URI()))
	if len(r.Placed) > 1 && w.drain > 0 {
		c.Env.Progress(0, "the version before goes on for those who have a session with it")
		if err := host.Sleep(ctx, w.drain); err != nil {
			return err
		}
	}
	return r.removeOld(ctx, c)
}

// serve places the WAR in the work folder, unless that was done, and waits
// until Tomcat serves it. What did not come up is taken away again.
func (w wanted) serve(ctx context.Context, c *component.Call, r *record) error {
	p := placed{Tomcat: w.tomcat, Path: w.path, Source: w.source(), Drain: w.drain, Serial: r.Serial + 1}
	if n := len(r.Placed); n > 0 && r.Placed[n-1].same(p) {
		p = r.Placed[n-1]
	} else {
		r.Serial, r.Placed = p.Serial, append(r.Placed, p)
		if err := r.write(c.WorkDir); err != nil {
			return err
		}
	}
	v := p.version(c)
	err := v.Rival()
	if err == nil {
		err = w.place(ctx, c, v)
	}
	if err == nil {
		return nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Second)
	defer cancel()
	if undoErr := v.Remove(undo); undoErr != nil {
		return errors.Join(err, undoErr)
	}
	r.Placed = r.Placed[:len(r.Placed)-1]
	return errors.Join(err, r.write(c.WorkDir))
}

func (w wanted) place(ctx context.Context, c *component.Call, v catalina.Version) error {
	since := w.tomcat.Printed()
	if v.Up(ctx) == nil {
		return nil // of a daemon before
	}
	war, err := os.Open(kept(c).Path)
	if err != nil {
		return err
	}
	defer war.Close()
	descriptor, err := checkWAR(ctx, war)
	if err != nil {
		return err
	}
	if err := host.CopyFile(war.Name(), v.Archive(), 0o644); err != nil {
		return err
	}
	if err := v.Place(catalina.Context{DocBase: v.Archive(), Drain: w.drain, Own: descriptor}); err != nil {
		return err
	}
	return v.Await(ctx, since)
}

// Terminate has Tomcat end it, and deletes it.
func (Manager) Terminate(ctx context.Context, c *component.Call) error {
	r, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	for _, p := range r.Placed {
		if err := p.version(c).Remove(ctx); err != nil {
			return err
		}
	}
	return errors.Join(kept(c).Restore(), host.RemoveFile(filepath.Join(c.WorkDir, recordFile)))
}

// Ping asks whether Tomcat serves this version, and for its front page.
func (Manager) Ping(ctx context.Context, c *component.Call) error {
	r, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	if len(r.Placed) == 0 {
		return errors.New("it is not in a Tomcat")
	}
	v := r.Placed[len(r.Placed)-1].version(c)
	if err := v.Up(ctx); err != nil {
		return err
	}
	status, err := catalina.Ask(ctx, http.MethodGet, v.URI())
	if err == nil && status >= 500 {
		err = fmt.Errorf("%s answers %d", v.URI(), status)
	}
	return err
}
