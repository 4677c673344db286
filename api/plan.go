package api

import (
	"encoding/json"
	"time"
)

// PlanRequest asks what would have to be done: to make the system Name equal
// to Description, with Down, to terminate it; with
// Rollback, to make it again what it was.
type PlanRequest struct {
	Name        string          `json:"name" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"the system; one that was detached may have a '_' in its name"`
	File        string          `json:"file,omitempty" doc:"absolute path of the description's file, for people"`
	Description json.RawMessage `json:"description,omitempty" doc:"the resolved description in its wire form; absent with down"`
	Sources     []Source        `json:"sources,omitempty" doc:"content that the description ships, uploaded as blobs before"`
	Down        bool            `json:"down,omitempty"`
	Now         bool            `json:"now,omitempty" doc:"with down: cancel what is under way"`
	// Detach asks for a part of a system to run on as one of its own.
	Detach string `json:"detach,omitempty" doc:"path of a component that becomes a system of its own; no description is given then"`
	// Written is what the description was made from: 'aloft set' needs it.
	Written *Written `json:"written,omitempty"`
	// Base is what a description was made from that was made from that of a system,
	// as by 'aloft set'.
	Base int64 `json:"base,omitempty" minimum:"0" doc:"the revision that the description was made from: once the system has another, the request is refused as stale; 0: it was made from none"`
	// Rollback asks for an earlier revision again, instead of a description.
	Rollback bool   `json:"rollback,omitempty" doc:"go back to an earlier revision; no description is given then"`
	To       int64  `json:"to,omitempty" minimum:"0" doc:"with rollback: the revision; 0: the last one before the present one that ran"`
	Cause    string `json:"cause,omitempty" maxLength:"200" example:"set web:port" doc:"what is asked for, in words for the history"`
	// AllowDataLoss names components that hold data which the plan may destroy.
	AllowDataLoss []string `json:"allowDataLoss,omitempty" maxItems:"1000" doc:"paths of components whose data may be destroyed"`
	// AllowUnresolved plans although late references cannot be checked yet.
	AllowUnresolved bool `json:"allowUnresolved,omitempty"`
}

// Source is content shipped with a description.
type Source struct {
	Digest string `json:"digest" example:"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`
	Size   int64  `json:"size"`
}

// Change says in one sign what happens to a component or attribute.
type Change string

// The changes.
const (
	ChangeNone    Change = ""
	ChangeAdd     Change = "+"
	ChangeUpdate  Change = "~"
	ChangeRemove  Change = "-"
	ChangeReplace Change = "-/+"
)

// Plan is what will be done, in an order that its edges allow. Applying it is
// refused once something it read has changed.
type Plan struct {
	ID       string        `json:"id"`
	System   string        `json:"system"`
	Revision int64         `json:"revision" doc:"the revision this plan leads to"`
	Base     int64         `json:"base" doc:"the revision it was made against; 0 for a new system"`
	File     string        `json:"file,omitempty"`
	OldFile  string        `json:"oldFile,omitempty" doc:"the file of the running revision when it is another one"`
	Down     bool          `json:"down,omitempty"`
	Detaches *Detached     `json:"detaches,omitempty" doc:"what becomes a system of its own"`
	Part     string        `json:"part,omitempty" doc:"with down: the system that it ends, where that was detached from this one"`
	Steps    []Step        `json:"steps"`
	Machines []PlanMachine `json:"machines"`
	Late     []LateEdge    `json:"late,omitempty" doc:"references that order one component behind another"`
	Notes    []string      `json:"notes,omitempty"`
	Data     []DataLoss    `json:"data,omitempty" doc:"data that it destroys; it is not applied unless all of it is allowed"`
	Empty    bool          `json:"empty" doc:"nothing has to be done"`
	// Attached: an equal plan is under way already, ID names it, and there is
	// nothing to apply.
	Attached bool   `json:"attached,omitempty"`
	Digest   string `json:"digest,omitempty"`
}

// Detached is a part of a system that becomes one of its own.
type Detached struct {
	Path string `json:"path"`
	Name string `json:"name" doc:"of the new system"`
}

// Step is one operation on one component. A component has one step for each
// operation; all of them carry its Change, the first one its Attributes.
type Step struct {
	ID         string       `json:"id"`
	Path       string       `json:"path"`
	Class      string       `json:"class,omitempty"`
	Machine    string       `json:"machine,omitempty" doc:"name of the machine that carries it out; absent: the daemon itself"`
	Action     string       `json:"action" enum:"create,deploy,start,reconfigure,terminate"`
	Change     Change       `json:"change" enum:"+,~,-,-/+"`
	Reason     string       `json:"reason,omitempty"`
	Attributes []AttrChange `json:"attributes,omitempty"`
}

// AttrChange is the change of one attribute. Old and New are values as SDL
// text; the content of a secret one is never in them.
type AttrChange struct {
	Name   string `json:"name"`
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
	Secret bool   `json:"secret,omitempty"`
}

// PlanMachine is a machine that the plan makes, replaces or destroys.
type PlanMachine struct {
	Path     string `json:"path"`
	Provider string `json:"provider"`
	Template string `json:"template,omitempty"`
	Size     string `json:"size,omitempty" example:"2 cores, 4 GiB"`
	Price    string `json:"price,omitempty" example:"0.0104 USD/h" doc:"absent: it costs nothing"`
	Change   Change `json:"change" enum:"+,~,-,-/+"`
}

// DataLoss is data that a plan destroys.
type DataLoss struct {
	Path      string `json:"path" doc:"of the component that holds it"`
	Class     string `json:"class"`
	Machine   string `json:"machine,omitempty"`
	Directory string `json:"directory,omitempty" doc:"where it lies on the machine"`
	Size      int64  `json:"size,omitempty" doc:"bytes; absent: not known"`
	Why       string `json:"why"`
	Allowed   bool   `json:"allowed,omitempty"`
	Spare     bool   `json:"spare,omitempty" doc:"all of it is elsewhere, as a replica's is on its primary, which has confirmed it; it is asked again before the end"`
}

// LateEdge says that From waits for To because it refers to it.
type LateEdge struct {
	From      string `json:"from"`
	To        string `json:"to"`
	Attribute string `json:"attribute,omitempty"`
}

// The states of a Deployment.
const (
	DeploymentRunning   = "running"   // steps are being carried out
	DeploymentDone      = "done"      // every step succeeded
	DeploymentDegraded  = "degraded"  // ended with failures; applying the description again does what is missing
	DeploymentCancelled = "cancelled" // ended by a later request
)

// Deployment is the newest plan of a system that was accepted.
type Deployment struct {
	System   string    `json:"system"`
	Revision int64     `json:"revision"`
	Plan     string    `json:"plan"`
	Down     bool      `json:"down,omitempty"`
	State    string    `json:"state" enum:"running,done,degraded,cancelled"`
	Since    time.Time `json:"since"`
	// Cursor is the place in the events just before the plan was accepted:
	// following from it misses nothing of the plan.
	Cursor string `json:"cursor,omitempty"`
	// Steps and Settled count the plan's steps and those that have ended.
	Steps    int       `json:"steps"`
	Settled  int       `json:"settled"`
	Failures []Failure `json:"failures,omitempty"`
	// WillUndo: it has failed, and the system goes back by itself.
	WillUndo bool  `json:"willUndo,omitempty" doc:"it has failed, and another plan takes the system back by itself"`
	Undoes   int64 `json:"undoes,omitempty" doc:"the revision that failed and that this plan goes back from by itself"`
	// Undone is what failed in the plan that Undoes is of, as long as it is
	// remembered; the history has its causes.
	Undone []Failure `json:"undone,omitempty" doc:"what failed in the plan of the revision that this one undoes"`
	// NotUndone says why the system does not go back by itself, as it should.
	NotUndone string `json:"notUndone,omitempty" doc:"why nothing takes the system back by itself although it has failed and its description says so"`
}

// Ended reports whether nothing more will happen under the plan.
func (d *Deployment) Ended() bool { return d.State != DeploymentRunning }

// Failure says which component failed, where, and why.
type Failure struct {
	Path      string   `json:"path"`
	Machine   string   `json:"machine,omitempty"`
	Operation string   `json:"operation" example:"start"`
	Cause     string   `json:"cause"`
	Output    []string `json:"output,omitempty" maxItems:"10" doc:"the last lines of its output"`
	Remedy    string   `json:"remedy,omitempty"`
}
