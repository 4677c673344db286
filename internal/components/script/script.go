// Package script manages Script components: what a description says in scripts
// of its own, one for each operation. It starts no goroutine.
package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Script components.
type Manager struct{}

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes Script.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "Script",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Script"),
	Attributes: []component.Attribute{
		{Name: "startScript", Use: component.UseStart},
		{Name: "reconfigureScript", Use: component.UseStart},
		{Name: "pingScript", Use: component.UseStart},
	},
	Outputs:      []component.Output{{Name: "workDir", Kind: value.KindString, Doc: "the component's work folder, which the scripts run in"}},
	OpenOutputs:  true,
	Reconfigures: true,
	KeepsNothing: "what its scripts have made they alone know, so leave out of terminateScript what is to stay",
	Check: func(attrs *value.Component, _ component.Target) []component.Problem {
		problems := append(host.CheckEnv(attrs, "env"), host.CheckNoSecret(attrs, "env")...)
		v, _ := attrs.Get("shell")
		if shell, ok := v.(value.String); ok && !filepath.IsAbs(string(shell)) {
			problems = append(problems, component.Problem{
				Attr: "shell", Expected: "a path from /", Found: string(shell),
				Message: fmt.Sprintf("%q is not the path of a program", shell), Remedy: `write the whole path, such as "/bin/bash"`,
			})
		}
		return problems
	},
}

// The scripts, by the operation that runs them.
const (
	deploy      = "deployScript"
	start       = "startScript"
	reconfigure = "reconfigureScript"
	terminate   = "terminateScript"
	ping        = "pingScript"
)

// run runs a script of attrs, if it has that one, and reports whether it has.
func run(ctx context.Context, c *component.Call, attrs *value.Component, name string) (bool, error) {
	v := class.Values(attrs)
	text := v.Text(name)
	if text == "" {
		return false, v.Err()
	}
	task := host.Task{Name: name, Dir: c.WorkDir, Env: map[string]string{}, Timeout: time.Duration(v.Int("timeout")) * time.Second}
	for a := range v.Table("env").All() {
		x, err := component.Text(a.Value)
		if err != nil || strings.ContainsAny(a.Name, "=\x00") || strings.ContainsRune(x, 0) {
			return false, fmt.Errorf("attribute env: %q cannot be an environment variable", a.Name)
		}
		task.Env[a.Name] = x
	}
	file := filepath.Join(c.WorkDir, name)
	task.Command = []string{v.Text("shell"), file}
	if err := v.Err(); err != nil {
		return false, err
	}
	// In a file: arguments are short, and everybody on the machine sees them.
	if err := host.WriteFile(file, []byte(text), 0o700); err != nil {
		return false, err
	}
	results, err := task.Run(ctx, c.WorkDir)
	if err != nil {
		return true, err
	}
	return true, output(c.Env, name, string(results))
}

// outputName is an attribute's name as descriptions write them without quotes.
var outputName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// output puts out the lines name=value that a script printed on descriptor 3.
func output(env component.Environment, script, results string) error {
	for line := range strings.Lines(results) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		name, text, ok := strings.Cut(line, "=")
		if !ok || !outputName.MatchString(name) {
			return &component.Failure{
				Err:    fmt.Errorf("%s printed %q on descriptor 3", script, line),
				Remedy: "print lines name=value there, such as: echo port=80 >&3",
			}
		}
		if strings.HasPrefix(name, "sf") || class.Schema.Has(name) {
			return &component.Failure{
				Err:    fmt.Errorf("%s put out %q, which is an attribute of its own", script, name),
				Remedy: "choose another name",
			}
		}
		env.Output(name, value.String(text))
	}
	return nil
}

// Deploy runs deployScript.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	c.Env.Output("workDir", value.String(c.WorkDir))
	_, err := run(ctx, c, c.Attrs, deploy)
	return err
}

// Start runs startScript, unless pingScript says that it was.
func (m Manager) Start(ctx context.Context, c *component.Call) error {
	started := filepath.Join(c.WorkDir, "started")
	if _, err := os.Lstat(started); err == nil {
		if asked, err := run(ctx, c, c.Attrs, ping); asked && err == nil {
			return nil
		}
	}
	if _, err := run(ctx, c, c.Attrs, start); err != nil {
		return err
	}
	return host.WriteFile(started, nil, 0o600)
}

// Reconfigure runs reconfigureScript; without one, it ends and begins anew.
func (m Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	if ran, err := run(ctx, c, c.Attrs, reconfigure); ran || err != nil {
		return err
	}
	old := *c
	old.Attrs = c.Old
	if err := m.Terminate(ctx, &old); err != nil {
		return err
	}
	err := m.begin(ctx, c)
	if err == nil {
		return nil
	}
	// It was running as it was; have it run so again.
	back := context.WithoutCancel(ctx)
	return errors.Join(err, m.Terminate(back, c), m.begin(back, &old))
}

func (m Manager) begin(ctx context.Context, c *component.Call) error {
	if err := m.Deploy(ctx, c); err != nil {
		return err
	}
	return m.Start(ctx, c)
}

// Terminate runs terminateScript, and ends what the scripts left running.
func (Manager) Terminate(ctx context.Context, c *component.Call) error {
	if _, err := run(ctx, c, c.Attrs, terminate); err != nil {
		return err
	}
	return errors.Join(host.EndTasks(ctx, c.WorkDir), host.RemoveFile(filepath.Join(c.WorkDir, "started")))
}

// Ping runs pingScript.
func (Manager) Ping(ctx context.Context, c *component.Call) error {
	_, err := run(ctx, c, c.Attrs, ping)
	return err
}
