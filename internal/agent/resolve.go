package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// attributes returns the attributes of a text of a component with their
// references resolved. What is first read at start may still be open in
// deploy; what the class does not know is nobody's to wait for. Where a restart
// outside of any plan cannot reach a value, the one recorded when it was last
// read serves (LZ8). A component that is adopted has what it had.
func (t *tenant) attributes(ctx context.Context, c *held, is text, class *component.Class, action plan.Action, adopted bool) (*value.Component, error) {
	t.mu.Lock()
	before, has := c.attrs, c.has()
	if before == nil {
		before = c.last
	}
	c.recorded = nil
	t.mu.Unlock()
	if is.attrs == nil && before == nil {
		return nil, errTaken
	}
	if is.attrs == nil || adopted && before != nil {
		return before, nil // it is to go, or is only kept: what it has not applied it does not have
	}
	r := t.reader(c, action)
	r.slot = c.step != nil
	out := value.NewComponent(false)
	for a := range is.attrs.All() {
		line, known := class.Attribute(a.Name)
		if line.Reference || line.Whole && c.leadsToItself(a.Value) {
			out.Set(a) // the reference itself is the value: whom to notify, or that it is this one
			continue
		}
		open := !known || line.Use == component.UseStart && action == plan.Deploy
		r.waits = !open && !adopted
		v, err := r.resolve(ctx, a.Value)
		if err != nil {
			recorded, ok := before.Get(a.Name)
			switch {
			case open:
				v = a.Value
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case is.digest == has && ok && c.step == nil && errors.Is(err, ErrUnavailable):
				v = recorded
				t.mu.Lock()
				c.recorded = append(c.recorded, a.Name)
				t.mu.Unlock()
			default:
				return nil, fmt.Errorf("attribute %s: %w", a.Name, err)
			}
		}
		out.Set(value.Attr{Name: a.Name, Value: v, Tags: a.Tags, Pos: a.Pos})
	}
	return out, nil
}

// leadsToItself reports whether a value is a reference to the component that has
// it, as one of a set of copies may have which are all to refer to that one.
func (c *held) leadsToItself(v value.Value) bool {
	r, is := v.(*value.Reference)
	return is && !r.Data && r.Apply == nil && value.PathOf(namesOf(r)...) == c.path
}

// reader reads references for one operation of a component.
type reader struct {
	t      *tenant
	c      *held
	action plan.Action
	step   plan.StepID
	begun  time.Time
	waits  bool // for what cannot be read yet
	slot   bool // the operation counts among those that run at once
	// planned are the references that the description has: the plan has put the
	// operation where it can read them.
	planned map[string]bool
	cut     error // what is asked for is cut off: it is not asked for again
	depth   int   // references that led on to others
}

// maxLed bounds how many references may lead on to each other.
const maxLed = 100

// reader returns what reads references for an operation of c, and waits for
// them.
func (t *tenant) reader(c *held, action plan.Action) *reader {
	r := &reader{t: t, c: c, action: action, step: plan.ID(c.path, action), begun: time.Now(), waits: true, planned: map[string]bool{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, is := range []text{{c.wanted, c.digest}, c.standing()} {
		if is.attrs != nil {
			r.plan(is.attrs)
		}
	}
	return r
}

// plan notes the references in v.
func (r *reader) plan(v value.Value) {
	references(v, func(names []string) { r.planned[strings.Join(names, ":")] = true })
}

// references visits the names below ROOT of every reference in v.
func references(v value.Value, visit func(names []string)) {
	switch v := v.(type) {
	case *value.Reference:
		if v.Apply != nil {
			references(v.Apply, visit)
			return
		}
		visit(namesOf(v))
	case value.Vector:
		for _, e := range v {
			references(e, visit)
		}
	case *value.Component:
		for a := range v.All() {
			references(a.Value, visit)
		}
	}
}

// resolve returns v with every lazy reference in it replaced by its value.
func (r *reader) resolve(ctx context.Context, v value.Value) (value.Value, error) {
	switch v := v.(type) {
	case *value.Reference:
		if v.Data {
			return v, nil
		}
		if v.Apply != nil {
			if v.Assert {
				return v, nil
			}
			return resolve.Evaluate(ctx, v, r.t.agent.now(), func(ref *value.Reference) (value.Value, error) { return r.resolve(ctx, ref) })
		}
		got, err := r.read(ctx, v)
		if err != nil && v.Optional && ctx.Err() == nil {
			if v.Default == nil {
				return value.Null{}, nil
			}
			return v.Default, nil
		}
		return got, err
	case value.Vector:
		out := make(value.Vector, len(v))
		for i, e := range v {
			x, err := r.resolve(ctx, e)
			if err != nil {
				return nil, fmt.Errorf("element %d: %w", i+1, err)
			}
			out[i] = x
		}
		return out, nil
	case *value.Component:
		out := value.NewComponent(v.Data)
		for a := range v.All() {
			x, err := r.resolve(ctx, a.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.Name, err)
			}
			out.Set(value.Attr{Name: a.Name, Value: x, Tags: a.Tags, Pos: a.Pos})
		}
		return out, nil
	default:
		return v, nil
	}
}

func namesOf(r *value.Reference) []string {
	names := make([]string, 0, len(r.Parts))
	for _, p := range r.Parts {
		if p.Kind != value.PartRoot {
			names = append(names, p.Name)
		}
	}
	return names
}

// read follows an absolute reference: ROOT, the path of a component, and what
// is read in it. What is not here, or not there yet, is waited for (LZ2).
func (r *reader) read(ctx context.Context, ref *value.Reference) (value.Value, error) {
	text := value.RefText(ref)
	if len(ref.Parts) == 0 || ref.Parts[0].Kind != value.PartRoot {
		return nil, fmt.Errorf("%s cannot be read on a machine: it is not absolute", text)
	}
	if slices.ContainsFunc(ref.Parts[1:], func(p value.Part) bool { return p.Kind != value.PartHere }) {
		return nil, fmt.Errorf("%s cannot be read on a machine: below ROOT there are only names", text)
	}
	names := namesOf(ref)
	running := r.action == plan.Start && !r.planned[strings.Join(names, ":")]
	f := r.t.find(names, running)
	switch {
	case f.err == nil && f.value == nil && r.waits:
		f.value, f.err = r.wait(ctx, names, running)
	case f.err == nil && f.value == nil:
		f.err = errors.New("is not known here yet")
	}
	if f.err != nil {
		return nil, fmt.Errorf("%s: %w", text, f.err)
	}
	led, ok := f.value.(*value.Reference)
	if !ok || led.Data {
		return f.value, nil
	}
	if r.depth++; r.depth > maxLed {
		return nil, fmt.Errorf("%s: needs a chain of more than %d references", text, maxLed)
	}
	defer func() { r.depth-- }()
	return r.resolve(ctx, led)
}

// found is what a machine can say of a reference by itself: a value, an error,
// or which of its components the value is waited for of, and by which step it
// comes. It is empty where the answer is elsewhere.
type found struct {
	value value.Value
	err   error
	path  value.Path
	on    plan.StepID
}

// find looks the names up in what is here. Running asks of a component as a
// whole that it runs.
func (t *tenant) find(names []string, running bool) found {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := len(names); n >= 0; n-- {
		path := value.PathOf(names[:n]...)
		c, here := t.comps[path]
		whole := n == len(names)
		switch {
		case here && !whole && inventory.IsFailure(names[n]):
			record, failed := c.outputs[names[n]]
			if !failed {
				return found{err: fmt.Errorf("%s has not failed", path)}
			}
			return t.within(value.NewComponent(false, value.Attr{Name: names[n], Value: record}), path, names[n:])
		case here && c.attrs != nil && c.state != inventory.Terminated && c.state != inventory.Failed:
			if whole && running && c.state != inventory.Running {
				return found{path: path, on: plan.ID(path, plan.Start)}
			}
			return t.within(c.resolved(), path, names[n:])
		case here:
			if !whole && c.wanted != nil {
				if _, given := c.wanted.Get(names[n]); given {
					return t.within(c.wanted, path, names[n:])
				}
			}
			if n < len(names)-1 {
				return found{} // perhaps of a component elsewhere
			}
			on := plan.Deploy
			if whole && running {
				on = plan.Start
			}
			return found{path: path, on: plan.ID(path, on)}
		case whole && running:
			// That it was told of does not say that it runs.
		default:
			if v, told := t.values[path]; told {
				return t.within(v, path, names[n:])
			}
		}
	}
	return found{}
}

// within follows names in the attributes of the component at path. What is
// missing may be a component elsewhere.
func (t *tenant) within(c *value.Component, path value.Path, names []string) found {
	var v value.Value = c
	for i, name := range names {
		in, isComponent := v.(*value.Component)
		if !isComponent {
			if _, leads := v.(*value.Reference); leads {
				return found{} // the owner knows where to
			}
			return found{err: fmt.Errorf("%s is not a component", strings.Join(append(path.Names(), names[:i]...), ":"))}
		}
		var ok bool
		if v, ok = in.Get(name); !ok {
			return found{}
		}
	}
	return found{value: v}
}
