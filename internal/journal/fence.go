package journal

import (
	"context"
	"errors"
	"fmt"

	"aloft/internal/journal/journalpb"
)

// ErrStaleOwner says that a later owner has been heard already.
var ErrStaleOwner = errors.New("stale owner")

// Admit lets the owner of a shard act, if none with a higher fence has before:
// epochs count first, then terms. When it returns nil the fence is on disk, so
// that no lower one is ever admitted again, also after a crash. A lower fence
// is ErrStaleOwner.
func (j *Journal) Admit(ctx context.Context, fence *journalpb.Fence) error {
	for {
		known, revision, err := j.Fences.load(ctx, fence.GetShard())
		if err != nil {
			return err
		}
		switch {
		case revision != 0 && lower(fence, known):
			return fmt.Errorf("%s: %w: fence %d.%d, and %d.%d was admitted", fence.GetShard(), ErrStaleOwner,
				fence.GetEpoch(), fence.GetTerm(), known.GetEpoch(), known.GetTerm())
		case revision != 0 && !lower(known, fence):
			return nil
		}
		w := j.Fences.Set(fence)
		w.revision = revision
		if saved, err := j.save(ctx, []Write{w}); saved || err != nil {
			return err
		}
		// Another call was faster: look at what it has admitted.
	}
}

func lower(a, b *journalpb.Fence) bool {
	if a.GetEpoch() != b.GetEpoch() {
		return a.GetEpoch() < b.GetEpoch()
	}
	return a.GetTerm() < b.GetTerm()
}
