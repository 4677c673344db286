package value_test

import (
	"errors"
	"testing"

	"aloft/value"
)

func secretOf(name string) *value.Component { return value.Secret{Name: name}.Value() }

func TestSecretsAreReplacedWhereverTheyAreAndNothingElseIs(t *testing.T) {
	plain := value.NewComponent(true, value.Attr{Name: "name", Value: value.String("no secret")})
	v := value.NewComponent(
		false,
		value.Attr{Name: "port", Value: value.Integer(1)},
		value.Attr{Name: "password", Value: secretOf("a")},
		value.Attr{Name: "env", Value: value.NewComponent(true, value.Attr{Name: "TOKEN", Value: secretOf("b")})},
		value.Attr{Name: "list", Value: value.Vector{value.String("x"), secretOf("a"), plain}},
	)
	before := value.Digest(v)
	got, err := value.ReplaceSecrets(v, func(s value.Secret) (value.Value, error) { return value.String("<" + s.Name + ">"), nil })
	if err != nil {
		t.Fatal(err)
	}
	want := value.NewComponent(
		false,
		value.Attr{Name: "port", Value: value.Integer(1)},
		value.Attr{Name: "password", Value: value.String("<a>")},
		value.Attr{Name: "env", Value: value.NewComponent(true, value.Attr{Name: "TOKEN", Value: value.String("<b>")})},
		value.Attr{Name: "list", Value: value.Vector{value.String("x"), value.String("<a>"), plain}},
	)
	if !value.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if value.Digest(v) != before {
		t.Error("what was given has changed")
	}
	none := value.NewComponent(false, value.Attr{Name: "list", Value: value.Vector{value.String("x")}})
	if got, err := value.ReplaceSecrets(none, nil); err != nil || got != value.Value(none) {
		t.Errorf("%v, %v: want what was given, since there is no secret in it", got, err)
	}
	broken := errors.New("no such secret")
	if _, err := value.ReplaceSecrets(v, func(value.Secret) (value.Value, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v, want the error", err)
	}
}

func TestOnlyMarkedDataIsASecret(t *testing.T) {
	name := value.Attr{Name: "name", Value: value.String("x")}
	for _, v := range []value.Value{
		value.String("x"),
		value.NewComponent(true, name),
		value.NewComponent(false, name, value.Attr{Name: value.SecretMark, Value: value.Bool(true)}),
		value.NewComponent(true, name, value.Attr{Name: value.SecretMark, Value: value.String("true")}),
	} {
		if s, ok := value.AsSecret(v); ok {
			t.Errorf("%v is the secret %v", v, s)
		}
	}
	if s, ok := value.AsSecret(value.Secret{Name: "x", Version: 3}.Value()); !ok || s != (value.Secret{Name: "x", Version: 3}) {
		t.Errorf("%v, %t", s, ok)
	}
}
