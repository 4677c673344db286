package daemon

import (
	"context"
	"errors"
	"fmt"

	"aloft/internal/identity"
	"aloft/internal/store"
)

// madeKey is the key of the row that tells, by its id, which host makes a
// machine. It is there from the machine's token until the machine is no more.
func madeKey(machine string) string { return store.Key("made", machine) }

// errNotMade refuses what a host asks about a machine that it does not make.
var errNotMade = errors.New("this host does not make that machine")

// retire records that a machine which is no more gets no other certificate. It
// may be repeated.
func (m *Manager) retire(ctx context.Context, machine string) error {
	if err := m.identity.Retire(ctx, machine); err != nil {
		return err
	}
	_, err := m.world.Store.Commit(ctx, store.Txn{Delete: []string{madeKey(machine)}})
	return err
}

// retireOf is retire for another host, which may tell of its own machines alone.
func (m *Manager) retireOf(ctx context.Context, host, machine string) error {
	e, err := m.world.Store.Get(ctx, madeKey(machine))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil // retired already; or of an earlier release, and its certificate ends by itself
	case err != nil:
		return err
	case string(e.Value) != host:
		return fmt.Errorf("machine %s: %w", machine, errNotMade)
	}
	return m.retire(ctx, machine)
}

// revokeMachines has everybody refuse the machines of a host that is removed:
// who has the host has their keys. It may be repeated.
func (m *Manager) revokeMachines(ctx context.Context, host string) error {
	entries, _, err := m.world.Store.List(ctx, madeKey(""))
	if err != nil {
		return err
	}
	var ids, keys []string
	for _, e := range entries {
		if string(e.Value) == host {
			ids, keys = append(ids, e.Key[len(madeKey("")):]), append(keys, e.Key)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := m.identity.Remove(ctx, identity.KindMachine, ids...); err != nil {
		return err
	}
	_, err = m.world.Store.Commit(ctx, store.Txn{Delete: keys})
	return err
}
