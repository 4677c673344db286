package control

import (
	"fmt"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// removedHost returns the name of the host that an executor is, or that its
// machine was made on, if that host was removed from the cluster: nothing there
// is done any more, and nothing it says counts. The lock is held.
func (s *system) removedHost(executor string) (host string, removed bool) {
	if executor == "" || s.control.cfg.Machines.Connected(executor) {
		return "", false
	}
	for _, m := range s.held.Machines {
		if m.ID == executor {
			return s.control.cfg.Machines.Removed(m.Proposal.Host)
		}
	}
	return s.control.cfg.Machines.Removed(executor)
}

// forsake settles the steps that a removed host, or a machine on it, was to
// perform, and reports whether there were any. What was to end is abandoned:
// the system is rid of it, and who follows is told where it may still run. The
// lock is held.
func (s *system) forsake() bool {
	any := false
	for id := range s.since {
		step, _ := s.frontier.Step(id)
		host, removed := s.removedHost(step.Executor)
		if !removed {
			continue
		}
		any = true
		why := fmt.Sprintf("its host %s was removed from the cluster", host)
		f := s.fact(id, plan.Failed)
		f.Record = &peerpb.Record{Type: "abnormal", Path: string(step.Path), Description: id.Short() + " abandoned", Cause: why}
		if step.Action == plan.Terminate {
			f.Outcome = peerpb.Outcome_OUTCOME_DONE
			s.abandoned(step.Path, host, why)
		}
		s.queue = append(s.queue, f)
	}
	return any
}

// abandoned tells of a machine that nobody destroys any more. The lock is held.
func (s *system) abandoned(path value.Path, host, why string) {
	m, is := s.held.Machines[path]
	if !is {
		return
	}
	s.control.cfg.Emit(event.Event{
		Origin: s.control.cfg.Host.MachineID, Time: time.Now().UTC(), System: s.name, Revision: s.head.Revision, Plan: s.head.Plan,
		Path: path, Incarnation: m.ID, Kind: event.MachineLost, Reason: "abandoned: " + why + "; " + mayRun(host, s.held.Components[path]),
	})
}

// mayRun says where a machine that was abandoned may still be, and how it ends.
func mayRun(host string, c inventory.Component) string {
	if c.Resolved != nil {
		if ip, ok := c.Resolved.Get("ip"); ok {
			host += fmt.Sprintf(" as %v", ip)
		}
	}
	return fmt.Sprintf("it may still run on %s, until 'aloft cluster leave --force' is given there", host)
}

// leftBehind says which machines a plan abandons, and where they may still run.
func (c *Control) leftBehind(held *inventory.System) (notes []string) {
	for _, m := range held.OrderedMachines() {
		if c.cfg.Machines.Connected(m.ID) {
			continue
		}
		if host, removed := c.cfg.Machines.Removed(m.Proposal.Host); removed {
			notes = append(notes, fmt.Sprintf("machine %s is abandoned: its host %s was removed from the cluster; %s",
				inventory.MachineName(held.Name, m.Path), host, mayRun(host, held.Components[m.Path])))
		}
	}
	return notes
}

// withoutRemoved marks, in what a plan is made from, the machines on hosts that
// were removed as given up: what was there is made anew elsewhere. The lock is
// held.
func (s *system) withoutRemoved(held *inventory.System) *inventory.System {
	for path, m := range held.Machines {
		if m.Lost != "" || s.control.cfg.Machines.Connected(m.ID) {
			continue
		}
		if host, removed := s.control.cfg.Machines.Removed(m.Proposal.Host); removed {
			m.Lost = fmt.Sprintf("its host %s was removed from the cluster", host)
			held.Machines[path] = m
		}
	}
	return held
}
