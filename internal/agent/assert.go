package agent

import (
	"context"
	"errors"
	"fmt"
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
	r.slot = c.slot
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
