package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/plan"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// assertions checks what a component's description asserts, and could not be
// checked before its values were known (sdl.md AS2). attrs are its attributes
// with those values.
func (t *tenant) assertions(ctx context.Context, c *held, class *component.Class, action plan.Action, attrs *value.Component) error {
	r := t.reader(c, action) // one for all: how long they wait is counted together
	r.slot = c.step != nil
	if action == ping {
		now, err := t.constrained(ctx, c, class, r, attrs)
		if err != nil {
			return err
		}
		attrs = now
	}
	for a := range attrs.All() {
		assertion, ok := a.Value.(*value.Reference)
		if !ok || !assertion.Assert {
			continue
		}
		err := resolve.Assert(ctx, assertion, attrs, t.agent.now(), func(ref *value.Reference) (value.Value, error) { return r.resolve(ctx, ref) })
		if err != nil {
			if text := masked(class, attrs, err.Error()); text != err.Error() {
				err = errors.New(text)
			}
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	return nil
}

// constrained returns attributes with those that a schema among them speaks of as they
// are now: what a reference led to when they were read may have changed since
// (LV4). Assertions read by themselves what they refer to.
func (t *tenant) constrained(ctx context.Context, c *held, class *component.Class, r *reader, attrs *value.Component) (*value.Component, error) {
	t.mu.Lock()
	wanted, applied := c.wanted, c.done == c.digest
	t.mu.Unlock()
	if wanted == nil || !applied {
		return attrs, nil
	}
	now := value.NewComponent(attrs.Data, slices.Collect(attrs.All())...)
	for a := range attrs.All() {
		schema, ok := a.Value.(*value.Reference)
		if !ok || !schema.Assert {
			continue
		}
		for e := range schema.Apply.All() {
			element, ok := resolve.ElementOf(e)
			if !ok {
				continue
			}
			given, ok := wanted.Attr(element.Name)
			line, _ := class.Attribute(element.Name)
			if !ok || line.Reference || line.Whole && c.leadsToItself(given.Value) {
				continue
			}
			v, err := r.resolve(ctx, given.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: attribute %s: %w", a.Name, element.Name, err)
			}
			given.Value = v
			now.Set(given)
		}
	}
	return now, nil
}

// masked returns a text that quotes attributes without those that are secret.
func masked(class *component.Class, attrs *value.Component, text string) string {
	for a := range attrs.All() {
		if line, known := class.Attribute(a.Name); !known || !line.Secret {
			continue
		}
		secret := value.Source(a.Value)
		if s, ok := a.Value.(value.String); ok {
			secret = string(s)
		}
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(secret)")
		}
	}
	return text
}
