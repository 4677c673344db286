package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/event"
	"aloft/internal/execute"
	"aloft/internal/inventory"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

// do performs one step of a part.
func (t *tenant) do(ctx context.Context, s plan.Step) execute.Result {
	c := t.component(s.Path)
	if c == nil {
		if s.Action == plan.Terminate {
			return execute.Result{Outcome: plan.Done} // nothing to end
		}
		return execute.Result{Outcome: plan.Failed, Record: t.record(s.Path, s.Action, errors.New("the part does not describe it"))}
	}
	c.op.Lock()
	defer c.op.Unlock()
	c.slot = true
	defer func() { c.slot = false }()
	t.event(s.Path, s.ID, event.StepStarted, string(s.Action), 0)
	if err := t.operate(ctx, c, s.Action); err != nil {
		rec := t.record(s.Path, s.Action, err)
		if ctx.Err() != nil && !errors.Is(context.Cause(ctx), execute.ErrInterrupted) {
			// The daemon ends: nothing has failed, and the step will be repeated.
			return execute.Result{Outcome: plan.Failed, Record: rec}
		}
		t.failed(ctx, c, s.Action, rec)
		return execute.Result{Outcome: plan.Failed, Record: rec}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Action == plan.Terminate {
		return execute.Result{Outcome: plan.Done}
	}
	wire, err := value.Encode(c.resolved())
	if err != nil {
		return execute.Result{Outcome: plan.Failed, Record: t.record(s.Path, s.Action, err)}
	}
	return execute.Result{Outcome: plan.Done, Value: wire}
}

// failed leaves things as runtime.md LC8 wants them: what a failed deploy or
// start has done is undone, with everything below it; a failed reconfigure
// leaves the component running as it was (UP4).
func (t *tenant) failed(ctx context.Context, c *held, action plan.Action, rec *component.Record) {
	switch action {
	case plan.Reconfigure:
		t.set(c, inventory.Running, "not reconfigured: "+rec.Cause, rec)
		return
	case plan.Terminate:
		t.set(c, inventory.Failed, "not terminated: "+rec.Cause, rec)
		return
	}
	undo := context.WithoutCancel(ctx)
	below := t.subtree(c.path)
	for _, b := range slices.Backward(below) {
		if b != c {
			if b.op.Lock(); t.exists(b) {
				if err := t.operate(undo, b, plan.Terminate); err != nil {
					t.agent.cfg.Log.Warn("undo", "system", t.system, "component", b.path, "error", err)
				}
				t.set(b, inventory.Terminated, "undone: "+c.path.String()+" failed", nil)
				t.save(undo, b.path)
			}
			b.op.Unlock()
		}
	}
	if err := t.operate(undo, c, plan.Terminate); err != nil {
		t.agent.cfg.Log.Warn("undo", "system", t.system, "component", c.path, "error", err)
	}
	t.set(c, inventory.Failed, rec.Cause, rec)
}

// exists reports whether there is anything of a component to end.
func (t *tenant) exists(c *held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return c.state != inventory.Instantiated && c.state != inventory.Terminated
}

// set puts a component into a state outside of an operation's own course.
func (t *tenant) set(c *held, s inventory.State, reason string, rec *component.Record) {
	t.mu.Lock()
	c.state, c.reason, c.record = s, reason, rec
	t.mu.Unlock()
	t.event(c.path, "", event.ComponentState, string(s), 0)
	t.changed(c.path)
}

// operate calls the component's manager. Its op lock is held.
func (t *tenant) operate(ctx context.Context, c *held, action plan.Action) error {
	m, class, err := t.manager(c, action)
	if err != nil {
		return err
	}
	t.mu.Lock()
	during, after, err := lifecycle.During(c.state, action)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	was := c.attrs
	if was == nil {
		was = c.tried
	}
	if was == nil {
		was = value.NewComponent(false)
	}
	// A running component that is started is adopted: nothing of it changes.
	adopted := action == plan.Start && c.state == inventory.Running
	if !adopted {
		c.state = during
	}
	t.mu.Unlock()
	if !adopted {
		t.event(c.path, "", event.ComponentState, string(during), 0)
		t.changed(c.path)
	}

	attrs := was
	if action != plan.Terminate {
		if attrs, err = t.attributes(ctx, c, &class, action, adopted); err != nil {
			return err
		}
	}
	if action == plan.Start && !adopted || action == plan.Reconfigure {
		if err := t.assertions(ctx, c, &class, action, attrs); err != nil {
			return err
		}
	}
	if action == plan.Deploy {
		t.mu.Lock()
		c.tried = attrs
		t.mu.Unlock()
	}
	call, env := t.call(ctx, c, action, attrs)
	defer env.close()
	if action == plan.Reconfigure {
		call.Old = was
	}
	// Readable for all: a component may run as a user of its own.
	t.folder.Lock()
	err = os.MkdirAll(call.WorkDir, 0o755)
	t.folder.Unlock()
	if err != nil {
		return fmt.Errorf("make its folder: %w", err)
	}
	if err := lifecycle.Do(ctx, m, action, call, lifecycle.Limit(&class, attrs, action)); err != nil {
		return err
	}
	if action == plan.Terminate {
		if err := os.RemoveAll(call.WorkDir); err != nil {
			return fmt.Errorf("remove its folder: %w", err)
		}
		t.folder.Lock()
		_ = os.Remove(filepath.Dir(call.WorkDir)) // the system's folder goes with its last component
		t.folder.Unlock()
	}
	t.mu.Lock()
	c.state, c.reason, c.record = after, "", nil
	c.revision = t.current().Revision
	switch action {
	case plan.Terminate:
		if c.attrs != nil {
			c.last, c.lastDone = c.attrs, c.done
		}
		c.attrs, c.tried, c.outputs, c.done = nil, nil, map[string]value.Value{}, ""
		if c.successor != nil {
			c.class, c.successor = *c.successor, nil
		}
		if c.wanted == nil {
			delete(t.comps, c.path)
		}
	default:
		if !adopted || c.done == c.digest {
			c.attrs, c.done = attrs, c.digest
		}
	}
	notify := env.notify
	t.mu.Unlock()
	if !adopted {
		t.event(c.path, "", event.ComponentState, string(after), 0)
	}
	t.changed(c.path)
	for _, ref := range notify {
		t.reload(ctx, c, ref)
	}
	return nil
}

// manager returns the manager of a component and its class. A plain compound
// has nothing to do.
func (t *tenant) manager(c *held, action plan.Action) (component.Manager, component.Class, error) {
	t.mu.Lock()
	name := c.class
	t.mu.Unlock()
	if name == "" {
		return plainCompound{}, component.Class{Children: true, OpenAttributes: true, Reconfigures: true}, nil
	}
	m, ok := t.agent.cfg.Managers[name]
	if !ok {
		return nil, component.Class{}, fmt.Errorf("this daemon (%s) has no manager for %s", t.agent.cfg.Build, name)
	}
	class := m.Class()
	if action == plan.Reconfigure && !class.Reconfigures {
		return nil, class, fmt.Errorf("%s cannot be reconfigured", name)
	}
	return m, class, nil
}

// plainCompound manages components without a class: they only hold others.
type plainCompound struct{ component.Keep }

func (plainCompound) Class() component.Class {
	return component.Class{Children: true, OpenAttributes: true, Reconfigures: true}
}

// call prepares a call of the component's manager.
func (t *tenant) call(ctx context.Context, c *held, action plan.Action, attrs *value.Component) (*component.Call, *environment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir := t.workDir(c.path)
	env := &environment{t: t, c: c, action: action, life: ctx, log: t.agent.cfg.ComponentLog(dir)}
	call := &component.Call{
		System: t.system, Path: c.path, Attrs: attrs, Outputs: c.copyOutputs(), WorkDir: dir, Env: env,
		Machine: t.agent.cfg.Machine(t.current().GetMachine()),
	}
	if c.record != nil {
		call.Record = *c.record
	} else {
		call.Record = component.Record{Type: component.Normal, Path: c.path, Description: "terminated", Time: now(), Host: t.agent.cfg.ID}
	}
	c.outputs["workDir"] = value.String(dir)
	return call, env
}

// workDir returns the folder of a component: its path, with every character
// that could lead elsewhere escaped.
func (t *tenant) workDir(path value.Path) string {
	name := "ROOT"
	if path != value.Root {
		name = strings.ReplaceAll(strings.ReplaceAll(url.PathEscape(string(path)), ".", "%2E"), ":", ".")
	}
	return filepath.Join(t.agent.cfg.WorkDir, t.system, name)
}

// record writes down why an operation failed.
func (t *tenant) record(path value.Path, action plan.Action, err error) *component.Record {
	output, remedy := component.Detail(err)
	if len(output) > 10 {
		output = output[len(output)-10:]
	}
	return &component.Record{
		Type: component.Abnormal, Description: fmt.Sprintf("%s of %s failed", action, path), Path: path,
		Cause: err.Error(), Output: output, Remedy: remedy, Time: now(), Host: t.agent.cfg.Machine(t.current().GetMachine()).Name,
	}
}

// event queues an event about a component of the system.
func (t *tenant) event(path value.Path, step plan.StepID, kind event.Kind, reason string, fraction float64) {
	part := t.current()
	t.agent.emit(event.Event{
		Origin: t.agent.cfg.ID, Time: now(), System: t.system, Revision: part.GetRevision(), Plan: part.GetPlan(),
		Path: path, Step: string(step), Kind: kind, Reason: reason, Fraction: fraction,
	})
}

// environment is what a manager may ask during one call, and what it tells
// afterwards.
type environment struct {
	t      *tenant
	c      *held
	action plan.Action
	life   context.Context // of the call, for Source
	log    *slog.Logger
	notify []*value.Reference
	closed bool
}

func (e *environment) close() {
	e.t.mu.Lock()
	e.closed = true
	e.t.mu.Unlock()
}

func (e *environment) Output(name string, v value.Value) {
	e.t.mu.Lock()
	e.c.outputs[name] = v
	e.t.mu.Unlock()
}

func (e *environment) Read(ctx context.Context, ref *value.Reference) (value.Value, error) {
	return e.t.reader(e.c, e.action).resolve(ctx, ref)
}

func (e *environment) Notify(ref *value.Reference) {
	e.t.mu.Lock()
	if !e.closed {
		e.notify = append(e.notify, ref)
	}
	e.t.mu.Unlock()
}

func (e *environment) Progress(fraction float64, text string) {
	e.t.event(e.c.path, "", event.Progress, text, fraction)
}

func (e *environment) Log() *slog.Logger { return e.log }

func (e *environment) Source(ctx context.Context, digest string) (io.ReadCloser, error) {
	return e.t.agent.cfg.Sources.Open(ctx, digest)
}

func (e *environment) Ended(r component.Record) {
	e.t.agent.spawn(func(ctx context.Context) { e.t.componentEnded(ctx, e.c, r) })
}

func (e *environment) Restarted(reason string) {
	e.t.mu.Lock()
	e.c.restarts++
	e.t.mu.Unlock()
	e.t.event(e.c.path, "", event.ComponentRestarted, reason, 0)
	e.t.changed(e.c.path)
	e.t.agent.spawn(func(ctx context.Context) { e.t.save(ctx, e.c.path) })
}
