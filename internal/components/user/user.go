// Package user manages User components: accounts of the machine. It starts no
// goroutine.
package user

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages User components.
type Manager struct {
	component.Keep
	accounts sync.Mutex // held while the machine's accounts are changed
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager. Only one may be used on a machine.
func New() *Manager { return &Manager{} }

// Class describes User.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "User",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("User"),
	Attributes: []component.Attribute{
		{Name: "name", Fixed: true},
		{Name: "uid", Fixed: true},
		{Name: "system", Fixed: true},
		{Name: "home", Fixed: true},
	},
	Reconfigures: true, Repairs: true,
	Isolation:  true,
	KeepsData:  true,
	Disposable: true,
	Check:      check,
}

// accountName is what useradd takes for one on every distribution.
var accountName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

func checkWords(attr string, text string) error {
	switch attr {
	case "name", "groups":
		if !accountName.MatchString(text) {
			return fmt.Errorf("%q cannot be the name of a user or group", text)
		}
	case "home", "shell":
		if !filepath.IsAbs(text) || filepath.Clean(text) != text || strings.ContainsAny(text, ":\n\x00") {
			return fmt.Errorf("%q is not a whole path", text)
		}
	case "authorizedKeys":
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") || strings.ContainsAny(text, "\n\r\x00") {
			return fmt.Errorf("%q is not a key on one line", text)
		}
	}
	return nil
}

var remedies = map[string][2]string{
	"name":           {"a name such as deploy", "use small letters, digits, - and _, at most 32"},
	"groups":         {"names of groups", "use small letters, digits, - and _, at most 32"},
	"home":           {"a path from /", "write the whole path"},
	"shell":          {"a path from /", "write the whole path, such as /bin/bash"},
	"authorizedKeys": {"lines of an authorized_keys file", "give each key as ssh-keygen writes it into a .pub file"},
}

func check(attrs *value.Component, _ component.Target) (problems []component.Problem) {
	for _, attr := range []string{"name", "home", "shell", "groups", "authorizedKeys"} {
		v, _ := attrs.Get(attr)
		all, several := v.(value.Vector)
		if !several {
			all = value.Vector{v}
		}
		for _, e := range all {
			text, ok := e.(value.String)
			if !ok {
				continue
			}
			if err := checkWords(attr, string(text)); err != nil {
				problems = append(problems, component.Problem{
					Attr: attr, Expected: remedies[attr][0], Found: string(text), Message: err.Error(), Remedy: remedies[attr][1],
				})
			}
		}
	}
	return problems
}

// wanted is what the attributes say.
type wanted struct {
	name, home, shell string
	uid               int // 0: any
	groups, keys      []string
	system            bool
}

func read(attrs *value.Component) (wanted, error) {
	v := class.Values(attrs)
	w := wanted{
		name: v.Text("name"), home: v.Text("home"), shell: v.Text("shell"), uid: v.Int("uid"),
		groups: v.Texts("groups"), keys: v.Texts("authorizedKeys"), system: v.Bool("system"),
	}
	if err := v.Err(); err != nil {
		return w, err
	}
	for attr, texts := range map[string][]string{"name": {w.name}, "home": {w.home}, "shell": {w.shell}, "groups": w.groups, "authorizedKeys": w.keys} {
		for _, text := range texts {
			if text == "" && attr == "home" {
				continue
			}
			if err := checkWords(attr, text); err != nil {
				return w, fmt.Errorf("attribute %s: %w", attr, err)
			}
		}
	}
	return w, nil
}

// Deploy makes the account, or adjusts the one that is there.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(c.Attrs)
	if err != nil {
		return err
	}
	a, err := m.become(ctx, c, w)
	if err != nil {
		return err
	}
	return putKeys(c, a, w.keys)
}

// become makes the account what is wanted, and returns it.
func (m *Manager) become(ctx context.Context, c *component.Call, w wanted) (account, error) {
	m.accounts.Lock()
	defer m.accounts.Unlock()
	now, there, err := find(w.name)
	if err != nil {
		return now, err
	}
	before, err := readRecord(c.WorkDir)
	if err != nil {
		return now, err
	}
	if err := ctx.Err(); err != nil {
		return now, err
	}
	if before == nil {
		before = &record{Name: w.name, Existed: there, Account: now}
		if err := before.write(c.WorkDir); err != nil {
			return now, err
		}
	}
	if !there {
		if err := w.create(ctx); err != nil {
			return now, err
		}
	} else if err := w.adjust(ctx, now, before); err != nil {
		return now, err
	}
	now, there, err = find(w.name)
	if err == nil && !there {
		err = fmt.Errorf("user %s was made, and is not in %s", w.name, passwdFile)
	}
	return now, err
}

// Reconfigure adjusts the account.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error { return m.Deploy(ctx, c) }

// Terminate deletes an account that was made, but not its home, and gives back
// to another one what it had.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	if err := host.RemoveBlock(c.WorkDir, host.ServiceName(c)); err != nil {
		return err
	}
	m.accounts.Lock()
	defer m.accounts.Unlock()
	before, err := readRecord(c.WorkDir)
	if err != nil || before == nil {
		return err
	}
	now, there, err := find(before.Name)
	if err != nil {
		return err
	}
	switch {
	case !there:
	case before.Existed:
		err = wanted{name: now.name, shell: before.Account.Shell, home: before.Account.Home}.modify(ctx, now, before.Account.Groups)
	default:
		err = remove(ctx, now)
	}
	if err != nil {
		return err
	}
	return host.RemoveFile(filepath.Join(c.WorkDir, recordFile))
}

// Ping checks that the account is as it should be.
func (m *Manager) Ping(_ context.Context, c *component.Call) error {
	w, err := read(c.Attrs)
	if err != nil {
		return err
	}
	now, there, err := find(w.name)
	switch {
	case err != nil:
		return err
	case !there:
		return fmt.Errorf("user %s is not there", w.name)
	case w.shell != now.Shell:
		return fmt.Errorf("user %s has the shell %s, want %s", w.name, now.Shell, w.shell)
	case w.home != "" && w.home != now.Home:
		return fmt.Errorf("user %s has the home %s, want %s", w.name, now.Home, w.home)
	}
	for _, g := range w.groups {
		if !now.in(g) {
			return fmt.Errorf("user %s is not in group %s", w.name, g)
		}
	}
	if len(w.keys) == 0 {
		return nil
	}
	return block(c, now).Check(w.keys)
}
