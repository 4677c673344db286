package control

import (
	"maps"
	"slices"
	"testing"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// noClasses knows no class.
type noClasses struct{}

func (noClasses) Class(string) (component.Class, bool) { return component.Class{}, false }
func (noClasses) Names() []string                      { return nil }

// What could not be ended on a machine that did not answer may yet be heard of,
// in any state, before the machine is gone.
func TestWhatWasOnAMachineThatIsGoneIsGoneWhateverItsStateWas(t *testing.T) {
	for _, state := range []inventory.State{inventory.Failed, inventory.Terminated, inventory.Running, inventory.Terminating} {
		s := newSystem(&Control{cfg: Config{Classes: noClasses{}}}, "shop", nil)
		s.plan = &plan.Plan{}
		s.held = &inventory.System{
			Components: map[value.Path]inventory.Component{
				"web":     {Path: "web", State: inventory.Running},
				"web:app": {Path: "web:app", Machine: "web", State: state},
				"db:app":  {Path: "db:app", Machine: "db", State: state},
			},
			Machines: map[value.Path]inventory.Machine{"web": {ID: "1", Path: "web"}, "db": {ID: "2", Path: "db"}},
		}
		s.terminated(&batch{}, "web", &peerpb.Fact{Outcome: peerpb.Outcome_OUTCOME_DONE})
		if got := slices.Sorted(maps.Keys(s.held.Components)); !slices.Equal(got, []value.Path{"db:app"}) {
			t.Errorf("%s: left are %v", state, got)
		}
	}
}
