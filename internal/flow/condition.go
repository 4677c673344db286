package flow

import (
	"fmt"
	"slices"
	"time"

	"aloft/value"
)

// The classes of conditions, by their native names. And, Or and Not ask the
// conditions in them.
const (
	BooleanValue      = "BooleanValue" // of True and False as well
	Equals            = "Equals"
	ReferenceResolves = "ReferenceResolves"
	RunningFor        = "RunningFor"
	IsAlive           = "IsAlive"
	And               = "And"
	Or                = "Or"
	Not               = "Not"
)

// Conditions returns the classes of conditions, sorted.
func Conditions() []string {
	return []string{And, BooleanValue, Equals, IsAlive, Not, Or, ReferenceResolves, RunningFor}
}

// IsCondition reports whether components of a class can be asked.
func IsCondition(class string) bool { return slices.Contains(Conditions(), class) }

// Witness knows what a condition is about, at the moment it is asked.
type Witness interface {
	// Value reads an attribute of the condition anew, whatever it refers to.
	// An attribute that is not given is nil.
	Value(attribute string) (value.Value, error)
	// Alive pings what an attribute refers to.
	Alive(attribute string) error
	// Ran returns how long ago the condition was started.
	Ran() time.Duration
	// Inner are the conditions in it, in definition order.
	Inner() []Inner
}

// Inner is a condition in another one.
type Inner struct {
	Name string
	Ask  func() (bool, string)
}

// Ask evaluates a condition of a class. Where the answer is no, the reason says
// why.
func Ask(class string, w Witness) (yes bool, reason string) {
	switch class {
	case BooleanValue:
		v, err := w.Value("value")
		return says(v == value.Bool(true), err, "its value is %s", shown(v))
	case Equals:
		left, err := w.Value("left")
		if err != nil {
			return false, "left: " + err.Error()
		}
		right, err := w.Value("right")
		if err != nil {
			return false, "right: " + err.Error()
		}
		equal := left != nil && right != nil && value.Equal(left, right)
		return says(equal, nil, "%s is not %s", shown(left), shown(right))
	case ReferenceResolves:
		_, err := w.Value("reference")
		return says(err == nil, err, "")
	case RunningFor:
		return ranFor(w)
	case IsAlive:
		err := w.Alive("target")
		return says(err == nil, err, "")
	case And:
		for _, in := range w.Inner() {
			if yes, reason := in.Ask(); !yes {
				return false, in.Name + ": " + reason
			}
		}
		return true, ""
	case Or:
		reason := "there is no condition in it"
		for i, in := range w.Inner() {
			yes, why := in.Ask()
			if yes {
				return true, ""
			}
			if why = in.Name + ": " + why; i > 0 {
				why = reason + "; " + why
			}
			reason = why
		}
		return false, reason
	case Not:
		for _, in := range w.Inner() {
			if in.Name == Condition {
				yes, _ := in.Ask()
				return says(!yes, nil, "%s is true", in.Name)
			}
		}
		return false, "there is no condition in it"
	}
	return false, class + " is no condition"
}

// ranFor compares the time since the start with the sum of the attributes.
func ranFor(w Witness) (bool, string) {
	var want time.Duration
	for _, part := range []struct {
		name string
		unit time.Duration
	}{{"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}, {"seconds", time.Second}, {"milliseconds", time.Millisecond}} {
		v, err := w.Value(part.name)
		if err != nil {
			return false, part.name + ": " + err.Error()
		}
		switch n := v.(type) {
		case value.Integer:
			want += time.Duration(n) * part.unit
		case value.Long:
			want += time.Duration(n) * part.unit
		}
	}
	ran := w.Ran()
	return says(ran >= want, nil, "it has been running for %s, not yet %s", ran.Truncate(time.Millisecond), want)
}

func says(yes bool, err error, format string, args ...any) (bool, string) {
	switch {
	case err != nil:
		return false, err.Error()
	case yes:
		return true, ""
	}
	return false, fmt.Sprintf(format, args...)
}

func shown(v value.Value) string {
	if v == nil {
		return "nothing"
	}
	return value.Source(v)
}
