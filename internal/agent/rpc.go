package agent

import (
	"context"
	"errors"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
	"aloft/internal/journal"
	"aloft/internal/journal/journalpb"
	"aloft/value"
)

// StaleOwner begins the refusal of a command with a fence lower than the
// highest this machine has seen.
const StaleOwner = "stale owner"

// Deliver takes a part: it is checked, written to disk, and begun. The same
// part again changes nothing.
func (a *Agent) Deliver(ctx context.Context, signed *peerpb.SignedPart) (*peerpb.Receipt, error) {
	if err := a.cfg.Verify(signed); err != nil {
		return nil, status.Errorf(codes.PermissionDenied, "part refused: %v", err)
	}
	content, err := decodePart(signed.Part)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "%v", err)
	}
	part := content.part
	if part.Executor != a.cfg.ID {
		return nil, status.Errorf(codes.InvalidArgument, "part is for machine %s, this is %s", part.Executor, a.cfg.ID)
	}
	if err := a.ready(ctx); err != nil {
		return nil, err
	}
	for {
		t := a.tenantFor(part.System)
		done, err := t.turn(ctx)
		if err != nil {
			return nil, err
		}
		taken, err := a.deliver(ctx, t, content, signed)
		done()
		if taken || err != nil {
			return &peerpb.Receipt{}, err
		}
	}
}

// ready waits until Run has begun.
func (a *Agent) ready(ctx context.Context) error {
	select {
	case <-a.begun:
		return nil
	case <-ctx.Done():
		return status.Errorf(codes.Unavailable, "this daemon is starting: %v", context.Cause(ctx))
	}
}

// turn waits until no other part is being taken; done lets the next one.
func (t *tenant) turn(ctx context.Context) (done func(), err error) {
	select {
	case t.delivery <- struct{}{}:
		return func() { <-t.delivery }, nil
	case <-ctx.Done():
		return nil, status.Errorf(codes.Unavailable, "another part of system %s is being taken: %v", t.system, context.Cause(ctx))
	}
}

// deliver has a tenant take a part; it is the part's turn. It is not taken
// where the tenant is no longer the system's: what was left of the system has
// just been dropped.
func (a *Agent) deliver(ctx context.Context, t *tenant, content *contents, signed *peerpb.SignedPart) (taken bool, err error) {
	part := content.part
	if err := a.fence(ctx, part.System, part.Fence); err != nil {
		return false, err
	}
	if current := t.current(); current != nil {
		if current.Plan == part.Plan {
			return true, nil
		}
		// A system that was terminated begins anew at revision 1, with a term of
		// its own.
		if f, g := part.Fence, current.Fence; part.Revision < current.Revision && f.GetEpoch() == g.GetEpoch() && f.GetTerm() == g.GetTerm() {
			return false, status.Errorf(codes.FailedPrecondition, "%s: revision %d of %s is older than %d, which is here", StaleOwner, part.Revision, part.System, current.Revision)
		}
		if err := t.settle(ctx); err != nil {
			return false, err
		}
		if a.tenant(part.System) != t {
			return false, nil
		}
		// Another owner may have come while this one waited.
		if err := a.fence(ctx, part.System, part.Fence); err != nil {
			return false, err
		}
	}
	if err := a.keep(ctx, t, content, signed); err != nil {
		return false, err
	}
	t.take(content, nil, nil, false)
	a.spawn(func(ctx context.Context) { t.run(ctx, false) })
	a.keepTenures()
	return true, nil
}

// tenantFor returns the tenant of a system, made now if there is none.
func (a *Agent) tenantFor(system string) *tenant {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tenants[system]
	if t == nil {
		t = newTenant(a, system)
		a.tenants[system] = t
	}
	return t
}

// keep writes the part to disk, in the place of the one before, and what outlasts
// that.
func (a *Agent) keep(ctx context.Context, t *tenant, content *contents, signed *peerpb.SignedPart) error {
	j := a.cfg.Journal
	old, part := t.current(), content.part
	paths := make([]value.Path, len(part.Components))
	for i, c := range part.Components {
		paths[i] = value.Path(c.Path)
	}
	defer t.writing(paths...)()
	writes, err := t.outlast(content)
	if err != nil {
		return err
	}
	writes = append(writes, j.Parts.Set(&journalpb.Part{
		System: part.System, Revision: part.Revision, Plan: part.Plan, Signed: signed, Received: timestamppb.New(a.now()),
	}))
	if err := j.Save(ctx, writes...); err != nil {
		return err
	}
	// Only now: a part whose steps are forgotten would be carried out again.
	if old != nil {
		if err := j.Forget(ctx, part.System, old.Plan); err != nil {
			a.cfg.Log.Warn("forget the plan before", "system", part.System, "plan", old.Plan, "error", err)
		}
	}
	return nil
}

// settle ends what is under way of the part before, so that a new one can take
// its place.
func (t *tenant) settle(ctx context.Context) error {
	t.mu.Lock()
	runner, ended := t.runner, t.ended
	t.mu.Unlock()
	if runner.Pending() > 0 {
		t.interrupt("a newer plan took its place")
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return status.Errorf(codes.Unavailable, "the plan before has not ended on this machine: %v", context.Cause(ctx))
	}
}

// fence refuses what an owner orders that has been replaced, and keeps the
// highest fence on disk before anything is done in its name.
func (a *Agent) fence(ctx context.Context, system string, f *peerpb.Fence) error {
	err := a.cfg.Journal.Admit(ctx, &journalpb.Fence{Shard: system, Epoch: f.GetEpoch(), Term: f.GetTerm()})
	if errors.Is(err, journal.ErrStaleOwner) {
		return status.Errorf(codes.FailedPrecondition, "%s: %v", StaleOwner, err)
	}
	return err
}

// Tell takes facts of steps elsewhere.
func (a *Agent) Tell(ctx context.Context, r *peerpb.TellRequest) (*peerpb.TellReply, error) {
	fenced := map[string]bool{}
	for _, f := range r.Facts {
		if !fenced[f.System] {
			if err := a.fence(ctx, f.System, r.Fence); err != nil {
				return nil, err
			}
			fenced[f.System] = true
		}
		t := a.tenant(f.System)
		if t == nil || t.current() == nil {
			return nil, status.Errorf(codes.FailedPrecondition, "no part of system %s is here", f.System)
		}
		if err := t.hear(ctx, f); err != nil {
			return nil, err
		}
	}
	return &peerpb.TellReply{}, nil
}

// Interrupt cancels what is under way of a plan and skips the rest of it.
func (a *Agent) Interrupt(ctx context.Context, r *peerpb.InterruptRequest) (*peerpb.InterruptReply, error) {
	if err := a.fence(ctx, r.System, r.Fence); err != nil {
		return nil, err
	}
	t := a.tenant(r.System)
	if t == nil {
		return &peerpb.InterruptReply{}, nil
	}
	done, err := t.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if t.current().GetPlan() != r.Plan {
		return &peerpb.InterruptReply{}, nil
	}
	j := a.cfg.Journal
	if row, ok, err := j.Parts.Get(ctx, r.System); err != nil {
		return nil, err
	} else if ok && !row.Interrupted {
		row.Interrupted = true
		if err := j.Save(ctx, j.Parts.Set(row)); err != nil {
			return nil, err
		}
	}
	t.interrupt("interrupted")
	return &peerpb.InterruptReply{}, nil
}

// Inspect tells what the machine holds.
func (a *Agent) Inspect(_ context.Context, r *peerpb.InspectRequest) (*peerpb.InspectReply, error) {
	reply := &peerpb.InspectReply{DaemonVersion: a.cfg.Build, DaemonPid: int64(a.cfg.PID)}
	for _, t := range a.all() {
		if r.System != "" && r.System != t.system {
			continue
		}
		t.mu.Lock()
		for _, path := range slices.Sorted(maps.Keys(t.comps)) {
			st, err := t.state(path)
			if err != nil {
				t.mu.Unlock()
				return nil, err
			}
			reply.States = append(reply.States, st)
		}
		for _, id := range slices.Sorted(maps.Keys(t.facts)) {
			reply.Facts = append(reply.Facts, t.facts[id])
		}
		t.mu.Unlock()
	}
	return reply, nil
}
