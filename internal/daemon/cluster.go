package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/internal/member"
	"aloft/internal/member/memberpb"
	"aloft/internal/store"
)

// ownRow returns this manager's row as it should be, given what it is.
func (m *Manager) ownRow(was *memberpb.Member) *memberpb.Member {
	w := m.world
	row := &memberpb.Member{Since: timestamppb.Now()}
	if was != nil {
		row = proto.CloneOf(was)
	}
	row.Id, row.Roles, row.Address, row.Store = w.MachineID, w.Roles, w.Listen, storePeer(w.Listen)
	row.Hostname, row.Pid, row.Build = w.Hostname, int64(os.Getpid()), w.Build
	if w.Name != "" {
		row.Name = w.Name
	}
	if row.Name == "" {
		row.Name = w.Hostname
	}
	return row
}

// enter makes this manager's row say what it is now, and tries until it could.
func (m *Manager) enter(ctx context.Context) error {
	for {
		err := changeMember(ctx, m.world.Store, m.world.MachineID, func(was *memberpb.Member) (*memberpb.Member, error) {
			row := m.ownRow(was)
			if was != nil && proto.Equal(was, row) {
				return nil, nil
			}
			return row, nil
		})
		if err == nil {
			err = m.tellRoster(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		m.world.Log.Warn("this member's row", "error", err)
		pause(ctx, time.Second)
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Cluster lists the members of the cluster by name.
func (s service) Cluster(ctx context.Context) (*api.Cluster, error) {
	_, all, err := memberRows(ctx, store.Stale(s.m.world.Store))
	if err != nil {
		return nil, err
	}
	c := &api.Cluster{ID: s.m.identity.Name().Cluster, Epoch: s.m.epoch(), Quorum: s.m.quorum(ctx), Warnings: member.Joined(all), Members: []api.Member{}}
	stores := s.m.stores(ctx)
	for _, r := range all {
		one := s.m.member(r)
		one.Store = stores[r.Id]
		c.Members = append(c.Members, one)
	}
	slices.SortFunc(c.Members, func(a, b api.Member) int { return strings.Compare(a.Name, b.Name) })
	return c, nil
}

// Issuer returns the certificate of the issuer of services.
func (s service) Issuer(ctx context.Context) (*api.Issuer, error) {
	cert, err := s.m.identity.ServiceIssuer(ctx)
	if err != nil {
		return nil, err
	}
	if cert == nil {
		return nil, &api.Error{
			Kind: api.KindNotFound, Message: "the cluster has not issued a certificate of a service yet, and has no issuer of them",
			Remedy: "it is made with the first Certificate component",
		}
	}
	sum := sha256.Sum256(cert.Raw)
	return &api.Issuer{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), Expires: cert.NotAfter, Digest: hex.EncodeToString(sum[:]),
	}, nil
}

// stores says what the store of each manager is, by the managers' ids.
func (m *Manager) stores(ctx context.Context) map[string]string {
	words := map[string]string{}
	if m.world.StoreMembers == nil {
		return words
	}
	all, err := m.world.StoreMembers.Members(ctx)
	if err != nil {
		return words
	}
	for _, s := range all {
		id := s.Name
		if s.Self {
			id = m.world.MachineID
		}
		switch {
		case s.Learner:
			words[id] = "learner"
		case s.Leader:
			words[id] = "leader"
		default:
			words[id] = "voter"
		}
	}
	return words
}

// quorum reports whether a majority of the managers' stores is in reach.
func (m *Manager) quorum(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, quorumTime)
	defer cancel()
	_, err := m.world.Store.Get(ctx, store.Key("quorum"))
	return err == nil || errors.Is(err, store.ErrNotFound)
}

// quorumTime is how long the majority may take to answer who only asks whether
// there is one.
const quorumTime = time.Second

// member tells of a member what its row says and what is seen from here.
func (m *Manager) member(r *memberpb.Member) api.Member {
	a := api.Member{
		ID: r.Id, Name: r.Name, Roles: r.Roles, Address: r.Address, State: api.MemberReady,
		PID: int(r.Pid), Version: r.Build, Self: r.Id == m.world.MachineID,
	}
	switch {
	case r.Joining:
		a.State = api.MemberJoining
	case !m.inReach(r.Id):
		a.State = api.MemberSilent
	}
	return a
}

// inReach reports whether a member has a session with this manager, or is it.
func (m *Manager) inReach(id string) bool { return sessions{m}.Connected(id) }

// refused turns what package member refuses into an error of the API.
func refused(err error) error {
	if r, ok := errors.AsType[*member.Refusal](err); ok {
		return &api.Error{Kind: api.KindConflict, Message: r.Reason, Remedy: r.Remedy}
	}
	if u, ok := errors.AsType[*member.Unknown](err); ok {
		return &api.Error{Kind: api.KindNotFound, Message: u.Error(), Remedy: "its members are: " + strings.Join(u.Names, ", ")}
	}
	return err
}

// find returns all members, and the one that name names.
func (m *Manager) find(ctx context.Context, name string) (all []*memberpb.Member, one *memberpb.Member, err error) {
	if _, all, err = memberRows(ctx, m.world.Store); err != nil {
		return nil, nil, err
	}
	one, err = member.Find(all, name)
	return all, one, refused(err)
}

var errListensNowhere = &api.Error{
	Kind: api.KindConflict, Message: "this daemon listens for no other", Remedy: "make its home the first of a cluster: aloft cluster init --listen ADDRESS:PORT",
}
