// Package workflow manages the workflow components and the conditions. What
// they do is for package flow to say and for the machine's daemon to carry out,
// so that it goes on after a crash: there is nothing to do for a manager but to
// describe its class.
package workflow

import (
	"context"
	"fmt"

	"aloft/component"
	"aloft/internal/flow"
	"aloft/value"
)

// Manager manages the components of one class.
type Manager struct {
	component.Keep
	class component.Class
}

var _ component.Manager = Manager{}

// New returns a manager for each class.
func New() []component.Manager {
	var list []component.Manager
	for _, class := range classes {
		list = append(list, Manager{class: class})
	}
	return list
}

// Class describes the class.
func (m Manager) Class() component.Class { return m.class }

// Deploy refuses what no course can begin with.
func (m Manager) Deploy(_ context.Context, c *component.Call) error {
	if m.class.Check == nil {
		return nil
	}
	for _, p := range m.class.Check(c.Attrs, component.Target{}) {
		return &component.Failure{Err: fmt.Errorf("attribute %s: %s", p.Attr, p.Message), Remedy: p.Remedy}
	}
	return nil
}

const (
	original   = "org.smartfrog.sfcore.workflow."
	conditions = original + "conditional.conditions."
)

var classes = []component.Class{
	creating(flow.Sequence, original+"combinators.Sequence"),
	switched(flow.Parallel, original+"combinators.Parallel", "asynchCreateChild", "terminateOnEmptyDeploy", "terminateOnAbnormalChildTermination", "terminateOnAbnormalChildDeploy"),
	creating(flow.Repeat, original+"combinators.Repeat", "repeat"),
	withOutput(creating(flow.Retry, original+"combinators.Retry", "retry"), "count", value.KindInteger, "how often its action was begun"),
	creating(flow.Try, original+"combinators.Try"),
	creating(flow.Timeout, original+"combinators.Timeout", "time"),
	creating(flow.During, original+"combinators.During", "time"),
	creating(flow.Delay, original+"combinators.Delay", "time"),
	creating(flow.Finally, original+"combinators.Finally"),
	creating(flow.If, original+"conditional.IfImpl"),
	withOutput(creating(flow.WaitFor, original+"conditional.WaitForImpl", "interval", "timeout"), "failureText", value.KindString, "why it has waited in vain"),
	asked(flow.BooleanValue, conditions+"BooleanValue", "value"),
	asked(flow.Equals, conditions+"Equals", "left", "right"),
	withOutput(asked(flow.ReferenceResolves, conditions+"ReferenceResolves", "reference"), "result", value.KindBool, "what it answered last"),
	asked(flow.RunningFor, conditions+"RunningForImpl", "days", "hours", "minutes", "seconds", "milliseconds"),
	asked(flow.IsAlive, conditions+"IsAlive", "target"),
	asked(flow.And, conditions+"AndCompoundCondition"),
	asked(flow.Or, conditions+"OrCompoundCondition"),
	asked(flow.Not, conditions+"NotCompoundCondition"),
}

// creating is a class of components that create their children themselves.
// numbers are its attributes.
func creating(name, alias string, numbers ...string) component.Class {
	return checked(name, alias, "an integer", isNumber, numbers)
}

// switched is one whose attributes are booleans.
func switched(name, alias string, booleans ...string) component.Class {
	return checked(name, alias, "true or false", func(v value.Value) bool { return v.Kind() == value.KindBool }, booleans)
}

func isNumber(v value.Value) bool {
	return v.Kind() == value.KindInteger || v.Kind() == value.KindLong
}

func checked(name, alias, expected string, is func(value.Value) bool, attributes []string) component.Class {
	c := component.Class{
		Name: name, Aliases: []string{alias}, Site: component.SiteMachine,
		OpenAttributes: true, Children: true, Workflow: true, Reconfigures: true,
	}
	for _, a := range attributes {
		c.Attributes = append(c.Attributes, component.Attribute{Name: a})
	}
	c.Check = func(attrs *value.Component, _ component.Target) (problems []component.Problem) {
		for _, a := range attributes {
			v, ok := attrs.Get(a)
			switch {
			case !ok || v.Kind() == value.KindReference: // not given, or not known yet
			case !is(v):
				problems = append(problems, component.Problem{
					Attr: a, Expected: expected, Found: value.Source(v), Message: fmt.Sprintf("%s is a %s", a, v.Kind()), Remedy: "give it " + expected,
				})
			case a == "retry" && negative(v):
				problems = append(problems, component.Problem{
					Attr: a, Expected: "0 or more", Found: value.Source(v), Message: "it cannot be tried less than once", Remedy: "give it 0 or more",
				})
			}
		}
		return problems
	}
	return c
}

func negative(v value.Value) bool {
	switch n := v.(type) {
	case value.Integer:
		return n < 0
	case value.Long:
		return n < 0
	}
	return false
}

// asked is a class of conditions. What they are about they read when they are
// asked.
func asked(name, alias string, attributes ...string) component.Class {
	c := component.Class{
		Name: name, Aliases: []string{alias}, Site: component.SiteMachine,
		OpenAttributes: true, Children: true, Reconfigures: true,
	}
	for _, a := range attributes {
		c.Attributes = append(c.Attributes, component.Attribute{Name: a, Reference: true})
	}
	return c
}

func withOutput(c component.Class, name string, kind value.Kind, doc string) component.Class {
	c.Outputs = append(c.Outputs, component.Output{Name: name, Kind: kind, Doc: doc})
	return c
}
