package control

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/control/controlpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// apply writes what a settled step means for its component into the inventory.
func (s *system) apply(b *batch, f *peerpb.Fact) {
	id := plan.StepID(f.Step)
	step, ok := s.frontier.Step(id)
	if !ok || step.Action == plan.Barrier {
		return
	}
	path := step.Path
	c, held := s.held.Components[path]
	want, _ := s.wanted(path)
	switch o := outcome(f.Outcome); {
	case o == plan.Skipped:
		if held && c.State == inventory.Instantiated {
			c.Reason = causeOf(f)
		}
	case step.Action == plan.Terminate:
		s.terminated(b, path, f)
		return
	case o == plan.Failed && step.Action == plan.Reconfigure:
		c.State, c.Reason, c.Record = inventory.Running, "not reconfigured: "+causeOf(f), inventory.RecordFromProto(f.Record)
	case o == plan.Failed:
		c.State, c.Reason, c.Record = inventory.Failed, causeOf(f), inventory.RecordFromProto(f.Record)
		c.Resolved = withFailure(c, step.Action)
		s.loseMachine(b, path)
	default:
		c.Reason, c.Record, c.Revision = "", nil, s.plan.Revision
		c.State = inventory.Running
		if step.Action == plan.Deploy {
			c.State = inventory.Deployed
			s.takeMachine(b, path)
		}
		becomes(&c, step, want)
		if resolved, err := decodeComponent(f.Component); err == nil {
			c.Resolved = resolved
		}
		if step.Action == plan.Deploy {
			s.hasAgain(b, c)
		}
	}
	if !held {
		return
	}
	s.changed(s.held.Components[path].Resolved, c)
	s.held.Components[path] = c
	s.control.store.putComponent(b, s.name, c)
}

// becomes enters what a step has applied of a component.
func becomes(c *inventory.Component, step plan.Step, want plan.Component) {
	if step.Text != nil { // its own turn is still to come
		c.Attrs, c.Digest = step.Text.Component, inventory.Partly(c.Digest)
		return
	}
	c.Class, c.Attrs, c.Digest = want.Class, want.Attrs.Component, want.Digest
	if len(step.Without) > 0 {
		c.Digest = inventory.Partly(want.Digest)
		if want.Meanwhile != nil {
			c.Attrs = want.Meanwhile.Component // by which a plan that follows knows what it refers to
		}
	}
	c.Machine, c.OnHost, c.Executor = want.Machine, want.OnHost, want.Executor
}

// withFailure returns what others may read of a component of which an operation
// has failed: with the record of that (runtime.md TR5).
func withFailure(c inventory.Component, action plan.Action) *value.Component {
	out := value.NewComponent(false)
	if c.Resolved != nil {
		for a := range c.Resolved.All() {
			out.Set(a)
		}
	}
	if c.Record == nil {
		return out
	}
	name := inventory.StartFailure
	if action == plan.Deploy {
		name = inventory.DeployFailure
	}
	out.Set(value.Attr{Name: name, Value: inventory.RecordValue(c.Record)})
	return out
}

// takeMachine enters the machine that a component now has, where the one
// before would not end.
func (s *system) takeMachine(b *batch, path value.Path) {
	choice, ok := s.plan.Placement[path]
	if !ok || s.held.Machines[path].ID == choice.MachineID {
		return
	}
	s.held.Machines[path] = inventory.Machine{ID: choice.MachineID, Path: path, Proposal: choice.Proposal, Since: s.control.now()}
	s.control.store.putMachine(b, s.name, s.held.Machines[path])
}

// loseMachine takes the machine of a failed component out of the inventory: its
// manager has destroyed it, and with it all that was there. The next try is
// another machine.
func (s *system) loseMachine(b *batch, path value.Path) {
	if _, ok := s.held.Machines[path]; !ok {
		return
	}
	delete(s.held.Machines, path)
	b.drop(machineTable.Key(s.name, string(path)))
	s.dropGuests(b, path, "its machine "+path.String()+" failed")
}

// dropGuests enters that nothing is left of what a machine processed.
func (s *system) dropGuests(b *batch, path value.Path, why string) {
	for p, guest := range s.held.Components {
		if guest.Machine == path && guest.State != inventory.Instantiated {
			guest.State, guest.Reason = inventory.Terminated, why
			s.held.Components[p] = guest
			s.control.store.putComponent(b, s.name, guest)
		}
	}
}

func causeOf(f *peerpb.Fact) string {
	if f.Record == nil {
		return ""
	}
	return f.Record.Cause
}

// terminated takes a component out of the inventory, or makes room for its
// successor. One that could not be terminated stays, for another try; what was
// inside a machine that is gone is gone with it, whatever was heard of it since.
func (s *system) terminated(b *batch, path value.Path, f *peerpb.Fact) {
	c := s.held.Components[path]
	if outcome(f.Outcome) != plan.Done {
		c.State, c.Reason, c.Record = inventory.Failed, "not terminated: "+causeOf(f), inventory.RecordFromProto(f.Record)
		s.held.Components[path] = c
		s.control.store.putComponent(b, s.name, c)
		return
	}
	if m, ok := s.held.Machines[path]; ok {
		for p, guest := range s.held.Components {
			if guest.Machine == path {
				if _, stays := s.staying(p); !stays {
					delete(s.held.Components, p)
					s.control.store.dropComponent(b, s.name, p)
				}
			}
		}
		choice, replaced := s.plan.Placement[path]
		if replaced && choice.MachineID != m.ID {
			s.held.Machines[path] = inventory.Machine{ID: choice.MachineID, Path: path, Proposal: choice.Proposal, Since: s.control.now()}
			s.control.store.putMachine(b, s.name, s.held.Machines[path])
		} else {
			delete(s.held.Machines, path)
			b.drop(machineTable.Key(s.name, string(path)))
		}
	}
	s.endedWith(b, path)
	s.leavesData(b, s.held, c)
	want, stays := s.staying(path)
	if !stays {
		delete(s.held.Components, path)
		s.control.store.dropComponent(b, s.name, path)
		return
	}
	s.held.Components[path] = planned(want)
	s.control.store.putComponent(b, s.name, s.held.Components[path])
}

// endedWith enters that what a workflow component has created has ended with it.
func (s *system) endedWith(b *batch, flow value.Path) {
	for p, c := range s.held.Components {
		if c.Flow != flow.String() {
			continue
		}
		s.leavesData(b, s.held, c)
		if want, stays := s.staying(p); stays {
			s.held.Components[p] = planned(want)
			s.control.store.putComponent(b, s.name, s.held.Components[p])
		} else {
			delete(s.held.Components, p)
			s.control.store.dropComponent(b, s.name, p)
		}
	}
}

// planned is a component of which nothing is done yet.
func planned(c plan.Component) inventory.Component {
	return inventory.Component{
		Path: c.Path, Class: c.Class, Machine: c.Machine, OnHost: c.OnHost, Executor: c.Executor, Order: c.Order,
		State: inventory.Instantiated, Attrs: c.Attrs.Component, Flow: c.Flow,
	}
}

// note remembers a failure for those who ask how the deployment goes.
func (s *system) note(f *peerpb.Fact) {
	if outcome(f.Outcome) != plan.Failed {
		return
	}
	step, _ := s.frontier.Step(plan.StepID(f.Step))
	failure := api.Failure{Path: step.Path.String(), Operation: string(step.Action), Cause: causeOf(f)}
	if f.Record != nil {
		failure.Output, failure.Remedy = f.Record.Output, f.Record.Remedy
	}
	if c, ok := s.held.Components[step.Path]; ok && c.Machine != value.Root {
		failure.Machine = inventory.MachineName(s.name, c.Machine)
	}
	s.failures = append(s.failures, failure)
}

// finish records how the plan has ended and returns the system's row with it.
func (s *system) finish(ctx context.Context, b *batch) (*controlpb.System, error) {
	head := proto.Clone(s.head).(*controlpb.System)
	failed, skipped := 0, 0
	for _, f := range s.facts {
		switch outcome(f.Outcome) {
		case plan.Failed:
			failed++
		case plan.Skipped:
			skipped++
		}
	}
	switch {
	case head.Interrupted && failed+skipped > 0:
		head.Deployment = api.DeploymentCancelled
	case failed+skipped > 0:
		head.Deployment = api.DeploymentDegraded
	default:
		head.Deployment = api.DeploymentDone
	}
	if s.plan.Down && len(s.held.Components) == 0 && len(s.held.Machines) == 0 {
		if len(s.held.Left) == 0 {
			head.Deployment = api.DeploymentDone
			return head, s.dropAll(ctx, b)
		}
		head.Deployment = api.DeploymentDegraded
	}
	for path, c := range s.held.Components {
		if c.State == inventory.Failed && !c.IsGivenUp() && !s.failedIn(path) {
			s.loseMachine(b, path) // also one that its manager gave up meanwhile
		}
	}
	s.forgetDetached(b, head)
	s.endRevision(b, head.Deployment)
	s.control.store.putHead(b, head)
	return head, nil
}

// dropAll drops the rows that are left of a system that has been terminated to
// the end.
func (s *system) dropAll(ctx context.Context, b *batch) error {
	b.drop(systemTable.Key(s.name))
	for _, d := range s.held.Detached {
		b.drop(originTable.Key(d.Name))
	}
	for id := range s.facts { // also those that are only in this batch
		b.drop(stepTable.Key(s.name, string(id)))
	}
	if err := s.control.store.dropRevisions(ctx, b, s.name); err != nil {
		return err
	}
	return s.control.store.dropSteps(ctx, b, s.name)
}

// steps says how many they are.
func steps(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

// wind tells that the plan has ended. The lock is held.
func (s *system) wind() {
	close(s.ended)
	c := s.control
	if s.plan.Down {
		for _, m := range s.held.Left {
			s.failures = append(s.failures, api.Failure{
				Path: m.Path.String(), Operation: string(plan.Terminate), Machine: inventory.MachineName(s.name, m.Path),
				Cause: "machine " + m.ID + " was given up, and its host does not answer; it is ended when that does",
			})
		}
	}
	switch s.head.Deployment {
	case api.DeploymentDone:
		c.emit(s, event.PlanDone, "")
	case api.DeploymentCancelled:
		c.emit(s, event.PlanInterrupted, "")
	default:
		c.emit(s, event.PlanFailed, steps(len(s.failures))+" failed")
	}
	if p := s.now(); !p.gone() {
		c.emit(s, event.SystemState, p.state())
	}
	if s.failedToUndo() {
		go c.spawn(func(ctx context.Context) { c.undo(ctx, s) })
	}
}

// failedToUndo reports whether the newest plan has failed and is to be undone
// (runtime.md LC8, UP4). The lock is held.
func (s *system) failedToUndo() bool {
	return s.head.Deployment == api.DeploymentDegraded && s.plan.OnFailure == "undo" && !s.plan.Down && s.plan.Ends == "" && !s.plan.Undo && s.undoing.refused == ""
}

// How long a machine may be silent, or refuse its part of an interrupted plan,
// before its steps are given up: one that is to end something (runtime.md LC5), or whose plan is interrupted, and any
// other, which may yet have come further than is known here (LC4).
const (
	abandonAfter = 60 * time.Second
	giveUpAfter  = 15 * time.Minute
)

// expire ends steps of this daemon that have waited too long for what their
// component refers to (runtime.md LC4). The lock is held.
func (s *system) expire() {
	for id, since := range s.awaiting {
		step, _ := s.frontier.Step(id)
		want, _ := s.wanted(step.Path)
		limit := plan.WaitLimit(want.Attrs.Component)
		if time.Since(since) < limit {
			continue
		}
		delete(s.awaiting, id)
		if open := s.frontier.Expire(id); len(open) > 0 {
			f := s.fact(id, plan.Failed)
			f.Record = &peerpb.Record{Type: "abnormal", Path: string(step.Path), Description: id.Short() + " failed", Cause: plan.Overdue(limit, open)}
			s.queue = append(s.queue, f)
		}
	}
}

// abandon gives up the steps of machines that do not answer.
func (s *system) abandon(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.forsake() {
		s.settle() // others may have waited for just that, on the same host
	}
	s.giveUp()
	s.expire()
	s.unrecorded(s.drain(ctx))
}

// unrecorded tells once, in the log and to those who follow the plan, why what
// is done is not recorded. The lock is held.
func (s *system) unrecorded(err error) {
	told := s.told
	s.told = err != nil
	if err == nil || told {
		return
	}
	s.control.cfg.Log.Error("the progress of a plan is not recorded", "system", s.name, "error", err)
	s.control.emit(s, event.PlanWaits, err.Error())
}

// lostUnder returns why the machine that is to perform a step is lost, or "":
// once it may be placed again, or its manager has given it up, it is not waited
// for. The plan ends without it; then it is placed again. The lock is held.
func (s *system) lostUnder(step plan.Step) string {
	c := s.held.Components[step.Path]
	if m, ok := s.held.Machines[c.Machine]; !ok || m.ID != step.Executor || s.plan.Down {
		return ""
	}
	if vm := s.held.Components[c.Machine]; vm.IsGivenUp() {
		return "its machine " + c.Machine.String() + " is " + vm.Reason
	}
	l := s.loss(c.Machine)
	if !l.Again {
		return ""
	}
	return "its machine " + c.Machine.String() + " is lost: " + l.Why
}

// giveUp fails the steps that were left for too long. The lock is held.
func (s *system) giveUp() {
	for id, since := range s.since {
		step, _ := s.frontier.Step(id)
		if why := s.lostUnder(step); why != "" {
			f := s.fact(id, plan.Failed)
			f.Record = &peerpb.Record{Type: "abnormal", Path: string(step.Path), Description: id.Short() + " abandoned", Cause: why}
			s.queue = append(s.queue, f)
			continue
		}
		stuck := s.head.Interrupted && s.couriers[step.Executor] != nil && s.couriers[step.Executor].stuck()
		if !stuck && s.control.cfg.Machines.Connected(step.Executor) {
			s.since[id] = time.Now()
			continue
		}
		limit := giveUpAfter
		if step.Action == plan.Terminate || s.head.Interrupted {
			limit = abandonAfter
		}
		if time.Since(since) < limit {
			continue
		}
		f := s.fact(id, plan.Failed)
		why := fmt.Sprintf("its machine has not answered for %s", limit)
		if stuck {
			why = fmt.Sprintf("its machine has not taken what it is to do for %s", limit)
		}
		f.Record = &peerpb.Record{Type: "abnormal", Path: string(step.Path), Description: id.Short() + " abandoned", Cause: why}
		s.queue = append(s.queue, f)
	}
}
