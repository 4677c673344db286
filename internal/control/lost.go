package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/internal/store"
	"aloft/value"
)

// Times of the watch over machines that do not answer.
const (
	lostEvery  = 2 * time.Second
	againAfter = 30 * time.Second // until another try to place things again; it doubles
	againLimit = 5 * time.Minute
	// Of a question to other managers, which are asked together: one that hangs
	// does not hold up what the others say.
	passLimit = 2 * time.Second
)

// Hold lets a machine go on running what has a tenure, of those systems that
// are this manager's, and asks the owners of the others. It returns those
// granted: nobody else places them again before their tenure has run out anew;
// and which machines are silent that something there would have to hear of.
func (c *Control) Hold(ctx context.Context, from string, systems []string, passed bool) (*peerpb.HoldReply, error) {
	reply := &peerpb.HoldReply{}
	away := map[string][]string{} // by owner
	for _, name := range systems {
		s, err := c.owned(ctx, name)
		elsewhere, is := errors.AsType[*Elsewhere](err)
		switch {
		case is && !passed:
			away[elsewhere.Manager] = append(away[elsewhere.Manager], name)
		case err == nil && s != nil && s.grant(ctx, from):
			reply.Systems = append(reply.Systems, name)
			for _, id := range s.silentAround(from) {
				reply.Silent = append(reply.Silent, &peerpb.Silence{System: name, Machine: id})
			}
		}
	}
	limit := passLimit
	if end, limited := ctx.Deadline(); limited {
		limit = min(limit, time.Until(end)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards reply, as of here
	for manager, names := range away {
		wg.Go(func() {
			owner, err := c.cfg.Others(ctx, manager)
			if err != nil {
				return // asked again within a second, when there may be another owner
			}
			r, err := owner.Hold(ctx, &peerpb.HoldRequest{Systems: names, Machine: from})
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			reply.Systems, reply.Silent = append(reply.Systems, r.Systems...), append(reply.Silent, r.Silent...)
		})
	}
	wg.Wait()
	return reply, nil
}

// silentAround returns the machines without a session that process what is
// around components of this one that end without a word of it (runtime.md LV3).
func (s *system) silentAround(machine string) (silent []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.plan.Components {
		if c.Executor == machine && c.ParentLoss > 0 && c.Parent != "" && !slices.Contains(silent, c.Parent) && !s.control.cfg.Machines.Connected(c.Parent) {
			silent = append(silent, c.Parent)
		}
	}
	return silent
}

// grant lets a machine go on, if it is the system's and the claim is held at
// this moment. The silence of the machine counts from then.
func (s *system) grant(ctx context.Context, machine string) bool {
	s.mu.Lock()
	known := s.has(machine)
	if known {
		s.contact[machine] = time.Now()
	} else if !s.ending[machine] {
		s.ending[machine] = true
		go s.control.spawn(func(ctx context.Context) { s.endStray(ctx, machine) })
	}
	s.mu.Unlock()
	if !known {
		return false
	}
	// A former owner must not grant what its successor no longer counts on.
	_, err := s.claim.Commit(ctx, store.Txn{})
	return err == nil
}

// has reports whether a machine is the system's, or is to be by its plan. The
// lock is held.
func (s *system) has(machine string) bool {
	for _, m := range s.held.Machines {
		if m.ID == machine {
			return m.Lost == ""
		}
	}
	for _, choice := range s.plan.Placement {
		if choice.MachineID == machine {
			return s.head.Deployment == api.DeploymentRunning
		}
	}
	return false
}

// watchLost places again what was on machines that are lost, as far as it may,
// until ctx ends.
func (c *Control) watchLost(ctx context.Context) {
	for pause(ctx, lostEvery) {
		c.mu.Lock()
		all := slices.Collect(maps.Values(c.systems))
		c.mu.Unlock()
		for _, s := range all {
			if !held(s.claim) {
				continue
			}
			s.seek()
			s.endLeft()
			c.undo(ctx, s) // if that could not begin
			again := s.lose(ctx)
			if again {
				if err := c.replace(ctx, s); err != nil && ctx.Err() == nil {
					c.cfg.Log.Error("place again", "system", s.name, "error", err)
				}
				continue
			}
			c.renew(ctx, s)
			c.detachStarted(ctx, s)
		}
	}
}

// seekLimit is how long a machine without a session is sought at a time.
const seekLimit = 10 * time.Second

// seek has sessions made with the machines of a system that have none with its
// owner: they keep sessions with two managers, and silence is told from a
// machine that was never asked by asking.
func (s *system) seek() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.held.Machines {
		if s.sought[m.ID] || s.control.cfg.Machines.Connected(m.ID) {
			continue
		}
		s.sought[m.ID] = true
		go s.control.spawn(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, seekLimit)
			defer cancel()
			_, _ = s.control.cfg.Machines.Machine(ctx, m.ID) // found or not, it is looked at again
			s.mu.Lock()
			delete(s.sought, m.ID)
			s.mu.Unlock()
		})
	}
}

// lose gives machines up and reports whether there is something to place again
// now. What it gives up is in the store before that: from then on nothing of
// the machine is let go on, whoever owns the system.
func (s *system) lose(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head.Deployment != api.DeploymentDone && s.head.Deployment != api.DeploymentDegraded ||
		s.plan.Down || s.failedToUndo() || time.Now().Before(s.nextTry) {
		return false
	}
	again := false
	var b batch
	var events []event.Event
	for _, path := range slices.Sorted(maps.Keys(s.plan.Placement)) {
		m, exists := s.held.Machines[path]
		if m.Lost != "" {
			again = true
			continue
		}
		l := s.loss(path)
		if !l.Again {
			continue
		}
		again = true
		if exists {
			m.Lost, m.Data = l.Why, nil // left data are given up with it: see loss
			s.held.Machines[path] = m
			s.control.store.putMachine(&b, s.name, m)
			s.dropGuests(&b, path, "its machine "+path.String()+" is given up: "+l.Why)
		}
		events = append(events, event.Event{
			Origin: s.control.cfg.Host.MachineID, Time: s.control.now(), System: s.name, Revision: s.head.Revision,
			Path: path, Incarnation: m.ID, Kind: event.MachineLost, Reason: l.Why,
		})
	}
	if !again {
		s.tries = 0
		return false
	}
	s.tries++
	s.nextTry = time.Now().Add(min(againAfter<<min(s.tries-1, 4), againLimit))
	if err := s.control.store.commit(context.WithoutCancel(ctx), s.claim, &b); err != nil {
		s.control.cfg.Log.Error("give up a machine", "system", s.name, "error", err)
		return false
	}
	for _, e := range events {
		s.control.cfg.Emit(e)
	}
	return true
}

// loss decides about the machine at path. The lock is held.
func (s *system) loss(path value.Path) plan.Loss {
	m, exists := s.held.Machines[path]
	if vm := s.held.Components[path]; vm.IsGivenUp() {
		return plan.Loss{} // it is there still: see renew
	} else if vm.State == inventory.Failed {
		if s.plan.Again || !s.failedIn(path) {
			return plan.Lose(s.plan.On(path), 0, true)
		}
		return plan.Loss{} // the plan's failure, which submitting it again mends (LC8)
	}
	if !exists || s.control.cfg.Machines.Connected(m.ID) {
		return plan.Loss{}
	}
	since, known := s.contact[m.ID]
	if !known {
		since = s.taken // whoever owned it before may have let it go on until then
	}
	l := plan.Lose(s.plan.On(path), time.Since(since), false)
	if vm, _ := s.wanted(path); l.Again && len(m.Data) > 0 && !vm.OnLoss.Replace {
		return plan.Loss{Why: fmt.Sprintf("%s has left data on it, and it is not placed again without sfReplaceOnLoss true", m.Data[0].Path)}
	}
	return l
}

// failedIn reports whether the newest plan has failed to make what is at path.
// The lock is held.
func (s *system) failedIn(path value.Path) bool {
	for _, action := range []plan.Action{plan.Terminate, plan.Deploy, plan.Start} {
		if f := s.facts[plan.ID(path, action)]; f != nil && outcome(f.Outcome) == plan.Failed {
			return true
		}
	}
	return false
}

// replace makes and begins the plan that places things again.
func (c *Control) replace(ctx context.Context, s *system) error {
	return c.again(ctx, s, api.PlanRequest{Cause: "place again what was lost"}, &draft{auto: true})
}

// again makes and begins a plan of the description as it is. The request has the
// cause, and what may be lost.
func (c *Control) again(ctx context.Context, s *system, r api.PlanRequest, d *draft) error {
	s.mu.Lock()
	r.Name, r.File, r.AllowUnresolved = s.name, s.plan.File, true // as it was taken
	blob := s.head.DescriptionBlob
	d.writtenBlob = s.head.WrittenBlob
	s.mu.Unlock()
	var err error
	if r.Description, err = c.cfg.Blobs.Read(ctx, blob); err != nil {
		return err
	}
	p, err := c.planned(ctx, r, d)
	if err != nil || p.Attached {
		return err
	}
	d.plan.Undo = true // the revision before is the same, and would not do better
	d.plan.Again = true
	d.plan.Renews = slices.Sorted(maps.Keys(d.renew))
	if err := lossless(d.plan); err != nil {
		return err // it is not kept: only so many are, and people wait for theirs
	}
	c.keepDraft(d)
	_, err = c.Apply(ctx, s.name, p.ID)
	return err
}

// endLimit is how long one attempt to end what is left on a machine may take.
const endLimit = time.Minute

// endStray ends all of the system on a machine that is not the system's any
// more (runtime.md HL4). The machine asks again if that fails.
func (s *system) endStray(ctx context.Context, id string) {
	defer func() {
		s.mu.Lock()
		delete(s.ending, id)
		s.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	if err := s.endOn(ctx, id); err != nil {
		s.control.cfg.Log.Warn("end what was placed elsewhere", "system", s.name, "peer", id, "error", err)
	}
}

func (s *system) endOn(ctx context.Context, id string) error {
	machine, err := s.control.cfg.Machines.Machine(ctx, id)
	if err != nil {
		return err
	}
	holds, err := machine.Inspect(ctx, &peerpb.InspectRequest{System: s.name})
	if err != nil {
		return err
	}
	s.mu.Lock()
	revision := s.head.Revision
	s.mu.Unlock()
	// One plan for each owner and revision: delivered again it is the same.
	planID := uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "aloft:end/%s/%s/%d/%d", s.name, id, revision, s.claim.Term())).String()
	part := plan.Ending(planID, s.name, id, revision, holds.States)
	part.Fence = s.control.fence(s.claim)
	return s.control.deliver(ctx, machine, part)
}

// unreachable says of a machine that does not answer since when, and what will
// be done about it. That is its owner's to say: others do not miss it.
func (c *Control) unreachable(system string, held *inventory.System, k inventory.Component) string {
	m, is := held.Machines[k.Path]
	if !is || k.State != inventory.Running && k.State != inventory.Deployed {
		return ""
	}
	if _, here := c.Owner(system); !here {
		return ""
	}
	since, silent := c.cfg.Machines.Silent(m.ID)
	if !silent {
		return ""
	}
	text := "unreachable since " + since.Local().Format(time.DateTime)
	if host, removed := c.cfg.Machines.Removed(m.Proposal.Host); removed {
		return text + ": its host " + host + " was removed from the cluster; 'aloft up' makes it anew elsewhere"
	}
	s := c.system(system)
	if s == nil {
		return text // it is being taken over
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.loss(k.Path); l.Why != "" {
		text += ": " + l.Why
	}
	return text
}
