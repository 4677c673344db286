package software_test

import (
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/software"
	"aloft/value"
)

func TestSuite(t *testing.T) {
	daemon := func(testing.TB) (component.Manager, func()) { return software.New(), func() {} }
	color := func(s string) *value.Component {
		return value.NewComponent(false, value.Attr{Name: "color", Value: value.String(s)})
	}
	componenttest.Run(t, daemon, componenttest.Case{
		Name: "attributes of any name", Attrs: color("red"), Changes: []*value.Component{color("blue")},
	})
}
