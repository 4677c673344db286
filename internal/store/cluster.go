package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"

	"aloft/internal/durable"
)

// MemberID names a member. A manager that leaves and joins again has another.
type MemberID string

// Member is one of those that keep the store.
type Member struct {
	ID      MemberID `json:"id"`
	Name    string   `json:"name"`    // the manager's UUID; empty: added, and never started
	Address string   `json:"address"` // host:port; empty: alone, without one
	Learner bool     `json:"learner"` // has no vote
	Leader  bool     `json:"leader"`
	Self    bool     `json:"self"`
	Alive   bool     `json:"alive"` // answers
}

// Join is what a manager needs to know to start its member of a store.
type Join struct {
	Cluster string            `json:"cluster"`
	Member  MemberID          `json:"member"`
	Members map[string]string `json:"members"` // of the others, by address: names, or their addresses again
}

// initial writes the members down as etcd wants to read them.
func (j *Join) initial(name string, self url.URL) string {
	all := []string{name + "=" + self.String()}
	for address, other := range j.Members {
		all = append(all, other+"=https://"+address)
	}
	return strings.Join(all, ",")
}

// prepareJoin makes the folder ready for a new member, or for one whose join
// was cut. What a join under another id has left is removed: the store counts
// on nothing that such a member had.
func prepareJoin(cfg Config) error {
	if cfg.Peer == nil {
		return errors.New("join a store: this member needs an address")
	}
	path, data := filepath.Join(cfg.Dir, "join.json"), filepath.Join(cfg.Dir, "etcd")
	_, err := os.Stat(data)
	if present := err == nil; present {
		var former Join
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &former)
		}
		switch {
		case err == nil && former.Cluster == cfg.Join.Cluster && former.Member == cfg.Join.Member:
			return nil
		case err == nil && former.Cluster == cfg.Join.Cluster:
			if err := os.RemoveAll(data); err != nil {
				return fmt.Errorf("remove what a former join left: %w", err)
			}
		case err == nil || errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("the folder %s holds the store of another cluster: take another folder", cfg.Dir)
		default:
			return fmt.Errorf("read the former join in %s: %w", path, err)
		}
	}
	b, err := json.Marshal(cfg.Join)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, b); err != nil {
		return fmt.Errorf("keep the join: %w", err)
	}
	return nil
}

// Members tells who keeps the store, as far as this member knows, and who of
// them answers; that takes up to a second.
func (s *Store) Members(ctx context.Context) ([]Member, error) {
	var all []Member
	err := s.call(ctx, "list the members of the store", needMember, func(ctx context.Context, m *member) (err error) {
		all, err = m.list(ctx)
		return err
	})
	return all, err
}

func (m *member) list(ctx context.Context) ([]Member, error) {
	all := m.known()
	return all, m.ask(ctx, all)
}

// known returns the members as far as this one knows.
func (m *member) known() []Member {
	server := m.etcd.Server
	var all []Member
	for _, o := range m.members() {
		one := Member{
			ID: MemberID(o.ID.String()), Name: o.Name, Learner: o.IsLearner,
			Leader: server.Leader() == o.ID, Self: server.MemberID() == o.ID, Alive: server.MemberID() == o.ID,
		}
		if len(o.PeerURLs) > 0 && strings.HasPrefix(o.PeerURLs[0], "https://") {
			one.Address = host(o.PeerURLs[0])
		}
		all = append(all, one)
	}
	return all
}

// ask finds out which members answer.
func (m *member) ask(ctx context.Context, all []Member) error {
	if len(all) < 2 {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	way, err := rafthttp.NewRoundTripper(m.etcd.Config().PeerTLSInfo, time.Second)
	if err != nil {
		return fmt.Errorf("certificates of this member: %w", err)
	}
	if t, ok := way.(*http.Transport); ok {
		defer t.CloseIdleConnections()
	}
	var wg sync.WaitGroup
	for i := range all {
		if all[i].Self {
			continue
		}
		wg.Go(func() {
			request, err := http.NewRequestWithContext(limit, http.MethodGet, "https://"+all[i].Address+"/version", nil)
			if err != nil {
				return
			}
			if r, err := way.RoundTrip(request); err == nil {
				_ = r.Body.Close()
				all[i].Alive = true
			}
		})
	}
	wg.Wait()
	return nil
}

// silent is the error of calls that wait for a majority.
func (m *member) silent(ctx context.Context) error {
	all, err := m.list(ctx)
	if err != nil {
		return &QuorumError{}
	}
	e := &QuorumError{}
	for _, one := range all {
		if one.Learner {
			continue
		}
		e.Members++
		if !one.Alive {
			e.Silent = append(e.Silent, one.label())
		}
	}
	return e
}

func (m Member) label() string {
	switch {
	case m.Name == "":
		return m.Address
	case m.Address == "":
		return m.Name
	}
	return m.Name + " at " + m.Address
}

// AddLearner lets the manager called name join with the address of its member,
// host:port, and returns what it needs to open it. Until Promote the new member
// has no vote. Called again for the same name or address it returns the same
// member, or takes away a learner of that name that has another address. A
// member that votes is found without a majority too.
func (s *Store) AddLearner(ctx context.Context, name, address string) (Join, error) {
	var j Join
	err := s.call(ctx, "add a member", needDisk, func(ctx context.Context, m *member) error {
		all, err := m.agreed(ctx)
		if err != nil {
			return err
		}
		if len(all) == 1 && all[0].Address == "" {
			return errors.New("this manager has no address that others can reach: give it one first (aloft cluster init --listen ADDRESS:PORT)")
		}
		var id MemberID
		for _, o := range all {
			switch {
			case o.Address == address && (o.Name == "" || o.Name == name):
				id = o.ID
			case o.Address == address:
				return fmt.Errorf("%s is the address of manager %s: take another address, or remove that manager first", address, o.Name)
			case o.Name != name:
			case o.Learner:
				if err := m.remove(ctx, o.ID); err != nil {
					return err
				}
			default:
				return fmt.Errorf("manager %s belongs to the store already, at %s", name, o.Address)
			}
		}
		if id == "" {
			if id, err = m.add(ctx, address); err != nil {
				return err
			}
		}
		if all, err = m.agreed(ctx); err != nil {
			return err
		}
		j = m.join(id, all)
		return nil
	})
	if errors.Is(err, ErrNoQuorum) {
		// Its vote may be the very one that is missing, and it comes back for it.
		local := s.call(ctx, "find a member", needMember, func(_ context.Context, m *member) error {
			all := m.known()
			at := slices.IndexFunc(all, func(o Member) bool {
				return o.Address == address && !o.Learner && (o.Name == "" || o.Name == name)
			})
			if at < 0 {
				return err
			}
			j = m.join(all[at].ID, all)
			return nil
		})
		return j, local
	}
	return j, err
}

// join is what a member needs to be opened among all.
func (m *member) join(id MemberID, all []Member) Join {
	j := Join{Cluster: m.etcd.Server.Cluster().ID().String(), Member: id, Members: map[string]string{}}
	for _, o := range all {
		if o.ID != id {
			j.Members[o.Address] = cmp.Or(o.Name, o.Address)
		}
	}
	return j
}

// add makes a learner. Its id comes from its address and the second: within
// that of a removal it is one that will never be taken again.
func (m *member) add(ctx context.Context, address string) (MemberID, error) {
	for {
		r, err := m.client.MemberAddAsLearner(ctx, []string{"https://" + address})
		if err == nil {
			return MemberID(types.ID(r.Member.ID).String()), nil
		}
		if !errors.Is(err, rpctypes.ErrMemberNotFound) {
			return "", err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// agreed returns the members that the majority knows.
func (m *member) agreed(ctx context.Context) ([]Member, error) {
	r, err := m.client.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Member, len(r.Members))
	for i, o := range r.Members {
		all[i] = Member{ID: MemberID(types.ID(o.ID).String()), Name: o.Name, Learner: o.IsLearner, Self: o.ID == uint64(m.etcd.Server.MemberID())}
		if len(o.PeerURLs) > 0 && strings.HasPrefix(o.PeerURLs[0], "https://") {
			all[i].Address = host(o.PeerURLs[0])
		}
	}
	return all, nil
}

// Promote gives a learner its vote once it has caught up, and waits for that
// until ctx ends. A member that has a vote keeps it.
func (s *Store) Promote(ctx context.Context, id MemberID) error {
	number, err := types.IDFromString(string(id))
	if err != nil {
		return fmt.Errorf("promote member %q: %w", id, err)
	}
	for {
		err := s.call(ctx, "promote member "+string(id), needDisk, func(ctx context.Context, m *member) error {
			_, err := m.client.MemberPromote(ctx, uint64(number))
			return err
		})
		switch {
		case err == nil, errors.Is(err, rpctypes.ErrMemberNotLearner):
			return nil
		case errors.Is(err, rpctypes.ErrMemberNotFound):
			return fmt.Errorf("promote member %s: there is none: it was removed; join again", id)
		case errors.Is(err, rpctypes.ErrMemberLearnerNotReady), errors.Is(err, ErrUncertain):
		default:
			return err
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return fmt.Errorf("promote member %s: it has not caught up: %w", id, ctx.Err())
		}
	}
}

// Remove takes a member away, for good. It refuses what would leave the others
// without a majority, and warns of what it leaves. A member that is no longer
// there is removed.
func (s *Store) Remove(ctx context.Context, id MemberID) (warning string, err error) {
	err = s.call(ctx, "remove a member", needDisk, func(ctx context.Context, m *member) error {
		all, err := m.agreed(ctx)
		if err != nil {
			return err
		}
		for i := range all {
			all[i].Alive = all[i].Self
		}
		if err := m.ask(ctx, all); err != nil {
			return err
		}
		if warning, err = Removal(all, id); err != nil {
			return err
		}
		return m.remove(ctx, id)
	})
	return warning, err
}

func (m *member) remove(ctx context.Context, id MemberID) error {
	number, err := types.IDFromString(string(id))
	if err != nil {
		return fmt.Errorf("member %q: %w", id, err)
	}
	if _, err := m.client.MemberRemove(ctx, uint64(number)); err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
		return err
	}
	return nil
}
