package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"aloft/internal/crash"
)

// reader reads through a Store.
type reader struct {
	s       *Store
	need    need
	options []clientv3.OpOption
}

// Get returns one row, or ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (Entry, error) {
	return reader{s: s, need: needQuorum}.Get(ctx, key)
}

// List returns the rows under prefix and the revision they were read at.
func (s *Store) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	return reader{s: s, need: needQuorum}.List(ctx, prefix)
}

// Local reads what this member has.
func (s *Store) Local() Reader {
	return reader{s, needMember, []clientv3.OpOption{clientv3.WithSerializable()}}
}

// Get returns one row, or ErrNotFound.
func (r reader) Get(ctx context.Context, key string) (Entry, error) {
	if err := checkKey(key); err != nil {
		return Entry{}, err
	}
	a, err := r.read(ctx, "read row "+key, key)
	if err != nil {
		return Entry{}, err
	}
	if len(a.Kvs) == 0 {
		return Entry{}, fmt.Errorf("row %s: %w", key, ErrNotFound)
	}
	return entry(a.Kvs[0]), nil
}

// List returns the rows under prefix and the revision they were read at.
func (r reader) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	a, err := r.read(ctx, "list rows "+prefix, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, err
	}
	entries := make([]Entry, len(a.Kvs))
	for i, kv := range a.Kvs {
		entries[i] = entry(kv)
	}
	return entries, a.Header.Revision, nil
}

// read asks again when the leader changed meanwhile.
func (r reader) read(ctx context.Context, op, key string, options ...clientv3.OpOption) (a *clientv3.GetResponse, err error) {
	for {
		err = r.s.call(ctx, op, r.need, func(ctx context.Context, m *member) error {
			a, err = m.client.Get(ctx, key, append(options, r.options...)...)
			return err
		})
		if !errors.Is(err, ErrUncertain) {
			return a, err
		}
	}
}

// Commit carries out t and returns the store's revision after it.
func (s *Store) Commit(ctx context.Context, t Txn) (int64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	conditions := make([]clientv3.Cmp, len(t.If))
	reads := make([]clientv3.Op, len(t.If))
	for i, c := range t.If {
		conditions[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Revision)
		reads[i] = clientv3.OpGet(c.Key, clientv3.WithKeysOnly())
	}
	writes := make([]clientv3.Op, 0, len(t.Put)+len(t.Delete))
	for _, p := range t.Put {
		writes = append(writes, clientv3.OpPut(p.Key, string(p.Value), clientv3.WithLease(clientv3.LeaseID(p.Lease))))
	}
	for _, key := range t.Delete {
		writes = append(writes, clientv3.OpDelete(key))
	}
	for tries := 0; ; tries++ {
		var r *clientv3.TxnResponse
		err := s.call(ctx, "write rows", needDisk, func(ctx context.Context, m *member) (err error) {
			if err := s.account(m, t.size()); err != nil {
				return err
			}
			t.instant("before")
			r, err = m.client.Txn(ctx).If(conditions...).Then(writes...).Else(reads...).Commit()
			t.instant("after")
			return err
		})
		switch {
		case errors.Is(err, ErrUncertain) && t.once():
			continue
		case err != nil:
			return 0, err
		case r.Succeeded:
			return r.Header.Revision, nil
		case tries > 0:
			// What changed the rows may have been the first try.
			return 0, fmt.Errorf("write rows: %w", ErrUncertain)
		}
		have := map[string]int64{}
		for _, answer := range r.Responses {
			for _, kv := range answer.GetResponseRange().GetKvs() {
				have[string(kv.Key)] = kv.ModRevision
			}
		}
		return 0, conflict(t.If, func(key string) int64 { return have[key] })
	}
}

// size is about what a transaction adds to the rows.
func (t Txn) size() int {
	n := 0
	for _, p := range t.Put {
		n += len(p.Key) + len(p.Value)
	}
	return n
}

// instant is one before or after a transaction, at which a test may end this
// process.
func (t Txn) instant(when string) {
	if !crash.On {
		return
	}
	var keys []string
	for _, p := range t.Put {
		keys = append(keys, p.Key)
	}
	crash.Here(when + " the write of rows " + strings.Join(append(keys, t.Delete...), " "))
}

// once reports whether a transaction that is carried out cannot be carried out
// again: its conditions cover all that it writes.
func (t Txn) once() bool {
	held := make(map[string]bool, len(t.If))
	for _, c := range t.If {
		held[c.Key] = true
	}
	for _, p := range t.Put {
		if !held[p.Key] {
			return false
		}
	}
	for _, key := range t.Delete {
		if !held[key] {
			return false
		}
	}
	return true
}

// Watch sends every change of rows under prefix from revision from on.
func (s *Store) Watch(ctx context.Context, prefix string, from int64) <-chan Batch {
	out := make(chan Batch)
	go func() {
		defer close(out)
		err := s.watch(ctx, prefix, max(1, from), out)
		if err == nil {
			return
		}
		select {
		case out <- Batch{Err: failed("watch rows "+prefix, err)}:
		case <-ctx.Done():
		}
	}()
	return out
}

// watch goes from one run of the member to the next. It returns nil when ctx
// ends.
func (s *Store) watch(ctx context.Context, prefix string, next int64, out chan<- Batch) error {
	for {
		s.mu.Lock()
		m, life, changed := s.member, s.life, s.changed
		s.mu.Unlock()
		switch why := life.reason(); {
		case errors.Is(why, ErrClosed), errors.Is(why, ErrRemoved):
			return why
		case why != nil:
			select {
			case <-changed:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		var err error
		if next, err = m.watched(ctx, life, prefix, next, out); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// watched sends changes from revision next on until the member ends or ctx
// does, and returns the revision to go on from.
func (m *member) watched(ctx context.Context, life *gate, prefix string, next int64, out chan<- Batch) (int64, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life.ctx, cancel)()
	for r := range m.client.Watch(inner, prefix, clientv3.WithPrefix(), clientv3.WithRev(next), clientv3.WithProgressNotify()) {
		if err := r.Err(); err != nil {
			if inner.Err() != nil {
				break
			}
			return next, err
		}
		if r.IsProgressNotify() {
			next = max(next, r.Header.Revision+1)
		}
		if len(r.Events) == 0 {
			continue
		}
		b := Batch{Changes: make([]Change, len(r.Events))}
		for i, e := range r.Events {
			b.Changes[i] = Change{Entry: entry(e.Kv), Deleted: e.Type == mvccpb.DELETE}
		}
		b.Revision = b.Changes[len(b.Changes)-1].Revision
		select {
		case out <- b:
			next = b.Revision + 1
		case <-ctx.Done():
			return next, nil
		}
	}
	if inner.Err() == nil { // the member ends watches when it stops, without an error
		select {
		case <-life.ctx.Done():
		case <-ctx.Done():
		}
	}
	return next, nil
}

// Grant makes a lease.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (id LeaseID, err error) {
	err = s.call(ctx, "grant a lease", needDisk, func(ctx context.Context, m *member) error {
		r, err := m.client.Grant(ctx, seconds(ttl))
		if err == nil {
			id = LeaseID(r.ID)
		}
		return err
	})
	return id, err
}

// Renew starts the lease's time anew.
func (s *Store) Renew(ctx context.Context, id LeaseID) error {
	return s.call(ctx, "renew a lease", needQuorum, func(ctx context.Context, m *member) error {
		_, err := m.client.KeepAliveOnce(ctx, clientv3.LeaseID(id))
		return err
	})
}

// Revoke ends the lease and deletes its rows.
func (s *Store) Revoke(ctx context.Context, id LeaseID) error {
	return s.call(ctx, "revoke a lease", needQuorum, func(ctx context.Context, m *member) error {
		_, err := m.client.Revoke(ctx, clientv3.LeaseID(id))
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
}

// Compact forgets the history before revision: watches from before it get
// ErrCompacted. The store does it by itself from time to time.
func (s *Store) Compact(ctx context.Context, revision int64) error {
	return s.call(ctx, "compact the store", needQuorum, func(ctx context.Context, m *member) error {
		_, err := m.client.Compact(ctx, revision)
		if errors.Is(err, rpctypes.ErrCompacted) {
			return nil
		}
		return err
	})
}

func entry(kv *mvccpb.KeyValue) Entry {
	return Entry{
		Key: string(kv.Key), Value: kv.Value, Revision: kv.ModRevision,
		Created: kv.CreateRevision, Lease: LeaseID(kv.Lease),
	}
}

// failed turns etcd's errors into ours and says what was tried.
func failed(op string, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		err = ErrCompacted
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		err = ErrLeaseLost
	case errors.Is(err, rpctypes.ErrNoSpace):
		err = fmt.Errorf("the store holds %d MB and takes no more: end systems that are no longer needed", quota>>20)
	case errors.Is(err, rpctypes.ErrTimeout), errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail),
		errors.Is(err, rpctypes.ErrTimeoutDueToConnectionLost), errors.Is(err, rpctypes.ErrLeaderChanged),
		errors.Is(err, rpctypes.ErrNoLeader):
		err = ErrUncertain
	case errors.Is(err, rpctypes.ErrStopped):
		err = unavailable(err)
	}
	return fmt.Errorf("%s: %w", op, err)
}
