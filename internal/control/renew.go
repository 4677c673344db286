package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/internal/control/controlpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

// renewal is what becomes of a machine on which something was given up, or that
// its host has given up: the restart of a machine, by the policy of what is around
// it, is another one in its place (runtime.md TR3).
type renewal struct {
	due  time.Time // when it is replaced; zero: it is not
	text string    // why, and what becomes of it
}

// renew replaces the machines of a system whose time has come.
func (c *Control) renew(ctx context.Context, s *system) {
	d := &draft{renew: map[value.Path]string{}, auto: true}
	r := api.PlanRequest{Cause: "replace a machine"}
	s.mu.Lock()
	s.escalate()
	for path, renewal := range s.renewals {
		if !renewal.due.IsZero() && !time.Now().Before(renewal.due) {
			d.renew[path] = renewal.text
			r.AllowDataLoss = append(r.AllowDataLoss, s.replaceable(path)...)
		}
	}
	s.mu.Unlock()
	if len(d.renew) == 0 {
		return
	}
	err := c.again(ctx, s, r, d)
	if err == nil || ctx.Err() != nil {
		return
	}
	c.cfg.Log.Error("replace a machine", "system", s.name, "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused(d)
}

// refused has the replacements of a plan that could not begin wait, and leaves
// those machines that cannot be replaced because of data, which what holds them
// may say at run time alone. The lock is held.
func (s *system) refused(d *draft) {
	for _, path := range slices.Sorted(maps.Keys(d.renew)) {
		r := s.renewals[path]
		if r == nil || r.due.IsZero() {
			continue
		}
		r.due = time.Now().Add(againAfter)
		if d.plan == nil {
			continue
		}
		for _, lost := range d.plan.Loses() {
			if lost.Machine == path || path.Contains(lost.Path) || path.Contains(lost.Machine) {
				r.due, r.text = time.Time{}, fmt.Sprintf("%s: no, the data of %s would be destroyed: %s", r.text, lost.Path, lost.Why)
				s.tellEnd(path, r.text)
				break
			}
		}
	}
}

// escalate decides about each machine on which something was given up, once. The
// lock is held.
func (s *system) escalate() {
	if s.head.Deployment != api.DeploymentDone && s.head.Deployment != api.DeploymentDegraded || s.plan.Down || s.failedToUndo() || s.snapshot().steady {
		clear(s.renewals)
		return
	}
	up := s.givenUp()
	maps.DeleteFunc(s.renewals, func(path value.Path, _ *renewal) bool { return up[path] == "" })
	for _, path := range slices.Sorted(maps.Keys(up)) {
		if s.renewals[path] != nil {
			continue
		}
		r := s.decide(path, up[path])
		s.renewals[path] = r
		s.tellEnd(path, r.text)
	}
}

// tellEnd tells of the end of a machine, and what follows from it. The lock is
// held.
func (s *system) tellEnd(path value.Path, text string) {
	s.control.cfg.Emit(event.Event{
		Origin: s.control.cfg.Host.MachineID, Time: s.control.now(), System: s.name, Revision: s.head.Revision,
		Path: path, Incarnation: s.held.Machines[path].ID, Kind: event.ComponentEnded, Reason: text,
	})
}

// holding says why a machine is not replaced.
func holding(path value.Path) string {
	return path.String() + " holds data, and does not say sfReplaceOnLoss true"
}

// givenUp returns the machines that are to end because what is on them has, with
// what that was. What is placed on a machine from outside of it ends its own
// compound, not the machine. The lock is held.
func (s *system) givenUp() map[value.Path]string {
	up := map[value.Path]string{}
	note := func(machine value.Path, k inventory.Component) {
		text := fmt.Sprintf("%s is given up: %s", k.Path, k.Reason)
		if _, exists := s.held.Machines[machine]; exists && (up[machine] == "" || text < up[machine]) {
			up[machine] = text
		}
	}
	for path, k := range s.held.Components {
		switch {
		case k.IsGivenUp():
			up[path] = fmt.Sprintf("%s is %s", path, k.Reason)
		case k.State != inventory.Failed || k.Machine == value.Root || s.held.Components[k.Machine].State != inventory.Running:
		case slices.Contains(s.plan.Renews, k.Machine):
			note(k.Machine, k) // the replacement has not mended it
		case k.Path.Parent() == k.Machine && !s.failedIn(path):
			note(k.Machine, k)
		}
	}
	return up
}

// decide says what becomes of a machine on which something was given up. The lock
// is held.
func (s *system) decide(path value.Path, why string) *renewal {
	for _, c := range s.plan.On(path) {
		if c.OnLoss.Data && !c.OnLoss.Replace {
			return &renewal{text: why + "; the machine is not replaced: " + holding(c.Path)}
		}
	}
	vm, _ := s.wanted(path)
	policy := lifecycle.Policy{OnEnd: lifecycle.OnEnd(vm.OnEnd.What), MaxRestarts: vm.OnEnd.MaxRestarts, Window: time.Duration(vm.OnEnd.Window) * time.Second}
	if policy.OnEnd != lifecycle.Restart {
		return &renewal{text: fmt.Sprintf("%s; the machine is not replaced: what is around it says sfOnChildEnd %q", why, policy.OnEnd)}
	}
	recent := s.renewedAt(path)
	pause, again := recent.Next(s.control.now(), policy)
	if !again {
		return &renewal{text: fmt.Sprintf("%s; the machine is not replaced again: it was %d times within %s", why, len(recent), policy.Window)}
	}
	return &renewal{due: time.Now().Add(pause), text: why + "; the machine is replaced"}
}

// replaceable returns the components on a machine whose data may go with it: not
// those that have theirs in another component, which goes on with what it has
// for the next one. The lock is held.
func (s *system) replaceable(path value.Path) (paths []string) {
	for _, c := range s.plan.On(path) {
		if class, _ := s.control.cfg.Classes.Class(c.Class); c.OnLoss.Replace && !class.DataElsewhere {
			paths = append(paths, c.Path.String())
		}
	}
	return paths
}

// renewedAt returns when a machine was replaced, oldest first. The lock is held.
func (s *system) renewedAt(path value.Path) (at lifecycle.Restarts) {
	for _, r := range s.head.GetRenewals() {
		if value.Path(r.Path) == path {
			at = append(at, r.At.AsTime())
		}
	}
	return at
}

// maxRenewals bounds how many replacements a system remembers.
const maxRenewals = 1000

// renewed returns the replacements of a system's machines once a plan has begun:
// those of machines that are in it. The lock is held.
func (s *system) renewed(p *plan.Plan) (list []*controlpb.Renewal) {
	for _, r := range s.head.GetRenewals() {
		if _, stays := p.Placement[value.Path(r.Path)]; stays {
			list = append(list, r)
		}
	}
	for _, path := range p.Renews {
		list = append(list, &controlpb.Renewal{Path: string(path), At: timestamppb.New(s.control.now())})
	}
	return list[max(0, len(list)-maxRenewals):]
}

// outlook says what becomes of a machine on which something was given up.
func (c *Control) outlook(system string, path value.Path) string {
	s := c.system(system)
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.renewals[path]; r != nil {
		return r.text
	}
	return ""
}
