package agent

import (
	"context"
	"io"
	"log/slog"
	"slices"

	"aloft/component"
	"aloft/internal/event"
	"aloft/internal/plan"
	"aloft/value"
)

// environment is what a manager may ask during one call, and what it tells
// afterwards.
type environment struct {
	t      *tenant
	c      *held
	action plan.Action
	life   context.Context // of the call, for Source
	log    *slog.Logger
	notify []*value.Reference
	// changed: what others have read of the component is not so any more.
	changed bool
	closed  bool
}

func (e *environment) close() {
	e.t.mu.Lock()
	e.closed = true
	e.t.mu.Unlock()
}

func (e *environment) Output(name string, v value.Value) {
	e.t.mu.Lock()
	e.c.outputs[name] = e.t.agent.shown.hideIn(v)
	e.t.mu.Unlock()
}

func (e *environment) Read(ctx context.Context, ref *value.Reference) (value.Value, error) {
	v, err := e.t.reader(e.c, e.action).resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	return value.ReplaceSecrets(v, func(s value.Secret) (value.Value, error) {
		content, err := e.t.agent.secret(ctx, e.t.system, s)
		return value.String(content), err
	})
}

func (e *environment) Notify(ref *value.Reference) {
	e.t.mu.Lock()
	if !e.closed {
		e.notify = append(e.notify, ref)
	}
	e.t.mu.Unlock()
}

func (e *environment) Progress(fraction float64, text string) {
	e.t.event(e.c.path, "", event.Progress, e.t.agent.shown.hide(text), fraction)
}

func (e *environment) Log() *slog.Logger { return e.log }

func (e *environment) Source(ctx context.Context, digest string) (io.ReadCloser, error) {
	return e.t.agent.cfg.Sources.Open(ctx, digest)
}

func (e *environment) Ended(r component.Record) {
	hide := e.t.agent.shown.hide
	r.Description, r.Cause, r.Output = hide(r.Description), hide(r.Cause), slices.Clone(r.Output)
	for i := range r.Output {
		r.Output[i] = hide(r.Output[i])
	}
	e.t.agent.spawn(func(ctx context.Context) { e.t.componentEnded(ctx, e.c, r) })
}

func (e *environment) Killed(reason string) {
	e.t.event(e.c.path, "", event.ComponentKilled, e.t.agent.shown.hide(reason), 0)
}

func (e *environment) Restarted(reason string) {
	e.t.mu.Lock()
	e.c.restarts++
	e.t.mu.Unlock()
	e.t.event(e.c.path, "", event.ComponentRestarted, e.t.agent.shown.hide(reason), 0)
	e.t.changed(e.c.path)
	e.t.agent.spawn(func(ctx context.Context) { e.t.save(ctx, e.c.path) })
}
