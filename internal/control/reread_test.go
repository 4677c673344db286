package control

import (
	"testing"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// reading is a system in which r, on machine two, reads s, on machine one, and
// which tells two of changes already.
func reading(r inventory.State) *system {
	s := newSystem(&Control{}, "sys", nil)
	s.head, s.held = &controlpb.System{Deployment: api.DeploymentDone}, (&inventory.System{Name: "sys"}).Clone()
	s.held.Components["s"] = inventory.Component{Path: "s", State: inventory.Running, Executor: "one", Resolved: addressed("old")}
	s.held.Components["r"] = inventory.Component{Path: "r", State: r, Executor: "two"}
	s.plan = &plan.Plan{ID: "p", Components: []plan.Component{{Path: "r", Reads: []value.Path{"s"}}}}
	s.readers.stale = map[string]map[value.Path]bool{"two": {}}
	return s
}

func addressed(ip string) *value.Component {
	return value.NewComponent(false, value.Attr{Name: "ip", Value: value.String(ip)})
}

func TestLZ7ReaderThatIsBroughtBackHearsOfChanges(t *testing.T) {
	for state, told := range map[inventory.State]bool{
		inventory.Running: true, inventory.Starting: true, inventory.Deploying: true, inventory.Reconfiguring: true, inventory.Failed: true,
		inventory.Instantiated: false, // it reads when it is deployed
	} {
		s := reading(state)
		now := s.held.Components["s"]
		now.Resolved = addressed("new")
		s.changed(addressed("old"), now)
		if s.readers.stale["two"]["s"] != told {
			t.Errorf("%s: told %t", state, !told)
		}
	}
}

func TestLZ7ReadersHearOfWhatIsBroughtBackOnceItRuns(t *testing.T) {
	s := reading(inventory.Running)
	wire, err := value.Encode(addressed("new"))
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []inventory.State{inventory.Deployed, inventory.Starting, inventory.Running} {
		var b batch
		if err := s.takeState(&b, "one", &peerpb.ComponentState{System: "sys", Path: "s", State: string(state), Component: wire}); err != nil {
			t.Fatal(err)
		}
		if told := s.readers.stale["two"]["s"]; told != (state == inventory.Running) {
			t.Errorf("%s: told %t", state, told)
		}
	}
}
