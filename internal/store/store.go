// Package store is the durable shared state of the managers: rows under keys,
// compare-and-swap transactions, watches by revision and leases. Store keeps
// them in an embedded etcd, Memory in maps; both have the same semantics and
// run the same tests.
//
// A row is at most MaxRow bytes. A bigger document is cut into pieces that
// package blob keeps by digest, and its row holds the manifest. The store
// refuses to be a queue or a log of events, and it knows nothing of what its
// rows mean: Table gives them a type, their owners give them sense.
//
// A store has one member, alone, or one in each of several managers, of which a
// majority must agree to every write. A member that reaches no majority answers
// ErrNoQuorum; Local reads what it has, which may be old. A member that cannot
// work, because its disk is full say, answers ErrUnavailable with the reason
// until it can.
//
// Open starts the goroutines of the etcd member, and one that watches over it
// and starts it again after a failure; Close ends them, and Run does that for a
// daemon. Each Watch has one goroutine, which ends with its context.
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits of one row and one transaction.
const (
	MaxRow   = 256 << 10 // bytes of one value
	MaxTxn   = 1 << 20   // bytes of all keys and values of one transaction
	MaxTxnOp = 512       // conditions, puts and deletes of one transaction, each
	maxKey   = 4 << 10
)

// Errors that callers branch on.
var (
	// ErrNotFound says that no row has the key.
	ErrNotFound = errors.New("no such row")
	// ErrConflict says that a condition of a transaction did not hold; the
	// error is a *ConflictError. Read again and decide again.
	ErrConflict = errors.New("row was changed meanwhile")
	// ErrCompacted says that the history which a watch asked for is gone. List
	// again and watch from there.
	ErrCompacted = errors.New("history is no longer kept")
	// ErrLeaseLost says that a lease has expired or was revoked, and that the
	// rows bound to it are gone or about to go.
	ErrLeaseLost = errors.New("lease is lost")
	// ErrTooLarge says that a row or a transaction is over its limit.
	ErrTooLarge = errors.New("too large for the store")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrNoQuorum says that no majority of the members answers; the error is a
	// *QuorumError where the store knows which ones. A read did not happen. Of a
	// write nobody knows yet: it takes effect later, or never.
	ErrNoQuorum = errors.New("no majority of the managers answers")
	// ErrUnavailable says that this member does not work at present, and why. A
	// write refused with it was not carried out, unless it was under way when the
	// member ended.
	ErrUnavailable = errors.New("the store does not work at present")
	// ErrUncertain says that the leader of the members changed while a write was
	// under way, or that they were very slow: it took effect, or it did not, or
	// still will. Read, and decide again.
	ErrUncertain = errors.New("unknown whether the write took effect: the managers agreed upon another leader meanwhile, or are very slow")
	// ErrRemoved says that this member was removed from the cluster, for good.
	ErrRemoved = errors.New("this manager was removed from the cluster")
)

// QuorumError tells who does not answer.
type QuorumError struct {
	Members int      // that have a vote
	Silent  []string // names of those that did not answer, this one never among them
}

func (e *QuorumError) Error() string {
	if e.Members == 0 {
		return ErrNoQuorum.Error()
	}
	return fmt.Sprintf("no majority of the %d managers answers (silent: %s): start these, or mend the network between them; "+
		"reads go on, and changes are possible again once a majority answers", e.Members, strings.Join(e.Silent, ", "))
}

// Is makes errors.Is(err, ErrNoQuorum) true.
func (e *QuorumError) Is(target error) bool { return target == ErrNoQuorum }

// ConflictError tells which condition did not hold.
type ConflictError struct {
	Key  string
	Want int64 // revision that the condition named; 0: no row
	Have int64 // revision that the row has; 0: no row
}

func (e *ConflictError) Error() string {
	switch {
	case e.Want == 0:
		return fmt.Sprintf("row %s exists already", e.Key)
	case e.Have == 0:
		return fmt.Sprintf("row %s is gone", e.Key)
	}
	return fmt.Sprintf("row %s was changed meanwhile (revision %d, not %d)", e.Key, e.Have, e.Want)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// LeaseID names a lease; 0 is none.
type LeaseID int64

// Entry is one row as it was at Revision.
type Entry struct {
	Key      string
	Value    []byte
	Revision int64 // of the store, when the row was last written
	Created  int64 // of the store, when the row came to exist
	Lease    LeaseID
}

// Condition holds when the row's last change was at Revision; with Revision 0,
// when there is no row.
type Condition struct {
	Key      string
	Revision int64
}

// Put writes one row. With a Lease the row goes when the lease does.
type Put struct {
	Key   string
	Value []byte
	Lease LeaseID
}

// Txn is what happens at one revision, all or nothing: every condition holds,
// then every put and delete takes effect. No key may be written twice.
// Deleting a row that does not exist does nothing.
type Txn struct {
	If     []Condition
	Put    []Put
	Delete []string
}

// Change is one row written or deleted. Of a deleted row only Key and
// Revision, the revision of the deletion, are set.
type Change struct {
	Entry
	Deleted bool
}

// Batch is what a watch tells at once: whole revisions, in order.
type Batch struct {
	Changes  []Change
	Revision int64 // of the last change; watch from Revision+1 to go on
	// Err ends the watch: ErrCompacted, ErrClosed, or what the store said.
	Err error
}

// Reader reads rows.
type Reader interface {
	// Get returns one row, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List returns the rows whose keys begin with prefix, sorted by key, and
	// the revision they were all read at.
	List(ctx context.Context, prefix string) ([]Entry, int64, error)
}

// KV is the store as its users see it. A daemon hands a Store, a Memory or a
// Client of one in. What it reads is never older than what any member has
// committed before.
type KV interface {
	Reader
	// Local reads what this member has, without asking the others: each read
	// is consistent, and may be old. It answers without a majority too.
	Local() Reader
	// Commit carries out t and returns the store's revision after it. Where a
	// condition does not hold, nothing is written and the error is a
	// *ConflictError.
	Commit(ctx context.Context, t Txn) (int64, error)
	// Watch sends every change of rows whose keys begin with prefix, from
	// revision from on (List's revision plus one; below 1: all that is kept),
	// none twice and none left out. Without a majority there are none; a watch
	// outlives the member's failures, and goes on where it was. The channel is
	// closed after a Batch with Err, or when ctx ends. The receiver must receive
	// or end ctx.
	Watch(ctx context.Context, prefix string, from int64) <-chan Batch
	// Grant makes a lease that ends ttl after its last renewal. Leases count
	// in whole seconds, rounded up, at least one.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// Renew starts the lease's time anew, or returns ErrLeaseLost.
	Renew(ctx context.Context, id LeaseID) error
	// Revoke ends the lease and deletes its rows at one revision. It succeeds
	// when there is no such lease.
	Revoke(ctx context.Context, id LeaseID) error
}

// Stale returns a reader that reads as kv does while it can, and else what this
// member has: for whoever prefers an old answer to none.
func Stale(kv KV) Reader { return stale{kv} }

type stale struct{ kv KV }

func (r stale) Get(ctx context.Context, key string) (Entry, error) {
	e, err := r.kv.Get(ctx, key)
	if errors.Is(err, ErrNoQuorum) {
		return r.kv.Local().Get(ctx, key)
	}
	return e, err
}

func (r stale) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	entries, revision, err := r.kv.List(ctx, prefix)
	if errors.Is(err, ErrNoQuorum) {
		return r.kv.Local().List(ctx, prefix)
	}
	return entries, revision, err
}

// check refuses what neither form of the store could carry out.
func (t Txn) check() error {
	if len(t.If) > MaxTxnOp || len(t.Put)+len(t.Delete) > MaxTxnOp {
		return fmt.Errorf("transaction of %d conditions, %d puts, %d deletes: %w: at most %d",
			len(t.If), len(t.Put), len(t.Delete), ErrTooLarge, MaxTxnOp)
	}
	size := 0
	for _, c := range t.If {
		if err := checkKey(c.Key); err != nil {
			return err
		}
		size += len(c.Key)
	}
	written := make(map[string]bool, len(t.Put)+len(t.Delete))
	write := func(key string) error {
		if written[key] {
			return fmt.Errorf("row %s: written twice in one transaction", key)
		}
		written[key] = true
		size += len(key)
		return checkKey(key)
	}
	for _, p := range t.Put {
		if err := write(p.Key); err != nil {
			return err
		}
		if len(p.Value) > MaxRow {
			return fmt.Errorf("row %s of %d bytes: %w: at most %d; keep the content as a blob and its manifest in the row",
				p.Key, len(p.Value), ErrTooLarge, MaxRow)
		}
		size += len(p.Value)
	}
	for _, key := range t.Delete {
		if err := write(key); err != nil {
			return err
		}
	}
	if size > MaxTxn {
		return fmt.Errorf("transaction of %d bytes: %w: at most %d", size, ErrTooLarge, MaxTxn)
	}
	return nil
}

func checkKey(key string) error {
	if key == "" {
		return errors.New("row without a key")
	}
	if len(key) > maxKey {
		return fmt.Errorf("key of %d bytes (%.40s…): %w: at most %d", len(key), key, ErrTooLarge, maxKey)
	}
	return nil
}

// conflict returns the first of conditions that does not hold for the
// revisions that rows have.
func conflict(conditions []Condition, have func(key string) int64) error {
	for _, c := range conditions {
		if h := have(c.Key); h != c.Revision {
			return &ConflictError{Key: c.Key, Want: c.Revision, Have: h}
		}
	}
	return nil
}

// seconds rounds a lease's time up to what both forms count in.
func seconds(ttl time.Duration) int64 {
	return max(1, int64((ttl+time.Second-1)/time.Second))
}
