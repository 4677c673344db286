package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

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

// box is the one executor of these tests: it performs what it is given, as
// often as it is given it, and reports to whichever manager lives.
type box struct {
	nothing
	peerpb.MachineClient
	mu    sync.Mutex
	parts []*peerpb.Part // as they came; guarded by mu
}

func (b *box) Machine(context.Context, string) (peerpb.MachineClient, error) { return b, nil }
func (b *box) Connected(string) bool                                         { return true }
func (b *box) Silent(string) (time.Time, bool)                               { return time.Time{}, false }

func (b *box) Class(name string) (component.Class, bool) {
	return component.Class{Name: name, Site: component.SiteMachine}, name == "Thing"
}

func (b *box) Deliver(_ context.Context, p *peerpb.SignedPart, _ ...grpc.CallOption) (*peerpb.Receipt, error) {
	part := &peerpb.Part{}
	if err := proto.Unmarshal(p.Part, part); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = append(b.parts, part)
	return &peerpb.Receipt{}, nil
}

func (b *box) given() []*peerpb.Part {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.parts)
}

func (b *box) Tell(context.Context, *peerpb.TellRequest, ...grpc.CallOption) (*peerpb.TellReply, error) {
	return &peerpb.TellReply{}, nil
}

// boss is one manager of a test.
type boss struct {
	id      string
	kv      *store.Client
	control *Control
	keeper  *ownership.Keeper
	end     func()

	refused atomic.Bool // writes to the store are refused
}

// bosses makes managers over one store, which run to the end of the test.
func bosses(t *testing.T, machines *box, ids ...string) map[string]*boss {
	t.Helper()
	kv, blobs := store.NewMemory(), &memoryBlobs{}
	all := map[string]*boss{}
	var next atomic.Int64
	for _, id := range ids {
		m := &boss{id: id}
		m.kv = kv.Client(func(c store.Call) store.Fault {
			if c.Op == store.OpCommit && m.refused.Load() {
				return store.Fault{Refuse: store.ErrUnavailable}
			}
			return store.Fault{}
		})
		log := slog.New(slog.DiscardHandler)
		var err error
		m.keeper, err = ownership.New(t.Context(), ownership.Config{
			Store: m.kv, Manager: id, Managers: func() []string { return ids }, Log: log, Take: func(c *ownership.Claim) { m.control.Take(c) },
		})
		if err != nil {
			t.Fatal(err)
		}
		m.control = New(Config{
			Store: m.kv, Blobs: blobs, Machines: machines, Classes: machines, Keeper: m.keeper, Epoch: func() int64 { return 1 }, Log: log,
			Host:     plan.Host{MachineID: id, Hostname: "here"},
			Accounts: func(string) *provider.Account { return nil }, NewID: func() string { return fmt.Sprint("id-", next.Add(1)) },
			Manager: func(id string) api.SystemOwner { return api.SystemOwner{Name: id} },
			Sign:    func([]byte) ([]byte, [][]byte, error) { return nil, nil, nil },
			Others: func(_ context.Context, manager string) (peerpb.OwnerClient, error) {
				return passing{control: all[manager].control}, nil
			},
			Emit: func(event.Event) {}, Cursor: func() string { return "" },
		})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = m.keeper.Run(ctx) })
		wg.Go(func() { _ = m.control.Run(ctx) })
		m.end = sync.OnceFunc(func() { cancel(); wg.Wait() })
		all[id] = m
	}
	t.Cleanup(func() {
		for _, m := range all {
			m.end()
		}
		kv.Close()
	})
	return all
}

// passing is a session between two managers.
type passing struct {
	peerpb.OwnerClient
	control *Control
}

func (p passing) Report(ctx context.Context, r *peerpb.ReportRequest, _ ...grpc.CallOption) (*peerpb.ReportReply, error) {
	return &peerpb.ReportReply{}, p.control.Report(ctx, r.Machine, r, true)
}

// done is what the box says of a step.
func done(part *peerpb.Part, n int) *peerpb.ReportRequest {
	s := part.Steps[n]
	return &peerpb.ReportRequest{Facts: []*peerpb.Fact{{
		System: part.System, Revision: part.Revision, Plan: part.Plan, Step: s.Id, Outcome: peerpb.Outcome_OUTCOME_DONE,
	}}}
}

// holder returns the manager that holds the system and believes so, or nil.
func holder(all map[string]*boss) *boss {
	for _, b := range all {
		if _, self := b.control.Owner("sys"); self && b.keeper.Held(ownership.System("sys")) != nil {
			return b
		}
	}
	return nil
}

// RT-06 LC7: when the owner of a system dies another manager goes on with the
// same plan within three seconds, and what was done stays done.
func TestAnotherManagerGoesOnWithThePlanOfADeadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machines := &box{}
		all := bosses(t, machines, "a", "b", "c")
		time.Sleep(3 * time.Second)
		a := all["a"]
		p, err := a.control.Plan(t.Context(), things(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.control.Apply(t.Context(), "sys", p.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		// Its plan is performed on the host of a, which has given it away.
		owner := holder(all)
		if owner == nil || owner == a {
			t.Fatalf("the system is owned by %v", owner)
		}
		first := machines.given()[0]
		if len(first.Steps) < 2 {
			t.Fatalf("the part has %d steps", len(first.Steps))
		}
		// The report comes by another manager than the owner.
		if err := a.control.Report(t.Context(), first.Executor, done(first, 0), false); err != nil {
			t.Fatal(err)
		}
		before, err := owner.control.Deployment(t.Context(), "sys")
		if err != nil || before.Plan != p.ID {
			t.Fatalf("another manager says %+v, %v", before, err)
		}
		owner.kv.Cut() // it believes that it owns the system
		died := time.Now()
		var heir *boss
		for heir == nil && time.Since(died) < 10*time.Second {
			others := maps.Clone(all)
			maps.DeleteFunc(others, func(_ string, b *boss) bool { return b == owner })
			heir = holder(others)
			time.Sleep(10 * time.Millisecond)
		}
		if heir == nil || time.Since(died) > 3*time.Second {
			t.Fatalf("taken over by %v after %v", heir, time.Since(died))
		}
		time.Sleep(time.Second)
		d, err := heir.control.Deployment(t.Context(), "sys")
		if err != nil || d.Plan != p.ID || d.Settled < before.Settled {
			t.Fatalf("the new owner has %+v, %v; it was %+v", d, err, before)
		}
		given := machines.given()
		last := given[len(given)-1]
		if len(given) < 2 || !proto.Equal(&peerpb.Part{Steps: last.Steps}, &peerpb.Part{Steps: first.Steps}) || last.Plan != first.Plan {
			t.Errorf("the new owner's part is not the old one's: %v, %v", last, first)
		}
		if last.Fence.Term <= first.Fence.Term {
			t.Errorf("the new owner's term is %d, the old one's %d", last.Fence.Term, first.Fence.Term)
		}
		for i := 1; i < len(last.Steps); i++ {
			if err := heir.control.Report(t.Context(), last.Executor, done(last, i), false); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		if d, err := heir.control.Deployment(t.Context(), "sys"); err != nil || d.State != api.DeploymentDone {
			t.Errorf("the plan ended as %+v, %v", d, err)
		}
		// The old owner reads what it has, changes nothing, and learns.
		if st, err := owner.control.Status(t.Context(), "sys"); err != nil || st.System != "sys" {
			t.Errorf("cut off, the old owner says %+v, %v", st, err)
		}
		owner.kv.Mend()
		time.Sleep(3 * time.Second)
		if _, self := owner.control.Owner("sys"); self {
			t.Error("the old owner does not know that it is none")
		}
		if err := owner.control.Report(t.Context(), last.Executor, done(last, 0), false); err != nil {
			t.Errorf("the old owner does not pass on what it is told: %v", err)
		}
		list, err := owner.control.Systems(t.Context())
		if err != nil || len(list) != 1 || list[0].Owner == nil || list[0].Owner.Name != heir.id || list[0].Owner.Fence != Fence(1, last.Fence.Term) {
			t.Errorf("systems: %+v, %v", list, err)
		}
	})
}

// DI3: of managers that are asked at once, one creates a system.
func TestOneOfSeveralManagersCreatesASystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := bosses(t, &box{}, "a", "b", "c")
		time.Sleep(3 * time.Second)
		var accepted atomic.Int64
		plans := map[string]string{}
		for id, m := range all {
			p, err := m.control.Plan(t.Context(), things(t))
			if err != nil {
				t.Fatal(err)
			}
			plans[id] = p.ID
		}
		var wg sync.WaitGroup
		for id, m := range all {
			wg.Go(func() {
				_, err := m.control.Apply(t.Context(), "sys", plans[id])
				if err == nil {
					accepted.Add(1)
				} else if k := api.KindOf(err); k != api.KindUnavailable && k != api.KindStale && k != api.KindConflict {
					t.Errorf("refused with %v", err)
				}
			})
		}
		wg.Wait()
		if n := accepted.Load(); n != 1 {
			t.Errorf("%d managers created it", n)
		}
	})
}

// A manager without a majority of the others says so.
func TestCutOffAManagerRefusesChangesWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := bosses(t, &box{}, "a", "b", "c")
		time.Sleep(3 * time.Second)
		a := all["a"]
		p, err := a.control.Plan(t.Context(), things(t))
		if err != nil {
			t.Fatal(err)
		}
		a.kv.Cut()
		_, err = a.control.Apply(t.Context(), "sys", p.ID)
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Kind != api.KindUnavailable {
			t.Errorf("apply: %v", err)
		}
		if list, err := a.control.Systems(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("systems: %v, %v", list, err)
		}
	})
}

// things describes a system of two components on the managing host.
func things(t *testing.T) api.PlanRequest {
	t.Helper()
	thing := func() *value.Component {
		return value.NewComponent(false,
			value.Attr{Name: "sfClass", Value: value.String("Thing")}, value.Attr{Name: "sfProcessHost", Value: value.String("here")})
	}
	wire, err := value.Encode(value.NewComponent(false, value.Attr{Name: "x", Value: thing()}, value.Attr{Name: "y", Value: thing()}))
	if err != nil {
		t.Fatal(err)
	}
	return api.PlanRequest{Name: "sys", File: "/sys.sf", Description: wire}
}
