package control

import (
	"testing"

	"aloft/api"
	"aloft/component"
	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
)

// A component that another one has told to read its configuration again serves
// meanwhile: the plan under which that happened ends well.
func TestSystemRunsWhileAComponentReadsItsConfigurationAgain(t *testing.T) {
	for state, want := range map[inventory.State]string{
		inventory.Running:       api.SystemRunning,
		inventory.Reconfiguring: api.SystemRunning,
		inventory.Starting:      api.SystemDegraded,
		inventory.Failed:        api.SystemDegraded,
		inventory.Terminated:    api.SystemDegraded,
	} {
		held := (&inventory.System{Name: "sys"}).Clone()
		held.Components["a"] = inventory.Component{Path: "a", State: inventory.Running}
		held.Components["b"] = inventory.Component{Path: "b", State: state}
		held.Components["c"] = inventory.Component{Path: "c", State: inventory.Terminated, Record: &component.Record{Type: component.Normal}}
		held.Components["d"] = inventory.Component{Path: "d", State: inventory.Starting, Flow: "a"}
		p := picture{head: &controlpb.System{Deployment: api.DeploymentDone}, held: held, steady: steady(held)}
		if got := p.state(); got != want {
			t.Errorf("with one %s the system is %s, want %s", state, got, want)
		}
	}
}
