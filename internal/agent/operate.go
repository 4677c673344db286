package agent

import (
	"context"
	"errors"
	"fmt"
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
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// do performs one step of a part.
func (t *tenant) do(ctx context.Context, s plan.Step) execute.Result {
	c := t.component(s.Path)
	if c == nil {
		if s.Action == plan.Terminate {
			return t.forget(ctx, s)
		}
		return execute.Result{Outcome: plan.Failed, Record: t.record(s.Path, s.Action, errors.New("the part does not describe it"))}
	}
	var err error
	if s.Action != plan.Terminate {
		err = t.awaitTenure(ctx, c) // not in its turn: it may have to be stopped meanwhile
	}
	c.op.Lock()
	defer c.op.Unlock()
	t.presume(c, s)
	t.event(s.Path, s.ID, event.StepStarted, string(s.Action), 0)
	taken := false
	switch {
	case err != nil:
	case s.Action == plan.Reconfigure:
		taken = t.takesUp(ctx, c, s)
	case s.Action == plan.Deploy:
		taken, err = t.cameBack(ctx, c, s)
	}
	c.step, c.spare = &s, s.Spare
	defer func() { c.step, c.spare = nil, false }()
	if err == nil && !taken {
		err = t.operate(ctx, c, s.Action)
	}
	if err != nil {
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
		if c.further {
			delete(t.comps, c.path)
		}
		return execute.Result{Outcome: plan.Done}
	}
	wire, err := value.Encode(c.resolved())
	if err != nil {
		return execute.Result{Outcome: plan.Failed, Record: t.record(s.Path, s.Action, err)}
	}
	return execute.Result{Outcome: plan.Done, Value: wire}
}

// forget ends a component of which nothing is known here.
func (t *tenant) forget(ctx context.Context, s plan.Step) execute.Result {
	if t.agent.cfg.Forgotten != nil {
		if err := t.agent.cfg.Forgotten(ctx, t.system, s.Path); err != nil {
			return execute.Result{Outcome: plan.Failed, Record: t.record(s.Path, s.Action, err)}
		}
	}
	return execute.Result{Outcome: plan.Done}
}

// failed leaves things as runtime.md LC8 wants them: what a failed deploy or
// start has done is undone, with everything below it; a failed reconfigure
// leaves the component running as it was (UP4).
func (t *tenant) failed(ctx context.Context, c *held, action plan.Action, rec *component.Record) {
	switch action {
	case plan.Reconfigure:
		t.mu.Lock()
		runs := c.state == inventory.Running || c.state == inventory.Reconfiguring
		t.mu.Unlock()
		if runs { // what ended before its turn came stays ended
			t.set(c, inventory.Running, "not reconfigured: "+rec.Cause, rec)
		}
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
				t.endsWith(b, rec)
				if err := t.operate(undo, b, plan.Terminate); err != nil {
					t.agent.cfg.Log.Warn("undo", "system", t.system, "component", b.path, "error", err)
				}
				t.set(b, inventory.Terminated, "undone: "+c.path.String()+" failed", nil)
				t.save(undo, b.path)
			}
			b.op.Unlock()
		}
	}
	t.endsWith(c, rec)
	if err := t.operate(undo, c, plan.Terminate); err != nil {
		t.agent.cfg.Log.Warn("undo", "system", t.system, "component", c.path, "error", err)
	}
	t.keepFailure(c, action, rec)
	t.set(c, inventory.Failed, rec.Cause, rec)
}

// keepFailure puts out the record of a failed deploy or start (runtime.md TR5).
func (t *tenant) keepFailure(c *held, action plan.Action, rec *component.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch action {
	case plan.Deploy:
		c.outputs[inventory.DeployFailure] = inventory.RecordValue(rec)
	case plan.Start:
		c.outputs[inventory.StartFailure] = inventory.RecordValue(rec)
	}
}

// failures are those of a component's outputs that hold records of failures: they
// outlive what is undone for them.
func failures(outputs map[string]value.Value) map[string]value.Value {
	kept := map[string]value.Value{}
	for name, v := range outputs {
		if inventory.IsFailure(name) {
			kept[name] = v
		}
	}
	return kept
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
	if action == plan.Terminate && class.Workflow {
		t.clear(ctx, c)
	}
	if action != plan.Terminate {
		limited, done, err := t.underTenure(ctx, c)
		if err != nil {
			return err
		}
		defer done()
		ctx = limited
	}
	t.mu.Lock()
	during, after, err := lifecycle.During(c.state, action)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	was, ran, told, is := c.attrs, !c.started.IsZero(), c.resolved(), c.text()
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
	if action != plan.Terminate && !c.mends {
		if attrs, err = t.attributes(ctx, c, is, &class, action, adopted); err != nil {
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
	call, env, err := t.call(ctx, c, action, attrs)
	if err != nil {
		return err
	}
	defer env.close()
	if action == plan.Reconfigure {
		if call.Old, err = t.opened(ctx, was, ping); err != nil {
			return err
		}
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
		c.attrs, c.tried, c.outputs, c.done, c.course = nil, nil, failures(c.outputs), "", nil
		c.reminder = reminder{}
		if c.successor != nil {
			c.class, c.successor, c.kept = *c.successor, nil, nil
		}
		if c.step != nil {
			c.kept = nil
		}
		if c.wanted == nil {
			delete(t.comps, c.path)
		}
	default:
		delete(c.outputs, inventory.DeployFailure)
		if action == plan.Start {
			delete(c.outputs, inventory.StartFailure)
		}
		if !c.mends && (!adopted || c.done == c.digest) {
			c.attrs, c.done = attrs, is.digest
			c.keeps(is)
		}
	}
	if action == plan.Start && (!adopted || c.started.IsZero()) {
		c.started = t.agent.now()
	}
	notify, behind := env.notify, env.changed
	another := ran && (action == plan.Start && !adopted || action == plan.Reconfigure && !value.Equal(told, c.resolved()))
	t.mu.Unlock()
	if !adopted {
		t.event(c.path, "", event.ComponentState, string(after), 0)
	}
	t.changed(c.path)
	for _, ref := range notify {
		t.reload(c, ref)
	}
	switch {
	case behind:
		t.reloadReaders(ctx, c)
	case another:
		t.tellReaders(c.path)
	}
	return t.begun(ctx, c, &class, action)
}

// begun does what follows an operation of a component: a workflow component goes
// on with its course, and what is to end once it has started does so (TR4).
func (t *tenant) begun(ctx context.Context, c *held, class *component.Class, action plan.Action) error {
	switch {
	case class.Workflow && action == plan.Terminate:
		t.forgetCreated(ctx, c)
	case class.Workflow && action == plan.Reconfigure:
		if err := t.retake(ctx, c); err != nil {
			return err
		}
		t.follow(c)
	case class.Workflow:
		t.follow(c)
	case action == plan.Start:
		t.endStarted(c)
	}
	return nil
}

// endStarted ends a component that is to end once it has started; quietly means
// that nobody is to be told.
func (t *tenant) endStarted(c *held) {
	is := func(name string) bool {
		v, _ := c.attrs.Get(name)
		return v == value.Bool(true)
	}
	t.mu.Lock()
	ends, quietly := is("sfShouldTerminate"), is("sfShouldTerminateQuietly")
	t.mu.Unlock()
	if !ends && !quietly {
		return
	}
	r := component.Record{Type: component.Normal, Path: c.path, Description: "it has started, and was to end then", Time: t.agent.now()}
	t.agent.spawn(func(ctx context.Context) {
		if ends {
			t.componentEnded(ctx, c, r)
			return
		}
		c.op.pass()
		t.remove(ctx, c, inventory.Terminated, r)
	})
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
	key := name
	if catalog.IsScripts(name) {
		key = catalog.ScriptsPrefix // one manager has all of them
	}
	m, ok := t.agent.cfg.Managers[key]
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
func (t *tenant) call(ctx context.Context, c *held, action plan.Action, attrs *value.Component) (*component.Call, *environment, error) {
	attrs, err := t.opened(ctx, attrs, action)
	if err != nil {
		return nil, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	dir := t.workDir(c.path)
	env := &environment{t: t, c: c, action: action, life: ctx, log: t.agent.cfg.ComponentLog(dir)}
	call := &component.Call{
		System: t.system, Path: c.path, Attrs: attrs, Outputs: c.copyOutputs(), WorkDir: dir, Env: env, Returns: c.returns, Spare: c.spare,
		Machine: t.agent.cfg.Machine(t.current().GetMachine()),
	}
	if c.record != nil {
		call.Record = *c.record
	} else {
		call.Record = component.Record{Type: component.Normal, Path: c.path, Description: "terminated", Time: t.agent.now(), Host: call.Machine.Name}
	}
	c.outputs["workDir"] = value.String(dir)
	return call, env, nil
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
	output = slices.Clone(output[max(0, len(output)-10):])
	hide := t.agent.shown.hide
	for i := range output {
		output[i] = hide(output[i])
	}
	return &component.Record{
		Type: component.Abnormal, Description: fmt.Sprintf("%s of %s failed", action, path), Path: path,
		Cause: hide(err.Error()), Output: output, Remedy: remedy, Time: t.agent.now(), Host: t.agent.cfg.Machine(t.current().GetMachine()).Name,
	}
}

// event queues an event about a component of the system.
func (t *tenant) event(path value.Path, step plan.StepID, kind event.Kind, reason string, fraction float64) {
	part := t.current()
	t.agent.Emit(event.Event{
		Origin: t.agent.cfg.ID, Time: t.agent.now(), System: t.system, Revision: part.GetRevision(), Plan: part.GetPlan(),
		Path: path, Step: string(step), Kind: kind, Reason: reason, Fraction: fraction,
	})
}
