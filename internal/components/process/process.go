// Package process manages Process components: programs that run until they are
// told to end. It never runs a shell, and starts no goroutine of its own:
// host.Processes watches what it starts.
package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Process components.
type Manager struct {
	component.Keep
	processes *host.Processes
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager whose processes are watched by p.
func New(p *host.Processes) *Manager { return &Manager{processes: p} }

// Class describes Process.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "Process",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Process"),
	Attributes: []component.Attribute{
		{Name: "env", Use: component.UseStart},
		{Name: "stopSignal", Use: component.UseStart},
		{Name: "stopTimeout", Use: component.UseStart},
		{Name: "readyPort", Use: component.UseStart},
		{Name: "readyLine", Use: component.UseStart},
		{Name: "readyCommand", Use: component.UseStart},
		{Name: "readyUrl", Use: component.UseStart},
		{Name: "readyTimeout", Use: component.UseStart},
		{Name: "restart", Use: component.UseStart},
		{Name: "limits", Use: component.UseStart},
	},
	Outputs: []component.Output{
		{Name: "pid", Kind: value.KindInteger, Doc: "process id on its machine"},
		{Name: "restarts", Kind: value.KindInteger, Doc: "how often it was restarted"},
		{Name: "workDir", Kind: value.KindString, Doc: "the component's work folder"},
	},
	Reconfigures: true,
	Check:        check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := host.CheckPaths(attrs, m, "dir", "logFile")
	problems = append(problems, host.CheckEnv(attrs, "env")...)
	problems = append(problems, host.CheckNoSecret(attrs, "command", "env")...)
	problem := func(attr, expected, found string, err error) {
		problems = append(problems, component.Problem{Attr: attr, Expected: expected, Found: found, Message: err.Error(), Remedy: "use " + expected})
	}
	if v, ok := attrs.Get("command"); ok {
		if command, ok := v.(value.Vector); ok && len(command) == 0 {
			problem("command", "a program and its arguments", "[||]", fmt.Errorf("the command is empty"))
		}
	}
	if v, ok := attrs.Get("limits"); ok {
		if limits, ok := v.(*value.Component); ok {
			for a := range limits.All() {
				if n, ok := a.Value.(value.Integer); ok {
					if err := (host.Limits{}).Set(a.Name, int(n)); err != nil {
						problem("limits", "a known limit", a.Name, err)
					}
				}
			}
		}
	}
	return problems
}

// Deploy makes the folders that are the component's own. On a process machine,
// which nothing is installed on, it also checks that user and program exist;
// elsewhere a sibling may be about to bring them, and Start will tell.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	v := class.Values(c.Attrs)
	command, user := v.Texts("command"), v.Text("user")
	p, err := readPlaces(c, v)
	if err != nil {
		return err
	}
	c.Env.Output("workDir", value.String(c.WorkDir))
	for _, dir := range []string{p.dir, filepath.Dir(p.output)} {
		if rel, err := filepath.Rel(c.WorkDir, dir); err == nil && filepath.IsLocal(rel) {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
	}
	if c.Machine.Isolation {
		return nil
	}
	if _, err := host.LookupUser(user); err != nil {
		return err
	}
	if len(command) > 0 && strings.Contains(command[0], "/") {
		return nil // a File may be about to bring it
	}
	if _, ok := v.Table("env").Get("PATH"); ok {
		return nil // which may not be known yet
	}
	_, err = host.FindProgram(command, p.dir, host.DefaultPath)
	return err
}

// places are where a process runs and writes.
type places struct{ dir, output string }

func readPlaces(c *component.Call, v *component.Values) (places, error) {
	p := places{dir: c.WorkDir, output: filepath.Join(c.WorkDir, host.OutputFile)}
	dir, file := v.Text("dir"), v.Text("logFile")
	if err := v.Err(); err != nil {
		return p, err
	}
	tree := host.TreeOf(c)
	var err error
	if dir != "" {
		if p.dir, err = tree.Path(dir); err != nil {
			return p, err
		}
	}
	if file != "" {
		p.output, err = tree.Path(file)
	}
	return p, err
}

// Start starts the program, or adopts it, and waits until it is ready.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	s, err := spec(c, c.Attrs)
	if err != nil {
		return err
	}
	r, err := m.processes.Start(ctx, c.WorkDir, s, report(c))
	if err == nil {
		output(c.Env, r)
	}
	return err
}

// Reconfigure restarts the program if anything but its limits and its
// treatment differs, or if the limits cannot be changed while it runs.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := spec(c, c.Old)
	if err != nil {
		return err
	}
	next, err := spec(c, c.Attrs)
	if err != nil {
		return err
	}
	r, err := m.processes.Replace(ctx, c.WorkDir, host.Prepared{Spec: old}, host.Prepared{Spec: next}, report(c))
	if err == nil {
		output(c.Env, r)
	}
	return err
}

// Terminate ends the program and all that it started.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	s, err := spec(c, c.Attrs)
	if err != nil {
		// What cannot be read was never started; but a predecessor may have
		// read it otherwise, so its process still has to go.
		return m.processes.Stop(ctx, c.WorkDir, 0, 0, host.KilledOf(c))
	}
	if err := m.processes.Stop(ctx, c.WorkDir, s.StopSignal, s.StopTimeout, host.KilledOf(c)); err != nil {
		return err
	}
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	return host.RemoveOutput(s.Output)
}

// Ping checks that the program runs and its port is open.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Ping(c.WorkDir); err != nil {
		return err
	}
	s, err := spec(c, c.Attrs)
	if err != nil || len(s.Ready.Ports) == 0 {
		return err
	}
	return host.Dial(ctx, s.Ready.Ports)
}

func report(c *component.Call) host.Watcher {
	w := host.Report(c)
	env, restarted := c.Env, w.Restarted
	w.Restarted = func(r host.Running, reason string) {
		output(env, r)
		restarted(r, reason)
	}
	return w
}

func output(env component.Environment, r host.Running) {
	env.Output("pid", value.Integer(r.Pid))
	env.Output("restarts", value.Integer(r.Restarts))
}

// spec reads the attributes.
func spec(c *component.Call, attrs *value.Component) (host.Spec, error) {
	v := class.Values(attrs)
	s := host.Spec{
		Command:     v.Texts("command"),
		User:        v.Text("user"),
		Env:         map[string]string{},
		StopTimeout: time.Duration(v.Int("stopTimeout")) * time.Second,
		Ready: host.Ready{
			Line:    v.Text("readyLine"),
			Command: v.Texts("readyCommand"),
			URL:     v.Text("readyUrl"),
			Timeout: time.Duration(v.Int("readyTimeout")) * time.Second,
		},
		Restart: host.Restart(v.Text("restart")),
		Limits:  host.Limits{},
	}
	if port := v.Int("readyPort"); port != 0 {
		s.Ready.Ports = append(s.Ready.Ports, net.JoinHostPort(c.Machine.Address, strconv.Itoa(port)))
		if c.Machine.Isolation {
			s.Ready.Ports = append(s.Ready.Ports, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		}
	}
	for a := range v.Table("env").All() {
		if a.Value.Kind() == value.KindReference {
			continue // still open in deploy; nothing is started with one
		}
		x, err := component.Text(a.Value)
		if err != nil || strings.ContainsAny(a.Name, "=\x00") || strings.ContainsRune(x, 0) {
			return s, fmt.Errorf("attribute env: %q cannot be an environment variable", a.Name)
		}
		s.Env[a.Name] = x
	}
	for a := range v.Table("limits").All() {
		n, ok := a.Value.(value.Integer)
		if !ok {
			return s, fmt.Errorf("attribute limits:%s: want an integer, found a %s", a.Name, a.Value.Kind())
		}
		if err := s.Limits.Set(a.Name, int(n)); err != nil {
			return s, err
		}
	}
	var err error
	if s.StopSignal, err = host.ParseSignal(v.Text("stopSignal")); err != nil {
		return s, err
	}
	if err := s.RestartLimits(attrs); err != nil {
		return s, err
	}
	p, err := readPlaces(c, v)
	s.Dir, s.Output = p.dir, p.output
	return s, err
}
