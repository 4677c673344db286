package value

// Secret is a text that is known by its name alone: what a description, a plan
// and every record of it hold in place of a password. It is written as a data
// component {sfSecret true; name NAME}, to which planning adds the version that
// the content has, so that new content is a change.
type Secret struct {
	Name    string
	Version int64 // 0 until it is planned
}

// The attributes of a secret's data component.
const (
	SecretMark    = "sfSecret"
	secretName    = "name"
	secretVersion = "version"
)

// AsSecret returns the secret that v stands for, if it does. One whose name is
// not a text has none: it is for planning to refuse.
func AsSecret(v Value) (Secret, bool) {
	c, ok := v.(*Component)
	if !ok || !c.Data {
		return Secret{}, false
	}
	if mark, _ := c.Get(SecretMark); mark != Bool(true) {
		return Secret{}, false
	}
	name, _ := c.Get(secretName)
	version, _ := c.Get(secretVersion)
	text, _ := name.(String)
	n, _ := version.(Integer)
	return Secret{Name: string(text), Version: int64(n)}, true
}

// Value returns the data component that stands for s.
func (s Secret) Value() *Component {
	return NewComponent(true,
		Attr{Name: SecretMark, Value: Bool(true)},
		Attr{Name: secretName, Value: String(s.Name)},
		Attr{Name: secretVersion, Value: Integer(s.Version)})
}

// ReplaceSecrets returns v with every secret in it replaced by what with
// returns; v itself where there is none.
func ReplaceSecrets(v Value, with func(Secret) (Value, error)) (Value, error) {
	if s, ok := AsSecret(v); ok {
		return with(s)
	}
	switch v := v.(type) {
	case Vector:
		var out Vector
		for i, x := range v {
			y, err := ReplaceSecrets(x, with)
			if err != nil {
				return nil, err
			}
			if out == nil && !same(x, y) {
				out = append(Vector(nil), v...)
			}
			if out != nil {
				out[i] = y
			}
		}
		if out != nil {
			return out, nil
		}
	case *Component:
		var out *Component
		for i, a := range v.attrs {
			y, err := ReplaceSecrets(a.Value, with)
			if err != nil {
				return nil, err
			}
			if out == nil && !same(a.Value, y) {
				out = Compose(v.Data, v.attrs)
			}
			if out != nil {
				out.attrs[i].Value = y
			}
		}
		if out != nil {
			return out, nil
		}
	}
	return v, nil
}

// same reports whether ReplaceSecrets has left x as it was. Only vectors and
// components hold secrets.
func same(x, y Value) bool {
	switch x := x.(type) {
	case *Component:
		y, ok := y.(*Component)
		return ok && x == y
	case Vector:
		z, ok := y.(Vector)
		return ok && len(x) == len(z) && (len(x) == 0 || &x[0] == &z[0])
	}
	return true
}
