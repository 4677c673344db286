package agent

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/component"
	"aloft/internal/flow"
	"aloft/internal/inventory"
	"aloft/value"
)

// course sees to a workflow component that runs: it has done what package flow
// wants, and tells it what has happened. What is wanted is in the journal before
// it is done, so that a daemon that starts again goes on with it.
type course struct {
	t    *tenant
	c    *held
	spec flow.Course
	stop context.CancelFunc
	done chan struct{} // closed when nothing of it is under way any more

	mu     sync.Mutex
	events []any         // what has happened; guarded by mu
	news   chan struct{} // has one element when there are events

	// Below belongs to run's goroutine.

	tasks   map[string]*task // by child: what is being created
	stepped time.Time        // when the state was last looked at
}

// task creates one child.
type task struct {
	run  int64
	stop context.CancelFunc
	done chan struct{}
}

// tell says what has happened.
func (f *course) tell(e any) {
	f.mu.Lock()
	f.events = append(f.events, e)
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
}

func (f *course) take() []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events
	f.events = nil
	return events
}

// follow has Run see to the course of a workflow component that runs, unless it
// does already.
func (t *tenant) follow(c *held) {
	t.mu.Lock()
	_, workflow := t.workflow(c)
	if !workflow || c.on != nil || c.state != inventory.Running {
		t.mu.Unlock()
		return
	}
	f := &course{t: t, c: c, done: make(chan struct{}), news: make(chan struct{}, 1), tasks: map[string]*task{}}
	f.spec = flow.Course{Class: c.class, Attrs: c.attrs, Children: t.createdBy(c)}
	life, stop := context.WithCancel(context.Background())
	f.stop, c.on = stop, f
	t.mu.Unlock()
	t.agent.spawn(func(ctx context.Context) {
		defer close(f.done)
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		f.run(life)
	})
}

// workflow returns the class of c, and whether it is one of workflow. The lock
// is held.
func (t *tenant) workflow(c *held) (component.Class, bool) {
	m, ok := t.agent.cfg.Managers[c.class]
	if !ok {
		return component.Class{}, false
	}
	class := m.Class()
	return class, class.Workflow
}

// createdBy returns the children that a workflow component creates, as names
// below it, in definition order. The lock is held.
func (t *tenant) createdBy(c *held) []string {
	var children []*held
	for _, b := range t.comps {
		if b.wanted != nil && b.creator == c.path.String() {
			children = append(children, b)
		}
	}
	slices.SortFunc(children, byOrder)
	names := make([]string, len(children))
	for i, b := range children {
		names[i] = nameBelow(c.path, b.path)
	}
	return names
}

func nameBelow(c, child value.Path) string {
	if c == value.Root {
		return string(child)
	}
	return strings.TrimPrefix(string(child), string(c)+":")
}

// child returns a child by its name below the component, or nil.
func (f *course) child(name string) *held {
	if f.c.path == value.Root {
		return f.t.component(value.Path(name))
	}
	return f.t.component(f.c.path + ":" + value.Path(name))
}

// run goes on until the component is to end, by itself or because ctx does.
func (f *course) run(ctx context.Context) {
	defer f.halt()
	t := f.t
	now := func() time.Time {
		f.stepped = t.agent.now()
		return f.stepped
	}
	t.mu.Lock()
	state := f.c.course
	t.mu.Unlock()
	if state == nil {
		s := f.spec.Begin(now(), f.runs())
		state = &s
	}
	f.recall(*state)
	s := f.spec.Step(*state, now(), flow.Tick{})
	for f.keep(ctx, s) {
		f.pursue(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if s.Over() {
			if s.End != nil {
				f.over(*s.End)
			}
			return
		}
		if s.Asking {
			yes, reason := t.ask(ctx, f.child(flow.Condition))
			s = f.spec.Step(s, now(), flow.Answered{Yes: yes, Reason: reason})
			continue
		}
		f.await(ctx, s.Due())
		for _, e := range append(f.take(), flow.Tick{}) {
			f.settle(e)
			s = f.spec.Step(s, now(), e)
		}
	}
}

// runs returns the highest run of its children.
func (f *course) runs() (highest int64) {
	for _, name := range f.spec.Children {
		if b := f.child(name); b != nil {
			f.t.mu.Lock()
			highest = max(highest, b.run)
			f.t.mu.Unlock()
		}
	}
	return highest
}

// recall tells of children that ended before anybody could be told.
func (f *course) recall(s flow.State) {
	for _, k := range s.Children {
		if b := f.child(k.Name); b != nil && k.At != flow.Absent {
			f.tellEnded(b, k)
		}
	}
}

// tellEnded tells that a child has ended, if it has, and reports whether.
func (f *course) tellEnded(b *held, k flow.Child) bool {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if b.run != k.Run || b.state != inventory.Terminated || b.record == nil {
		return false
	}
	f.tell(flow.Ended{Name: k.Name, Run: k.Run, Record: *b.record, Created: !b.started.IsZero()})
	return true
}

// settle waits for the task that has led to an event, or has been overtaken by
// it.
func (f *course) settle(e any) {
	var name string
	switch e := e.(type) {
	case flow.Reached:
		name = e.Name
	case flow.Ended:
		name = e.Name
	}
	if task := f.tasks[name]; task != nil {
		task.stop()
		<-task.done
		delete(f.tasks, name)
	}
}

// await waits until something has happened, or due.
func (f *course) await(ctx context.Context, due time.Time) {
	var timer <-chan time.Time
	if due.After(f.stepped) { // it may have passed since, while the state was recorded
		wake := time.NewTimer(max(due.Sub(f.t.agent.now()), 0))
		defer wake.Stop()
		timer = wake.C
	}
	select {
	case <-ctx.Done():
	case <-f.news:
	case <-timer:
	}
}

// keep writes to the journal what the component has come to, and what others
// may read of it.
func (f *course) keep(ctx context.Context, s flow.State) bool {
	t := f.t
	t.mu.Lock()
	f.c.course = &s
	switch f.c.class {
	case flow.Retry:
		f.c.outputs["count"] = value.Integer(s.Count)
	case flow.WaitFor:
		f.c.outputs["failureText"] = value.String(s.Reason)
	}
	t.mu.Unlock()
	if ctx.Err() != nil || !t.saveFirst(ctx, f.c.path) {
		return false
	}
	t.changed(f.c.path)
	return true
}

// pursue ends what is not wanted any more, last created first (WF3), and begins
// to create what is.
func (f *course) pursue(ctx context.Context, s flow.State) {
	wanted := map[string]flow.Child{}
	for _, k := range s.Children {
		wanted[k.Name] = k
	}
	t := f.t
	var leaving []*held
	for name, task := range f.tasks {
		if wanted[name].Run == task.run {
			continue
		}
		task.stop()
		<-task.done
		delete(f.tasks, name)
	}
	for _, name := range f.spec.Children {
		if b := f.child(name); b != nil && t.exists(b) && wanted[name].Run != b.run {
			leaving = append(leaving, b)
		}
	}
	slices.SortFunc(leaving, func(a, b *held) int { return int(b.run - a.run) })
	for _, b := range leaving {
		t.remove(ctx, b, inventory.Terminated, component.Record{
			Type: component.Normal, Path: f.c.path, Description: "not wanted any more by " + f.c.path.String(), Time: t.agent.now(),
		})
	}
	for _, k := range s.Children {
		if b := f.child(k.Name); b != nil && f.tasks[k.Name] == nil && k.At != k.To {
			f.create(ctx, b, k)
		}
	}
}

// create begins to bring a child to the phase that is wanted of it.
func (f *course) create(ctx context.Context, b *held, k flow.Child) {
	t := f.t
	if f.tellEnded(b, k) { // before this daemon was started
		return
	}
	ctx, stop := context.WithCancel(ctx)
	task := &task{run: k.Run, stop: stop, done: make(chan struct{})}
	f.tasks[k.Name] = task
	go func() {
		defer close(task.done)
		defer stop()
		record := t.create(ctx, b, k)
		switch {
		case ctx.Err() != nil: // ended by who wanted it, or repeated by the next daemon
		case record != nil:
			f.tell(flow.Ended{Name: k.Name, Run: k.Run, Record: *record})
		default:
			f.tell(flow.Reached{Name: k.Name, Run: k.Run, At: k.To})
		}
	}()
}

// halt waits until nothing is under way.
func (f *course) halt() {
	for _, task := range f.tasks {
		task.stop()
		<-task.done
	}
	f.t.mu.Lock()
	if f.c.on == f {
		f.c.on = nil
	}
	f.t.mu.Unlock()
}

// over ends the component as its course has.
func (f *course) over(r component.Record) {
	f.t.agent.spawn(func(ctx context.Context) { f.t.componentEnded(ctx, f.c, r) })
}
