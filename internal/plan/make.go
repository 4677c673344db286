package plan

import (
	"fmt"
	"slices"
	"time"

	"aloft/component"
	"aloft/internal/expand"
	"aloft/internal/inventory"
	"aloft/internal/place"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Input is everything a plan is made from.
type Input struct {
	ID          string
	Survey      *Survey // of the wanted description; of nothing for a plan that ends the system
	Existing    *inventory.System
	Placement   place.Placement
	File        string
	Description string // digest
	Time        time.Time
	Down        bool
	Cause       string
	// Asked says that what the description does not have was asked to end, by name;
	// Hold that all it has stays as it is, whatever that is.
	Asked, Hold bool
	// Auto says that nobody has asked for it.
	Auto bool
	// AllowLoss are the components that hold data which may be destroyed.
	AllowLoss []value.Path
	// Drift says, of components that run, what is not as their last operation has
	// made it any more.
	Drift map[value.Path]string
	Token func(StepID) string // the idempotency token of a step of this plan
}

// Keep returns the placement of the machines that exist and may stay: those
// the description still has, with the same fixed attributes.
func Keep(s *Survey, existing *inventory.System) place.Placement {
	keep := place.Placement{}
	for path, m := range existing.Machines {
		c := s.byPath[path]
		old, held := existing.Components[path]
		if c == nil || !c.isMachine() || !held || old.State == inventory.Failed && !old.IsGivenUp() || m.Lost != "" || m.Renew != "" || m.State == inventory.MachineDestroying {
			continue
		}
		if old.Class == c.class.Name && !fixedDiffers(&c.class, old.Attrs, c.attrs) {
			keep[path] = place.Choice{MachineID: m.ID, Proposal: m.Proposal, Kept: true}
		}
	}
	return keep
}

// Make compares what is wanted with what exists. The list holds what is wrong;
// with errors in it there is no plan.
func Make(in Input) (*Plan, *diag.List) {
	m := &maker{in: in, problems: &in.Survey.Problems, fate: map[value.Path]fate{}, gone: map[value.Path]bool{}, batch: map[value.Path]batchOf{}, paced: map[value.Path]paced{}}
	m.plan = &Plan{
		ID: in.ID, System: in.Survey.System, File: in.File, Revision: in.Existing.Revision + 1, Base: in.Existing.Revision,
		Description: in.Description, Time: in.Time, Down: in.Down, Cause: in.Cause, Placement: in.Placement, OnFailure: "keep",
		Notes: slices.Clone(in.Survey.Notes),
	}
	if in.Existing.File != "" && in.Existing.File != in.File && !in.Down {
		m.plan.OldFile = in.Existing.File
	}
	for _, c := range in.Survey.parts {
		m.place(c)
	}
	m.onFailure()
	m.unknownOrder()
	for _, c := range in.Survey.parts {
		m.decide(c)
	}
	for _, old := range in.Existing.Ordered() {
		if in.Survey.byPath[old.Path] == nil && old.State != inventory.Terminated {
			m.gone[old.Path] = true
		}
	}
	m.readers()
	m.rolls()
	m.write()
	m.data()
	m.makes()
	if m.problems.Errors() > 0 {
		return nil, m.problems
	}
	if m.plan.Empty() && !in.Down && !in.Hold && (in.Description == in.Existing.Digest || in.Existing.Digest == "") {
		m.plan.Revision = in.Existing.Revision
	}
	return m.plan, m.problems
}

// fate is what the plan does to a wanted component.
type fate int

const (
	keep   fate = iota
	add         // deploy, start
	begin       // start only: it was deployed, and the plan before was interrupted
	change      // reconfigure
	renew       // terminate, deploy, start
)

type maker struct {
	in       Input
	plan     *Plan
	problems *diag.List
	fate     map[value.Path]fate
	gone     map[value.Path]bool // exists and is not wanted
	soft     []softEdge
	leaving  map[value.Path][]StepID // by what is removed: see leavers
	// of what is updated in batches
	sets    []*rolling
	batch   map[value.Path]batchOf
	binders map[*rolling][]*surveyed
	gates   map[value.Path][]StepID // that have to be passed before those who refer to a set are told of all of it
	wants   expand.Further          // that it does not have
	// guests refer to a set, and are updated with a batch of a later one
	guests map[*rolling][]*surveyed
	refers map[*rolling][]*rolling // whose copies those of a set refer to
	paced  map[value.Path]paced
	// newcomers refer to a set, and are started before it is updated
	newcomers map[value.Path]bool
}

func (m *maker) onFailure() {
	if len(m.in.Survey.parts) == 0 {
		if m.in.Existing.OnFailure != "" {
			m.plan.OnFailure = m.in.Existing.OnFailure
		}
		return
	}
	top := m.in.Survey.parts[0]
	a, ok := top.attrs.Attr("sfOnFailure")
	if !ok {
		return
	}
	switch a.Value {
	case value.String("keep"), value.String("undo"):
		m.plan.OnFailure = string(a.Value.(value.String))
	default:
		m.in.Survey.problem(top, "sfOnFailure", a.Pos, diag.AttributeKind, "sfOnFailure has an unknown value", `"keep" or "undo"`, value.Source(a.Value))
	}
}

// unknownOrder refuses an order of replacing that cannot be kept: nothing can run
// twice under one name, but a copy can have another one beside it (see pace).
func (m *maker) unknownOrder() {
	for _, c := range m.in.Survey.parts {
		a, ok := c.attrs.Attr(attrReplace)
		_, copied := c.attrs.Attr(attrIndex)
		switch {
		case !ok || a.Value == value.String("after") || copied && a.Value == value.String("before"):
		case a.Value == value.String("before"):
			m.in.Survey.problem(c, attrReplace, a.Pos, diag.AttributeKind, "what replaces a component cannot run beside it under the same name", `"after", which is the default`, value.Source(a.Value),
				`give it sfCopies, which can be 1: with sfReplace "before", a copy that is replaced has another one beside it, which runs before it is ended`)
		default:
			m.in.Survey.problem(c, attrReplace, a.Pos, diag.AttributeKind, "sfReplace has an unknown value", `"after", or "before" for copies`, value.Source(a.Value))
		}
	}
}

// decide compares a wanted component with what is held of it.
func (m *maker) decide(c *surveyed) {
	path := c.node.Path
	p := m.plan.Components[c.node.Order]
	old, held := m.in.Existing.Components[path]
	f, reason := keep, ""
	switch {
	case m.in.Hold:
	case c.flow != nil:
		m.member(c, old, held)
		return
	case held && old.Flow != "":
		f = add // what created it ends it
	case m.done(c, old, p.Digest):
	case c.node.Parent != nil && m.fate[c.node.Parent.Path] == renew && held && m.exists(old) && !slices.Contains(m.in.Survey.tops, path):
		f, reason = renew, "what contains it is replaced"
	case !held || old.State == inventory.Terminated || old.State == inventory.Instantiated || m.lost(old):
		f = add
	case c.isMachine() && m.in.Existing.Machines[path].Lost != "":
		f, reason = renew, "its machine is given up: "+m.in.Existing.Machines[path].Lost
	case c.isMachine() && m.in.Existing.Machines[path].Renew != "":
		f, reason = renew, m.in.Existing.Machines[path].Renew
	case c.isMachine() && old.IsGivenUp():
		if !m.in.Placement[path].Kept { // else it stays: see GiveUp
			f, reason = renew, old.Reason
		}
	case old.State == inventory.Failed:
		f, reason = add, "failed before"
	case old.Class != p.Class:
		f, reason = renew, fmt.Sprintf("class changes from %s", className(old.Class))
	case old.Executor != p.Executor:
		f, reason = renew, "moves to another machine"
	case old.State == inventory.Deploying || old.State == inventory.Starting || old.State == inventory.Terminating:
		f, reason = add, "was not finished"
	case old.Digest != p.Digest && c.class.Workflow && m.reshaped(c, old) != "":
		f, reason = renew, m.reshaped(c, old)
	case old.Digest != p.Digest && fixedDiffers(&c.class, old.Attrs, c.attrs):
		f, reason = renew, "an attribute changes that cannot change in place"
	case old.Digest != p.Digest && old.State == inventory.Deployed:
		f = add
	case old.Digest != p.Digest && !c.class.Reconfigures:
		f, reason = renew, c.class.Name+" cannot be reconfigured"
	case old.Digest != p.Digest:
		if f = change; c.class.Workflow {
			reason = "what it creates changes"
		}
	case old.State == inventory.Deployed:
		f, reason = begin, "was not started"
	case m.in.Drift[path] != "" && old.State == inventory.Running:
		if f, reason = renew, "repair: "+m.in.Drift[path]; c.class.Repairs {
			f = change
		}
	}
	if c.further {
		reason = "only while others of its set are updated"
	}
	m.fate[path] = f
	if f != keep {
		m.edit(c, f, reason, old)
	}
	if f == add || f == renew {
		m.creates(c)
	}
}

// lost reports whether the machine that processed a component has failed: it is
// destroyed, and nothing of the component is left to end; unless it is one that
// stays though its host has given it up.
func (m *maker) lost(old inventory.Component) bool {
	machine, ok := m.in.Existing.Components[old.Machine]
	if machine.IsGivenUp() && m.in.Placement[old.Machine].Kept {
		return false
	}
	return old.Machine != value.Root && ok && machine.State == inventory.Failed
}

// left reports whether the plan replaces a machine that is given up without
// ending it first: its successor has another executor, and that of its own may
// be cut off with it. The owner has it ended when that executor answers.
func (m *maker) left(path value.Path) bool {
	machine, ok := m.in.Existing.Machines[path]
	choice, placed := m.in.Placement[path]
	return ok && machine.Lost != "" && placed && MachineExecutor(machine.Proposal) != MachineExecutor(choice.Proposal)
}

func className(c string) string {
	if c == "" {
		return "a plain compound"
	}
	return c
}

func fixedDiffers(class *component.Class, old, wanted *value.Component) bool {
	for _, a := range class.Attributes {
		if !a.Fixed {
			continue
		}
		was, had := old.Get(a.Name)
		is, has := wanted.Get(a.Name)
		if had != has || had && !value.Equal(was, is) {
			return true
		}
	}
	return false
}
