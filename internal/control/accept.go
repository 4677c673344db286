package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/internal/control/controlpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/ownership"
	"aloft/internal/plan"
	"aloft/value"
)

// Apply begins to carry out a plan.
func (c *Control) Apply(ctx context.Context, name, planID string) (*api.Deployment, error) {
	c.mu.Lock()
	d := c.drafts[planID]
	c.mu.Unlock()
	if p, is, err := c.detached(ctx, c.store, name); err != nil {
		return nil, c.refusal(name, err)
	} else if is {
		name = p.head.Name
	}
	s, err := c.owned(ctx, name)
	if err != nil {
		return nil, err
	}
	if s != nil {
		if at := s.deployment(); at.Plan == planID {
			return at, nil
		}
	}
	if d == nil || d.plan.System != name {
		return nil, &api.Error{Kind: api.KindStale, Message: fmt.Sprintf("plan %s of system %s is not known here any more", planID, name), Remedy: "make a new plan"}
	}
	if err := lossless(d.plan); err != nil {
		return nil, err
	}
	head, err := c.accept(ctx, d)
	if err != nil {
		return nil, err
	}
	return c.start(ctx, d, head)
}

// accept keeps the plan and what it was made from.
func (c *Control) accept(ctx context.Context, d *draft) (*controlpb.System, error) {
	head := &controlpb.System{
		Name: d.plan.System, File: d.plan.File, Revision: d.plan.Revision, Description: d.plan.Description, Plan: d.plan.ID,
		Down: d.plan.Down, Deployment: api.DeploymentRunning, Since: timestamppb.Now(), OnFailure: d.plan.OnFailure,
	}
	if s := c.system(d.plan.System); s != nil && d.plan.Base != 0 {
		s.mu.Lock()
		d.plan.Previous = s.head.DescriptionBlob
		s.mu.Unlock()
	}
	if len(d.secrets) > 0 {
		if err := c.cfg.Secrets.Make(ctx, d.secrets); err != nil {
			return nil, err
		}
	}
	encoded, err := d.plan.Encode()
	if err != nil {
		return nil, err
	}
	var err1, err2, err3 error
	head.PlanBlob, _, err1 = c.cfg.Blobs.Put(ctx, bytes.NewReader(encoded))
	if len(d.description) > 0 {
		head.DescriptionBlob, _, err2 = c.cfg.Blobs.Put(ctx, bytes.NewReader(d.description))
	}
	head.WrittenBlob = d.writtenBlob
	if len(d.written) > 0 {
		head.WrittenBlob, _, err3 = c.cfg.Blobs.Put(ctx, bytes.NewReader(d.written))
	}
	return head, errors.Join(err1, err2, err3, c.keepApart(ctx, d, head))
}

// start makes the plan the system's newest, unless its base has changed.
func (c *Control) start(ctx context.Context, d *draft, head *controlpb.System) (*api.Deployment, error) {
	done, err := c.turn(ctx, head.Name)
	if err != nil {
		return nil, err
	}
	defer done()
	s, err := c.opened(ctx, head.Name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var b batch
	if err := c.store.dropSteps(ctx, &b, head.Name); err != nil {
		return nil, err
	}
	if s.head != nil {
		if s.head.Plan == d.plan.ID {
			return s.progress(c.cfg.Cursor()), nil // applied twice at once
		}
		if s.head.Deployment == api.DeploymentRunning {
			return nil, s.busy()
		}
		if err := s.save(ctx); err != nil { // nothing older may be written after the new plan
			return nil, c.refusal(s.name, err)
		}
		if s.head.Revision != d.plan.Base {
			return nil, &api.Error{Kind: api.KindStale, Message: fmt.Sprintf("system %s is at revision %d, the plan was made for %d", s.name, s.head.Revision, d.plan.Base), Remedy: "make a new plan"}
		}
		if d.plan.Down {
			head.File, head.Description, head.DescriptionBlob, head.WrittenBlob = s.head.File, s.head.Description, s.head.DescriptionBlob, s.head.WrittenBlob
		}
	} else if d.plan.Base != 0 {
		return nil, &api.Error{Kind: api.KindStale, Message: fmt.Sprintf("system %s is gone, the plan was made for revision %d", head.Name, d.plan.Base), Remedy: "make a new plan"}
	}
	head.Renewals = s.renewed(d.plan)
	held := s.held.Clone()
	s.expect(&b, d.plan, held)
	held.File, held.Revision, held.Digest, held.OnFailure = head.File, head.Revision, head.Description, head.OnFailure
	held.Detached = detachedIn(head)
	unname(&b, s.held.Detached, held.Detached)
	revision := c.enterRevision(ctx, &b, d.plan, head)
	switch {
	case d.detaches != nil:
		err = c.name(ctx, s, &b, d.detaches)
	case s.head == nil:
		err = c.nameNew(ctx, s, &b)
	}
	if err != nil {
		return nil, fmt.Errorf("record plan %s: %w", d.plan.ID, c.refusal(s.name, err))
	}
	// The head goes last: until it names the plan, nothing of it is known.
	c.store.putHead(&b, head)
	if err := c.store.commit(ctx, s.claim, &b); err != nil {
		if !c.recorded(ctx, s, d.plan.ID) {
			return nil, fmt.Errorf("record plan %s: %w", d.plan.ID, c.refusal(s.name, taken(err, s.name)))
		}
	}
	first := s.head == nil
	s.head, s.held, s.revision = proto.Clone(head).(*controlpb.System), held, revision
	s.begin(d.plan, nil)
	cursor := c.cfg.Cursor()
	c.mu.Lock()
	delete(c.drafts, d.plan.ID)
	c.mu.Unlock()
	if first {
		c.hold(s)
	}
	c.emit(s, event.PlanAccepted, d.plan.Cause+": "+summary(d.plan))
	c.emit(s, event.SystemState, s.now().state())
	go c.spawn(func(ctx context.Context) {
		if !first || !c.handOver(ctx, s.name, d.plan.Executors()) {
			s.carryOut(ctx)
		}
	})
	return s.progress(cursor), nil
}

// handOver gives a new system to a manager that performs nothing of its plan
// itself, where this one does: the end of a host must not be that of the owner
// of what is on it as well. It reports whether somebody else has the system now.
func (c *Control) handOver(ctx context.Context, name string, executors []string) bool {
	shard := ownership.System(name)
	other := c.cfg.Keeper.Apart(shard, executors)
	if other == "" || !slices.Contains(executors, c.cfg.Host.MachineID) {
		return false
	}
	if err := c.cfg.Keeper.Give(ctx, shard, other); err != nil {
		c.cfg.Log.Warn("a system stays with the manager on its host", "system", name, "error", err)
		return c.cfg.Keeper.Held(shard) == nil
	}
	return true
}

// recorded reports whether the store took a plan although it said otherwise.
func (c *Control) recorded(ctx context.Context, s *system, planID string) bool {
	row, err := systemTable.Get(ctx, c.cfg.Store, s.name)
	return err == nil && row.Message.Plan == planID && held(s.claim)
}

// opened returns the system that a plan is to be begun for. One that is new, or
// begins anew after its end, has a term of its own: what machines know of an
// earlier system of that name must not count. It is the name's turn.
func (c *Control) opened(ctx context.Context, name string) (*system, error) {
	s, err := c.ownedInTurn(ctx, name)
	if err != nil || s != nil && !s.over() {
		return s, err
	}
	claim, err := c.cfg.Keeper.Renew(ctx, ownership.System(name))
	if err != nil {
		return nil, c.refusal(name, err)
	}
	if s == nil { // another manager may have begun and ended meanwhile
		if s, err = c.loadInTurn(ctx, name, claim); err != nil || s != nil {
			return s, err
		}
	}
	s = newSystem(c, name, claim)
	s.held = (&inventory.System{Name: name}).Clone()
	return s, nil
}

func summary(p *plan.Plan) string {
	counts := map[plan.Sign]int{}
	for _, e := range p.Edits {
		counts[e.Sign]++
	}
	if p.Detaches != value.Root {
		return p.Detaches.String() + " becomes a system of its own"
	}
	text := fmt.Sprintf("%d to add, %d to change, %d to remove", counts[plan.Add], counts[plan.Change], counts[plan.Remove])
	if n := counts[plan.Replace]; n > 0 {
		text += fmt.Sprintf(", %d to replace", n)
	}
	return text
}
