package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"aloft/api"
	"aloft/internal/inventory"
	"aloft/internal/ownership"
	"aloft/internal/plan"
	"aloft/internal/sdl/diag"
	"aloft/internal/store"
	"aloft/provider"
	"aloft/value"
)

// view returns the plan as callers see it.
func view(p *plan.Plan, existing *inventory.System) *api.Plan {
	out := &api.Plan{
		ID: p.ID, System: p.System, Revision: p.Revision, Base: p.Base, File: p.File, OldFile: p.OldFile, Down: p.Down || p.Ends != "",
		Notes: p.Notes, Empty: p.Empty(), Digest: p.Description, Steps: []api.Step{}, Machines: []api.PlanMachine{},
	}
	if p.Ends != p.System {
		out.Part = p.Ends
	}
	edits := map[value.Path]plan.Edit{}
	for _, e := range p.Edits {
		edits[e.Path] = e
	}
	shown := map[value.Path]bool{}
	for _, s := range p.Steps {
		if s.Action == plan.Barrier {
			continue
		}
		e := edits[s.Path]
		step := api.Step{ID: string(s.ID), Path: s.Path.String(), Class: e.Class, Action: string(s.Action), Change: api.Change(e.Sign), Reason: e.Reason}
		if e.Machine != value.Root {
			step.Machine = inventory.MachineName(p.System, e.Machine)
		}
		if !shown[s.Path] {
			shown[s.Path] = true
			for _, d := range e.Attributes {
				step.Attributes = append(step.Attributes, api.AttrChange{Name: d.Name, Old: d.Old, New: d.New, Secret: d.Secret})
			}
		}
		out.Steps = append(out.Steps, step)
	}
	for _, d := range p.Data {
		loss := api.DataLoss{Path: d.Path.String(), Class: d.Class, Directory: d.Directory, Why: d.Why, Allowed: d.Allowed, Spare: d.Spare}
		if d.Machine != value.Root {
			loss.Machine = inventory.MachineName(p.System, d.Machine)
		}
		out.Data = append(out.Data, loss)
	}
	for _, l := range p.Late {
		out.Late = append(out.Late, api.LateEdge{From: l.From.String(), To: l.To.String(), Attribute: l.Attribute})
	}
	for _, path := range slices.Sorted(maps.Keys(p.Placement)) {
		choice := p.Placement[path]
		if !choice.Kept {
			out.Machines = append(out.Machines, planMachine(path, choice.Proposal, api.Change(edits[path].Sign)))
			for _, note := range choice.Proposal.Notes {
				if text := choice.Proposal.Provider + ": " + note; !slices.Contains(out.Notes, text) {
					out.Notes = append(out.Notes, text)
				}
			}
		}
	}
	for _, m := range existing.OrderedMachines() {
		if e, ok := edits[m.Path]; ok && e.Sign == plan.Remove {
			out.Machines = append(out.Machines, planMachine(m.Path, m.Proposal, api.ChangeRemove))
		}
	}
	return out
}

func planMachine(path value.Path, p provider.Proposal, change api.Change) api.PlanMachine {
	m := api.PlanMachine{Path: string(path), Provider: p.Provider, Template: p.Template, Change: change}
	cores := "cores"
	if p.Cores == 1 {
		cores = "core"
	}
	m.Size = fmt.Sprintf("%d %s, %d MiB", p.Cores, cores, p.Memory)
	if p.Size != "" {
		m.Size = p.Size + " (" + m.Size + ")"
	}
	if p.PerHour > 0 {
		m.Price = strings.TrimSpace(fmt.Sprintf("%.4g %s/h", p.PerHour, p.Currency))
	}
	return m
}

// deployment returns how the newest plan goes.
func (s *system) deployment() *api.Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress("")
}

// progress returns how the newest plan goes. The lock is held.
func (s *system) progress(cursor string) *api.Deployment {
	var undoes int64
	if s.plan.Undo && !s.plan.Again {
		undoes = s.plan.Base
	}
	return &api.Deployment{
		WillUndo: s.failedToUndo(), Undoes: undoes, NotUndone: s.undoing.refused,
		System: s.name, Revision: s.head.Revision, Plan: s.head.Plan, Down: s.plan.Down || s.plan.Ends != "", State: s.head.Deployment,
		Since: s.head.Since.AsTime(), Cursor: cursor, Steps: len(s.plan.Steps), Settled: len(s.plan.Steps) - s.frontier.Pending(),
		Failures: slices.Clone(s.failures), Undone: s.undone,
	}
}

// Deployment returns the newest plan accepted for a system.
func (c *Control) Deployment(ctx context.Context, name string) (*api.Deployment, error) {
	if p, is, err := c.detached(ctx, c.known, name); err != nil {
		return nil, err
	} else if is {
		name = p.head.Name
	}
	if s := c.live(ctx, name); s != nil {
		return s.deployment(), nil
	}
	s, err := c.restore(ctx, c.known, name, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil, c.unknown(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	return s.progress(""), nil
}

// Systems lists the systems by name.
func (c *Control) Systems(ctx context.Context) ([]api.System, error) {
	pictures, err := c.pictures(ctx)
	if err != nil {
		return nil, err
	}
	list := []api.System{}
	for _, p := range pictures {
		list = append(list, api.System{
			Name: p.held.Name, Revision: p.head.Revision, State: p.state(), File: p.head.File,
			Components: len(p.held.Components), Machines: len(p.held.Machines), Owner: c.ownerOf(p.head.Name),
		})
	}
	return list, nil
}

// ownerOf says whose a system is.
func (c *Control) ownerOf(name string) *api.SystemOwner {
	shard := ownership.System(name)
	manager := c.cfg.Keeper.Owner(shard)
	if manager == "" {
		return nil
	}
	o := c.cfg.Manager(manager)
	o.Fence = Fence(c.cfg.Epoch(), c.cfg.Keeper.Term(shard))
	return &o
}

// Fence is an owner's fence as one number: of two the higher is the newer.
func Fence(epoch, term int64) int64 { return epoch<<32 | term&(1<<32-1) }

// Status returns what a system looks like now.
func (c *Control) Status(ctx context.Context, name string) (*api.Status, error) {
	p, err := c.picture(ctx, name)
	if err != nil {
		return nil, err
	}
	held := p.held
	status := &api.Status{System: name, Revision: held.Revision, State: p.state(), Components: []api.Component{}, Machines: machines(held, c.answering(ctx, held))}
	for _, k := range held.Ordered() {
		if why := c.unreachable(p.head.Name, held, k); why != "" {
			k.Reason = why
		} else if why := c.outlook(p.head.Name, k.Path); why != "" {
			k.Reason = why
		}
		status.Components = append(status.Components, api.Component{
			Path: k.Path.String(), Class: k.Class, State: string(k.State), Machine: machineOf(held, k), Address: address(held, k), Reason: k.Reason,
		})
	}
	return status, nil
}

// machineOf names the machine that a component is or that processes it.
func machineOf(held *inventory.System, k inventory.Component) string {
	if _, isMachine := held.Machines[k.Path]; isMachine {
		return inventory.MachineName(held.Name, k.Path)
	}
	if k.Machine == value.Root {
		return ""
	}
	return inventory.MachineName(held.Name, k.Machine)
}

// address is where a component answers: its machine's address, with the port
// it serves.
func address(held *inventory.System, k inventory.Component) string {
	if _, isMachine := held.Machines[k.Path]; isMachine {
		return text(k.Resolved, "ip")
	}
	ip := text(held.Components[k.Machine].Resolved, "ip")
	if k.Machine == value.Root {
		return ""
	}
	for _, name := range []string{"listen", "bind"} {
		if host := text(k.Resolved, name); host != "" && host != "0.0.0.0" && !strings.Contains(host, ":") {
			ip = host
		}
	}
	if v, ok := k.Resolved.Get("port"); ok && k.State == inventory.Running {
		if port, ok := v.(value.Integer); ok {
			return fmt.Sprintf("%s:%d", ip, port)
		}
	}
	return ip
}

func text(c *value.Component, name string) string {
	v, _ := c.Get(name)
	s, _ := v.(value.String)
	return string(s)
}

// machines lists the machines that exist, by path. reached tells of those that
// are made.
func machines(held *inventory.System, reached func(id string) inventory.MachineState) []api.Machine {
	list := []api.Machine{}
	for _, m := range held.OrderedMachines() {
		k := held.Components[m.Path]
		var state inventory.MachineState
		switch k.State {
		case inventory.Instantiated:
			continue // not asked for yet
		case inventory.Deploying:
			state = inventory.MachineCreating
		case inventory.Terminating:
			state = inventory.MachineDestroying
		default:
			state = reached(m.ID)
		}
		list = append(list, api.Machine{
			Name: inventory.MachineName(held.Name, m.Path), System: held.Name, Path: string(m.Path), ID: m.ID,
			Provider: m.Proposal.Provider, Template: m.Proposal.Template, Address: text(k.Resolved, "ip"), State: string(state),
		})
	}
	return list
}

// Machines lists the machines of all systems.
func (c *Control) Machines(ctx context.Context) ([]api.Machine, error) {
	pictures, err := c.pictures(ctx)
	if err != nil {
		return nil, err
	}
	var held []*inventory.System
	for _, p := range pictures {
		held = append(held, p.held)
	}
	list, reached := []api.Machine{}, c.answering(ctx, held...)
	for _, h := range held {
		list = append(list, machines(h, reached)...)
	}
	return list, nil
}

// MachineID returns the id of the machine called SYSTEM/PATH.
func (c *Control) MachineID(ctx context.Context, name string) (string, error) {
	system, _, _ := strings.Cut(name, "/")
	if p, err := c.picture(ctx, system); err == nil {
		for _, m := range p.held.OrderedMachines() {
			if inventory.MachineName(system, m.Path) == name {
				return m.ID, nil
			}
		}
	}
	pictures, err := c.pictures(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, p := range pictures {
		for _, m := range p.held.OrderedMachines() {
			names = append(names, inventory.MachineName(p.held.Name, m.Path))
		}
	}
	return "", &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("there is no machine %q", name), Nearest: diag.Nearest(name, names), Remedy: "list the machines with: aloft machines"}
}

// Executors returns, by machine id, the daemons that hold components of a
// system at or below path.
func (c *Control) Executors(ctx context.Context, name string, path value.Path) ([]string, error) {
	p, err := c.picture(ctx, name)
	if err != nil {
		return nil, err
	}
	held, path := p.held, p.at(path)
	var ids []string
	found := false
	for _, k := range held.Ordered() {
		if path.Contains(k.Path) {
			found = true
			if k.Executor != "" && !slices.Contains(ids, k.Executor) {
				ids = append(ids, k.Executor)
			}
		}
	}
	if !found {
		return nil, c.noComponent(held, path)
	}
	return ids, nil
}

func (c *Control) noComponent(held *inventory.System, path value.Path) *api.Error {
	var names []string
	for p := range held.Components {
		names = append(names, p.String())
	}
	slices.Sort(names)
	return &api.Error{
		Kind: api.KindNotFound, Message: fmt.Sprintf("system %s has no component %s", held.Name, path),
		Nearest: diag.Nearest(path.String(), names), Remedy: "list the components with: aloft status " + held.Name,
	}
}

// Endpoints lists where a system's services answer.
func (c *Control) Endpoints(ctx context.Context, name string) ([]api.Endpoint, error) {
	p, err := c.picture(ctx, name)
	if err != nil {
		return nil, err
	}
	held := p.held
	list := []api.Endpoint{}
	for _, k := range held.Ordered() {
		if k.State != inventory.Running || k.Class == "" {
			continue
		}
		uri := text(k.Resolved, "uri")
		_, serves := k.Resolved.Get("port")
		if uri == "" && !serves {
			continue
		}
		list = append(list, api.Endpoint{Path: k.Path.String(), Class: k.Class, Machine: machineOf(held, k), Address: address(held, k), URI: uri})
	}
	return list, nil
}

// Wants reports whether the machine with this id belongs to a system, or will
// by the plan under way. Where that cannot be found out it is wanted.
func (c *Control) Wants(ctx context.Context, machineID string) (bool, error) {
	names, err := c.known.names(ctx)
	if err != nil {
		return true, err
	}
	for _, name := range names {
		s := c.live(ctx, name)
		if s == nil {
			if s, err = c.restore(ctx, c.known, name, nil); errors.Is(err, store.ErrNotFound) {
				continue
			} else if err != nil {
				return true, err
			}
		}
		if s.wants(machineID) {
			return true, nil
		}
	}
	return false, nil
}

func (s *system) wants(machineID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.held.Machines {
		if m.ID == machineID {
			return true
		}
	}
	if s.head.Deployment != api.DeploymentRunning {
		return false
	}
	for _, choice := range s.plan.Placement {
		if choice.MachineID == machineID {
			return true
		}
	}
	return false
}
