package api

import "encoding/json"

// The states of a system.
const (
	SystemDeploying   = "deploying"
	SystemRunning     = "running"
	SystemDegraded    = "degraded"
	SystemUpdating    = "updating"
	SystemTerminating = "terminating"
)

// The states of a machine.
const (
	MachineCreating   = "creating"
	MachineRunning    = "running"
	MachineLost       = "lost"    // the owner of its system has no session with it
	MachineUnknown    = "unknown" // that owner cannot be asked
	MachineDestroying = "destroying"
)

// The states of a component.
const (
	ComponentInstantiated  = "instantiated"
	ComponentDeploying     = "deploying"
	ComponentDeployed      = "deployed"
	ComponentStarting      = "starting"
	ComponentRunning       = "running"
	ComponentReconfiguring = "reconfiguring"
	ComponentTerminating   = "terminating"
	ComponentTerminated    = "terminated"
	ComponentFailed        = "failed"
)

// System is one line of the list of systems.
type System struct {
	Name       string `json:"name"`
	Revision   int64  `json:"revision"`
	State      string `json:"state"`
	File       string `json:"file,omitempty"`
	Components int    `json:"components"`
	Machines   int    `json:"machines"`
	// Owner is the manager that carries out the system's plans; absent while a
	// system has none.
	Owner *SystemOwner `json:"owner,omitempty"`
}

// SystemOwner is the manager that owns a system.
type SystemOwner struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Address string `json:"address" doc:"host:port of its daemon"`
	Fence   int64  `json:"fence" doc:"epoch of the cluster times 2^32, plus the owner's term: of two the higher is the newer"`
}

// Status is what a system looks like now.
type Status struct {
	System     string      `json:"system"`
	Revision   int64       `json:"revision"`
	State      string      `json:"state"`
	Components []Component `json:"components"` // in definition order; the top is ROOT
	Machines   []Machine   `json:"machines"`
}

// Component is one component of a running system.
type Component struct {
	Path    string `json:"path"`
	Class   string `json:"class"` // the native name
	State   string `json:"state"`
	Machine string `json:"machine"`
	Address string `json:"address"` // IP or IP:PORT
	Reason  string `json:"reason"`
}

// Machine is one machine that exists.
type Machine struct {
	Name     string `json:"name"` // SYSTEM/PATH
	System   string `json:"system"`
	Path     string `json:"path"`
	ID       string `json:"id"` // the incarnation's UUID
	Provider string `json:"provider"`
	Template string `json:"template"`
	Address  string `json:"address"`
	State    string `json:"state"`
}

// Endpoint is where a service of a system answers.
type Endpoint struct {
	Path    string `json:"path"`
	Class   string `json:"class"`
	Machine string `json:"machine"`
	Address string `json:"address"`       // IP or IP:PORT
	URI     string `json:"uri,omitempty"` // where the component has one
}

// Value is one value of a system: an attribute, an output, or a component.
type Value struct {
	System string          `json:"system"`
	Path   string          `json:"path"`
	Kind   string          `json:"kind" example:"string"` // as value.Kind prints
	Value  json.RawMessage `json:"value"`                 // the wire form (value.Encode)
}
