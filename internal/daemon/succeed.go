package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"aloft/internal/identity"
	"aloft/internal/member"
	"aloft/internal/member/memberpb"
	"aloft/internal/store"
)

// successor is the home of the manager that goes on alone, whose daemon does
// not run and whose store has no other member.
type successor struct {
	dir, machine string
	least        int64 // the least that the epoch is to be
}

// succession is what became of a cluster.
type succession struct {
	Epoch   int64
	GivenUp []string // names of the managers that are none any more
}

// succeed makes a manager the only one of its cluster: in a new epoch, so that
// machines refuse what others order, and with all other managers revoked. It may
// be repeated.
func succeed(ctx context.Context, s successor) (_ *succession, err error) {
	quiet := slog.New(slog.DiscardHandler)
	rows, err := store.Open(ctx, store.Config{Dir: filepath.Join(s.dir, "store"), Name: s.machine, Log: quiet})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	id, err := identity.OpenManager(identity.ManagerConfig{
		Dir: filepath.Join(s.dir, "identity"), ID: s.machine, Tokens: tokens{rows, time.Now}, Vault: vault{rows}, Log: quiet,
	})
	if err != nil {
		return nil, err
	}
	if err := id.Sync(ctx); err != nil {
		return nil, err
	}
	if err := id.RaiseEpoch(ctx, s.least); err != nil {
		return nil, err
	}
	_, all, err := memberRows(ctx, rows)
	if err != nil {
		return nil, err
	}
	done := &succession{Epoch: id.Roster().Epoch}
	for _, other := range member.Managers(all) {
		if other.Id == s.machine {
			continue
		}
		err := errors.Join(
			id.Remove(ctx, identity.KindManager, other.Id), id.Remove(ctx, identity.KindMachine, other.Id), strike(ctx, rows, other),
		)
		if err != nil {
			return nil, fmt.Errorf("give up %s: %w", other.Name, err)
		}
		done.GivenUp = append(done.GivenUp, other.Name)
	}
	slices.Sort(done.GivenUp)
	err = changeMember(ctx, rows, s.machine, func(own *memberpb.Member) (*memberpb.Member, error) {
		if own != nil {
			own.Joining = false
		}
		return own, nil
	})
	if err != nil {
		return nil, err
	}
	return done, id.ChangeRoster(ctx, func(r *identity.Roster) error {
		_, all, err := memberRows(ctx, rows)
		if err == nil {
			follow(r, all)
		}
		return err
	})
}
