package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"aloft/internal/identity"
	"aloft/internal/member"
	"aloft/internal/member/memberpb"
	"aloft/internal/store"
)

// follow makes the lists of a roster those of the members' rows. Whom it
// revokes stays revoked.
func follow(r *identity.Roster, all []*memberpb.Member) {
	r.Managers, r.Hosts = nil, nil
	for _, m := range all {
		entry := identity.RosterMember{ID: m.Id, Name: m.Name}
		if m.Address != "" {
			entry.Addresses = []string{m.Address}
		}
		switch {
		case !member.Is(m, member.Manage):
			r.Hosts = append(r.Hosts, entry)
		case !m.Joining:
			r.Managers = append(r.Managers, entry)
		}
	}
	byID := func(a, b identity.RosterMember) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(r.Managers, byID)
	slices.SortFunc(r.Hosts, byID)
}

// contactsIn returns where a roster says that managers are.
func contactsIn(r *identity.Roster) []string {
	if r == nil {
		return nil
	}
	var list []string
	for _, m := range r.Managers {
		list = append(list, m.Addresses...)
	}
	return list
}

// tellRoster makes the roster follow the members' rows. Everybody in reach is
// told of the new one, and others when they come.
func (m *Manager) tellRoster(ctx context.Context) error {
	err := m.identity.ChangeRoster(ctx, func(r *identity.Roster) error {
		_, all, err := memberRows(ctx, m.world.Store)
		if err != nil {
			return err
		}
		follow(r, all)
		return nil
	})
	if err == nil {
		m.heardRoster()
	}
	return err
}

// hearRoster takes in a roster with which a member answered.
func (m *Manager) hearRoster(signed []byte) {
	if err := m.takeRoster(signed); err != nil {
		m.world.Log.Warn("a member's list of managers", "error", err)
	}
}

// takeRoster takes in a roster that another member has.
func (m *Manager) takeRoster(signed []byte) error {
	newer, err := m.identity.AcceptRoster(signed)
	if newer {
		m.heardRoster()
	}
	return err
}

// heardRoster passes on a roster that is new here: whom it revokes is cut off,
// and the home's command line knows where the managers are.
func (m *Manager) heardRoster() {
	m.rosters.Set(m.identity.SignedRoster())
	m.node.Recheck()
	m.keepClient()
	if m.identity.Roster().Epoch > m.ruled {
		m.world.Log.Warn("this manager is none any more", "error", identity.ErrSuperseded, "remedy", "aloft cluster leave")
		endSoon(func() { m.end(errRemoved) })
	}
}

// storedEpoch returns the epoch of a store. It changes only while no daemon has
// the store open, so what this member of it has is right; errRemoved where the
// cluster has gone on in another.
func storedEpoch(ctx context.Context, kv store.KV, id *identity.Manager) (int64, error) {
	e, err := kv.Local().Get(ctx, vaultKey("roster"))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("epoch of the store: %w", err)
	}
	epoch, err := id.EpochOf(e.Value)
	if errors.Is(err, identity.ErrSuperseded) {
		err = fmt.Errorf("%w: %w", errRemoved, err)
	}
	return epoch, err
}

// keepClient writes down where this home's command line finds managers.
func (m *Manager) keepClient() {
	contacts := contactsIn(m.identity.Roster())
	if len(contacts) == 0 {
		return
	}
	err := clientSettings{Cluster: m.identity.Name().Cluster, Managers: contacts, Identity: operatorIdentity}.write(m.world.Dir)
	if err != nil {
		m.world.Log.Warn("where the managers are is not kept for the command line", "error", err)
	}
}
