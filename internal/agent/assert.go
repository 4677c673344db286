package agent

import (
	"context"
	"fmt"

	"aloft/internal/plan"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// assertions checks what a component's description asserts, and could not be
// checked before its values were known (sdl.md AS2). attrs are its attributes
// with those values.
func (t *tenant) assertions(ctx context.Context, c *held, action plan.Action, attrs *value.Component) error {
	r := t.reader(c, action) // one for all: how long they wait is counted together
	r.slot = c.slot
	for a := range attrs.All() {
		assertion, ok := a.Value.(*value.Reference)
		if !ok || !assertion.Assert {
			continue
		}
		err := resolve.Assert(ctx, assertion, attrs, now(), func(ref *value.Reference) (value.Value, error) { return r.resolve(ctx, ref) })
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	return nil
}
