// Package service manages Service components: services of the machine's own
// service manager, systemd or OpenRC, or, where that knows none of the name, a
// command that host.Processes keeps running. It starts no goroutine.
package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Service components.
type Manager struct {
	component.Keep
	processes *host.Processes
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager whose commands are watched by p.
func New(p *host.Processes) *Manager { return &Manager{processes: p} }

// Class describes Service.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "Service",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Service"),
	Attributes: []component.Attribute{
		{Name: "name", Use: component.UseStart, Fixed: true},
		{Name: "enabled", Use: component.UseStart},
		{Name: "readyPort", Use: component.UseStart},
		{Name: "command", Use: component.UseStart},
	},
	Outputs: []component.Output{
		{Name: "manager", Kind: value.KindString, Doc: `who runs it: "systemd", "OpenRC", or "command"`},
	},
	Reconfigures: true,
	Isolation:    true,
	StartTimeout: 5 * time.Minute,
	Check:        check,
}

// byCommand is who runs a service that no service manager knows.
const byCommand = "command"

// serviceName is a name that both service managers could have given, and that
// stands for one service only.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,199}$`)

func checkName(name string) error {
	if !serviceName.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a service", name)
	}
	return nil
}

func check(attrs *value.Component, _ component.Target) (problems []component.Problem) {
	if v, ok := attrs.Get("name"); ok {
		if name, ok := v.(value.String); ok {
			if err := checkName(string(name)); err != nil {
				problems = append(problems, component.Problem{
					Attr: "name", Expected: "a name such as cron", Found: string(name), Message: err.Error(),
					Remedy: "use the name that systemctl or rc-service takes",
				})
			}
		}
	}
	if v, ok := attrs.Get("command"); ok {
		if command, ok := v.(value.Vector); ok && len(command) == 0 {
			problems = append(problems, component.Problem{
				Attr: "command", Expected: "a program and its arguments", Found: "[||]", Message: "the command is empty", Remedy: "name a program, or leave command out",
			})
		}
	}
	return append(problems, host.CheckNoSecret(attrs, "command")...)
}

// wanted is what the attributes say.
type wanted struct {
	name    string
	enabled bool
	ports   []string // where readyPort may be open; nil if it is not given
	port    int
	command []string
}

func read(c *component.Call, attrs *value.Component) (wanted, error) {
	v := class.Values(attrs)
	w := wanted{name: v.Text("name"), enabled: v.Bool("enabled"), port: v.Int("readyPort"), command: v.Texts("command")}
	if err := v.Err(); err != nil {
		return w, err
	}
	if w.port != 0 {
		for _, address := range []string{c.Machine.Address, "127.0.0.1"} {
			w.ports = append(w.ports, net.JoinHostPort(address, strconv.Itoa(w.port)))
		}
	}
	return w, checkName(w.name)
}

// spec is the process of a service that is run by its command.
func (w wanted) spec(attrs *value.Component) (host.Spec, error) {
	s := host.Spec{Command: w.command, Ready: host.Ready{Ports: w.ports}}
	return s, s.RestartLimits(attrs)
}

// meet finds out who runs the service, and how it is before anything is done
// to it. Later calls return the same.
func (w wanted) meet(ctx context.Context, c *component.Call) (record, error) {
	r, met, err := readRecord(c.WorkDir)
	if err != nil || met {
		if err == nil && r.By != byCommand {
			_, err = keepers[r.By].runs() // it may have to be made ready after a boot
		}
		return r, err
	}
	asked := ""
	for _, name := range order {
		k := keepers[name]
		runs, err := k.runs()
		if err != nil {
			return r, fmt.Errorf("ask for %s: %w", name, err)
		}
		if !runs {
			continue
		}
		asked = name
		known, err := k.knows(ctx, w.name)
		if err != nil {
			return r, fmt.Errorf("ask %s for service %s: %w", name, w.name, err)
		}
		if !known {
			break // a machine has one that rules
		}
		st, err := k.state(ctx, w.name)
		if err != nil {
			return r, err
		}
		r = record{By: name, Name: w.name, Active: st.phase != down}
		if r.Levels, err = k.levels(ctx, w.name); err != nil {
			return r, err
		}
		return r, r.write(c.WorkDir)
	}
	switch {
	case len(w.command) > 0:
		r = record{By: byCommand}
		return r, r.write(c.WorkDir)
	case asked != "":
		return r, &component.Failure{
			Err:    fmt.Errorf("%s of this machine knows no service %s", asked, w.name),
			Remedy: "install what brings it with a Package, look at its name, or say with command what is to run",
		}
	default:
		return r, &component.Failure{
			Err:    fmt.Errorf("this machine runs neither systemd nor OpenRC, which could know service %s", w.name),
			Remedy: "say with command what is to run, use the component Process, or install the package openrc, which does not have to boot the machine",
		}
	}
}

// Deploy looks at the attributes. The service itself a sibling may be about to
// bring: Start meets it, when all are deployed.
func (*Manager) Deploy(_ context.Context, c *component.Call) error {
	_, err := read(c, c.Attrs)
	return err
}

// Start makes the service active and waits until it is ready, then has it
// enabled, or not, for the next boot.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	r, err := w.meet(ctx, c)
	if err != nil {
		return err
	}
	if r.By == byCommand {
		s, err := w.spec(c.Attrs)
		if err != nil {
			return err
		}
		if _, err := m.processes.Start(ctx, c.WorkDir, s, host.Report(c)); err != nil {
			return err
		}
		c.Env.Output("manager", value.String(r.By))
		return nil
	}
	k := keepers[r.By]
	if err := w.begin(ctx, c, k); err != nil {
		return err
	}
	if err := k.enable(ctx, w.name, w.enabled, r.Levels); err != nil {
		return err
	}
	c.Env.Output("manager", value.String(r.By))
	return nil
}

// begin makes the service active if it is not, and waits until it is ready.
func (w wanted) begin(ctx context.Context, c *component.Call, k keeper) error {
	st, err := k.state(ctx, w.name)
	if err != nil {
		return err
	}
	if st.phase != active {
		// What somebody else has there would pass for the service.
		if st.phase == down && w.port != 0 {
			if err := host.CheckPort(c.Machine.Address, w.port); err != nil {
				return err
			}
		}
		if err := k.start(ctx, tasks{c}, w.name); err != nil {
			return w.failed(ctx, k, "does not start", err)
		}
	}
	return w.await(ctx, k)
}

// Times of a service to be ready; and of one that was started and is not active,
// as while it forks.
const (
	readyTime = time.Minute
	graceTime = 3 * time.Second
	aliveTime = 200 * time.Millisecond // it goes on, as far as can be seen
	longPause = 500 * time.Millisecond
)

// await waits until the service is active and its port open.
func (w wanted) await(ctx context.Context, k keeper) error {
	begun, up, lost := time.Now(), time.Time{}, time.Time{}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, longPause) {
		st, err := k.state(ctx, w.name)
		if err != nil {
			return err
		}
		now := time.Now()
		lacks := fmt.Errorf("it is %s", st.text)
		switch st.phase {
		case active:
			lost = time.Time{}
			if up.IsZero() {
				up = now
			}
			if len(w.ports) > 0 {
				if lacks = host.Dial(ctx, w.ports); lacks == nil {
					return nil
				}
			} else if now.Sub(up) >= aliveTime {
				return nil
			}
		case coming:
			up, lost = time.Time{}, time.Time{}
		case down:
			up = time.Time{}
			if lost.IsZero() {
				lost = now
			}
			if now.Sub(lost) > graceTime {
				return w.failed(ctx, k, "has ended as soon as it was started", lacks)
			}
		}
		if now.Sub(begun) > readyTime {
			return w.failed(ctx, k, fmt.Sprintf("was not ready within %s", readyTime), lacks)
		}
		if err := host.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("service %s is not ready: %w: %w", w.name, lacks, err)
		}
	}
}

// failed says what the service did, with what it has logged.
func (w wanted) failed(ctx context.Context, k keeper, what string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	output, remedy := component.Detail(err)
	if said := k.said(ctx, w.name); len(said) > 0 {
		output = said
	}
	return &component.Failure{Err: fmt.Errorf("service %s %s: %w", w.name, what, err), Output: output, Remedy: remedy}
}

// Reconfigure has the service read its configuration anew, which is what it is
// asked for where something else has changed that; or applies what differs.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := read(c, c.Old)
	if err != nil {
		return err
	}
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	r, err := w.meet(ctx, c)
	if err != nil {
		return err
	}
	if r.By == byCommand {
		return m.replace(ctx, c, old, w)
	}
	k := keepers[r.By]
	if old.enabled == w.enabled && old.port == w.port {
		if err := k.reload(ctx, tasks{c}, w.name); err != nil {
			return w.failed(ctx, k, "does not take its configuration", err)
		}
	}
	if err := w.await(ctx, k); err != nil {
		return err
	}
	return k.enable(ctx, w.name, w.enabled, r.Levels)
}

// replace has another command run, or the same anew if nothing of it differs:
// it has no other way to read its configuration.
func (m *Manager) replace(ctx context.Context, c *component.Call, old, w wanted) error {
	if len(w.command) == 0 {
		return &component.Failure{
			Err:    fmt.Errorf("service %s is run by its command, which is not given any more", w.name),
			Remedy: "remove the component and add it again: it then looks for a service of that name",
		}
	}
	before, err := old.spec(c.Old)
	if err != nil {
		return err
	}
	next, err := w.spec(c.Attrs)
	if err != nil {
		return err
	}
	if old.enabled == w.enabled && old.port == w.port && fmt.Sprint(old.command) == fmt.Sprint(w.command) {
		if err := m.processes.Stop(ctx, c.WorkDir, 0, 0, host.Report(c).Killed); err != nil {
			return err
		}
	}
	_, err = m.processes.Replace(ctx, c.WorkDir, host.Prepared{Spec: before}, host.Prepared{Spec: next}, host.Report(c))
	return err
}

// Terminate leaves the service as it was found.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if err := m.processes.Stop(ctx, c.WorkDir, 0, 0, host.KilledOf(c)); err != nil {
		return err
	}
	r, met, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	keep := class.Values(c.Attrs).Bool("keepOnTerminate") && !c.Returns
	if met && r.By != byCommand && !keep {
		if err := r.leave(ctx, c); err != nil {
			return err
		}
	}
	return errors.Join(host.RemoveFile(filepath.Join(c.WorkDir, recordFile)), host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile)))
}

// leave has the service be again as it was found. One that was active, and is
// to be brought back by this component, is begun anew: it may hang. One that was
// active and cannot start any more must not hold up the end of the others, which
// may give it back the configuration that it started with.
func (r record) leave(ctx context.Context, c *component.Call) error {
	k := keepers[r.By]
	runs, err := k.runs()
	if err != nil || !runs {
		return err // with its service manager went the service
	}
	known, err := k.knows(ctx, r.Name)
	if err != nil {
		return err
	}
	st, err := k.state(ctx, r.Name)
	if err != nil || !known && st.phase == down {
		return err
	}
	begins := r.Active && st.phase == down
	switch {
	case begins:
		err = k.start(ctx, tasks{c}, r.Name)
	case r.Active && c.Returns:
		err = k.restart(ctx, tasks{c}, r.Name)
	case !r.Active:
		// Also one that is down: its service manager may not know.
		err = errors.Join(k.stop(ctx, tasks{c}, r.Name), host.EndTasks(ctx, c.WorkDir))
	}
	if err != nil {
		err = wanted{name: r.Name}.failed(ctx, k, "cannot be left as it was found", err)
	}
	if err != nil && begins && !c.Returns && ctx.Err() == nil {
		c.Env.Log().Warn("the service was active before and does not start any more", "service", r.Name, "error", err)
		err = nil
	}
	if known {
		err = errors.Join(err, k.restore(ctx, r.Name, r.Levels))
	}
	return err
}

// Ping checks that the service is active and its port open.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	w, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	r, met, err := readRecord(c.WorkDir)
	if err != nil {
		return err
	}
	if !met {
		return fmt.Errorf("service %s was not started", w.name)
	}
	if r.By == byCommand {
		err = m.processes.Ping(c.WorkDir)
	} else {
		err = w.alive(ctx, keepers[r.By])
	}
	if err != nil || len(w.ports) == 0 {
		return err
	}
	return host.Dial(ctx, w.ports)
}

func (w wanted) alive(ctx context.Context, k keeper) error {
	st, err := k.state(ctx, w.name)
	switch {
	case err != nil:
		return err
	case st.phase == coming:
		return fmt.Errorf("service %s is %s: %w", w.name, st.text, component.ErrNoEnd)
	case st.phase == down:
		return &component.Failure{Err: fmt.Errorf("service %s has ended: %s", w.name, st.text), Output: k.said(ctx, w.name)}
	}
	return nil
}
