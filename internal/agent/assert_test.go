package agent

import (
	"testing"

	"aloft/component"
	"aloft/value"
)

func TestWhatAnAssertionQuotesIsNotSecret(t *testing.T) {
	class := &component.Class{Attributes: []component.Attribute{{Name: "password", Secret: true}, {Name: "port"}}}
	attrs := value.NewComponent(false,
		value.Attr{Name: "password", Value: value.String("hunter2")}, value.Attr{Name: "port", Value: value.Integer(80)})
	const text = `s: attribute password is too short: found string "hunter2", and port is 80`
	const want = `s: attribute password is too short: found string "(secret)", and port is 80`
	if got := masked(class, attrs, text); got != want {
		t.Errorf("got %s", got)
	}
}
