// Package inventory is what exists now: systems, their components and their
// machines, as immutable snapshots. Control writes it from facts; plan and the
// edges read it. It asks nobody anything.
package inventory

import (
	"maps"
	"slices"
	"strings"
	"time"

	"aloft/component"
	"aloft/provider"
	"aloft/value"
)

// State of a component (runtime.md section 2).
type State string

// The states of a component.
const (
	Instantiated  State = "instantiated"
	Deploying     State = "deploying"
	Deployed      State = "deployed"
	Starting      State = "starting"
	Running       State = "running"
	Reconfiguring State = "reconfiguring"
	Terminating   State = "terminating"
	Terminated    State = "terminated"
	Failed        State = "failed"
)

// Restarting is the reason of a component that its own machine brings back,
// whatever its state is meanwhile.
const Restarting = "restarting"

// Isolated is the reason of a component that its own machine has stopped,
// because its owner has not let it go on within its tenure (runtime.md HL2).
const Isolated = "isolated: its owner was silent for its tenure"

// Orphaned is the reason of a component that has ended by itself, because
// nothing was heard for too long of where its parent is processed (runtime.md
// LV3), until that one answers its end.
const Orphaned = "orphaned: its parent was not heard of for too long"

// GivenUp begins the reason of a machine that its host cannot start any more. It
// is still there, and is not destroyed before its owner has seen to what is on it.
const GivenUp = "given up: "

// Partly is the digest of a component of whose attributes of this digest not
// all is applied: it is none that a description has.
func Partly(digest string) string {
	const partly = "partly "
	return partly + strings.TrimPrefix(digest, partly)
}

// MachineState is the state of a machine as its system sees it.
type MachineState string

// The states of a machine.
const (
	MachineCreating   MachineState = "creating"
	MachineRunning    MachineState = "running"
	MachineLost       MachineState = "lost"
	MachineUnknown    MachineState = "unknown"
	MachineDestroying MachineState = "destroying"
)

// SystemState is the state of a system as a whole.
type SystemState string

// The states of a system.
const (
	SystemDeploying   SystemState = "deploying"
	SystemRunning     SystemState = "running"
	SystemDegraded    SystemState = "degraded"
	SystemUpdating    SystemState = "updating"
	SystemTerminating SystemState = "terminating"
)

// Component is one component as it is held: what was asked for, and what its
// executor reported last.
type Component struct {
	Path     value.Path
	Class    string           // native class name, "" for a plain compound
	Machine  value.Path       // of the machine that processes it
	OnHost   bool             // processed by a manager's own daemon, not by a machine of the system
	Executor string           // machine id of the daemon that acts; "" the system's owner
	Order    int              // definition order
	Attrs    *value.Component // own attributes as applied; references absolute
	Digest   string           // of Attrs
	State    State
	Reason   string
	Resolved *value.Component // attributes with references resolved, then outputs; nil before deployed
	Record   *component.Record
	Restarts int64
	Revision int64 // of the last change
	// Flow is the workflow component in whose course it is created, as its path,
	// the top as "ROOT"; "": none.
	Flow string
}

// IsGivenUp reports whether a machine's host cannot start it any more.
func (c Component) IsGivenUp() bool { return c.State == Failed && strings.HasPrefix(c.Reason, GivenUp) }

// Machine is one machine of a system.
type Machine struct {
	ID       string // UUID: the incarnation
	Path     value.Path
	Proposal provider.Proposal
	Address  string
	State    MachineState
	Since    time.Time
	Lost     string // why it was given up, and its components are placed again; "": it was not
	// Renew is why a plan is to replace it, as if its restart were asked for; "":
	// it is not. It is no row's.
	Renew string
	// Data are those that components which have ended have left on it.
	Data []Data
}

// Data are what a component that has ended has left on its machine.
type Data struct {
	Path      value.Path // of the component
	Class     string
	Directory string // "": the component does not say
}

// System is everything held of one system.
type System struct {
	Name       string
	File       string
	Revision   int64
	Digest     string // of the description of Revision
	OnFailure  string // keep or undo
	Components map[value.Path]Component
	Machines   map[value.Path]Machine
	// Left are machines, by id, that were given up and placed elsewhere, and are
	// not known to have ended.
	Left map[string]Machine
	// Detached are the parts of it that run on as systems of their own, oldest
	// first.
	Detached []Detached
}

// Detached is a part of a system that is a top of its own: it has a name, nothing
// around it counts any more, and it does not end with the system (runtime.md
// TR4). Its components keep their paths, by which its machines know them.
type Detached struct {
	Name     string
	Path     value.Path
	Since    time.Time
	Revision int64  // of the system, that it was detached with
	Blob     string // where its description is: see plan.Apart
	Ending   bool   // it has been asked to end
}

// Apart returns the detached part that the component at path is in.
func (s *System) Apart(path value.Path) (d Detached, apart bool) {
	for _, d := range s.Detached {
		if d.Path.Contains(path) {
			return d, true
		}
	}
	return Detached{}, false
}

// Ordered returns the components in definition order, the top first.
func (s *System) Ordered() []Component {
	return slices.SortedFunc(maps.Values(s.Components), func(a, b Component) int {
		if a.Order != b.Order {
			return a.Order - b.Order
		}
		return strings.Compare(string(a.Path), string(b.Path))
	})
}

// OrderedMachines returns the machines by path.
func (s *System) OrderedMachines() []Machine {
	return slices.SortedFunc(maps.Values(s.Machines), func(a, b Machine) int {
		return strings.Compare(string(a.Path), string(b.Path))
	})
}

// Clone returns a copy whose maps may be changed; the values are shared.
func (s *System) Clone() *System {
	c := *s
	c.Components = maps.Clone(s.Components)
	c.Machines = maps.Clone(s.Machines)
	c.Left = maps.Clone(s.Left)
	c.Detached = slices.Clone(s.Detached)
	if c.Components == nil {
		c.Components = map[value.Path]Component{}
	}
	if c.Machines == nil {
		c.Machines = map[value.Path]Machine{}
	}
	if c.Left == nil {
		c.Left = map[string]Machine{}
	}
	return &c
}

// MachineName is the name of a machine in the installation: SYSTEM/PATH.
func MachineName(system string, path value.Path) string {
	return system + "/" + string(path)
}

// Hostname is the host name of the machine at path: the path with - for ":".
func Hostname(path value.Path) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r
		default:
			return '-'
		}
	}, string(path))
}
