package component

import (
	"fmt"

	"aloft/value"
)

// Values reads the attributes of one component as its class's schema declares
// them: an absent attribute reads as its default, and the first one that is
// missing or of the wrong kind is kept for Err, so that a manager reads all it
// needs and checks once.
type Values struct {
	class *Class
	attrs *value.Component
	err   error
}

// Values returns a reader of attrs.
func (c *Class) Values(attrs *value.Component) *Values {
	return &Values{class: c, attrs: attrs}
}

// Err returns what was wrong with the first unreadable attribute, or nil.
func (v *Values) Err() error { return v.err }

// Has reports whether the attribute is given, with a value other than NULL.
func (v *Values) Has(name string) bool {
	x, ok := v.attrs.Get(name)
	return ok && x.Kind() != value.KindNull
}

// Text returns a string attribute, or "" if it is absent without default.
func (v *Values) Text(name string) string {
	switch x := v.get(name).(type) {
	case nil:
		return ""
	case value.String:
		return string(x)
	default:
		v.wrong(name, "a string", x)
		return ""
	}
}

// Int returns an integer attribute, or 0 if it is absent without default.
func (v *Values) Int(name string) int {
	switch x := v.get(name).(type) {
	case nil:
		return 0
	case value.Integer:
		return int(x)
	case value.Long:
		return int(x)
	default:
		v.wrong(name, "an integer", x)
		return 0
	}
}

// Bool returns a boolean attribute, or false if it is absent without default.
func (v *Values) Bool(name string) bool {
	switch x := v.get(name).(type) {
	case nil:
		return false
	case value.Bool:
		return bool(x)
	default:
		v.wrong(name, "a boolean", x)
		return false
	}
}

// Bytes returns a byte array, or nil if it is absent without default.
func (v *Values) Bytes(name string) []byte {
	switch x := v.get(name).(type) {
	case nil:
		return nil
	case value.Bytes:
		return []byte(x)
	default:
		v.wrong(name, "a byte array", x)
		return nil
	}
}

// Texts returns a vector of strings; nil if it is absent without default.
func (v *Values) Texts(name string) []string {
	x := v.get(name)
	if x == nil {
		return nil
	}
	vector, ok := x.(value.Vector)
	if !ok {
		v.wrong(name, "a vector of strings", x)
		return nil
	}
	texts := make([]string, 0, len(vector))
	for i, e := range vector {
		s, ok := e.(value.String)
		if !ok {
			v.wrong(fmt.Sprintf("%s[%d]", name, i), "a string", e)
			return nil
		}
		texts = append(texts, string(s))
	}
	return texts
}

// Table returns a component attribute; an empty component if it is absent
// without default.
func (v *Values) Table(name string) *value.Component {
	switch x := v.get(name).(type) {
	case nil:
	case *value.Component:
		return x
	default:
		v.wrong(name, "a component", x)
	}
	return value.NewComponent(true)
}

// get returns the value, else the default, else nil. NULL counts as absent.
func (v *Values) get(name string) value.Value {
	if x, ok := v.attrs.Get(name); ok && x.Kind() != value.KindNull {
		return x
	}
	schema := v.class.Schema
	if schema == nil {
		return nil
	}
	if schema.Required(name) && v.err == nil {
		v.err = fmt.Errorf("attribute %s is missing", name)
	}
	return schema.Default(name)
}

func (v *Values) wrong(name, want string, got value.Value) {
	if v.err == nil {
		v.err = fmt.Errorf("attribute %s: want %s, found a %s", name, want, got.Kind())
	}
}

// Text renders a scalar as people read it, for values that end up in files and
// environments: strings bare, numbers in decimal. Other kinds are an error.
func Text(x value.Value) (string, error) {
	switch x := x.(type) {
	case value.String:
		return string(x), nil
	case value.Bool, value.Integer, value.Long, value.Float, value.Double:
		return fmt.Sprint(x), nil
	case nil:
		return "", fmt.Errorf("want a string, a number or a boolean, found nothing")
	default:
		return "", fmt.Errorf("want a string, a number or a boolean, found a %s", x.Kind())
	}
}
