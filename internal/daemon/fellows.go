package daemon

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/api"
	"aloft/internal/member"
	"aloft/internal/member/memberpb"
	"aloft/internal/store"
)

// fellows knows the members of the cluster, as their rows tell.
type fellows struct {
	kv  store.KV
	log *slog.Logger

	mu sync.Mutex
	// by id; guarded by mu
	rows    map[string]*memberpb.Member
	changed func([]*memberpb.Member) // called, in turn, with what is known
}

func newFellows(kv store.KV, log *slog.Logger, changed func([]*memberpb.Member)) *fellows {
	return &fellows{kv: kv, log: log, rows: map[string]*memberpb.Member{}, changed: changed}
}

// Run keeps what is known up to date until ctx ends.
func (f *fellows) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		entries, revision, err := f.kv.List(ctx, memberTable.Under())
		if err != nil {
			f.log.Debug("members", "error", err)
			pause(ctx, time.Second)
			continue
		}
		f.mu.Lock()
		f.rows = map[string]*memberpb.Member{}
		for _, e := range entries {
			f.enter(store.Change{Entry: e})
		}
		f.tell()
		f.mu.Unlock()
		for b := range f.kv.Watch(ctx, memberTable.Under(), revision+1) {
			if b.Err != nil {
				f.log.Debug("members", "error", b.Err)
				break
			}
			f.mu.Lock()
			for _, c := range b.Changes {
				f.enter(c)
			}
			f.tell()
			f.mu.Unlock()
		}
		pause(ctx, 100*time.Millisecond)
	}
	return ctx.Err()
}

// enter takes in a row. The lock is held.
func (f *fellows) enter(c store.Change) {
	id := strings.TrimPrefix(c.Key, memberTable.Under())
	if c.Deleted {
		delete(f.rows, id)
		return
	}
	r, err := memberTable.Row(c.Entry)
	if err != nil {
		f.log.Error("row left out", "error", err)
		return
	}
	f.rows[id] = r.Message
}

// tell tells what is known. The lock is held.
func (f *fellows) tell() {
	all := make([]*memberpb.Member, 0, len(f.rows))
	for _, r := range f.rows {
		all = append(all, r)
	}
	f.changed(all)
}

// managers returns the ids of the managers whose stores vote, or nil while
// nobody is known.
func (f *fellows) managers() (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, r := range f.rows {
		if member.Is(r, member.Manage) && !r.Joining {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// all returns all members. What it returns must not be changed.
func (f *fellows) all() []*memberpb.Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.rows))
}

// is reports whether id is a member's.
func (f *fellows) is(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rows[id] != nil
}

// owner says who a manager is.
func (f *fellows) owner(id string) api.SystemOwner {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rows[id]
	if r == nil {
		return api.SystemOwner{Name: id}
	}
	return api.SystemOwner{Name: r.Name, PID: int(r.Pid), Address: r.Address}
}
