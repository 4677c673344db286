package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// attributes returns the wanted attributes of a component with their
// references resolved. What is first read at start may still be open in
// deploy; what the class does not know is nobody's to wait for. Where a value
// cannot be had now, the one recorded when it was last read serves (LZ8).
func (t *tenant) attributes(ctx context.Context, c *held, class *component.Class, action plan.Action) (*value.Component, error) {
	t.mu.Lock()
	wanted, before, same := c.wanted, c.attrs, c.done == c.digest
	t.mu.Unlock()
	if wanted == nil {
		return before, nil // it is to go, and only kept until then
	}
	out := value.NewComponent(false)
	for a := range wanted.All() {
		if line, ok := class.Attribute(a.Name); ok && slices.Equal(line.Kinds, []value.Kind{value.KindReference}) {
			out.Set(a) // the reference itself is the value: whom to notify
			continue
		}
		v, err := t.resolve(ctx, a.Value)
		if err != nil {
			line, known := class.Attribute(a.Name)
			recorded, ok := before.Get(a.Name)
			switch {
			case !known || line.Use == component.UseStart && action == plan.Deploy:
				v = a.Value
			case same && ok:
				v = recorded
			default:
				return nil, fmt.Errorf("attribute %s: %w", a.Name, err)
			}
		}
		out.Set(value.Attr{Name: a.Name, Value: v, Tags: a.Tags, Pos: a.Pos})
	}
	return out, nil
}

// resolve returns v with every lazy reference in it replaced by its value.
func (t *tenant) resolve(ctx context.Context, v value.Value) (value.Value, error) {
	switch v := v.(type) {
	case *value.Reference:
		if v.Data {
			return v, nil
		}
		if v.Apply != nil {
			if v.Assert {
				return v, nil
			}
			return resolve.Evaluate(ctx, v, now(), func(r *value.Reference) (value.Value, error) { return t.resolve(ctx, r) })
		}
		got, err := t.read(v)
		if err != nil && v.Optional {
			if v.Default == nil {
				return value.Null{}, nil
			}
			return v.Default, nil
		}
		return got, err
	case value.Vector:
		out := make(value.Vector, len(v))
		for i, e := range v {
			r, err := t.resolve(ctx, e)
			if err != nil {
				return nil, fmt.Errorf("element %d: %w", i+1, err)
			}
			out[i] = r
		}
		return out, nil
	case *value.Component:
		out := value.NewComponent(v.Data)
		for a := range v.All() {
			r, err := t.resolve(ctx, a.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.Name, err)
			}
			out.Set(value.Attr{Name: a.Name, Value: r, Tags: a.Tags, Pos: a.Pos})
		}
		return out, nil
	default:
		return v, nil
	}
}

// read follows an absolute reference: ROOT, the path of a component held here
// or heard of, and what is read in it.
func (t *tenant) read(r *value.Reference) (value.Value, error) {
	text := value.RefText(r)
	if len(r.Parts) == 0 || r.Parts[0].Kind != value.PartRoot {
		return nil, fmt.Errorf("%s cannot be read on a machine: it is not absolute", text)
	}
	names := make([]string, 0, len(r.Parts))
	for _, p := range r.Parts[1:] {
		names = append(names, p.Name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := len(names); n >= 0; n-- {
		path := value.PathOf(names[:n]...)
		c, ok := t.readable(path)
		if !ok {
			continue
		}
		var v value.Value = c
		for i, name := range names[n:] {
			in, isComponent := v.(*value.Component)
			if !isComponent {
				return nil, fmt.Errorf("%s: %s is not a component", text, strings.Join(names[:n+i], ":"))
			}
			if v, ok = in.Get(name); !ok {
				return nil, fmt.Errorf("%s: %s has no attribute %s", text, path, name)
			}
		}
		return v, nil
	}
	return nil, fmt.Errorf("%s is not known here yet", text)
}

// readable returns what may be read of a component, here or elsewhere. The
// lock is held.
func (t *tenant) readable(path value.Path) (*value.Component, bool) {
	if c := t.comps[path]; c != nil && c.attrs != nil && c.state != inventory.Terminated && c.state != inventory.Failed {
		return c.resolved(), true
	}
	c, ok := t.values[path]
	return c, ok
}
