package journal_test

import (
	"errors"
	"testing"

	"aloft/api/peerpb"
	"aloft/internal/journal"
	"aloft/internal/store"
)

// The steps of accounts and systems are rows of the managers' store: the same
// journal, guarded by the row of ownership.
func TestJournalInTheStoreEndsWithOwnership(t *testing.T) {
	ctx := t.Context()
	kv := store.NewMemory()
	defer kv.Close()
	owned, err := kv.Commit(ctx, store.Txn{Put: []store.Put{{Key: "owner", Value: []byte("me")}}})
	if err != nil {
		t.Fatal(err)
	}
	j := journal.New(store.Rows{
		KV: kv, Prefix: "journal/", Guard: []store.Condition{{Key: "owner", Revision: owned}},
	})
	step := journal.Step{System: "guestbook", Plan: "p", ID: "1", Token: "t"}
	if err := j.Begin(ctx, step); err != nil {
		t.Fatal(err)
	}
	if left, err := j.Unfinished(ctx); err != nil || len(left) != 1 || left[0].Step != step {
		t.Fatal(left, err)
	}
	if _, err := kv.Commit(ctx, store.Txn{Put: []store.Put{{Key: "owner", Value: []byte("another")}}}); err != nil {
		t.Fatal(err)
	}
	done := journal.Result{Outcome: peerpb.Outcome_OUTCOME_DONE}
	if err := j.End(ctx, step, done); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a former owner ended a step: %v", err)
	}
}
