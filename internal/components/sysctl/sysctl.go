// Package sysctl manages Sysctl components: settings of the machine's kernel.
// It starts no goroutine.
package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// bootFolder is where the machine reads settings from when it boots.
const bootFolder = "/etc/sysctl.d"

// Manager manages Sysctl components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes Sysctl.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:         "Sysctl",
	Site:         component.SiteMachine,
	Schema:       catalog.Schema("Sysctl"),
	Reconfigures: true, Repairs: true,
	Isolation: true,
	Check:     check,
}

var word = regexp.MustCompile(`^[A-Za-z0-9_.*-]+$`)

// path returns the file of a setting, which people write with dots, or with
// slashes where a part has dots itself (net/ipv4/conf/eth0.1/forwarding).
func path(name string) (string, error) {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '.' })
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '/' {
		parts = strings.Split(name, "/")
	}
	for _, p := range parts {
		if !word.MatchString(p) || p == "." || p == ".." {
			return "", fmt.Errorf("%q cannot be a setting of the kernel", name)
		}
	}
	if len(parts) < 2 {
		return "", fmt.Errorf("%q cannot be a setting of the kernel", name)
	}
	return filepath.Join(append([]string{"/proc/sys"}, parts...)...), nil
}

// text returns what is written for a value.
func text(name string, v value.Value) (string, error) {
	s, err := component.Text(v)
	switch {
	case err != nil:
		return "", fmt.Errorf("attribute values:%s: %w", name, err)
	case strings.TrimSpace(s) == "" || strings.ContainsAny(s, "\n\r\x00"):
		return "", fmt.Errorf("attribute values:%s: %q is not a value on one line", name, s)
	case v.Kind() == value.KindBool:
		return map[string]string{"true": "1", "false": "0"}[s], nil
	}
	return s, nil
}

func check(attrs *value.Component, _ component.Target) (problems []component.Problem) {
	v, _ := attrs.Get("values")
	values, ok := v.(*value.Component)
	if !ok {
		return nil
	}
	for a := range values.All() {
		_, err := path(a.Name)
		if err == nil && a.Value.Kind() != value.KindReference {
			_, err = text(a.Name, a.Value)
		}
		if err != nil {
			problems = append(problems, component.Problem{
				Attr: "values", Expected: `a setting such as "net.core.somaxconn" 1024`, Found: a.Name,
				Message: err.Error(), Remedy: "look at the names and values that sysctl -a prints",
			})
		}
	}
	return problems
}

// settings are values by name.
type settings map[string]string

func read(attrs *value.Component) (settings, error) {
	v := class.Values(attrs)
	values := v.Table("values")
	if err := v.Err(); err != nil {
		return nil, err
	}
	s := settings{}
	for a := range values.All() {
		if _, err := path(a.Name); err != nil {
			return nil, fmt.Errorf("attribute values: %w", err)
		}
		t, err := text(a.Name, a.Value)
		if err != nil {
			return nil, err
		}
		s[a.Name] = t
	}
	return s, nil
}

// sorted iterates over settings in the order of their names: the same each
// time, and parents (all, default) before what they set along.
func (s settings) sorted() []string { return slices.Sorted(maps.Keys(s)) }

func now(name string) (string, error) {
	file, err := path(name)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(file)
	return strings.TrimRight(string(b), "\n"), explain(name, "", err)
}

func same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

// set gives the kernel one setting, if it has another.
func set(name, to string) error {
	have, err := now(name)
	if err != nil || same(have, to) {
		return err
	}
	file, err := path(name)
	if err != nil {
		return err
	}
	// In one write, as the kernel wants it.
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return explain(name, to, err)
	}
	_, err = f.WriteString(to + "\n")
	return explain(name, to, errors.Join(err, f.Close()))
}

func explain(name, to string, err error) error {
	remedy := ""
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		err, remedy = fmt.Errorf("this machine's kernel has no setting %s", name), "look at the names that sysctl -a prints there"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		err, remedy = fmt.Errorf("this machine may not change %s: %w", name, err),
			"a light machine shares the kernel of its host, and has its own settings of the network only (net.): set it on the host, or use another kind of machine"
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ERANGE):
		err, remedy = fmt.Errorf("the kernel does not take %q for %s: %w", to, name, err), "give a value that it takes"
	default:
		err = fmt.Errorf("setting %s: %w", name, err)
	}
	return &component.Failure{Err: err, Remedy: remedy}
}

// Deploy sets what differs, and keeps it for the next boot.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	want, err := read(c.Attrs)
	if err != nil {
		return err
	}
	before, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	return before.become(ctx, c, want)
}

// become changes the machine from what it has to want, and gives back settings
// that are no longer wanted.
func (r record) become(ctx context.Context, c *component.Call, want settings) error {
	for _, name := range want.sorted() {
		if _, ok := r.Before[name]; ok {
			continue
		}
		have, err := now(name)
		if err != nil {
			return err
		}
		r.Before[name] = have
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.write(c.WorkDir); err != nil {
		return err
	}
	for _, name := range want.sorted() {
		if err := set(name, want[name]); err != nil {
			return err
		}
	}
	for _, name := range r.Before.sorted() {
		if _, ok := want[name]; ok {
			continue
		}
		if err := set(name, r.Before[name]); err != nil {
			return err
		}
		delete(r.Before, name)
	}
	if _, err := r.boot(c).Put(want.file(), host.Owned{Mode: 0o644}); err != nil {
		return err
	}
	return r.write(c.WorkDir)
}

func (s settings) file() []byte {
	var b strings.Builder
	b.WriteString("# By aloft; do not edit.\n")
	for _, name := range s.sorted() {
		fmt.Fprintf(&b, "%s = %s\n", name, s[name])
	}
	return []byte(b.String())
}

// boot is the file that the machine reads when it boots.
func (record) boot(c *component.Call) host.Kept {
	return host.Kept{Path: filepath.Join(bootFolder, "90-"+host.ServiceName(c)+".conf"), WorkDir: c.WorkDir, Name: "boot"}
}

// Start sets again what a boot of the machine may have forgotten.
func (m Manager) Start(ctx context.Context, c *component.Call) error { return m.Deploy(ctx, c) }

// Reconfigure sets the difference; if the kernel refuses it, all is as before.
func (m Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	err := m.Deploy(ctx, c)
	if err == nil {
		return nil
	}
	back := *c
	back.Attrs = c.Old
	return errors.Join(err, m.Deploy(context.WithoutCancel(ctx), &back))
}

// Terminate gives back what was there before.
func (Manager) Terminate(_ context.Context, c *component.Call) error {
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	r, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	for _, name := range r.Before.sorted() {
		if err := set(name, r.Before[name]); err != nil {
			return err
		}
	}
	if err := r.boot(c).Restore(); err != nil {
		return err
	}
	return host.RemoveFile(filepath.Join(c.WorkDir, recordFile))
}

// Ping checks that the settings hold, now and at the next boot.
func (Manager) Ping(_ context.Context, c *component.Call) error {
	want, err := read(c.Attrs)
	if err != nil {
		return err
	}
	for _, name := range want.sorted() {
		have, err := now(name)
		if err != nil {
			return err
		}
		if !same(have, want[name]) {
			return fmt.Errorf("%s is %q, want %q", name, have, want[name])
		}
	}
	return record{}.boot(c).CheckDigest(host.Digest(want.file()), host.Owned{Mode: 0o644})
}
