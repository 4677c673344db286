package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/status"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/identity"
	"aloft/internal/member"
	"aloft/internal/member/memberpb"
	"aloft/internal/peer"
	"aloft/internal/store"
)

// promoteTime is how long a host may take until its store votes.
const promoteTime = time.Minute

// NewToken makes a token with which one daemon may join the cluster.
func (s service) NewToken(ctx context.Context, r api.TokenRequest) (*api.JoinToken, error) {
	if s.m.world.Listen == "" {
		return nil, errListensNowhere
	}
	life := time.Duration(r.TTL) * time.Second
	token, err := s.m.identity.NewJoinToken(ctx, identity.MemberRole(r.Role), life)
	if refusal, ok := errors.AsType[*identity.Refusal](err); ok {
		return nil, &api.Error{Kind: api.KindInvalid, Message: refusal.Reason, Remedy: "as --ttl 1h; make another when it is needed"}
	}
	if err != nil {
		return nil, err
	}
	return &api.JoinToken{Token: token.String(), Role: r.Role, Expires: s.m.world.now().Add(life), Address: s.m.world.Listen}, nil
}

// Promote makes a host a manager and returns when its store votes.
func (s service) Promote(ctx context.Context, name string) (*api.MemberChange, error) {
	all, who, err := s.m.find(ctx, name)
	if err != nil {
		return nil, err
	}
	warnings, err := member.MayPromote(all, who)
	switch {
	case err != nil:
		return nil, refused(err)
	case s.m.world.Listen == "":
		return nil, errListensNowhere
	}
	session, err := s.m.call(ctx, who)
	if err != nil {
		return nil, err
	}
	// One that was a manager before may be one again.
	err = s.m.identity.ChangeRoster(ctx, func(r *identity.Roster) error {
		r.Revoked = slices.DeleteFunc(r.Revoked, func(v identity.Revocation) bool {
			return v.Kind == identity.KindManager && v.ID == who.Id || v.Kind == identity.KindUser && v.ID == identity.OperatorName(who.Id)
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	token, err := s.m.identity.NewJoinToken(ctx, identity.RoleManage, promoteTime)
	if err != nil {
		return nil, err
	}
	_, err = peerpb.NewHostingClient(session).Promote(ctx, &peerpb.PromoteRequest{Token: token.String(), Address: s.m.world.Listen})
	if err != nil {
		return nil, fmt.Errorf("promote %s: %s", who.Name, status.Convert(err).Message())
	}
	return s.m.await(ctx, who, warnings, func(m *memberpb.Member) bool { return m != nil && member.Is(m, member.Manage) && !m.Joining })
}

// await waits until a member's row is as it should be.
func (m *Manager) await(ctx context.Context, who *memberpb.Member, warnings []string, done func(*memberpb.Member) bool) (*api.MemberChange, error) {
	late := time.Now().Add(promoteTime)
	for {
		row, err := memberTable.Get(ctx, m.world.Store, who.Id)
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return nil, err
		case done(row.Message):
			if row.Message == nil {
				row.Message = who
			}
			return &api.MemberChange{Member: m.member(row.Message), Warnings: warnings}, nil
		case time.Now().After(late):
			return nil, &api.Error{
				Kind: api.KindUnavailable, Message: fmt.Sprintf("%s has not become what it is to be after %s", who.Name, promoteTime),
				Remedy: "its daemon goes on trying; see 'aloft daemon status' and daemon.log in its home",
			}
		}
		pause(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// callTime is how long a member may take to have a session: one that has begun
// anew just now is dialled within it.
const callTime = 4 * time.Second

// call returns a session with another member.
func (m *Manager) call(ctx context.Context, who *memberpb.Member) (peer.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	s, err := m.node.Wait(ctx, who.Id)
	if err != nil {
		return nil, unanswered(who)
	}
	return s, nil
}

func unanswered(who *memberpb.Member) error {
	return &api.Error{Kind: api.KindUnavailable, Message: fmt.Sprintf("%s does not answer", who.Name), Remedy: "start its daemon: aloft daemon start"}
}

// Demote makes a manager a host.
func (s service) Demote(ctx context.Context, name string) (*api.MemberChange, error) {
	return s.m.dismiss(ctx, name, true, false)
}

// RemoveMember removes a member for good, running or not.
func (s service) RemoveMember(ctx context.Context, name string, force bool) (*api.MemberChange, error) {
	return s.m.dismiss(ctx, name, false, force)
}

// dismiss has a member be none any more, or, demoted, be a host. It may be
// repeated, and goes on where it was cut.
func (m *Manager) dismiss(ctx context.Context, name string, demote, force bool) (change *api.MemberChange, err error) {
	all, who, err := m.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if who.Id == m.world.MachineID {
		lost, err := m.mayDismiss(ctx, all, who, demote, force)
		if err == nil {
			change, err = m.dismissSelf(ctx, all, demote)
		}
		if err == nil {
			change.Warnings = lost
		}
		return change, err
	}
	err = m.inTurn(ctx, func(ctx context.Context) error {
		all, who, err := m.find(ctx, name)
		if err != nil {
			return err
		}
		warnings, err := m.mayDismiss(ctx, all, who, demote, force)
		if err != nil {
			return err
		}
		if demote {
			if err := m.tellDemoted(ctx, who); err != nil {
				return err
			}
		}
		if err := m.unmake(ctx, who, demote); err != nil {
			return err
		}
		m.world.Log.Info("a member was dismissed", "member", who.Name, "id", who.Id, "demoted", demote)
		change = &api.MemberChange{Member: m.member(who), Warnings: warnings}
		return nil
	})
	return change, err
}

// mayDismiss refuses what would leave the cluster without managers or machines
// without a host.
func (m *Manager) mayDismiss(ctx context.Context, all []*memberpb.Member, who *memberpb.Member, demote, force bool) (warnings []string, err error) {
	if demote && !member.Is(who, member.Manage) {
		return nil, &api.Error{Kind: api.KindConflict, Message: who.Name + " is no manager"}
	}
	if warnings, err = member.MayRemove(all, m.alive(ctx), who); err != nil || demote {
		return warnings, refused(err)
	}
	machines, err := m.control.MachinesOn(ctx, who.Id)
	if err != nil {
		return nil, err
	}
	lost, err := member.MayLose(who, machines, force)
	return append(warnings, lost...), refused(err)
}

// unmake takes from a member what makes it one, or what makes it a manager. It
// may be repeated.
func (m *Manager) unmake(ctx context.Context, who *memberpb.Member, demote bool) (err error) {
	manages := member.Is(who, member.Manage)
	if manages {
		if err := m.inherit(ctx, who); err != nil {
			return err
		}
		if err := m.unseat(ctx, who); err != nil {
			return err
		}
	}
	if demote {
		err = changeMember(ctx, m.world.Store, who.Id, func(row *memberpb.Member) (*memberpb.Member, error) {
			if row != nil {
				row.Roles, row.Store, row.Joining, row.Until, row.Promoted = []string{member.Host}, "", false, nil, false
			}
			return row, nil
		})
	} else if err = m.revokeMachines(ctx, who.Id); err == nil {
		err = strike(ctx, m.world.Store, who)
	}
	if err == nil && manages {
		err = m.identity.Remove(ctx, identity.KindManager, who.Id)
	}
	if err == nil && !demote {
		// The command line of a host's home is a user, who looks.
		err = errors.Join(m.identity.Remove(ctx, identity.KindUser, identity.ViewerName(who.Id)), m.identity.Remove(ctx, identity.KindMachine, who.Id))
		if err == nil {
			m.tellRemoved(ctx, who)
		}
	}
	if err == nil {
		err = m.tellRoster(ctx)
	}
	return err
}

// tellRemoved has a member know that it is none any more, before its sessions
// end and nobody listens to it: one that does not hear it goes on without a
// manager.
func (m *Manager) tellRemoved(ctx context.Context, who *memberpb.Member) {
	session, ok := m.node.Session(who.Id)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := peerpb.NewMembershipClient(session).Update(ctx, &peerpb.Roster{Signed: m.identity.SignedRoster()}); err != nil {
		m.world.Log.Info("a member was not told that it was removed", "member", who.Name, "error", err)
	}
}

// alive returns who of the managers answers, as the store sees it.
func (m *Manager) alive(ctx context.Context) func(id string) bool {
	if m.world.StoreMembers != nil {
		if all, err := m.world.StoreMembers.Members(ctx); err == nil {
			return func(id string) bool {
				return slices.ContainsFunc(all, func(s store.Member) bool { return s.Name == id && s.Alive })
			}
		}
	}
	return m.inReach
}

// strike deletes a member's row and the hold on its name.
func strike(ctx context.Context, kv store.KV, who *memberpb.Member) error {
	gone, err := revokedTable.Put(who, who.Id)
	if err != nil {
		return err
	}
	_, err = kv.Commit(ctx, store.Txn{
		Put: []store.Put{gone}, Delete: []string{memberTable.Key(who.Id), nameKey(who.Name)},
	})
	return err
}

// tellDemoted has a manager know that it is to be a host, before it is none any
// more, with a token to become one.
func (m *Manager) tellDemoted(ctx context.Context, who *memberpb.Member) error {
	session, err := m.call(ctx, who)
	if err != nil {
		return err
	}
	token, err := m.identity.NewJoinToken(ctx, identity.RoleHost, promoteTime)
	if err != nil {
		return err
	}
	_, err = peerpb.NewClusterClient(session).Demote(ctx, &peerpb.DemoteRequest{Token: token.String(), Address: m.world.Listen})
	if err != nil {
		return fmt.Errorf("demote %s: %s", who.Name, status.Convert(err).Message())
	}
	return nil
}

// dismissSelf has another manager dismiss this one.
func (m *Manager) dismissSelf(ctx context.Context, all []*memberpb.Member, demote bool) (*api.MemberChange, error) {
	var failed error
	for _, other := range member.Managers(all) {
		if other.Id == m.world.MachineID || other.Joining {
			continue
		}
		session, err := m.call(ctx, other)
		if err == nil {
			var reply *peerpb.DismissReply
			reply, err = peerpb.NewClusterClient(session).Dismiss(ctx, &peerpb.DismissRequest{Demote: demote})
			if err == nil {
				own, _ := member.Find(all, m.world.MachineID)
				return &api.MemberChange{Member: m.member(own), Warnings: reply.Warnings}, nil
			}
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %s", other.Name, status.Convert(err).Message()))
	}
	return nil, &api.Error{Kind: api.KindUnavailable, Message: "another manager has to do this: " + failed.Error()}
}
