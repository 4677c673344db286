package control

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/plan"
)

// endLeft has machines ended that were given up and placed elsewhere, as soon
// as their executors answer. It does not block.
func (s *system) endLeft() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.idle() {
		return // its parts are the newest that executors may have
	}
	for id, m := range s.held.Left {
		if s.ending[id] {
			continue
		}
		s.ending[id] = true
		go s.control.spawn(func(ctx context.Context) {
			defer func() {
				s.mu.Lock()
				delete(s.ending, id)
				s.mu.Unlock()
			}()
			ctx, cancel := context.WithTimeout(ctx, seekLimit)
			defer cancel()
			if err := s.endMachine(ctx, m); err != nil {
				s.control.cfg.Log.Debug("end a machine that was given up", "system", s.name, "machine", id, "error", err)
				return
			}
			pause(ctx, lostEvery) // it takes a while; then it is looked at again
		})
	}
}

// idle reports whether nothing is under way of the newest plan, though one that
// ends the system may still wait for what was left. The lock is held.
func (s *system) idle() bool {
	return s.head.Deployment != api.DeploymentRunning || s.plan.Down && s.frontier.Pending() == 0
}

// awaitsLeft reports whether a plan that has done all its steps is not over: it
// ends the system, and machines that were given up may yet be ended with it. The
// lock is held.
func (s *system) awaitsLeft() bool {
	if !s.plan.Down || len(s.held.Left) == 0 {
		return false
	}
	if s.rested.IsZero() {
		s.rested = time.Now()
	}
	return time.Since(s.rested) < abandonAfter
}

// endMachine has a machine ended that another has taken the place of, and
// forgets it once its executor has nothing of it.
func (s *system) endMachine(ctx context.Context, m inventory.Machine) error {
	id := plan.MachineExecutor(m.Proposal)
	if host, removed := s.control.cfg.Machines.Removed(m.Proposal.Host); removed && !s.control.cfg.Machines.Connected(id) {
		s.control.cfg.Emit(event.Event{
			Origin: s.control.cfg.Host.MachineID, Time: s.control.now(), System: s.name, Path: m.Path, Incarnation: m.ID, Kind: event.MachineLost,
			Reason: "abandoned: its host " + host + " was removed from the cluster; " + mayRun(host, inventory.Component{}),
		})
		return s.forgetLeft(ctx, m)
	}
	executor, err := s.control.cfg.Machines.Machine(ctx, id)
	if err != nil {
		return err
	}
	holds, err := executor.Inspect(ctx, &peerpb.InspectRequest{System: s.name})
	if err != nil {
		return err
	}
	there, err := holdsMachine(holds.States, m)
	if err != nil {
		return err
	}
	if !there {
		return s.forgetLeft(ctx, m)
	}
	// Nobody begins a plan meanwhile: its part must be what the executor has last.
	done, err := s.control.turn(ctx, s.name)
	if err != nil {
		return err
	}
	defer done()
	s.mu.Lock()
	if !s.idle() {
		s.mu.Unlock()
		return nil
	}
	parts, err := s.plan.Cut()
	if err != nil {
		s.mu.Unlock()
		return err
	}
	part := plan.EndingMachine(s.control.cfg.NewID(), s.name, id, s.head.Revision, parts[id], m.Path)
	s.mu.Unlock()
	part.Fence = s.control.fence(s.claim)
	return s.control.deliver(ctx, executor, part)
}

// holdsMachine reports whether a machine is among what its executor holds.
func holdsMachine(states []*peerpb.ComponentState, m inventory.Machine) (bool, error) {
	for _, st := range states {
		if st.Path != string(m.Path) || inventory.State(st.State) == inventory.Terminated || len(st.Component) == 0 {
			continue
		}
		c, err := decodeComponent(st.Component)
		if err != nil {
			return false, fmt.Errorf("component %s: %w", st.Path, err)
		}
		return text(c, "id") == m.ID, nil
	}
	return false, nil
}

// forgetLeft enters that nothing is left of a machine. With the last one a
// system is gone whose end had to leave it behind.
func (s *system) forgetLeft(ctx context.Context, m inventory.Machine) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.idle() {
		return nil // it is found again
	}
	var b batch
	b.drop(leftTable.Key(s.name, m.ID))
	held := s.held.Clone()
	delete(held.Left, m.ID)
	head := s.head
	if s.plan.Down && s.head.Deployment != api.DeploymentRunning && len(held.Components)+len(held.Machines)+len(held.Left) == 0 {
		head = proto.CloneOf(s.head)
		head.Deployment = api.DeploymentDone
		if err := s.dropAll(ctx, &b); err != nil {
			return err
		}
	}
	if err := s.control.store.commit(context.WithoutCancel(ctx), s.claim, &b); err != nil {
		return err
	}
	s.held, s.head = held, head
	return nil
}

// deliver hands a part to its executor, signed.
func (c *Control) deliver(ctx context.Context, executor peerpb.MachineClient, part *peerpb.Part) error {
	document, err := proto.MarshalOptions{Deterministic: true}.Marshal(part)
	if err != nil {
		return err
	}
	signature, chain, err := c.cfg.Sign(document)
	if err != nil {
		return err
	}
	_, err = executor.Deliver(ctx, &peerpb.SignedPart{Part: document, Signature: signature, Chain: chain})
	return err
}
