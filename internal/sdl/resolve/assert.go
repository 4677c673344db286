package resolve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Assert checks, on a machine, an assertion or schema that was kept for run
// time (AS2). Its operands must not depend on where it stands (model.Absolute
// sees to that); holder is the component that it speaks about, with its
// references resolved, and read gives the value of a reference among the
// operands. The error says everything that does not hold.
func Assert(ctx context.Context, assertion *value.Reference, holder *value.Component, now time.Time, read func(*value.Reference) (value.Value, error)) error {
	if assertion == nil || assertion.Apply == nil || !assertion.Assert {
		return errors.New("not an assertion")
	}
	e := evaluation{
		ctx: ctx, read: read, budget: maxLateSteps,
		env: &ambient{now: now, counter: new(int64), random: map[string]uint64{}},
	}
	var wrong []string
	for a := range assertion.Apply.All() {
		if a.Name == syntax.FunctionClass {
			continue
		}
		if element, ok := ElementOf(a); ok {
			if text, bad := element.late(holder); bad {
				wrong = append(wrong, text)
			}
			continue
		}
		if strings.HasPrefix(a.Name, "sf") {
			continue
		}
		v, err := e.operand(a.Value, 0)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("%s: %v", a.Name, err))
		case v == term(value.Bool(false)):
			wrong = append(wrong, a.Name+" is false")
		case v != term(value.Bool(true)):
			wrong = append(wrong, a.Name+" is not a boolean but "+kindAndText(v))
		}
	}
	if len(wrong) > 0 {
		return errors.New("assertion failed: " + strings.Join(wrong, ", "))
	}
	return nil
}

// late says what is wrong with the attribute of holder. How it was bound makes
// no difference any more: what was LAZY has its value.
func (e Element) late(holder *value.Component) (text string, bad bool) {
	e.Binding = "anyBinding"
	v, _ := holder.Get(e.Name)
	d, bad := e.Wrong(v)
	return fmt.Sprintf("%s: expected %s, found %s", d.Message, d.Expected, d.Found), bad
}
