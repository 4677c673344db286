package agent

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

// spareLimit bounds the answer of who is asked whether all it has is elsewhere.
const spareLimit = 10 * time.Second

// Spare asks a component whether all that it has is elsewhere too (runtime.md
// UP9).
func (a *Agent) Spare(ctx context.Context, r *peerpb.SpareRequest) (*peerpb.SpareReply, error) {
	if err := a.ready(ctx); err != nil {
		return nil, err
	}
	t := a.tenant(r.System)
	if t == nil {
		return nil, status.Errorf(codes.NotFound, "system %s is not here", r.System)
	}
	c := t.component(value.Path(r.Path))
	if c == nil {
		return nil, status.Errorf(codes.NotFound, "system %s has no component %s here", r.System, r.Path)
	}
	if err := t.spares(ctx, c); err != nil {
		return &peerpb.SpareReply{Why: t.agent.shown.hide(err.Error())}, nil
	}
	return &peerpb.SpareReply{Spare: true}, nil
}

// spares returns why a component may have what nobody else has.
func (t *tenant) spares(ctx context.Context, c *held) error {
	m, class, err := t.manager(c, plan.Terminate)
	if err != nil {
		return err
	}
	t.mu.Lock()
	attrs := c.attrs
	t.mu.Unlock()
	if !class.Spares || attrs == nil {
		return status.Error(codes.FailedPrecondition, "nobody else has what it has")
	}
	if !c.op.TryLock() {
		return status.Error(codes.Unavailable, "an operation on it is under way")
	}
	defer c.op.Unlock()
	c.spare = true
	defer func() { c.spare = false }()
	call, env, err := t.call(ctx, c, plan.Start, attrs)
	if err != nil {
		return err
	}
	defer env.close()
	return lifecycle.Ping(ctx, m, call, spareLimit)
}
