package agent

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/plan"
)

// reminder is when a component is to do what cannot be done before, as renewing
// what expires. It is guarded by the tenant's lock.
type reminder struct {
	at  time.Time // by this host's clock, which may be set meanwhile; zero: never
	why string
}

func (e *environment) Remind(at time.Time, why string) {
	e.t.mu.Lock()
	e.c.reminder = reminder{at, why}
	e.t.mu.Unlock()
}

func (e *environment) Changed() {
	e.t.mu.Lock()
	e.changed = true
	e.t.mu.Unlock()
}

// Times of a request for a certificate.
const (
	certifyLimit = 30 * time.Second
	certifyPause = 500 * time.Millisecond // what is not known to the owner yet may be on its way
)

func (e *environment) Certify(ctx context.Context, request []byte) ([][]byte, error) {
	ask := e.t.agent.cfg.Certify
	if ask == nil {
		return nil, errors.New("this daemon has nobody to ask for a certificate")
	}
	ctx, cancel := context.WithTimeout(ctx, certifyLimit)
	defer cancel()
	for {
		reply, err := ask(ctx, &peerpb.CertifyRequest{System: e.t.system, Path: string(e.c.path), CertificateRequest: request})
		if err == nil {
			return reply.Chain, nil
		}
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
			return nil, errors.New(status.Convert(err).Message())
		}
		if sleep(ctx, certifyPause); ctx.Err() != nil {
			return nil, errors.New(status.Convert(err).Message())
		}
	}
}

// reminded returns the components that are to be reminded now.
func (t *tenant) reminded(now time.Time) (due []*held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.resuming.Load() {
		return nil
	}
	for _, c := range t.comps {
		if r := &c.reminder; !r.at.IsZero() && !now.Before(r.at) && t.stands(c) {
			r.at = time.Time{}
			due = append(due, c)
		}
	}
	return due
}

// remindAgain is how long after a try that came to nothing the next one begins,
// where the manager says nothing else.
const remindAgain = time.Minute

// remind has a component do what it has asked to be reminded of. What cannot be
// done leaves it as it is: it asks to be reminded again.
func (t *tenant) remind(ctx context.Context, c *held) {
	c.op.Lock()
	defer c.op.Unlock()
	planned := t.planned(c.path)
	t.mu.Lock()
	stands, why := t.stands(c), c.reminder.why
	switch {
	case !stands:
		c.reminder.at = t.agent.now() // when it does again
	case planned:
		c.reminder.at = t.agent.now().Add(remindAgain) // the plan may leave it as it is
	}
	t.mu.Unlock()
	if !stands || planned {
		return
	}
	c.mends = true
	err := t.operate(ctx, c, plan.Reconfigure)
	c.mends = false
	if ctx.Err() != nil {
		return // the daemon ends; the next one begins with Start
	}
	if err != nil {
		cause := t.agent.shown.hide(err.Error())
		t.set(c, inventory.Running, drifted+cause, nil)
		t.event(c.path, "", event.ComponentOverdue, why+": "+cause, 0)
		t.mu.Lock()
		if c.reminder.at.IsZero() { // its manager was not even asked
			c.reminder.at = t.agent.now().Add(remindAgain)
		}
		t.mu.Unlock()
	} else {
		t.event(c.path, "", event.ComponentRepaired, why, 0)
	}
	t.save(ctx, c.path)
}
