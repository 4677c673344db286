package plan

import (
	"aloft/api/peerpb"
	"aloft/internal/inventory"
	"aloft/value"
)

// Attributes that the planner adds to the component of a machine, for its
// manager: the proposal it was placed by and the machine id it is to have.
const (
	AttrProposal = "aloftProposal"
	AttrMachine  = "aloftMachine"
)

var actions = map[Action]peerpb.Action{
	Deploy:      peerpb.Action_ACTION_DEPLOY,
	Start:       peerpb.Action_ACTION_START,
	Reconfigure: peerpb.Action_ACTION_RECONFIGURE,
	Terminate:   peerpb.Action_ACTION_TERMINATE,
	Barrier:     peerpb.Action_ACTION_BARRIER,
}

// Cut returns the part of each executor: its steps, what it holds afterwards,
// and the steps elsewhere whose facts it needs. The fence is the owner's to add.
func (p *Plan) Cut() (map[string]*peerpb.Part, error) {
	parts := map[string]*peerpb.Part{}
	part := func(executor string) *peerpb.Part {
		pt := parts[executor]
		if pt == nil {
			pt = &peerpb.Part{Schema: 1, System: p.System, Revision: p.Revision, Plan: p.ID, Executor: executor, OnFailure: p.OnFailure}
			parts[executor] = pt
		}
		return pt
	}
	for path, choice := range p.Placement {
		part(choice.MachineID).Machine = inventory.MachineName(p.System, path)
	}
	at := map[StepID]string{}
	for _, s := range p.Steps {
		at[s.ID] = s.Executor
	}
	for _, c := range p.Components {
		if c.Executor == "" {
			continue
		}
		attrs := c.Attrs.Component
		if choice, ok := p.Placement[c.Path]; ok {
			attrs = withProposal(attrs, choice.MachineID, c.Path, p.System, choice.Proposal)
		}
		wire, err := value.Encode(attrs)
		if err != nil {
			return nil, err
		}
		var meanwhile []byte
		if c.Meanwhile != nil {
			if meanwhile, err = value.Encode(c.Meanwhile.Component); err != nil {
				return nil, err
			}
		}
		pt := part(c.Executor)
		pt.Components = append(pt.Components, &peerpb.Component{
			Path: string(c.Path), Class: c.Class, Attributes: wire, Digest: c.Digest, Order: int32(c.Order),
			OnEnd: c.OnEnd.What, MaxRestarts: int32(c.OnEnd.MaxRestarts), RestartWindow: c.OnEnd.Window,
			OnIsolation: c.OnLoss.isolation(c), Tenure: c.OnLoss.Tenure,
			Creator: c.Creator, LivenessDelay: c.Liveness.Delay, LivenessFactor: int32(c.Liveness.Factor),
			ParentLoss: c.ParentLoss, Parent: c.Parent, Meanwhile: meanwhile, Further: c.Further,
		})
	}
	if err := p.listen(part, at); err != nil {
		return nil, err
	}
	delete(parts, "")
	return parts, nil
}

// listen adds the steps to the parts, and the steps elsewhere that each part
// must hear of: those its steps wait for, and those whose values it reads.
func (p *Plan) listen(part func(string) *peerpb.Part, at map[StepID]string) error {
	heard := map[string]map[StepID]bool{}
	hear := func(executor string, id StepID) {
		if by, planned := at[id]; !planned || by == executor {
			return
		}
		if heard[executor] == nil {
			heard[executor] = map[StepID]bool{}
		}
		if !heard[executor][id] {
			heard[executor][id] = true
			pt := part(executor)
			pt.Listens = append(pt.Listens, string(id))
		}
	}
	for _, c := range p.Components {
		if c.Executor == "" {
			continue
		}
		for _, path := range c.Reads {
			hear(c.Executor, ID(path, Deploy))
			hear(c.Executor, ID(path, Start))
			hear(c.Executor, ID(path, Reconfigure))
		}
	}
	for _, s := range p.Steps {
		if s.Executor == "" {
			continue
		}
		var text []byte
		if s.Text != nil {
			var err error
			if text, err = value.Encode(s.Text.Component); err != nil {
				return err
			}
			for path := range readIn(s.Text.Component) {
				for up := path; up != value.Root; up = up.Parent() { // the last name is that of an attribute
					hear(s.Executor, ID(up, Deploy))
					hear(s.Executor, ID(up, Start))
					hear(s.Executor, ID(up, Reconfigure))
				}
			}
		}
		pt := part(s.Executor)
		pt.Steps = append(pt.Steps, &peerpb.Step{
			Id: string(s.ID), Path: string(s.Path), Action: actions[s.Action],
			Needs: texts(s.Needs), After: texts(s.After), Token: s.Token,
			Awaits: awaits(s.Awaits), Without: paths(s.Without), Text: text, Spare: s.Spare,
		})
		for _, before := range [2][]StepID{s.Needs, s.After} {
			for _, id := range before {
				hear(s.Executor, id)
			}
		}
	}
	return nil
}

func paths(list []value.Path) []string {
	var out []string
	for _, p := range list {
		out = append(out, string(p))
	}
	return out
}

func awaits(list []Await) []*peerpb.Await {
	var out []*peerpb.Await
	for _, a := range list {
		out = append(out, &peerpb.Await{Step: string(a.Step), Attribute: a.Attribute, Machine: a.Machine})
	}
	return out
}

func texts(ids []StepID) []string {
	if len(ids) == 0 {
		return nil
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}
