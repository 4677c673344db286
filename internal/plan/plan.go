// Package plan turns what is wanted, where it is placed and what exists into a
// Plan: a graph of steps that can be shown, stored, cut by machine and carried
// out. The plan is the only authority: nothing happens to a system that is not
// a step of one. The package is pure and deterministic; it starts no goroutine
// and reads no clock.
package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"aloft/internal/expand"
	"aloft/internal/place"
	"aloft/value"
)

// Action is what a step does to its component.
type Action string

// The actions. A barrier has no component: it is passed when all before it
// have ended.
const (
	Deploy      Action = "deploy"
	Start       Action = "start"
	Reconfigure Action = "reconfigure"
	Terminate   Action = "terminate"
	Barrier     Action = "barrier"
)

// StepID names a step within its plan: "web:nginx/start", "ROOT/deploy",
// "/deployed" (a barrier). The same step of a later plan has the same id.
type StepID string

// ID returns the id of the step that does action to the component at path.
func ID(path value.Path, action Action) StepID {
	return StepID(path.String() + "/" + string(action))
}

// Step is one operation on one component, or a barrier.
type Step struct {
	ID     StepID     `json:"id"`
	Path   value.Path `json:"path,omitempty"`
	Action Action     `json:"action"`
	// Executor is the machine id of the daemon that acts; "" is the owner of
	// the system itself.
	Executor string   `json:"executor,omitempty"`
	Needs    []StepID `json:"needs,omitempty"` // must have succeeded, else this step is skipped
	After    []StepID `json:"after,omitempty"` // must have ended, whatever their outcome
	Token    string   `json:"token,omitempty"` // idempotency token of the step's effect
	// Awaits are those of Needs that are needed only because the component
	// refers to another: sfWaitTimeout limits how long it waits for them alone.
	Awaits []Await `json:"awaits,omitempty"`
	// Without are copies that a reconfigure leaves out of what its component
	// refers to, since they are about to be away.
	Without []value.Path `json:"without,omitempty"`
	// Text are the attributes that a reconfigure applies instead of those wanted: of
	// a component whose own turn has not come.
	Text *Attributes `json:"text,omitempty"`
	// Spare lets a terminate succeed only if all that its component has is
	// elsewhere.
	Spare bool `json:"spare,omitempty"`
}

// Await is a step that another one needs because of a reference.
type Await struct {
	Step      StepID `json:"step"`
	Attribute string `json:"attribute"`         // that refers to the step's component
	Machine   string `json:"machine,omitempty"` // that processes it, as SYSTEM/PATH
}

// Sign says how a change is shown.
type Sign string

// The signs of changes.
const (
	Add     Sign = "+"
	Change  Sign = "~"
	Remove  Sign = "-"
	Replace Sign = "-/+"
)

// Difference is one attribute of a change, as text in the description
// language; Old or New is empty where there is none. Secret content is masked.
type Difference struct {
	Name   string `json:"name"`
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
	Secret bool   `json:"secret,omitempty"`
}

// Edit is what the plan does to one component, for people.
type Edit struct {
	Path       value.Path   `json:"path"`
	Sign       Sign         `json:"sign"`
	Class      string       `json:"class"`
	Machine    value.Path   `json:"machine,omitempty"`
	Reason     string       `json:"reason,omitempty"`
	Attributes []Difference `json:"attributes,omitempty"`
}

// Component is one component of the wanted system, as its executor needs it.
type Component struct {
	Path     value.Path `json:"path"`
	Class    string     `json:"class,omitempty"`
	Machine  value.Path `json:"machine,omitempty"`
	OnHost   bool       `json:"onHost,omitempty"`
	Executor string     `json:"executor,omitempty"`
	Order    int        `json:"order"`
	Attrs    Attributes `json:"attrs"`
	Digest   string     `json:"digest"`
	// Reads names the components whose run-time attributes its own refer to.
	Reads  []value.Path `json:"reads,omitempty"`
	OnEnd  OnEnd        `json:"onEnd"`
	OnLoss OnLoss       `json:"onLoss"`
	// Flow is the outermost workflow component in whose course it is created,
	// Creator the one that creates it, both as paths, the top as "ROOT". Creator
	// is "" for what is inside of what is created, both are for all others.
	Flow     string   `json:"flow,omitempty"`
	Creator  string   `json:"creator,omitempty"`
	Liveness Liveness `json:"liveness"`
	// ParentLoss is after how many milliseconds without a word of what is around
	// the topmost component above it on its machine that one ends, and all in it;
	// 0: it goes on (runtime.md LV3). Parent is the machine id of where that is
	// processed, "" where the owner does it.
	ParentLoss int64  `json:"parentLoss,omitempty"`
	Parent     string `json:"parent,omitempty"`
	// Further: it is in a copy that exists only for the time of the plan, which
	// ends it. Meanwhile are the attributes of one that stays and refers to such
	// copies, as they are until then: in the steps that leave others out.
	Further   bool        `json:"further,omitempty"`
	Meanwhile *Attributes `json:"meanwhile,omitempty"`
}

// Late says that From waits for To, because its attribute refers to it.
type Late struct {
	From      value.Path `json:"from"`
	To        value.Path `json:"to"`
	Attribute string     `json:"attribute"`
}

// OnEnd is what the compound around a component does when the component ends
// (runtime.md TR3).
type OnEnd struct {
	What        string `json:"what"` // share, restart or ignore; course: what created it decides
	MaxRestarts int    `json:"maxRestarts"`
	Window      int64  `json:"window"` // seconds
}

// Attributes are a component's own attributes in the wire form.
type Attributes struct{ *value.Component }

// MarshalJSON writes the wire form of the attributes.
func (a Attributes) MarshalJSON() ([]byte, error) { return value.Encode(a.Component) }

// UnmarshalJSON reads the wire form of the attributes.
func (a *Attributes) UnmarshalJSON(b []byte) error {
	v, err := value.Decode(b)
	if err != nil {
		return err
	}
	c, ok := v.(*value.Component)
	if !ok {
		return fmt.Errorf("attributes: a %s instead of a component", v.Kind())
	}
	a.Component = c
	return nil
}

// Plan is a contract: it embeds what it was made from, and applies exactly or
// is refused as stale.
type Plan struct {
	ID          string    `json:"id"`
	System      string    `json:"system"`
	File        string    `json:"file"`
	OldFile     string    `json:"oldFile,omitempty"` // where the system came from another file before
	Revision    int64     `json:"revision"`
	Base        int64     `json:"base"`        // the revision it starts from; 0: none
	Description string    `json:"description"` // digest
	Time        time.Time `json:"time"`
	Down        bool      `json:"down,omitempty"`
	Cause       string    `json:"cause,omitempty"` // what was asked for, for people
	// Detaches is the path of a component that becomes a system of its own.
	Detaches value.Path `json:"detaches,omitempty"`
	// Ends is the system whose end was asked for, where that is not all: one that was
	// detached, or all but those.
	Ends      string `json:"ends,omitempty"`
	OnFailure string `json:"onFailure"` // keep or undo
	// Previous is the blob of the description of revision Base, where there is
	// one: what a failed plan goes back to under OnFailure undo.
	Previous string `json:"previous,omitempty"`
	Undo     bool   `json:"undo,omitempty"`  // it goes back itself, and is not undone again
	Again    bool   `json:"again,omitempty"` // it places again what was lost
	// Renews are machines that it replaces because something on them was given up.
	Renews     []value.Path    `json:"renews,omitempty"`
	Placement  place.Placement `json:"placement,omitempty"`
	Components []Component     `json:"components"` // all of the wanted system, and further ones, in definition order
	Steps      []Step          `json:"steps"`
	Edits      []Edit          `json:"edits"`
	Data       []Data          `json:"data,omitempty"` // that it destroys
	// Makes are the components that it makes of which there was nothing before, not
	// even data: what undoes it may destroy theirs.
	Makes []value.Path `json:"makes,omitempty"`
	Late  []Late       `json:"late,omitempty"` // references that make one component wait for another
	Notes []string     `json:"notes,omitempty"`
	// Wants are the further copies that it wants for its time: it is to be made
	// again with them (see Beside). A plan that is carried out wants none.
	Wants expand.Further `json:"-"`
}

// Empty reports whether the plan changes nothing.
func (p *Plan) Empty() bool {
	return len(p.Steps) == 0 && p.Detaches == value.Root && (p.Ends == "" || p.Down)
}

// Encode returns the plan as it is stored and addressed by digest.
func (p *Plan) Encode() ([]byte, error) { return json.Marshal(p) }

// Decode reads what Encode wrote.
func Decode(b []byte) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	for _, c := range p.Components {
		if c.Attrs.Component == nil {
			return nil, fmt.Errorf("plan: component %s has no attributes", c.Path)
		}
	}
	return &p, nil
}

// Executors returns the machine ids of all daemons that act in the plan or
// hold components after it, in order of first mention.
func (p *Plan) Executors() []string {
	seen := map[string]bool{"": true}
	var ids []string
	note := func(id string) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, s := range p.Steps {
		note(s.Executor)
	}
	for _, c := range p.Components {
		note(c.Executor)
	}
	return ids
}

// Path returns the path of the component the step acts on; the top for a
// barrier.
func (id StepID) Path() value.Path {
	path, _, _ := cutLast(string(id), '/')
	if path == "ROOT" {
		return value.Root
	}
	return value.Path(path)
}

// Short returns the step id as people read it: "start web:nginx".
func (id StepID) Short() string {
	path, action, ok := cutLast(string(id), '/')
	switch {
	case !ok:
		return string(id)
	case path == "":
		return "everything " + action
	case strings.Contains(action, " "): // "reconfigure without web1"
		action, how, _ := strings.Cut(action, " ")
		return action + " " + path + " " + how
	default:
		return action + " " + path
	}
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
