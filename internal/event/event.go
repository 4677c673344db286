// Package event is what happened, as data: one value for everything that a
// person or a program may want to follow, from an accepted plan to a process
// that was restarted. It refuses to carry effects: nothing is decided from an
// event that a fact or a row does not say too.
package event

import (
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
	"aloft/value"
)

// Kind says what happened. The list is closed.
type Kind string

// The kinds of events. Behind each: what its Reason holds.
const (
	PlanAccepted    Kind = "plan.accepted"    // what the plan does, in a few words
	PlanDone        Kind = "plan.done"        //
	PlanFailed      Kind = "plan.failed"      // how many steps failed and were skipped
	PlanInterrupted Kind = "plan.interrupted" // by whom
	PlanWaits       Kind = "plan.waits"       // which machine does not take its part, and why

	StepStarted Kind = "step.started" // the action: "deploy", "start" …
	StepDone    Kind = "step.done"    // the action
	StepFailed  Kind = "step.failed"  // the cause
	StepSkipped Kind = "step.skipped" // what it would have needed

	ComponentState     Kind = "component.state"     // the state: runtime.md section 2, or failed
	ComponentEnded     Kind = "component.ended"     // why it ended by itself
	ComponentRestarted Kind = "component.restarted" // why it had to be
	ComponentRepaired  Kind = "component.repaired"  // what did not hold any more, and does again
	ComponentKilled    Kind = "component.killed"    // that its process did not end when told to, and what to do
	ComponentOverdue   Kind = "component.overdue"   // what was to be done by now, and why it could not

	MachineCreating   Kind = "machine.creating"
	MachineRunning    Kind = "machine.running"    // its address
	MachineLost       Kind = "machine.lost"       // since when, and what was tried
	MachineFound      Kind = "machine.found"      // one that was lost answers again
	MachineDestroying Kind = "machine.destroying" // why
	MachineDestroyed  Kind = "machine.destroyed"
	MachineFailed     Kind = "machine.failed" // why it could not be made

	OrphanAdopted   Kind = "orphan.adopted"   // what was found when a daemon started and belonged to nothing
	OrphanDestroyed Kind = "orphan.destroyed" // likewise
	OrphanKept      Kind = "orphan.kept"      // likewise, and why

	SystemState Kind = "system.state" // deploying, running, degraded, updating, terminating

	ChangeAccepted Kind = "change.accepted" // who asked for what, and the fence of the system's owner
	ChangeRefused  Kind = "change.refused"  // likewise, and why not

	Progress Kind = "progress" // what a step is doing; never stored
)

// Kinds returns all kinds, in the order of their declaration.
func Kinds() []Kind {
	return []Kind{
		PlanAccepted, PlanDone, PlanFailed, PlanInterrupted, PlanWaits,
		StepStarted, StepDone, StepFailed, StepSkipped,
		ComponentState, ComponentEnded, ComponentRestarted, ComponentRepaired, ComponentKilled, ComponentOverdue,
		MachineCreating, MachineRunning, MachineLost, MachineFound,
		MachineDestroying, MachineDestroyed, MachineFailed,
		OrphanAdopted, OrphanDestroyed, OrphanKept,
		SystemState, ChangeAccepted, ChangeRefused, Progress,
	}
}

// Valid reports whether k is on the list.
func (k Kind) Valid() bool { return slices.Contains(Kinds(), k) }

// Stored reports whether events of this kind are kept. Progress is shown to
// who looks on, and gone.
func (k Kind) Stored() bool { return k != Progress }

// Event is one thing that happened. Events of one origin are ordered by their
// sequence; those of several origins are not ordered among each other.
type Event struct {
	Origin      string     `json:"origin"`   // machine id of the daemon that saw it
	Sequence    int64      `json:"sequence"` // from 1 in each origin; 0 for progress
	Time        time.Time  `json:"time"`
	System      string     `json:"system,omitempty"`
	Revision    int64      `json:"revision,omitempty"`
	Path        value.Path `json:"path,omitempty"`        // of the component, or of a machine's VM
	Incarnation string     `json:"incarnation,omitempty"` // id (UUID) of the machine it is about
	Plan        string     `json:"plan,omitempty"`
	Step        string     `json:"step,omitempty"`
	Kind        Kind       `json:"kind"`
	Reason      string     `json:"reason,omitempty"`
	Fraction    float64    `json:"fraction,omitempty"` // of progress: 0 to 1
}

// Check returns an error if e could not have been made by this program.
func (e Event) Check() error {
	switch {
	case !e.Kind.Valid():
		return fmt.Errorf("event of unknown kind %q", e.Kind)
	case e.Origin == "":
		return fmt.Errorf("event %s without origin", e.Kind)
	case e.Kind.Stored() != (e.Sequence > 0):
		return fmt.Errorf("event %s with sequence %d", e.Kind, e.Sequence)
	case math.IsNaN(e.Fraction) || e.Fraction < 0 || e.Fraction > 1:
		return fmt.Errorf("event %s with fraction %v", e.Kind, e.Fraction)
	}
	return nil
}

// Proto returns e as it is sent to a peer.
func (e Event) Proto() *peerpb.Event {
	return &peerpb.Event{
		Origin: e.Origin, Sequence: e.Sequence, Time: timestamppb.New(e.Time),
		System: e.System, Revision: e.Revision, Path: string(e.Path), Machine: e.Incarnation,
		Plan: e.Plan, Step: e.Step, Kind: string(e.Kind), Reason: e.Reason, Fraction: e.Fraction,
	}
}

// FromProto returns what a peer has sent, or why it makes no sense. A kind of
// a later version is an error too: leave that event out and go on.
func FromProto(p *peerpb.Event) (Event, error) {
	e := Event{
		Origin: p.GetOrigin(), Sequence: p.GetSequence(),
		System: p.GetSystem(), Revision: p.GetRevision(), Path: value.Path(p.GetPath()), Incarnation: p.GetMachine(),
		Plan: p.GetPlan(), Step: p.GetStep(), Kind: Kind(p.GetKind()), Reason: p.GetReason(), Fraction: p.GetFraction(),
	}
	if err := e.Check(); err != nil {
		return Event{}, err
	}
	if err := p.GetTime().CheckValid(); err != nil {
		return Event{}, fmt.Errorf("event %s: %w", e.Kind, err)
	}
	e.Time = p.GetTime().AsTime()
	return e, nil
}
