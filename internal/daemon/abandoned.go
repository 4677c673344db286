package daemon

import (
	"context"
	"time"

	"aloft/api"
	"aloft/internal/member"
	"aloft/internal/member/memberpb"
)

// abandonedEvery is how often a manager looks for joins that were cut and are
// not given again.
const abandonedEvery = 10 * time.Second

// forget takes away what is left of joins that were cut, until ctx ends.
func (m *Manager) forget(ctx context.Context) error {
	if m.world.StoreMembers == nil {
		return nil
	}
	for {
		if pause(ctx, abandonedEvery); ctx.Err() != nil {
			return ctx.Err()
		}
		learners, err := m.learners(ctx)
		if err != nil {
			continue // it is asked again
		}
		all := m.fellows.all()
		if len(member.Abandoned(all, m.atIt(ctx), m.world.now())) == 0 && len(member.Adrift(all, learners)) == 0 {
			continue
		}
		if err := m.inTurn(ctx, m.forgetAbandoned); err != nil && ctx.Err() == nil {
			m.world.Log.Warn("take away what is left of a join", "error", err)
		}
	}
}

// forgetAbandoned takes away what is left of joins, as the store tells it now.
func (m *Manager) forgetAbandoned(ctx context.Context) error {
	learners, err := m.learners(ctx)
	if err != nil {
		return err
	}
	_, all, err := memberRows(ctx, m.world.Store)
	if err != nil {
		return err
	}
	for _, who := range member.Abandoned(all, m.atIt(ctx), m.world.now()) {
		if err := m.unmake(ctx, who, who.Promoted); err != nil {
			return err
		}
		m.world.Log.Warn("a join was cut and not given again: taken back", "member", who.Name, "id", who.Id, "host_again", who.Promoted)
	}
	for _, l := range member.Adrift(all, learners) {
		if err := m.unseat(ctx, &memberpb.Member{Id: l.Name, Store: l.Address}); err != nil {
			return err
		}
		m.world.Log.Warn("a learner that no member joins with: taken away", "id", l.Name, "address", l.Address)
	}
	return nil
}

// atIt returns who is in reach, of this manager or as a store of the others.
func (m *Manager) atIt(ctx context.Context) func(id string) bool {
	alive := m.alive(ctx)
	return func(id string) bool { return m.inReach(id) || alive(id) }
}

// learners returns the stores without a vote.
func (m *Manager) learners(ctx context.Context) (list []member.Learner, err error) {
	all, err := m.world.StoreMembers.Members(ctx)
	for _, s := range all {
		if s.Learner {
			list = append(list, member.Learner{Name: s.Name, Address: s.Address})
		}
	}
	return list, err
}

// unseat takes a manager's store away from the others.
func (m *Manager) unseat(ctx context.Context, who *memberpb.Member) error {
	if m.world.StoreMembers == nil {
		return nil
	}
	all, err := m.world.StoreMembers.Members(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Name != "" && s.Name == who.Id || s.Name == "" && s.Address == who.Store {
			if _, err := m.world.StoreMembers.Remove(ctx, s.ID); err != nil {
				return &api.Error{Kind: api.KindConflict, Message: err.Error()}
			}
		}
	}
	return nil
}
