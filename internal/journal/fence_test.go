package journal

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"aloft/internal/journal/journalpb"
)

func TestStaleOwnerIsRefusedAlsoAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, f := open(t, path)
	admit := func(epoch, term int64) error {
		return j.Admit(t.Context(), &journalpb.Fence{Shard: "guestbook", Epoch: epoch, Term: term})
	}
	must(t, admit(1, 4))
	must(t, admit(1, 4))
	must(t, admit(1, 5))
	must(t, f.Close())
	j, _ = open(t, path)
	for _, c := range []struct {
		epoch, term int64
		stale       bool
	}{{1, 4, true}, {0, 9, true}, {1, 5, false}, {2, 1, false}, {1, 6, true}} {
		if err := admit(c.epoch, c.term); errors.Is(err, ErrStaleOwner) != c.stale || (err != nil) != c.stale {
			t.Errorf("fence %d.%d: %v", c.epoch, c.term, err)
		}
	}
	must(t, j.Admit(t.Context(), &journalpb.Fence{Shard: "another"}))
}

func TestHighestFenceWinsWhoeverIsFaster(t *testing.T) {
	j, _ := fresh(t)
	var wg sync.WaitGroup
	for term := range int64(20) {
		wg.Go(func() {
			err := j.Admit(t.Context(), &journalpb.Fence{Shard: "s", Epoch: 1, Term: term})
			if err != nil && !errors.Is(err, ErrStaleOwner) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if f, ok, err := j.Fences.Get(t.Context(), "s"); err != nil || !ok || f.Term != 19 {
		t.Errorf("kept %v, %v", f, err)
	}
}
