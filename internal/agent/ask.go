package agent

import (
	"context"
	"errors"
	"time"

	"aloft/internal/flow"
	"aloft/internal/inventory"
	"aloft/value"
)

// askLimit is how long a condition waits for a value that is elsewhere.
const askLimit = 2 * time.Second

var errNotYet = errors.New("it cannot be read yet")

// ask evaluates a condition. Where the answer is no, the reason says why.
func (t *tenant) ask(ctx context.Context, c *held) (yes bool, reason string) {
	if c == nil {
		return false, "there is no condition"
	}
	t.mu.Lock()
	class, state := c.class, c.state
	t.mu.Unlock()
	switch {
	case !flow.IsCondition(class):
		return false, c.path.String() + " is no condition"
	case state != inventory.Running:
		return false, c.path.String() + " is " + string(state)
	}
	yes, reason = flow.Ask(class, &witness{ctx, t, c})
	if class == flow.ReferenceResolves {
		t.mu.Lock()
		c.outputs["result"] = value.Bool(yes)
		t.mu.Unlock()
		t.changed(c.path)
	}
	return yes, t.agent.shown.hide(reason)
}

// witness reads for one evaluation of a condition. It implements flow.Witness.
type witness struct {
	ctx context.Context
	t   *tenant
	c   *held
}

// attribute returns an attribute as it is described: a LAZY one is a reference.
func (w *witness) attribute(name string) value.Value {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	from := w.c.wanted
	if from == nil {
		from = w.c.attrs
	}
	v, _ := from.Get(name)
	return v
}

// Value reads an attribute, whatever it refers to.
func (w *witness) Value(name string) (value.Value, error) {
	v := w.attribute(name)
	if v == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(w.ctx, askLimit, errNotYet)
	defer cancel()
	return w.t.reader(w.c, ping).resolve(ctx, v)
}

// Alive pings the component that an attribute refers to. One on another machine
// is alive if its owner says that it runs.
func (w *witness) Alive(name string) error {
	v := w.attribute(name)
	ref, ok := v.(*value.Reference)
	if !ok || ref.Data || ref.Apply != nil {
		return errors.New(name + " is no reference to a component")
	}
	names := namesOf(ref)
	if b := w.t.component(value.PathOf(names...)); b != nil {
		return w.t.answers(w.ctx, b, watchLimit)
	}
	ctx, cancel := context.WithTimeoutCause(w.ctx, askLimit, errNotYet)
	defer cancel()
	r := w.t.reader(w.c, ping)
	_, err := r.wait(ctx, names, true)
	return err
}

// Ran returns how long ago the condition was started.
func (w *witness) Ran() time.Duration {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	return w.t.agent.now().Sub(w.c.started)
}

// Inner returns the conditions in it, in definition order.
func (w *witness) Inner() []flow.Inner {
	var inner []flow.Inner
	for _, b := range w.t.subtree(w.c.path) {
		if b != w.c && b.path.Parent() == w.c.path {
			inner = append(inner, flow.Inner{Name: b.path.Name(), Ask: func() (bool, string) { return w.t.ask(w.ctx, b) }})
		}
	}
	return inner
}
