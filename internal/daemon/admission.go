package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/identity"
	"aloft/internal/member"
	"aloft/internal/member/memberpb"
	"aloft/internal/peer"
	"aloft/internal/store"
)

// StoreMembers are the members that keep the store; *store.Store has them.
type StoreMembers interface {
	// AddLearner returns what the manager called name needs to open its member.
	AddLearner(ctx context.Context, name, address string) (store.Join, error)
	// Promote gives a learner its vote, once it has caught up.
	Promote(ctx context.Context, id store.MemberID) error
	// Remove takes a member away, unless the others would be no majority.
	Remove(ctx context.Context, id store.MemberID) (warning string, err error)
	// Members tells who there are, and who of them answers.
	Members(ctx context.Context) ([]store.Member, error)
}

// admission answers daemons that become members, and hosts. It implements
// peerpb.ClusterServer.
type admission struct {
	peerpb.UnimplementedClusterServer
	m *Manager
}

// rowOf returns the row of a member as its seat has it.
func rowOf(id string, seat *peerpb.Seat) *memberpb.Member {
	return &memberpb.Member{
		Id: id, Name: seat.GetName(), Roles: member.Sorted(seat.GetRoles()), Address: seat.GetAddress(), Store: seat.GetStore(),
		Hostname: seat.GetHostname(), Build: seat.GetBuild(), Pid: seat.GetPid(), Since: timestamppb.Now(),
	}
}

// Join lets in the bearer of a token.
func (a admission) Join(ctx context.Context, r *peerpb.JoinRequest) (*peerpb.JoinReply, error) {
	if a.m.world.Listen == "" {
		return nil, status.Error(codes.PermissionDenied, errListensNowhere.Error())
	}
	wanted := rowOf(r.Id, r.Seat)
	if len(wanted.Roles) == 0 {
		return nil, status.Error(codes.PermissionDenied, "a member without a role")
	}
	// A token that somebody else has used is no good under any name.
	if err := a.m.identity.Spent(ctx, r.Token, r.Request); err != nil {
		return nil, finally(err)
	}
	// The name is looked at before the token is spent, and again when it is
	// written.
	if _, err := a.m.admit(ctx, wanted, false); err != nil {
		return nil, finally(err)
	}
	role := identity.RoleHost
	if member.Is(wanted, member.Manage) {
		role = identity.RoleManage
	}
	reply, expires, err := a.m.identity.Admit(ctx, r.Token, r.Id, role, r.Request)
	if err != nil {
		return nil, finally(err)
	}
	wanted.Until = timestamppb.New(expires)
	row, err := a.m.admit(ctx, wanted, true)
	if err != nil {
		return nil, finally(err)
	}
	if err := a.m.tellRoster(ctx); err != nil {
		return nil, finally(err)
	}
	a.m.world.Log.Info("a member was let in", "member", row.Name, "id", row.Id, "roles", row.Roles, "address", row.Address)
	return &peerpb.JoinReply{Reply: reply, Name: row.Name}, nil
}

// finally marks what asking again will not change, as the protocol has it.
func finally(err error) error {
	if r, ok := errors.AsType[*member.Refusal](err); ok {
		text := r.Reason
		if r.Remedy != "" {
			text += ": " + r.Remedy
		}
		return status.Error(codes.PermissionDenied, text)
	}
	if r, ok := errors.AsType[*identity.Refusal](err); ok {
		return status.Error(codes.PermissionDenied, r.Reason)
	}
	if _, known := status.FromError(err); known {
		return err
	}
	return status.Error(codes.Unavailable, err.Error())
}

// admit enters the row of a member that is let in, if commit says so, and
// returns it. Its name is its alone.
func (m *Manager) admit(ctx context.Context, wanted *memberpb.Member, commit bool) (*memberpb.Member, error) {
	for {
		rows, all, err := memberRows(ctx, m.world.Store)
		if err != nil {
			return nil, err
		}
		row, err := member.Admit(all, proto.CloneOf(wanted))
		if err != nil || !commit {
			return row, err
		}
		var was store.Row[*memberpb.Member]
		if at := slices.IndexFunc(rows, func(r store.Row[*memberpb.Member]) bool { return r.Message.Id == row.Id }); at >= 0 {
			was = rows[at]
		}
		// Who voted before votes still: its join was repeated.
		row.Joining = member.Is(row, member.Manage) && (was.Message == nil || was.Message.Joining || !member.Is(was.Message, member.Manage))
		row.Promoted = row.Joining && was.Message != nil && (was.Message.Promoted || !member.Is(was.Message, member.Manage))
		if !row.Joining {
			row.Until = nil
		}
		put, err := memberTable.Put(row, row.Id)
		if err != nil {
			return nil, err
		}
		name := store.Put{Key: nameKey(row.Name), Value: []byte(row.Id)}
		txn := store.Txn{If: []store.Condition{{Key: put.Key, Revision: was.Revision}}, Put: []store.Put{put, name}}
		if was.Message == nil || was.Message.Name != row.Name {
			txn.If = append(txn.If, store.Condition{Key: name.Key})
			if was.Message != nil {
				txn.Delete = append(txn.Delete, nameKey(was.Message.Name))
			}
		}
		_, err = m.world.Store.Commit(ctx, txn)
		if err == nil {
			return row, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// nameKey is the key of the row that holds a member's name for it.
func nameKey(name string) string { return store.Key("membername", name) }

// caller returns the id of the member that calls.
func (a admission) caller(ctx context.Context) string { return peer.Caller(ctx).ID }

// Attach makes a learner of the caller's store.
func (a admission) Attach(ctx context.Context, r *peerpb.AttachRequest) (*peerpb.AttachReply, error) {
	id := a.caller(ctx)
	// Without a majority what is known serves: the caller's vote may be the one
	// that is missing, and it does not open its store before this is answered.
	row, err := memberTable.Get(ctx, store.Stale(a.m.world.Store), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, status.Errorf(codes.PermissionDenied, "manager %s is no member any more", id)
	case err != nil:
		return nil, finally(err)
	case !member.Is(row.Message, member.Manage):
		return nil, status.Errorf(codes.PermissionDenied, "%s is to be a host: its join as a manager was taken back", row.Message.Name)
	case !row.Message.Joining:
		return &peerpb.AttachReply{Votes: true}, nil
	}
	join, err := a.m.world.StoreMembers.AddLearner(ctx, id, r.Store)
	if err != nil {
		return nil, finally(err)
	}
	return &peerpb.AttachReply{Cluster: join.Cluster, Member: string(join.Member), Members: join.Members}, nil
}

// Vote gives the caller's store its vote once it has caught up.
func (a admission) Vote(ctx context.Context, r *peerpb.VoteRequest) (*peerpb.VoteReply, error) {
	id := a.caller(ctx)
	if err := a.m.world.StoreMembers.Promote(ctx, store.MemberID(r.Member)); err != nil {
		return nil, finally(err)
	}
	err := changeMember(ctx, a.m.world.Store, id, func(row *memberpb.Member) (*memberpb.Member, error) {
		switch {
		case row == nil:
			return nil, status.Errorf(codes.PermissionDenied, "manager %s is no member any more", id)
		case !row.Joining:
			return nil, nil
		}
		row.Joining, row.Until, row.Promoted = false, nil, false
		return row, nil
	})
	if err == nil {
		err = a.m.tellRoster(ctx)
	}
	if err != nil {
		return nil, finally(err)
	}
	a.m.world.Log.Info("a manager votes", "id", id)
	return &peerpb.VoteReply{}, nil
}

// Enter tells what the host that calls is now.
func (a admission) Enter(ctx context.Context, seat *peerpb.Seat) (*peerpb.EnterReply, error) {
	id := a.caller(ctx)
	err := changeMember(ctx, a.m.world.Store, id, func(was *memberpb.Member) (*memberpb.Member, error) {
		if was == nil || member.Is(was, member.Manage) {
			return nil, status.Errorf(codes.PermissionDenied, "%s is no host of this cluster", id)
		}
		row := rowOf(id, seat)
		row.Name, row.Since, row.Roles = was.Name, was.Since, was.Roles
		if proto.Equal(was, row) {
			return nil, nil
		}
		return row, nil
	})
	if err == nil {
		err = a.m.tellRoster(ctx)
	}
	if err != nil {
		return nil, finally(err)
	}
	if len(seat.Viewer) == 0 {
		return &peerpb.EnterReply{}, nil
	}
	chain, _, err := a.m.identity.IssueUser(ctx, identity.ViewerName(id), "", identity.RoleViewer, seat.Viewer, 0)
	return &peerpb.EnterReply{Viewer: chain}, err
}

// Admit makes the token for a machine that the host that calls makes.
func (a admission) Admit(ctx context.Context, r *peerpb.AdmitRequest) (*peerpb.AdmitReply, error) {
	row, err := memberTable.Get(ctx, a.m.world.Store, a.caller(ctx))
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !member.Is(row.Message, member.Host):
		return nil, status.Errorf(codes.PermissionDenied, "%s is no host of this cluster", peer.Caller(ctx))
	case err != nil:
		return nil, finally(err)
	}
	token, err := a.m.identity.NewToken(ctx, r.Machine, row.Message.Id, tokenLife)
	if err != nil {
		return nil, finally(fmt.Errorf("token for machine %s: %w", r.Machine, err))
	}
	return &peerpb.AdmitReply{Token: token.String()}, nil
}

// Retire takes in that a machine of the host that calls is no more.
func (a admission) Retire(ctx context.Context, r *peerpb.RetireRequest) (*peerpb.RetireReply, error) {
	err := a.m.retireOf(ctx, a.caller(ctx), r.Machine)
	if errors.Is(err, errNotMade) {
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	if err != nil {
		return nil, finally(err)
	}
	a.m.world.Log.Info("a machine is no more, and gets no other certificate", "machine", r.Machine, "host", a.caller(ctx))
	return &peerpb.RetireReply{}, nil
}

// Fate tells a member that was removed so, by the roster that says it.
func (a admission) Fate(_ context.Context, r *peerpb.FateRequest) (*peerpb.FateReply, error) {
	roster := a.m.identity.Roster()
	if !revoked(roster, identity.KindMachine, r.Id) && !revoked(roster, identity.KindManager, r.Id) {
		return &peerpb.FateReply{}, nil
	}
	return &peerpb.FateReply{Roster: a.m.identity.SignedRoster()}, nil
}

// Dismiss removes the manager that calls, or makes it a host. Whether the
// machines on it may be lost it has looked at itself.
func (a admission) Dismiss(ctx context.Context, r *peerpb.DismissRequest) (*peerpb.DismissReply, error) {
	change, err := a.m.dismiss(ctx, a.caller(ctx), r.Demote, true)
	if api.KindOf(err) == api.KindNotFound {
		return &peerpb.DismissReply{}, nil // it asks again: its session ended with the first answer
	}
	if err != nil {
		return nil, finally(err)
	}
	return &peerpb.DismissReply{Warnings: change.Warnings}, nil
}

// Demote tells this manager that it is to be a host. It goes on as one once it
// is none any more.
func (a admission) Demote(_ context.Context, r *peerpb.DemoteRequest) (*peerpb.DemoteReply, error) {
	if a.m.world.Become == nil {
		return nil, status.Error(codes.FailedPrecondition, "this daemon keeps its roles")
	}
	return &peerpb.DemoteReply{}, a.m.world.Become([]string{member.Host}, r.Token, r.Address)
}
