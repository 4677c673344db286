package plan

import (
	"strings"
	"testing"

	"aloft/component"
	"aloft/internal/model"
	"aloft/value"
)

// What cannot be kept is refused, with the reason, and not ended unasked.
func TestKeepingWhatCannotStayIsRefused(t *testing.T) {
	for _, c := range []struct {
		why     string
		keep    value.Value
		refused bool
	}{
		{"its pages are in the description", value.Bool(true), true},
		{"its pages are in the description", &value.Reference{Lazy: true}, true},
		{"its pages are in the description", value.Bool(false), false},
		{"", value.Bool(true), false},
	} {
		s := &Survey{}
		s.checkAttributes(&surveyed{
			node:  &model.Node{Path: "m:site"},
			class: component.Class{Name: "Website", KeepsNothing: c.why},
			attrs: value.NewComponent(false, value.Attr{Name: "keepOnTerminate", Value: c.keep}),
		})
		var said strings.Builder
		for _, d := range s.Problems.All() {
			said.WriteString(d.Message)
		}
		if refused := strings.Contains(said.String(), "nothing of a Website can stay at its end: "+c.why); c.refused != refused || !c.refused && said.String() != "" {
			t.Errorf("keepOnTerminate %s, %q: %s", value.Source(c.keep), c.why, said.String())
		}
	}
}
