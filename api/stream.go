package api

import (
	"io"
	"time"
)

// The kinds of events.
const (
	EventComponent = "component" // a component's state is now State
	EventMachine   = "machine"   // a machine's state is now State
	EventSystem    = "system"    // the system's state is now State
	EventPlan      = "plan"      // the plan's state is now State, a Deployment's
	EventProgress  = "progress"  // how far an operation is; never stored
	EventRestart   = "restart"   // a component's process died and was started anew
	EventKilled    = "killed"    // a component's process did not end when it was told to, and was killed
	EventChange    = "change"    // somebody asked for a change; State is accepted or refused
	EventOrphan    = "orphan"    // found when a daemon started, belonging to nothing; State is adopted, destroyed or kept
)

// The states of an EventChange.
const (
	RequestAccepted = "accepted"
	RequestRefused  = "refused"
)

// Event is something that happened (design decision 19).
type Event struct {
	// Cursor is opaque; handed back, the stream goes on behind this event. Among
	// the events of many daemons only some have one: behind the last one given,
	// events may be told again, with the same origin and sequence.
	Cursor      string    `json:"cursor,omitempty" doc:"opaque: the stream goes on behind this event; where many daemons tell, only some events have one"`
	Origin      string    `json:"origin" doc:"the daemon that saw it"`
	Sequence    int64     `json:"sequence" doc:"rises per origin"`
	Time        time.Time `json:"time"`
	System      string    `json:"system,omitempty"`
	Revision    int64     `json:"revision,omitempty"`
	Path        string    `json:"path,omitempty" doc:"the component or, for a machine, its component"`
	Class       string    `json:"class,omitempty"`
	Machine     string    `json:"machine,omitempty" doc:"name of the machine"`
	Incarnation string    `json:"incarnation,omitempty"`
	Plan        string    `json:"plan,omitempty"`
	Step        string    `json:"step,omitempty"`
	Kind        string    `json:"kind" enum:"component,machine,system,plan,progress,restart,killed,change,orphan"`
	State       string    `json:"state,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Fraction    float64   `json:"fraction,omitempty" minimum:"0" maximum:"1"`
}

// EventQuery chooses events. The zero query is everything kept so far.
type EventQuery struct {
	System string // "" for all
	Path   string // with System: this component and those below; "" for all
	Plan   string // "" for all
	After  string // a Cursor; "" from the oldest kept
	Follow bool   // go on with what happens from now
	// EveryCursor gives each event its cursor, however long cursors are.
	EveryCursor bool
}

// LogQuery chooses lines of components' output.
type LogQuery struct {
	System string
	Path   string    // this component and those below; "" for all
	Lines  int       // at most so many of the past per component; 0: all kept
	Since  time.Time // none from before
	After  string    // a Cursor
	Follow bool
}

// LogLine is one line that a component wrote.
type LogLine struct {
	Cursor  string    `json:"cursor,omitempty"`
	Time    time.Time `json:"time,omitzero" doc:"by when it had been written, to a second"`
	Path    string    `json:"path"`
	Machine string    `json:"machine,omitempty"`
	Text    string    `json:"text"`
}

// ExecRequest is a command to be run on a machine.
type ExecRequest struct {
	Command []string   `json:"command" minItems:"1"`
	Env     []string   `json:"env,omitempty" doc:"NAME=VALUE, added to the machine's own"`
	Dir     string     `json:"dir,omitempty"`
	TTY     bool       `json:"tty,omitempty" doc:"give it a terminal; standard error then comes with standard output"`
	Size    WindowSize `json:"size,omitzero"`
}

// WindowSize is the size of a terminal in characters.
type WindowSize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// ExecStreams are the ends of a running command. Stdin ends with io.EOF;
// Resize may be nil.
type ExecStreams struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Resize <-chan WindowSize
}
