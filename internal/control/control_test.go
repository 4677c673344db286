package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/event"
	"aloft/internal/ownership"
	"aloft/internal/plan"
	"aloft/internal/store"
	"aloft/provider"
	"aloft/value"
)

// slow is a store that takes its time, and takes nothing of some commits.
type slow struct {
	store.KV
	commits     atomic.Int64
	from, until int64 // commits that are refused
}

func (s *slow) Commit(ctx context.Context, t store.Txn) (int64, error) {
	time.Sleep(10 * time.Millisecond)
	if n := s.commits.Add(1); n >= s.from && n < s.until {
		return 0, errors.New("no space left")
	}
	return s.KV.Commit(ctx, t)
}

type memoryBlobs struct{ kept sync.Map }

func (m *memoryBlobs) Put(_ context.Context, r io.Reader) (string, int64, error) {
	b, err := io.ReadAll(r)
	sum := sha256.Sum256(b)
	digest := hex.EncodeToString(sum[:])
	m.kept.Store(digest, b)
	return digest, int64(len(b)), err
}

func (m *memoryBlobs) Read(_ context.Context, digest string) ([]byte, error) {
	b, ok := m.kept.Load(digest)
	if !ok {
		return nil, fmt.Errorf("no blob %s", digest)
	}
	return b.([]byte), nil
}

// nothing is the component classes and machines of a world that has none.
type nothing struct{}

func (nothing) Class(string) (component.Class, bool) { return component.Class{}, false }
func (nothing) Names() []string                      { return nil }
func (nothing) Connected(string) bool                { return false }
func (nothing) Silent(string) (time.Time, bool)      { return time.Time{}, true }
func (nothing) Removed(string) (string, bool)        { return "", false }
func (nothing) Machine(ctx context.Context, _ string) (peerpb.MachineClient, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// run makes a Control over kv and runs it to the end of the test.
func run(t *testing.T, kv store.KV, blobs Blobs) *Control {
	t.Helper()
	var ids atomic.Int64
	var c *Control
	keeper, err := ownership.New(t.Context(), ownership.Config{
		Store: kv, Manager: "host", Managers: func() []string { return []string{"host"} }, Log: slog.New(slog.DiscardHandler),
		Take: func(claim *ownership.Claim) { c.Take(claim) },
	})
	if err != nil {
		t.Fatal(err)
	}
	c = New(Config{
		Store: kv, Blobs: blobs, Machines: nothing{}, Classes: nothing{}, Host: plan.Host{MachineID: "host"}, Keeper: keeper, Epoch: func() int64 { return 1 },
		Accounts: func(string) *provider.Account { return nil }, NewID: func() string { return fmt.Sprint("id-", ids.Add(1)) },
		Manager: func(id string) api.SystemOwner { return api.SystemOwner{Name: id} },
		Emit:    func(event.Event) {}, Cursor: func() string { return "" }, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = keeper.Run(ctx) })
	wg.Go(func() { _ = c.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

// request describes a system of one plain compound.
func request(t *testing.T, n int) api.PlanRequest {
	t.Helper()
	inner := value.NewComponent(false, value.Attr{Name: "n", Value: value.Integer(n)})
	wire, err := value.Encode(value.NewComponent(false, value.Attr{Name: "c", Value: inner}))
	if err != nil {
		t.Fatal(err)
	}
	return api.PlanRequest{Name: "sys", File: "/sys.sf", Description: wire}
}

func TestOfTwoFirstPlansOneIsCarriedOut(t *testing.T) {
	kv := store.NewMemory()
	t.Cleanup(func() { kv.Close() })
	c := run(t, &slow{KV: kv}, &memoryBlobs{})
	var applied atomic.Int64
	var wg sync.WaitGroup
	var ids []string // of plans that all begin with nothing
	for n := range 4 {
		p, err := c.Plan(context.Background(), request(t, n))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.ID)
	}
	for _, id := range ids {
		wg.Go(func() {
			if _, err := c.Apply(context.Background(), "sys", id); err == nil {
				applied.Add(1)
			}
		})
	}
	wg.Wait()
	if n := applied.Load(); n != 1 {
		t.Errorf("%d plans were accepted, want one", n)
	}
}

func TestWhatAFullStoreRefusesIsRecordedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv, blobs := store.NewMemory(), &memoryBlobs{}
		defer kv.Close()
		full := &slow{KV: kv, from: 3, until: 8} // after those of becoming the owner and of the plan
		c := run(t, full, blobs)
		p, err := c.Plan(context.Background(), request(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Apply(context.Background(), "sys", p.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := full.commits.Load(); n < full.until {
			t.Fatalf("only %d commits", n)
		}
		for name, c := range map[string]*Control{"the daemon": c, "the next one": run(t, kv, blobs)} {
			st, err := c.Status(context.Background(), "sys")
			if err != nil || st.State != api.SystemRunning || len(st.Components) != 2 {
				t.Errorf("%s says %+v, %v", name, st, err)
			}
		}
	})
}

// A report that the network held back tells of a state that is over.
func TestAReportThatComesLateOrTwiceIsNotFresh(t *testing.T) {
	s := newSystem(nil, "sys", nil)
	for _, r := range []struct {
		from   string
		number int64
		want   bool
	}{{"a", 7, true}, {"a", 9, true}, {"a", 8, false}, {"a", 9, false}, {"b", 8, true}, {"a", 0, true}, {"a", 10, true}} {
		if got := s.fresh(r.from, r.number); got != r.want {
			t.Errorf("report %d of %s is fresh: %v", r.number, r.from, got)
		}
	}
}
