package control

import (
	"context"
	"fmt"

	"aloft/api"
)

// undo leads a system whose newest plan failed under sfOnFailure "undo" back
// to the revision before (runtime.md UP4); a new system is terminated.
func (c *Control) undo(ctx context.Context, s *system) {
	s.mu.Lock()
	again := s.failedToUndo()
	r := api.PlanRequest{Name: s.name, Down: s.plan.Previous == "", File: s.plan.OldFile, Cause: fmt.Sprintf("undo of %d", s.head.Revision)}
	previous, base := s.plan.Previous, s.plan.Base
	if r.File == "" {
		r.File = s.plan.File
	}
	s.mu.Unlock()
	if !again {
		return // somebody was faster
	}
	err := func() (err error) {
		d := &draft{auto: true}
		if !r.Down {
			if r.Description, err = c.cfg.Blobs.Read(ctx, previous); err != nil {
				return err
			}
			before, err := c.store.revision(ctx, s.name, base)
			if err != nil {
				return err
			}
			if before != nil {
				d.writtenBlob = before.WrittenBlob
			}
		}
		p, err := c.planned(ctx, r, d)
		if err != nil || p.Attached {
			return err
		}
		d.plan.Undo = true
		if d.plan.Revision == d.plan.Base { // there is nothing to do: the failed one keeps its place in the history
			d.plan.Revision++
		}
		c.keepDraft(d)
		_, err = c.Apply(ctx, s.name, p.ID)
		return err
	}()
	if err != nil && ctx.Err() == nil {
		c.cfg.Log.Error("undo", "system", s.name, "error", err)
	}
}
