// Package configfile manages ConfigFile components: configuration files made
// from a template, or some keys of files that other software brought. It
// starts no goroutine.
package configfile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Manager manages ConfigFile components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes ConfigFile.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "ConfigFile",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("ConfigFile"),
	Attributes: []component.Attribute{
		{Name: "path", Fixed: true},
		{Name: "format", Fixed: true},
		{Name: "notify", Reference: true},
	},
	Outputs:      []component.Output{{Name: "workDir", Kind: value.KindString, Doc: "the component's work folder"}},
	Reconfigures: true, Repairs: true,
	Check: check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := host.CheckPaths(attrs, m, "path")
	given := func(name string) bool { _, ok := attrs.Get(name); return ok }
	f, _ := attrs.Get("format")
	switch {
	case f == value.String("template") && !given("template"):
		problems = append(problems, component.Problem{Attr: "template", Expected: "a text", Found: "nothing", Message: "a ConfigFile of format template needs template", Remedy: "give template and values"})
	case f == value.String("template"):
		if v, _ := attrs.Get("template"); v != nil {
			if s, ok := v.(value.String); ok {
				if _, err := parse(string(s)); err != nil {
					problems = append(problems, component.Problem{Attr: "template", Expected: "a template", Found: string(s), Message: err.Error(), Remedy: "write {{.name}} where a value goes"})
				}
			}
		}
	case !given("set") && !given("remove"):
		problems = append(problems, component.Problem{Expected: "set or remove", Found: "neither", Message: "this ConfigFile changes nothing", Remedy: `give set, as in: set extends DATA { "key" "value"; }`})
	}
	return problems
}

func parse(s string) (*template.Template, error) {
	return template.New("template").Option("missingkey=error").Parse(s)
}

// wanted is what the attributes say.
type wanted struct {
	kept     host.Kept
	format   string
	template string
	values   *value.Component
	set      *value.Component
	remove   []string
}

func read(c *component.Call, attrs *value.Component) (wanted, error) {
	v := class.Values(attrs)
	w := wanted{
		kept:   host.Kept{WorkDir: c.WorkDir, Name: "configfile", Backup: true},
		format: v.Text("format"), template: v.Text("template"), values: v.Table("values"), set: v.Table("set"), remove: v.Texts("remove"),
	}
	path := v.Text("path")
	if err := v.Err(); err != nil {
		return w, err
	}
	if _, ok := formats[w.format]; !ok && w.format != "template" {
		return w, fmt.Errorf("attribute format: %q is unknown", w.format)
	}
	var err error
	w.kept.Path, err = host.TreeOf(c).Path(path)
	return w, err
}

// content is what the file should hold, given what it holds now and what it
// held before it was first changed. Keys that old set or removed and w does
// not get their first value back.
func (w wanted) content(now, first []byte, old *wanted) ([]byte, error) {
	if w.format == "template" {
		return w.render()
	}
	f := formats[w.format]
	doc := now
	if old != nil {
		for _, key := range old.keys() {
			if slices.Contains(w.keys(), key) {
				continue
			}
			v, ok, err := f.get(first, key)
			if err == nil && ok {
				doc, err = f.set(doc, key, v)
			} else if err == nil {
				doc, err = f.remove(doc, key)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	for a := range w.set.All() {
		v, err := plain(a.Value, typed(w.format))
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", a.Name, err)
		}
		if have, ok, err := f.get(doc, a.Name); err != nil {
			return nil, err
		} else if ok && same(have, v) {
			continue
		}
		if doc, err = f.set(doc, a.Name, v); err != nil {
			return nil, err
		}
	}
	for _, key := range w.remove {
		var err error
		if doc, err = f.remove(doc, key); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

// keys lists what w decides.
func (w wanted) keys() []string {
	keys := slices.Clone(w.remove)
	for a := range w.set.All() {
		keys = append(keys, a.Name)
	}
	return keys
}

func (w wanted) render() ([]byte, error) {
	t, err := parse(w.template)
	if err != nil {
		return nil, err
	}
	values, err := plain(w.values, true)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return nil, w.unrendered(err)
	}
	return b.Bytes(), nil
}

// unknownName is what text/template says of a name that it finds nothing for.
var unknownName = regexp.MustCompile(`^template: template:(\d+):\d+: executing "template" at <(.*)>: (?:map has|nil data;) no entry for key "(.*)"$`)

// unrendered says of a template what cannot be done with its values, in words of
// the description.
func (w wanted) unrendered(err error) error {
	found := unknownName.FindStringSubmatch(err.Error())
	if found == nil {
		return &component.Failure{Err: fmt.Errorf("attribute template: %w", err), Remedy: "correct template or values"}
	}
	line, at, name := found[1], found[2], found[3]
	remedy := fmt.Sprintf("give it in values, as in: values extends DATA { %s \"…\"; }", name)
	var given []string
	if at == "."+name && w.values != nil {
		for a := range w.values.All() {
			given = append(given, a.Name)
		}
	}
	if near := diag.Nearest(name, given); len(near) > 0 {
		remedy = fmt.Sprintf("did you mean {{.%s}}? Else %s", near[0], remedy)
	}
	return &component.Failure{Err: fmt.Errorf("attribute template, line %s: values has no %s, which {{%s}} names", line, name, at), Remedy: remedy}
}

func (w wanted) put(old *wanted) (changed bool, err error) {
	now, err := os.ReadFile(w.kept.Path)
	if err != nil && !os.IsNotExist(err) {
		return false, err
	}
	first, err := w.kept.Original()
	if err != nil {
		return false, err
	}
	doc, err := w.content(now, first, old)
	if err != nil {
		return false, fmt.Errorf("%s: %w", w.kept.Path, err)
	}
	return w.kept.Put(doc, host.Owned{Mode: w.mode(), Keep: true})
}

// mode is that of the file that is there, else what everybody may read.
func (w wanted) mode() os.FileMode {
	if st, err := os.Stat(w.kept.Path); err == nil {
		return st.Mode().Perm()
	}
	return 0o644
}

// Deploy writes the file or changes its keys.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.Env.Output("workDir", value.String(c.WorkDir))
	_, err = w.put(nil)
	return err
}

// Reconfigure writes the difference and has the reader of the file reload it.
func (Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := read(c, c.Old)
	if err != nil {
		return err
	}
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := w.put(&old); err != nil {
		return err
	}
	// Also when nothing changed: a call that was cut off may have changed it.
	if v, _ := c.Attrs.Get("notify"); v != nil {
		if ref, ok := v.(*value.Reference); ok {
			c.Env.Notify(ref)
		}
	}
	return nil
}

// Terminate puts back what was there before.
func (Manager) Terminate(ctx context.Context, c *component.Call) error {
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	return host.Kept{WorkDir: c.WorkDir, Name: "configfile"}.Restore()
}

// Ping checks that the file's keys have their values.
func (Manager) Ping(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	now, err := os.ReadFile(w.kept.Path)
	if err != nil {
		return err
	}
	if w.format == "template" {
		want, err := w.render()
		if err == nil && !bytes.Equal(now, want) {
			err = fmt.Errorf("%s was changed", w.kept.Path)
		}
		return err
	}
	var wrong []string
	f := formats[w.format]
	for a := range w.set.All() {
		want, err := plain(a.Value, typed(w.format))
		if err != nil {
			return err
		}
		if have, ok, err := f.get(now, a.Name); err != nil {
			return err
		} else if (!ok || !same(have, want)) && !slices.Contains(w.remove, a.Name) {
			wrong = append(wrong, a.Name)
		}
	}
	for _, key := range w.remove {
		if _, ok, err := f.get(now, key); err != nil {
			return err
		} else if ok {
			wrong = append(wrong, key)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s: other values in %s", w.kept.Path, strings.Join(wrong, ", "))
	}
	return nil
}
