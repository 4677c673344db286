package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"aloft/internal/ownership/ownershippb"
	"aloft/internal/store"
)

var errCut = errors.New("no quorum")

// wire is one manager's way to the store. It can be cut, so that nothing is
// taken and nothing comes, and stopped, as SIGSTOP stops a process: whatever is
// on its way stays there.
type wire struct {
	store.KV
	mu      sync.Mutex
	cut     bool          // guarded by mu
	stopped chan struct{} // closed when it goes on; guarded by mu
}

func (w *wire) Cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

func (w *wire) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped == nil {
		w.stopped = make(chan struct{})
	}
}

func (w *wire) Continue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped != nil {
		close(w.stopped)
		w.stopped = nil
	}
}

// gate waits while the process is stopped. Not even its deadlines come.
func (w *wire) gate() (cut bool) {
	for {
		w.mu.Lock()
		stopped, cut := w.stopped, w.cut
		w.mu.Unlock()
		if stopped == nil {
			return cut
		}
		<-stopped
	}
}

func (w *wire) Commit(ctx context.Context, t store.Txn) (int64, error) {
	if w.gate() {
		return 0, errCut
	}
	time.Sleep(5 * time.Millisecond)
	if w.gate() {
		return 0, errCut
	}
	revision, err := w.KV.Commit(context.WithoutCancel(ctx), t)
	w.gate()
	return revision, err
}

func (w *wire) Watch(ctx context.Context, prefix string, from int64) <-chan store.Batch {
	out := make(chan store.Batch)
	go func() {
		defer close(out)
		for b := range w.KV.Watch(ctx, prefix, from) {
			for w.gate() { // a member that is cut off gets it all later
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					return
				}
			}
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// manager is one manager that runs.
type manager struct {
	id     string
	wire   *wire
	keeper *Keeper
	kill   context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	claims map[string]*Claim // the newest it was told of, by shard; guarded by mu
}

func (m *manager) take(c *Claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims[c.Shard()] = c
}

func (m *manager) all() (claims []*Claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.claims {
		claims = append(claims, c)
	}
	return claims
}

// managers are several managers over one store.
type managers struct {
	t    *testing.T
	kv   *store.Memory
	ids  []string
	each map[string]*manager

	known atomic.Pointer[[]string] // who the managers are
}

func newManagers(t *testing.T, n int) *managers {
	all := &managers{t: t, kv: store.NewMemory(), each: map[string]*manager{}}
	for i := range n {
		all.ids = append(all.ids, fmt.Sprintf("m%d", i+1))
	}
	for _, id := range all.ids {
		all.start(id)
	}
	return all
}

func (all *managers) start(id string) *manager {
	all.t.Helper()
	if all.known.Load() == nil {
		all.known.Store(&all.ids)
	}
	m := &manager{id: id, wire: &wire{KV: all.kv}, claims: map[string]*Claim{}, done: make(chan struct{})}
	var err error
	m.keeper, err = New(context.Background(), Config{
		Store: m.wire, Manager: id, Managers: func() []string { return *all.known.Load() }, Take: m.take, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		all.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.kill = cancel
	go func() { defer close(m.done); _ = m.keeper.Run(ctx) }()
	all.each[id] = m
	return m
}

// crash ends a manager without a farewell.
func (all *managers) crash(id string) {
	m := all.each[id]
	m.wire.Cut(true)
	m.wire.Continue()
	m.kill()
	<-m.done
	delete(all.each, id)
}

func (all *managers) close() {
	for id := range all.each {
		all.crash(id)
	}
	all.kv.Close()
}

// writers returns the managers whose claim on a shard can write now.
func (all *managers) writers(shard string) (ids []string) {
	for id, m := range all.each {
		for _, c := range m.all() {
			if c.Shard() != shard {
				continue
			}
			// Past the gates: what counts is what the store would take.
			_, err := all.kv.Commit(context.Background(), store.Txn{
				If:  []store.Condition{{Key: ownerKey(c.shard), Revision: c.revision}},
				Put: []store.Put{{Key: "work/" + shard, Value: fmt.Append(nil, c.Term())}},
			})
			if err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

func (all *managers) acquire(id, shard string) *Claim {
	all.t.Helper()
	c, err := all.each[id].keeper.Acquire(context.Background(), shard)
	if err != nil {
		all.t.Fatal(err)
	}
	all.each[id].take(c)
	return c
}

const (
	takeOver = 3 * time.Second // the promise
	election = time.Second     // of it, where the dead one led the store
)

func TestADeadManagersShardsAreTakenWithinThreeSecondsByOneEach(t *testing.T) { // RT-06
	synctest.Test(t, func(t *testing.T) {
		all := newManagers(t, 3)
		defer all.close()
		time.Sleep(5 * time.Second)
		for i := range 40 {
			all.acquire("m1", System(fmt.Sprint("s", i)))
		}
		all.crash("m1")
		for _, m := range all.each { // the store chooses a leader
			m.wire.Cut(true)
		}
		time.Sleep(election)
		for _, m := range all.each {
			m.wire.Cut(false)
		}
		time.Sleep(takeOver - election)
		took := map[string]int{}
		for i := range 40 {
			shard := System(fmt.Sprint("s", i))
			w := all.writers(shard)
			if len(w) != 1 {
				t.Errorf("%s can be written by %v, want one manager", shard, w)
				continue
			}
			took[w[0]]++
			if o := all.each[w[0]].keeper.Owner(shard); o != w[0] {
				t.Errorf("%s writes %s, which is known as %s's", w[0], shard, o)
			}
		}
		if took["m2"] == 0 || took["m3"] == 0 {
			t.Errorf("the shards were not spread: %v", took)
		}
	})
}

func TestAStoppedManagerThatGoesOnCannotWriteAndStepsDown(t *testing.T) { // RT-06
	synctest.Test(t, func(t *testing.T) {
		all := newManagers(t, 3)
		defer all.close()
		time.Sleep(2 * time.Second)
		c := all.acquire("m1", System("web"))
		m := all.each["m1"]
		m.wire.Stop()
		time.Sleep(takeOver)
		if w := all.writers(System("web")); len(w) != 1 || w[0] == "m1" {
			t.Fatalf("written by %v", w)
		}
		m.wire.Continue()
		if _, err := c.Commit(context.Background(), store.Txn{Put: []store.Put{{Key: "k"}}}); !errors.Is(err, ErrLost) {
			t.Errorf("the former owner's write: %v, want ErrLost", err)
		}
		time.Sleep(time.Second)
		select {
		case <-c.Lost():
		default:
			t.Error("the former owner does not know")
		}
		if _, err := m.keeper.Acquire(context.Background(), System("web")); err == nil {
			t.Error("the former owner took the shard back from a living manager")
		}
	})
}

// A manager that comes back owns what it begins, though the others hold it for
// dead and its beats are late.
func TestAManagerThatBecomesAnOwnerIsNotDead(t *testing.T) { // RT-06
	synctest.Test(t, func(t *testing.T) {
		all := newManagers(t, 3)
		defer all.close()
		time.Sleep(2 * time.Second)
		all.crash("m1")
		time.Sleep(takeOver)
		for _, m := range all.each {
			if m.keeper.Alive("m1") {
				t.Errorf("%s does not know that m1 is dead", m.id)
			}
		}
		m := all.start("m1")
		c := all.acquire("m1", System("web")) // before its first beat is taken
		for range 20 {
			time.Sleep(interval / 20)
			if _, err := c.Commit(context.Background(), store.Txn{Put: []store.Put{{Key: "k"}}}); err != nil {
				t.Fatalf("what m1 has begun was taken from it: %v", err)
			}
		}
		if o := all.each["m2"].keeper.Owner(System("web")); o != m.id {
			t.Errorf("m2 takes %q for the owner", o)
		}
	})
}

// The one that is refused a write, since it was stopped, knows whom to ask.
func TestAFormerOwnerKnowsTheNewOneOnceItsWriteIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := store.NewMemory()
		defer kv.Close()
		deaf := func(id string) *Keeper { // no watch runs
			k, err := New(t.Context(), Config{Store: kv, Manager: id, Managers: func() []string { return []string{"m1"} }, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		k := deaf("m1")
		c, err := k.Acquire(t.Context(), System("web"))
		if err != nil {
			t.Fatal(err)
		}
		other := deaf("m1")
		if _, err := other.Acquire(t.Context(), System("web")); err != nil {
			t.Fatal(err)
		}
		if err := other.Give(t.Context(), System("web"), "m2"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: "k"}}}); !errors.Is(err, ErrLost) {
			t.Errorf("%v, want ErrLost", err)
		}
		if o := k.Owner(System("web")); o != "m2" {
			t.Errorf("takes %q for the owner", o)
		}
	})
}

func TestWithoutAQuorumNobodyIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newManagers(t, 3)
		defer all.close()
		time.Sleep(2 * time.Second)
		c := all.acquire("m1", System("web"))
		for _, m := range all.each {
			m.wire.Cut(true)
		}
		time.Sleep(time.Minute)
		for _, m := range all.each {
			if n := len(m.keeper.Living()); n != 3 {
				t.Errorf("%s believes that %d live", m.id, n)
			}
		}
		for _, m := range all.each {
			m.wire.Cut(false)
		}
		time.Sleep(time.Minute)
		if _, err := c.Commit(context.Background(), store.Txn{Put: []store.Put{{Key: "k"}}}); err != nil {
			t.Errorf("the owner lost its shard: %v", err)
		}
	})
}

func TestAManagerThatEndsGivesItsShardsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newManagers(t, 3)
		defer all.close()
		time.Sleep(2 * time.Second)
		c := all.acquire("m1", Account("sim", "default"))
		m := all.each["m1"]
		m.kill()
		<-m.done
		delete(all.each, "m1")
		select {
		case <-c.Lost():
		default:
			t.Error("the claim is still held")
		}
		time.Sleep(100 * time.Millisecond)
		if w := all.writers(Account("sim", "default")); len(w) != 1 {
			t.Errorf("written by %v a moment later", w)
		}
	})
}

func TestAManagerAloneTakesUpItsShardsAndWritesNoBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newManagers(t, 1)
		defer all.close()
		before := all.acquire("m1", System("web"))
		all.crash("m1")
		all.start("m1")
		time.Sleep(time.Second)
		c := all.each["m1"].keeper.Held(System("web"))
		if c == nil || c.Term() <= before.Term() {
			t.Errorf("holds %+v after a restart, want a term above %d", c, before.Term())
		}
		_, revision, _ := all.kv.List(context.Background(), "")
		time.Sleep(time.Minute)
		if beats, now, _ := all.kv.List(context.Background(), beatTable.Under()); len(beats) != 0 || now != revision {
			t.Errorf("%d beats, %d changes in a minute", len(beats), now-revision)
		}
	})
}

func TestShardsOfAManagerThatWasRemovedAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newManagers(t, 2)
		defer all.close()
		all.acquire("m1", System("web"))
		all.crash("m1")
		all.known.Store(&[]string{"m2"})
		time.Sleep(time.Second)
		if w := all.writers(System("web")); len(w) != 1 {
			t.Errorf("written by %v", w)
		}
	})
}

func TestRowsOfAHomeWithOneManagerAreRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := store.NewMemory()
		defer kv.Close()
		old := store.Table[*ownershippb.Owner]{Prefix: "owner", Schema: 1}
		put, err := old.Put(&ownershippb.Owner{Term: 7}, "a/b c")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Commit(t.Context(), store.Txn{Put: []store.Put{put}}); err != nil {
			t.Fatal(err)
		}
		all := &managers{t: t, kv: kv, ids: []string{"m1"}, each: map[string]*manager{}}
		all.start("m1")
		time.Sleep(time.Second)
		c := all.each["m1"].keeper.Held(System("a/b c"))
		all.crash("m1")
		if c == nil || c.Term() != 8 {
			t.Errorf("holds %+v, want term 8", c)
		}
		if rows, _, _ := kv.List(context.Background(), "owner/"); len(rows) != 1 || !strings.HasPrefix(rows[0].Key, "owner/system/") {
			t.Errorf("rows: %v", rows)
		}
	})
}

// TestAtMostOneManagerCanWriteAShard has managers crash, stop, go on, be cut
// off and come back in an order drawn from a seed. // RT-06 DI3
func TestAtMostOneManagerCanWriteAShard(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { mayhem(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func mayhem(t *testing.T, rng *rand.Rand) {
	all := newManagers(t, 3)
	defer all.close()
	shards := []string{System("a"), System("b"), System("c"), Account("sim", "x")}
	terms := map[string]int64{} // the highest that wrote
	look := func() {
		for _, shard := range shards {
			w := all.writers(shard)
			if len(w) > 1 {
				t.Fatalf("%s can be written by %v", shard, w)
			}
			if e, err := all.kv.Get(context.Background(), "work/"+shard); err == nil {
				var term int64
				fmt.Sscan(string(e.Value), &term)
				if term < terms[shard] {
					t.Fatalf("term %d wrote %s after %d", term, shard, terms[shard])
				}
				terms[shard] = term
			}
		}
	}
	time.Sleep(2 * time.Second)
	for range 40 {
		id := all.ids[rng.IntN(len(all.ids))]
		m := all.each[id]
		switch n := rng.IntN(7); {
		case m == nil:
			all.start(id)
		case n == 0:
			all.crash(id)
		case n == 1:
			m.wire.Stop()
		case n == 2:
			m.wire.Continue()
		case n == 3:
			m.wire.Cut(true)
		case n == 4:
			m.wire.Cut(false)
		case n == 5:
			shard := shards[rng.IntN(len(shards))]
			go func() {
				if c, err := m.keeper.Acquire(context.Background(), shard); err == nil {
					m.take(c)
				}
			}()
		default:
			shard, to := shards[rng.IntN(len(shards))], all.ids[rng.IntN(len(all.ids))]
			go func() { _ = m.keeper.Give(context.Background(), shard, to) }()
		}
		for range rng.IntN(5) {
			time.Sleep(time.Duration(rng.IntN(700)) * time.Millisecond)
			look()
		}
	}
	for _, id := range all.ids {
		if m := all.each[id]; m == nil {
			all.start(id)
		} else {
			m.wire.Cut(false)
			m.wire.Continue()
		}
	}
	time.Sleep(2 * takeOver)
	look()
	rows, _, _ := all.kv.List(context.Background(), ownerTable.Under())
	for _, e := range rows {
		shard, _ := shardOf(e.Key)
		if w := all.writers(shard); len(w) != 1 {
			t.Errorf("in peace %s is written by %v", shard, w)
		}
	}
}
