package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"aloft/api"
	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Get reads an attribute, an output or a component. What a machine holds that
// is cut off is unavailable after a while, unless the value known last is asked
// for (runtime.md LZ8).
func (c *Control) Get(ctx context.Context, name, path string, cached bool) (*api.Value, error) {
	p, err := value.ParsePath(path)
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	held, p, err := c.reached(ctx, name, p, cached)
	if err != nil {
		return nil, err
	}
	v, err := c.read(held, p)
	if err != nil {
		return nil, err
	}
	wire, err := value.Encode(v)
	if err != nil {
		return nil, err
	}
	return &api.Value{System: name, Path: p.String(), Kind: v.Kind().String(), Value: wire}, nil
}

// read returns a component with its children, or what is below the nearest
// component on the path.
func (c *Control) read(held *inventory.System, p value.Path) (value.Value, error) {
	names := p.Names()
	for n := len(names); n >= 0; n-- {
		at := value.PathOf(names[:n]...)
		k, ok := held.Components[at]
		if !ok {
			continue
		}
		var v value.Value = c.current(held, k, n == len(names))
		for i, name := range names[n:] {
			in, isComponent := v.(*value.Component)
			if !isComponent {
				return nil, &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("%s is not a component", value.PathOf(names[:n+i]...))}
			}
			next, ok := in.Get(name)
			if !ok {
				var near []string
				for a := range in.All() {
					near = append(near, a.Name)
				}
				return nil, &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("%s has no attribute %s", value.PathOf(names[:n+i]...), name), Nearest: diag.Nearest(name, near)}
			}
			v = next
		}
		return v, nil
	}
	return nil, c.noComponent(held, p)
}

// current returns a component with its values as known now, secrets masked,
// and with its children if asked.
func (c *Control) current(held *inventory.System, k inventory.Component, children bool) *value.Component {
	out := value.NewComponent(false)
	class := c.classOf(k)
	add := func(from *value.Component) {
		if from == nil {
			return
		}
		for a := range from.All() {
			if line, ok := class.Attribute(a.Name); ok && line.Secret {
				a.Value = value.String("(secret)")
			}
			out.Set(a)
		}
	}
	add(k.Attrs)
	add(k.Resolved)
	if children {
		for _, child := range held.Ordered() {
			if child.Path != value.Root && child.Path.Parent() == k.Path && child.Path != k.Path {
				out.Set(value.Attr{Name: child.Path.Name(), Value: c.current(held, child, true)})
			}
		}
	}
	return out
}

// classOf returns the class of what is held, the zero class if nothing manages
// it any more.
func (c *Control) classOf(k inventory.Component) component.Class {
	if catalog.IsScripts(k.Class) {
		if k.Attrs == nil {
			return component.Class{}
		}
		return catalog.ScriptClass(k.Class, k.Attrs)
	}
	class, _ := c.cfg.Classes.Class(k.Class)
	return class
}

// getTick is how often it is looked whether a machine answers again.
const getTick = 100 * time.Millisecond

// reached returns what is held of a system once every machine answers that
// holds part of what is read at p, and the path of that in it.
func (c *Control) reached(ctx context.Context, name string, p value.Path, cached bool) (*inventory.System, value.Path, error) {
	tick := time.NewTicker(getTick)
	defer tick.Stop()
	for {
		pic, err := c.picture(ctx, name)
		held, p := pic.held, pic.at(p)
		if err != nil || cached {
			return held, p, err
		}
		k, since, silent := c.silent(held, p)
		if !silent {
			return held, p, nil
		}
		if time.Since(since) >= cutAfter {
			return nil, p, &api.Error{
				Kind: api.KindUnavailable, Message: "unavailable: " + silence(name, k, since),
				Remedy: fmt.Sprintf("the value known last: aloft get --cached %s %s", name, p),
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, p, ctx.Err()
		}
	}
}

// silent returns a component whose machine does not answer, of those that hold
// what is read at p.
func (c *Control) silent(held *inventory.System, p value.Path) (k inventory.Component, since time.Time, silent bool) {
	for _, k := range holders(held, p) {
		if k.Resolved == nil {
			continue // nothing of it is known at run time
		}
		if since, silent := c.unheard(held, k); silent {
			return k, since, true
		}
	}
	return k, since, false
}

// holders returns the components whose machines know what is read at p: none
// where the description gives it.
func holders(held *inventory.System, p value.Path) []inventory.Component {
	names := p.Names()
	for n := len(names); n >= 0; n-- {
		k, ok := held.Components[value.PathOf(names[:n]...)]
		switch {
		case !ok:
		case n < len(names):
			given, ok := k.Attrs.Get(names[n])
			if ok && !late(given) {
				return nil
			}
			return []inventory.Component{k}
		default:
			var all []inventory.Component
			for _, below := range held.Ordered() {
				if k.Path.Contains(below.Path) {
					all = append(all, below)
				}
			}
			return all
		}
	}
	return nil
}

// late reports whether something in v is only known at run time.
func late(v value.Value) bool {
	switch v := v.(type) {
	case *value.Reference:
		return !v.Data
	case value.Vector:
		return slices.ContainsFunc(v, late)
	case *value.Component:
		for a := range v.All() {
			if late(a.Value) {
				return true
			}
		}
	}
	return false
}
