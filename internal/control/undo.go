package control

import (
	"context"
	"fmt"
	"time"

	"aloft/api"
	"aloft/internal/event"
	"aloft/internal/plan"
)

// undoing is how it goes with beginning to undo a plan.
type undoing struct {
	busy    bool      // somebody tries
	refused string    // why it is not to be, as it would destroy data
	tries   int       // that came to nothing
	next    time.Time // when it may be tried again
	told    string    // why it came to nothing, as was told
}

// undo leads a system whose newest plan failed under sfOnFailure "undo" back
// to the revision before (runtime.md UP4); a new system is terminated. What
// keeps that from beginning, as a store or a disk that takes nothing, is told;
// watchLost tries it again. What would destroy data is not undone by itself
// (UP9): the system stays as a failed plan leaves it without sfOnFailure.
func (c *Control) undo(ctx context.Context, s *system) {
	s.mu.Lock()
	if !s.failedToUndo() || s.undoing.busy || time.Now().Before(s.undoing.next) {
		s.mu.Unlock()
		return // somebody was faster, or it is too soon
	}
	s.undoing.busy = true
	failed := s.plan
	r := api.PlanRequest{
		Name: s.name, Down: s.plan.Previous == "", File: s.plan.OldFile, Cause: fmt.Sprintf("undo of %d", s.head.Revision),
		AllowUnresolved: true, // as it was taken
	}
	previous, base := s.plan.Previous, s.plan.Base
	if r.File == "" {
		r.File = s.plan.File
	}
	s.mu.Unlock()
	refused, err := c.goBack(ctx, s.name, r, failed, previous, base)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undoing.busy = false
	if err == nil || ctx.Err() != nil || s.plan.ID != failed.ID {
		return
	}
	if refused {
		s.undoing.refused = err.Error()
		c.emit(s, event.PlanWaits, fmt.Sprintf("revision %d is not undone: %s", s.head.Revision, err))
		return
	}
	s.undoing.next = time.Now().Add(min(againAfter<<min(s.undoing.tries, 4), againLimit))
	s.undoing.tries++
	if why := err.Error(); why != s.undoing.told {
		s.undoing.told = why
		c.cfg.Log.Error("undo", "system", s.name, "error", err)
		c.emit(s, event.PlanWaits, fmt.Sprintf("revision %d cannot be undone yet: %s", s.head.Revision, why))
	}
}

// goBack begins the plan that leads a system back from a failed one to revision
// base, of which previous is the description. Where that would destroy data that
// were there before the failed one, it is refused.
func (c *Control) goBack(ctx context.Context, name string, r api.PlanRequest, failed *plan.Plan, previous string, base int64) (refused bool, err error) {
	d := &draft{auto: true}
	if !r.Down {
		if r.Description, err = c.cfg.Blobs.Read(ctx, previous); err != nil {
			return false, err
		}
		before, err := c.store.revision(ctx, name, base)
		if err != nil {
			return false, err
		}
		if before != nil {
			d.writtenBlob = before.WrittenBlob
		}
	}
	p, err := c.planned(ctx, r, d)
	if err != nil || p.Attached {
		return false, err
	}
	undoes(d.plan, failed)
	if err := lossless(d.plan); err != nil {
		return true, err
	}
	d.plan.Undo = true
	if d.plan.Revision == d.plan.Base { // there is nothing to do: the failed one keeps its place in the history
		d.plan.Revision++
	}
	c.keepDraft(d)
	_, err = c.Apply(ctx, name, p.ID)
	return false, err
}
