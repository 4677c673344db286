package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		child(config)
		return
	}
	status := m.Run()
	if three != nil {
		three.close()
	}
	// A stream to a member that was removed ends with the time limit of etcd's
	// connections, five seconds, where its end cannot interrupt a read.
	err := goleak.Find()
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); {
		err = goleak.Find()
	}
	if err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// three is the cluster that the suite uses: to start one takes a second or two.
var three *cluster

// follower returns a member of three that does not lead, without any rows.
func follower(t *testing.T) *Store {
	t.Helper()
	if three == nil {
		dir, err := os.MkdirTemp("", "aloft-store-")
		if err != nil {
			t.Fatal(err)
		}
		three = newClusterIn(t, dir, 3)
	}
	three.t = t
	s := three.members[(three.leader()+1)%3]
	for {
		rows, _, err := s.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			return s
		}
		var txn Txn
		for _, row := range rows[:min(len(rows), MaxTxnOp)] {
			txn.Delete = append(txn.Delete, row.Key)
		}
		if _, err := s.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
	}
}

// full is what the suite needs of both forms beyond KV.
type full interface {
	KV
	Compact(ctx context.Context, revision int64) error
	Close()
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// shared is a client as the suite wants it.
type shared struct {
	*Client
	memory *Memory
}

func (s shared) Compact(ctx context.Context, revision int64) error {
	return s.memory.Compact(ctx, revision)
}
func (s shared) Close() { s.memory.Close() }

// each runs f on every form of the store: what holds for one holds for all.
func each(t *testing.T, f func(t *testing.T, kv full)) {
	t.Run("three members", func(t *testing.T) { f(t, follower(t)) })
	every(t, f)
}

// every does so for what ends the store.
func every(t *testing.T, f func(t *testing.T, kv full)) {
	t.Run("one member", func(t *testing.T) { f(t, open(t, t.TempDir())) })
	t.Run("memory", func(t *testing.T) {
		m := NewMemory()
		t.Cleanup(m.Close)
		f(t, m)
	})
	t.Run("client of a memory", func(t *testing.T) {
		m := NewMemory()
		t.Cleanup(m.Close)
		f(t, shared{m.Client(nil), m})
	})
}

// put writes rows, again where the members agree upon another leader meanwhile:
// nobody else writes these.
func put(t *testing.T, kv KV, pairs ...string) int64 {
	t.Helper()
	var txn Txn
	for i := 0; i < len(pairs); i += 2 {
		txn.Put = append(txn.Put, Put{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	for tries := 1; ; tries++ {
		rev, err := kv.Commit(t.Context(), txn)
		if err == nil {
			return rev
		}
		if !errors.Is(err, ErrUncertain) || tries == 3 {
			t.Fatal(err)
		}
	}
}

// tell writes changes as text: "a=1" or "-a".
func tell(changes []Change) []string {
	out := []string{}
	for _, c := range changes {
		if c.Deleted {
			out = append(out, "-"+c.Key)
		} else {
			out = append(out, c.Key+"="+string(c.Value))
		}
	}
	return out
}

// next receives batches until n changes have come.
func next(t *testing.T, w <-chan Batch, n int) []string {
	t.Helper()
	var all []Change
	for len(all) < n {
		select {
		case b, ok := <-w:
			if !ok || b.Err != nil {
				t.Fatalf("watch ended after %v: %v", tell(all), b.Err)
			}
			all = append(all, b.Changes...)
		case <-time.After(10 * time.Second):
			t.Fatalf("no change after %v", tell(all))
		}
	}
	return tell(all)
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRowIsReadAsItWasWritten(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		if _, err := kv.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("missing row: %v", err)
		}
		first := put(t, kv, "a", "1")
		second := put(t, kv, "a", "2")
		e, err := kv.Get(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Value) != "2" || e.Created != first || e.Revision != second || second != first+1 {
			t.Errorf("got %+v after revisions %d and %d", e, first, second)
		}
	})
}

func TestListHoldsThePrefixSortedAtOneRevision(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		rev := put(t, kv, "s/b", "2", "s/a", "1", "sx", "no", "t/a", "no")
		entries, at, err := kv.List(t.Context(), "s/")
		if err != nil {
			t.Fatal(err)
		}
		if at != rev {
			t.Errorf("read at %d, want %d", at, rev)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Key+"="+string(e.Value))
		}
		equal(t, got, []string{"s/a=1", "s/b=2"})
		if all, _, err := kv.List(t.Context(), ""); err != nil || len(all) != 4 {
			t.Errorf("empty prefix: %d rows, %v", len(all), err)
		}
	})
}

func TestTransactionWritesAllOrNothing(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		ctx := t.Context()
		rev := put(t, kv, "a", "1", "b", "1")
		if rev2 := put(t, kv, "b", "2"); rev2 != rev+1 {
			t.Fatalf("revision %d after %d", rev2, rev)
		}
		for _, c := range []struct {
			name string
			on   Condition
			want string
		}{
			{"changed", Condition{"b", rev}, "row b was changed meanwhile"},
			{"exists", Condition{"a", 0}, "row a exists already"},
			{"gone", Condition{"c", rev}, "row c is gone"},
		} {
			_, err := kv.Commit(ctx, Txn{
				If:     []Condition{{"a", rev}, c.on},
				Put:    []Put{{Key: "x", Value: []byte("!")}},
				Delete: []string{"a"},
			})
			if !errors.Is(err, ErrConflict) || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if all, _, _ := kv.List(ctx, ""); len(all) != 2 {
			t.Fatalf("a refused transaction wrote: %v", all)
		}
		if _, err := kv.Commit(ctx, Txn{
			If:     []Condition{{"a", rev}, {"x", 0}},
			Put:    []Put{{Key: "x", Value: []byte("1")}},
			Delete: []string{"a", "never"},
		}); err != nil {
			t.Fatal(err)
		}
		entries, _, _ := kv.List(ctx, "")
		if len(entries) != 2 || entries[0].Key != "b" || entries[1].Key != "x" {
			t.Errorf("rows %v", entries)
		}
	})
}

func TestTransactionThatChangesNothingMakesNoRevision(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		rev := put(t, kv, "a", "1")
		got, err := kv.Commit(t.Context(), Txn{If: []Condition{{"a", rev}}, Delete: []string{"never"}})
		if err != nil || got != rev {
			t.Errorf("revision %d, %v; want %d", got, err, rev)
		}
	})
}

func TestOnlyOneOfManyWritersWinsARevision(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		put(t, kv, "n", "")
		const writers, rounds = 8, 10
		done := make(chan error)
		for range writers {
			go func() {
				for range rounds {
					for {
						e, err := kv.Get(t.Context(), "n")
						if err == nil {
							_, err = kv.Commit(t.Context(), Txn{
								If:  []Condition{{"n", e.Revision}},
								Put: []Put{{Key: "n", Value: append(e.Value, '+')}},
							})
						}
						if errors.Is(err, ErrConflict) {
							continue
						}
						if err != nil {
							done <- err
							return
						}
						break
					}
				}
				done <- nil
			}()
		}
		for range writers {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		e, _ := kv.Get(t.Context(), "n")
		if len(e.Value) != writers*rounds {
			t.Errorf("%d additions, want %d", len(e.Value), writers*rounds)
		}
	})
}

func TestWhatIsTooLargeIsRefusedAndNamed(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		for _, c := range []struct {
			name string
			txn  Txn
			want string
		}{
			{"row", Txn{Put: []Put{{Key: "big", Value: make([]byte, MaxRow+1)}}}, "row big of 262145 bytes"},
			{"key", Txn{Delete: []string{strings.Repeat("k", maxKey+1)}}, "key of 4097 bytes"},
			{"transaction", Txn{Put: []Put{
				{Key: "1", Value: make([]byte, MaxRow)},
				{Key: "2", Value: make([]byte, MaxRow)},
				{Key: "3", Value: make([]byte, MaxRow)},
				{Key: "4", Value: make([]byte, MaxRow)},
			}}, "transaction of 1048580 bytes"},
			{"operations", Txn{Delete: make([]string, MaxTxnOp+1)}, "513 deletes"},
		} {
			_, err := kv.Commit(t.Context(), c.txn)
			if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		whole := Txn{Put: []Put{{Key: "big", Value: bytes.Repeat([]byte("x"), MaxRow)}}}
		if _, err := kv.Commit(t.Context(), whole); err != nil {
			t.Errorf("row of the largest size: %v", err)
		}
		many := Txn{}
		for i := range MaxTxnOp {
			many.Put = append(many.Put, Put{Key: fmt.Sprint("many/", i)})
			many.If = append(many.If, Condition{Key: fmt.Sprint("many/", i)})
		}
		if _, err := kv.Commit(t.Context(), many); err != nil {
			t.Errorf("transaction of the most operations: %v", err)
		}
		if _, err := kv.Commit(t.Context(), Txn{Put: []Put{{Key: "a"}}, Delete: []string{"a"}}); err == nil {
			t.Error("a key was written twice in one transaction")
		}
		if _, err := kv.Commit(t.Context(), Txn{Put: []Put{{}}}); err == nil {
			t.Error("a row without a key was written")
		}
	})
}

func TestWatchTellsEveryChangeOnceFromItsRevision(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		put(t, kv, "w/a", "0")
		from := put(t, kv, "w/a", "1", "other", "x")
		put(t, kv, "w/b", "1", "w/c", "1")
		w := kv.Watch(t.Context(), "w/", from)
		equal(t, next(t, w, 3), []string{"w/a=1", "w/b=1", "w/c=1"})
		put(t, kv, "other", "y")
		if _, err := kv.Commit(t.Context(), Txn{
			Put: []Put{{Key: "w/b", Value: []byte("2")}}, Delete: []string{"w/a"},
		}); err != nil {
			t.Fatal(err)
		}
		equal(t, next(t, w, 2), []string{"w/b=2", "-w/a"})
	})
}

func TestListThenWatchMissesNothing(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		put(t, kv, "a", "1")
		entries, rev, err := kv.List(t.Context(), "")
		if err != nil || len(entries) != 1 {
			t.Fatal(entries, err)
		}
		put(t, kv, "b", "1")
		equal(t, next(t, kv.Watch(t.Context(), "", rev+1), 1), []string{"b=1"})
	})
}

func TestWatchOfForgottenHistorySaysSo(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		first := put(t, kv, "a", "1")
		put(t, kv, "a", "2")
		last := put(t, kv, "a", "3")
		if err := kv.Compact(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		w := kv.Watch(t.Context(), "", first)
		if b := <-w; !errors.Is(b.Err, ErrCompacted) {
			t.Errorf("got %+v", b)
		}
		if _, open := <-w; open {
			t.Error("the watch went on after its error")
		}
		w = kv.Watch(t.Context(), "", last)
		put(t, kv, "a", "4")
		equal(t, next(t, w, 2), []string{"a=3", "a=4"})
		if e, err := kv.Get(t.Context(), "a"); err != nil || string(e.Value) != "4" {
			t.Errorf("row after compaction: %+v, %v", e, err)
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		ctx, cancel := context.WithCancel(t.Context())
		w := kv.Watch(ctx, "", put(t, kv, "a", "1")+1)
		cancel()
		for b := range w {
			if b.Err != nil {
				t.Errorf("ended context told as %v", b.Err)
			}
		}
	})
}

func TestCloseEndsWatchesAndCalls(t *testing.T) {
	every(t, func(t *testing.T, kv full) {
		w := kv.Watch(t.Context(), "a", 1)
		put(t, kv, "a", "1")
		next(t, w, 1)
		kv.Close()
		if b := <-w; !errors.Is(b.Err, ErrClosed) {
			t.Errorf("watch: %+v", b)
		}
		if _, err := kv.Get(t.Context(), "a"); !errors.Is(err, ErrClosed) {
			t.Errorf("get: %v", err)
		}
		if _, err := kv.Commit(t.Context(), Txn{Put: []Put{{Key: "a"}}}); !errors.Is(err, ErrClosed) {
			t.Errorf("commit: %v", err)
		}
	})
}

func TestRowsGoWithTheirLease(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		ctx := t.Context()
		lease, err := kv.Grant(ctx, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		rev, err := kv.Commit(ctx, Txn{Put: []Put{
			{Key: "l/b", Lease: lease}, {Key: "l/a", Lease: lease}, {Key: "l/free", Lease: lease}, {Key: "l/own"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		put(t, kv, "l/free", "1") // written without the lease: bound no longer
		if e, _ := kv.Get(ctx, "l/a"); e.Lease != lease {
			t.Errorf("row %+v is not bound to lease %d", e, lease)
		}
		w := kv.Watch(ctx, "l/", rev+2)
		if err := kv.Revoke(ctx, lease); err != nil {
			t.Fatal(err)
		}
		b := <-w
		equal(t, tell(b.Changes), []string{"-l/a", "-l/b"})
		if b.Changes[0].Revision != b.Changes[1].Revision {
			t.Error("the rows of one lease went at several revisions")
		}
		if err := kv.Renew(ctx, lease); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("renew a revoked lease: %v", err)
		}
		if err := kv.Revoke(ctx, lease); err != nil {
			t.Errorf("revoke twice: %v", err)
		}
		if _, err := kv.Commit(ctx, Txn{Put: []Put{{Key: "l/late", Lease: lease}}}); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("row under a lost lease: %v", err)
		}
	})
}

// Whoever was cut off watches again from the revision after the last that came.
func TestAWatchThatIsResumedMissesNothingAndRepeatsNothing(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		ctx, cancel := context.WithCancel(t.Context())
		first := put(t, kv, "r/a", "1")
		w := kv.Watch(ctx, "r/", first)
		b := <-w
		equal(t, tell(b.Changes), []string{"r/a=1"})
		cancel()
		for b := range w {
			t.Errorf("after its end the watch tells %v, %v", tell(b.Changes), b.Err)
		}
		put(t, kv, "r/a", "2", "other", "x")
		last := put(t, kv, "r/b", "1")
		if _, err := kv.Commit(t.Context(), Txn{Delete: []string{"r/a"}}); err != nil {
			t.Fatal(err)
		}
		if err := kv.Compact(t.Context(), b.Revision+1); err != nil { // what it has seen may go
			t.Fatal(err)
		}
		w = kv.Watch(t.Context(), "r/", b.Revision+1)
		put(t, kv, "r/c", "1")
		equal(t, next(t, w, 4), []string{"r/a=2", "r/b=1", "-r/a", "r/c=1"})
		equal(t, next(t, kv.Watch(t.Context(), "r/", last), 3), []string{"r/b=1", "-r/a", "r/c=1"})
	})
}
