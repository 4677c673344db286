// Package haproxy manages HAProxy components: load balancers, from the
// distribution's package, run by host.Processes in the foreground. Servers come
// and go while it runs. It starts no goroutine.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages HAProxy components.
type Manager struct {
	component.Keep
	processes *host.Processes
	packages  *host.Packages
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager whose balancers are installed by pk and watched by p.
func New(p *host.Processes, pk *host.Packages) *Manager {
	return &Manager{processes: p, packages: pk}
}

// Class describes HAProxy.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "HAProxy",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("HAProxy"),
	Attributes: []component.Attribute{
		{Name: "servers", Use: component.UseStart},
	},
	Outputs:      []component.Output{{Name: "uri", Kind: value.KindString, Doc: "where it answers"}},
	Reconfigures: true,
	Isolation:    true,
	// A server that is taken out has time to end what it has begun.
	StartTimeout: 2 * time.Minute,
	Check:        check,
}

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := host.CheckPorts(attrs, m, "listen")
	for _, name := range []string{"mode", "balance", "check"} {
		v, _ := attrs.Get(name)
		if s, ok := v.(value.String); ok {
			if expected := wrong(name, string(s)); expected != "" {
				problems = append(problems, component.Problem{
					Attr: name, Expected: expected, Found: string(s),
					Message: fmt.Sprintf("%q is not %s", string(s), expected), Remedy: "give " + expected,
				})
			}
		}
	}
	mode, _ := attrs.Get("mode")
	v, _ := attrs.Get("check")
	if page, ok := v.(value.String); ok && mode == value.String("tcp") && strings.HasPrefix(string(page), "/") {
		problems = append(problems, component.Problem{
			Attr: "check", Expected: `"tcp" or "none"`, Found: string(page),
			Message: "what is balanced as plain connections has no pages to be checked by", Remedy: `give "tcp", or mode "http"`,
		})
	}
	return problems
}

// Deploy installs haproxy and tells where it will answer.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	b, err := read(ctx, c, c.Attrs, false)
	if err != nil {
		return err
	}
	w := host.Wanted{Names: []string{"haproxy"}, Proxy: c.Machine.Proxy, WorkDir: c.WorkDir}
	if err := m.packages.Install(ctx, w, c.Env); err != nil {
		return err
	}
	c.Env.Output("uri", value.String(b.uri()))
	return nil
}

func (b balancer) spec() host.Spec {
	return host.Spec{
		Command:     []string{"haproxy", "-W", "-f", b.file()},
		Dir:         "/",
		StopSignal:  syscall.SIGUSR1, // takes no more, and ends when all is answered
		StopTimeout: 10 * time.Second,
		// The port is looked at afterwards: another one takes no other process.
		Ready: host.Ready{Command: []string{"test", "-S", b.socket()}, Timeout: 30 * time.Second},
	}
}

// place tests a configuration and puts it where HAProxy reads it.
func (b balancer) place(ctx context.Context, slots []netip.AddrPort) error {
	next := b.file() + ".next"
	if err := host.WriteFile(next, b.config(slots), 0o644); err != nil {
		return err
	}
	if err := host.Command(ctx, "haproxy", "-c", "-q", "-f", next); err != nil {
		return errors.Join(err, host.RemoveFile(next))
	}
	return os.Rename(next, b.file())
}

// Start starts HAProxy, or adopts the one that runs and gives it what it has
// not yet.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	b, err := read(ctx, c, c.Attrs, true)
	if err != nil {
		return err
	}
	if m.processes.Alive(c.WorkDir) == nil {
		if _, err := m.processes.Start(ctx, c.WorkDir, b.spec(), host.Report(c)); err != nil {
			return err
		}
		return m.converge(ctx, c, b)
	}
	if err := host.CheckPort("0.0.0.0", b.listen); err != nil {
		return err
	}
	if err := b.place(ctx, fresh(b.servers)); err != nil {
		return err
	}
	if err := host.RemoveFile(b.socket()); err != nil { // of one that was killed
		return err
	}
	if _, err := m.processes.Start(ctx, c.WorkDir, b.spec(), host.Report(c)); err != nil {
		return err
	}
	return errors.Join(m.attentive(ctx, c), b.answers(ctx))
}

// answers waits until it takes connections.
func (b balancer) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return host.AwaitPorts(ctx, []string{b.at()})
}

// Reconfigure changes the servers of the one that runs, or has it take over
// another configuration without dropping a connection.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := read(ctx, c, c.Old, true)
	if err != nil {
		return err
	}
	next, err := read(ctx, c, c.Attrs, true)
	if err != nil {
		return err
	}
	if next.listen != old.listen && !m.listens(c, next.listen) {
		if err := host.CheckPort("0.0.0.0", next.listen); err != nil {
			return err
		}
	}
	if err := m.converge(ctx, c, next); err != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Second)
		defer cancel()
		if backErr := m.converge(back, c, old); backErr != nil {
			return fmt.Errorf("%w (and not back to what it was: %w)", err, backErr)
		}
		return err
	}
	c.Env.Output("uri", value.String(next.uri()))
	return nil
}

// listens reports whether this component's own HAProxy listens on port, as
// after a reconfiguration that was cut off.
func (m *Manager) listens(c *component.Call, port int) bool {
	h, ok := host.HolderOf("0.0.0.0", port)
	children, err := m.processes.Children(c.WorkDir)
	_, child := children[h.Pid]
	return ok && err == nil && (child || h.Pid == m.processes.Pid(c.WorkDir))
}

// converge takes the HAProxy that runs to b, from whatever it is: what it
// itself says is what counts, since an operation before may have been cut off.
func (m *Manager) converge(ctx context.Context, c *component.Call, b balancer) error {
	a := admin(b.socket())
	now, err := a.about(ctx)
	if err != nil {
		return err
	}
	states, err := a.slots(ctx)
	if err != nil {
		return err
	}
	have := make([]netip.AddrPort, len(states))
	for i, s := range states {
		have[i] = s.address
	}
	ch, fits := assign(have, b.servers)
	if now.digest != b.digest() || !fits {
		if err := b.place(ctx, fresh(b.servers)); err != nil {
			return err
		}
		return m.reload(ctx, c, b, now.pid)
	}
	// Written first: if it is restarted meanwhile, it has the new ones.
	if err := b.place(ctx, ch.slots); err != nil {
		return err
	}
	for _, i := range ch.add {
		if err := a.use(ctx, i, ch.slots[i]); err != nil {
			return err
		}
	}
	if len(ch.drop) > 0 { // those that come take over from those that go
		if err := a.awaitUp(ctx, ch.add); err != nil {
			return err
		}
	}
	return a.release(ctx, ch.drop)
}

// reload has HAProxy read its configuration, and returns when another worker
// than the one before takes connections. That one ends what it has begun.
//
// Of a reload that was cut off HAProxy may still be beginning anew, and loses
// the signal: it is told again. Once too often is no harm.
func (m *Manager) reload(ctx context.Context, c *component.Call, b balancer, before int) error {
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for again := time.Second; ; again *= 2 {
		if err := m.processes.Signal(c.WorkDir, syscall.SIGUSR2); err != nil {
			return err
		}
		took, err := b.taken(wait, before, again)
		switch {
		case took:
			return errors.Join(m.attentive(ctx, c), b.answers(ctx))
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return &component.Failure{
				Err:    errors.New("haproxy did not take over its new configuration"),
				Output: host.Tail(c.WorkDir),
			}
		}
	}
}

// taken reports whether another worker than the one before runs with b after a
// time at most. An error says that ctx has ended.
func (b balancer) taken(ctx context.Context, before int, limit time.Duration) (bool, error) {
	for end := time.Now().Add(limit); ; {
		now, err := admin(b.socket()).about(ctx)
		if err == nil && now.pid != before && now.digest == b.digest() {
			return true, nil
		}
		if err := host.Sleep(ctx, 20*time.Millisecond); err != nil || time.Now().After(end) {
			return false, err
		}
	}
}

// attentive waits until HAProxy hears signals: its worker serves a moment before
// that, and what comes in between, be it to reload or to end, is lost.
func (m *Manager) attentive(ctx context.Context, c *component.Call) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for {
		pid := m.processes.Pid(c.WorkDir)
		if pid == 0 || host.Catches(pid, syscall.SIGUSR2) {
			return nil // if it has ended, that is noticed elsewhere
		}
		if err := host.Sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("haproxy is busy beginning: %w", err)
		}
	}
}

// Terminate has HAProxy take no more and answer what it has, ends it, and
// deletes its configuration, unless that is to stay. The package stays: others
// may have come to use it, and a machine goes as a whole.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if err := m.processes.Stop(ctx, c.WorkDir, syscall.SIGUSR1, 10*time.Second, host.KilledOf(c)); err != nil {
		return err
	}
	b := balancer{name: host.ServiceName(c)}
	if !class.Values(c.Attrs).Bool("keepOnTerminate") {
		if err := host.RemoveFile(b.file()); err != nil {
			return err
		}
	}
	return errors.Join(
		host.RemoveFile(b.file()+".next"), host.RemoveFile(b.socket()),
		host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile)),
	)
}

// Ping asks it over its own socket, and, where servers are given, whether one of
// them is up. The port that it serves is not dialled: at maxconn it takes
// nobody, and works all the same.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Ping(c.WorkDir); err != nil {
		return err
	}
	b, err := read(ctx, c, c.Attrs, false)
	if err != nil {
		return err
	}
	states, err := admin(b.socket()).slots(ctx)
	if err != nil {
		return err
	}
	used := slices.DeleteFunc(states, func(s state) bool { return !s.address.IsValid() })
	if len(used) > 0 && !slices.ContainsFunc(used, func(s state) bool { return s.up }) {
		return &component.Failure{
			Err:    fmt.Errorf("none of its %d servers is up: %w", len(used), component.ErrNoEnd),
			Remedy: "see why the servers do not answer the check; they are asked all the same meanwhile, and where one does not answer, clients are told 503",
			Output: host.Tail(c.WorkDir),
		}
	}
	return nil
}
