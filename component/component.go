// Package component is the public contract of a component manager: the code
// that installs, configures, starts, pings and ends components of one class on
// the machine it runs on. A manager keeps nothing in memory that it could not
// find again on the machine; the daemon keeps the record of what was done.
package component

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"aloft/value"
)

// Manager manages the components of one class. Calls for one component never
// overlap; calls for several do. Every operation can come again after a crash,
// with the same attributes, and must then end in the same state: look at what
// is there, change only what differs. A cancelled ctx must end the call within
// five seconds.
type Manager interface {
	// Class describes the class. It is constant and makes no call.
	Class() Class

	// Deploy installs and configures; nothing serves yet.
	Deploy(ctx context.Context, c *Call) error

	// Start makes it serve and returns when it does. Called again for a
	// component that runs (the daemon was restarted) it adopts what runs and
	// starts only what does not.
	Start(ctx context.Context, c *Call) error

	// Reconfigure applies the difference between c.Old and c.Attrs to a
	// running component. On error the component must be as it was. Where its
	// class Repairs, c.Old and c.Attrs may be equal.
	Reconfigure(ctx context.Context, c *Call) error

	// Terminate ends it and undoes what Deploy made. It succeeds when there is
	// nothing to end.
	Terminate(ctx context.Context, c *Call) error

	// Ping returns nil when the last operation's result still holds.
	Ping(ctx context.Context, c *Call) error
}

// Keep has "nothing to do" for every operation; managers embed it and write
// the operations they have.
type Keep struct{}

// Deploy does nothing.
func (Keep) Deploy(context.Context, *Call) error { return nil }

// Start does nothing.
func (Keep) Start(context.Context, *Call) error { return nil }

// Reconfigure does nothing.
func (Keep) Reconfigure(context.Context, *Call) error { return nil }

// Terminate does nothing.
func (Keep) Terminate(context.Context, *Call) error { return nil }

// Ping does nothing.
func (Keep) Ping(context.Context, *Call) error { return nil }

// ErrNoEnd is in what a Ping returns where the component does not answer and has
// not ended: its own supervision brings it back, or what fails is another
// component. To end it would mend nothing.
var ErrNoEnd = errors.New("it has not ended")

// ErrOnlyAsked is in what a Ping returns where the component is not what it was
// made to be, and is not brought back unasked: what it was made of may be in
// somebody's hands. It is shown, and counts as no end; a plan brings it back.
var ErrOnlyAsked = errors.New("only up brings it back")

// Call is one operation on one component.
type Call struct {
	System  string
	Path    value.Path
	Attrs   *value.Component       // every attribute, references resolved
	Old     *value.Component       // for Reconfigure: the attributes applied before
	Outputs map[string]value.Value // what the manager put out so far; read only
	Record  Record                 // for Terminate: why
	// Returns is set for a Terminate after which the component is to be brought
	// back: data that it has stay, whatever its attributes say of its end.
	Returns bool
	// Spare is set where the component may go, with what it has, only if all of
	// that is elsewhere: a Ping fails unless who has it confirms that now, and so
	// does a Terminate, before it has ended anything. Only of a class that Spares.
	Spare   bool
	Machine Machine // where the component is processed
	WorkDir string  // the component's own folder, made before Deploy and removed after Terminate
	Env     Environment
}

// Machine is what a manager may know of the machine it works on.
type Machine struct {
	Name     string // SYSTEM/PATH
	Hostname string
	Address  string // the address other machines of the system reach it by
	// Folder is "/" where the machine has a root file system of its own. On a
	// process machine it is the machine's folder: absolute paths outside it
	// are not the component's to touch.
	Folder    string
	Isolation bool
	Proxy     string // "http://host:port" of the package proxy, or ""
}

// Environment is what a manager may ask of its daemon during a call, and, for
// Ended, after it.
type Environment interface {
	// Output sets a run-time attribute of the component, recorded at once.
	Output(name string, v value.Value)
	// Read resolves a reference the attributes hold as a value of its own.
	Read(ctx context.Context, ref *value.Reference) (value.Value, error)
	// Notify asks that the component that ref leads to reload its
	// configuration, once, after this call has succeeded.
	Notify(ref *value.Reference)
	// Changed tells that outputs are others than those that were read of the
	// component: components of the machine that refer to it are reconfigured, once,
	// after this call has succeeded.
	Changed()
	// Remind asks that Reconfigure be called at a time, with c.Old and c.Attrs
	// equal, for what why says. It is asked for anew by every operation after
	// which it is still wanted; the last time asked for counts.
	Remind(at time.Time, why string)
	// Certify has the cluster certify the key in a request (PKCS#10, DER) for the
	// host names and IP addresses in it, each of which the attribute names of the
	// component gives. It returns the certificate, then its issuer's, DER.
	Certify(ctx context.Context, request []byte) (chain [][]byte, err error)
	// Progress reports how far the operation is, 0 to 1, and what it does.
	Progress(fraction float64, text string)
	// Log is the component's own log.
	Log() *slog.Logger
	// Source opens shipped content by its digest ("sha256:…").
	Source(ctx context.Context, digest string) (io.ReadCloser, error)
	// Ended tells, at any time after Start has returned, that the component
	// has ended by itself and will not come back by itself.
	Ended(r Record)
	// Restarted tells that the component's process died and was started anew.
	Restarted(reason string)
	// Killed tells that the component's process did not end when it was told to
	// and was killed, and what to do; a repeated call may tell it again.
	Killed(reason string)
}

// RecordType says how a component ended. The set is open.
type RecordType string

// The types every compound understands.
const (
	Normal                RecordType = "normal"
	Abnormal              RecordType = "abnormal"
	ExternalReferenceDead RecordType = "externalReferenceDead"
)

// Record says why a component ended (runtime.md TR1).
type Record struct {
	Type        RecordType `json:"type"`
	Description string     `json:"description"`
	Path        value.Path `json:"path"`             // the component that caused it
	Cause       string     `json:"cause"`            // the deepest error
	Output      []string   `json:"output,omitempty"` // last lines of its output, at most ten
	Remedy      string     `json:"remedy,omitempty"`
	Time        time.Time  `json:"time"`
	Host        string     `json:"host"`
}
