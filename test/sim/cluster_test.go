package sim

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/identity"
	"aloft/internal/member"
	"aloft/internal/ownership"
	"aloft/internal/ownership/ownershippb"
	"aloft/internal/peer"
	"aloft/internal/provision"
	"aloft/internal/store"
)

// voters are the members of a store that needs none: package store tests what
// real ones do. It implements daemon.StoreMembers.
type voters struct{}

func (voters) AddLearner(context.Context, string, string) (store.Join, error) {
	return store.Join{}, nil
}
func (voters) Promote(context.Context, store.MemberID) error          { return nil }
func (voters) Remove(context.Context, store.MemberID) (string, error) { return "", nil }
func (voters) Members(context.Context) ([]store.Member, error)        { return nil, nil }

// join has a manager more join as daemons do, and starts it.
func (w *world) join() {
	w.t.Helper()
	s := w.newSeat(len(w.seats))
	w.must(func() error {
		token, err := w.service().NewToken(context.Background(), api.TokenRequest{Role: member.Manage, TTL: 600})
		if err != nil {
			return err
		}
		folder := filepath.Join(w.folder(s), "identity")
		who, err := identity.OpenJoining(folder, s.id, identity.RoleManage, token.Token)
		if err != nil {
			return err
		}
		request, err := who.Request()
		if err != nil {
			return err
		}
		err = w.callCluster(s, who, func(ctx context.Context, c peerpb.ClusterClient) error {
			reply, err := c.Join(ctx, &peerpb.JoinRequest{Token: token.Token, Id: s.id, Request: request, Seat: &peerpb.Seat{
				Name: s.name, Roles: []string{member.Manage}, Address: s.name + ":7400", Hostname: s.name,
			}})
			if err != nil {
				return err
			}
			return who.Install(reply.Reply)
		})
		if err != nil {
			return err
		}
		is, err := identity.OpenManager(identity.ManagerConfig{Dir: folder, ID: s.id, Log: w.log})
		if err != nil {
			return err
		}
		return w.callCluster(s, is, func(ctx context.Context, c peerpb.ClusterClient) error {
			_, err := c.Vote(ctx, &peerpb.VoteRequest{})
			return err
		})
	})
	w.seats = append(w.seats, s)
	w.enthrone(s)
	time.Sleep(5 * time.Second) // until all know each other
}

// callCluster calls the first manager from the host of another seat.
func (w *world) callCluster(s *seat, who peer.Identity, call func(context.Context, peerpb.ClusterClient) error) error {
	return w.calling(s, who, managerHost+":7400", func(ctx context.Context, session peer.Session) error {
		return call(ctx, peerpb.NewClusterClient(session))
	})
}

// calling dials an address from the host of a seat in which no daemon runs.
func (w *world) calling(s *seat, who peer.Identity, address string, call func(context.Context, peer.Session) error) error {
	node := peer.NewNode(peer.Config{Identity: who, Log: w.log, Host: w.net.Host(s.name)})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = node.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	session, err := node.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer session.Close()
	return call(ctx, session)
}

func (w *world) must(f func() error) {
	w.t.Helper()
	if err := f(); err != nil {
		w.t.Fatal(err)
	}
}

// The shards of these tests.
var (
	theSystem  = ownership.System("sys")
	theAccount = ownership.Account("sim", provision.DefaultAccount)
)

// owner returns the seat that owns a shard, as the store has it, and the term.
func (w *world) owner(shard string) (*seat, int64) {
	w.t.Helper()
	e, err := w.rows.Get(context.Background(), "owner/"+shard)
	if err != nil {
		w.t.Fatal(err)
	}
	row, err := store.Table[*ownershippb.Owner]{Prefix: "owner", Schema: 1}.Row(e)
	if err != nil {
		w.t.Fatal(err)
	}
	at := slices.IndexFunc(w.seats, func(s *seat) bool { return s.id == row.Message.Manager })
	if at < 0 {
		w.t.Fatalf("%s is owned by %q", shard, row.Message.Manager)
	}
	return w.seats[at], row.Message.Term
}

// leaves has requests go to a manager no more.
func (s *seat) leaves() {
	s.reign.Lock()
	defer s.reign.Unlock()
	s.away = true
}

// kill ends a manager's daemon at once. It stays away.
func (w *world) kill(s *seat) {
	s.leaves()
	s.boss.end()
	w.stage.note(call{Machine: s.name, Op: "crash"})
}

// freeze stops all that a manager has to do with others until thaw is called:
// then what it wrote meanwhile arrives, as of one who has not heard that the
// world went on.
func (w *world) freeze(s *seat) (thaw func()) {
	s.leaves()
	s.muted(true, true)
	open, heal := s.gate.shut(), w.net.Isolate(s.name)
	return func() {
		for _, t := range s.muted(false, false) {
			_, _ = w.rows.Commit(context.Background(), t)
		}
		open()
		heal()
		s.returns()
	}
}

// cut parts a manager from the store until mend is called.
func (s *seat) cut() (mend func()) {
	s.leaves()
	s.muted(true, false)
	s.rows.Cut()
	return func() {
		s.muted(false, false)
		s.rows.Mend()
		s.returns()
	}
}

// returns is the opposite of leaves.
func (s *seat) returns() {
	s.reign.Lock()
	defer s.reign.Unlock()
	s.away = false
}

// another waits until a shard has another owner, at most as long as RT-07
// allows.
func (w *world) another(shard string, than *seat) {
	w.t.Helper()
	const limit = 3 * time.Second
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if now, _ := w.owner(shard); now != than {
			return
		} else if time.Since(began) > limit {
			w.t.Fatalf("%s is still owned by %s %v after it was gone", shard, than.name, limit)
		}
	}
}

// finished returns which operations have ended so far, and how often each was
// begun.
func (w *world) finished() (ended map[string]bool, begun map[string]int) {
	ended, begun = map[string]bool{}, map[string]int{}
	for _, c := range w.stage.trace() {
		op := c.Machine + " " + c.Path.String() + " " + c.Op
		switch {
		case c.Done:
			ended[op] = true
		case !c.Failed:
			begun[op]++
		}
	}
	return ended, begun
}

// TestRT07DI6OwnerKilledAtAnyInstantIsReplaced kills the owner of a system while it
// is deployed: another manager goes on with the same plan within 3 s, and does
// nothing again that was finished. // RT-07, DI6, LC7
func TestRT07DI6OwnerKilledAtAnyInstantIsReplaced(t *testing.T) {
	overSeeds(t, 8, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 9)), 3, 9)
		scenario(t, options{seed: seed, random: 10 * time.Second, more: 2}, func(w *world) {
			p := w.begin(f.text(nil))
			time.Sleep(time.Duration(w.number(80_000)) * time.Millisecond)
			owner, term := w.owner(theSystem)
			ended, before := w.finished()
			w.kill(owner)
			w.another(theSystem, owner)
			if _, now := w.owner(theSystem); now <= term {
				t.Errorf("the term went from %d to %d", term, now)
			}
			if d := w.end(); d.State != api.DeploymentDone || d.Plan != p.ID || d.Revision != 1 {
				t.Errorf("up ended %s with plan %s, revision %d, want done with %s and 1: %+v", d.State, d.Plan, d.Revision, p.ID, d.Failures)
			}
			_, after := w.finished()
			for op := range ended {
				if after[op] != before[op] {
					t.Errorf("%s was finished before its owner died, and begun again", op)
				}
			}
			w.expectState(api.SystemRunning)
			f.checkDeployed(w, 0)
			f.expectMadeOnce(w)
			w.expectMachines(3)
			w.enthrone(owner)
			time.Sleep(10 * time.Second)
			w.expectNoChange(f.text(nil))
			w.down(false)
		})
	})
}

// Two of five managers die, one after the other, each an owner. // DI6
func TestDI6AnyMinorityOfManagersMayDie(t *testing.T) {
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 11)), 3, 9)
		scenario(t, options{seed: seed, random: 10 * time.Second, more: 4}, func(w *world) {
			p := w.begin(f.text(nil))
			for range 2 {
				time.Sleep(time.Duration(w.number(40_000)) * time.Millisecond)
				owner, _ := w.owner(theSystem)
				w.kill(owner)
				w.another(theSystem, owner)
			}
			if d := w.end(); d.State != api.DeploymentDone || d.Plan != p.ID {
				t.Errorf("up ended %s with plan %s, want done with %s: %+v", d.State, d.Plan, p.ID, d.Failures)
			}
			f.checkDeployed(w, 0)
			f.expectMadeOnce(w)
			w.expectMachines(3)
			w.down(false)
		})
	})
}
