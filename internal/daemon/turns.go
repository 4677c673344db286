package daemon

import (
	"context"
	"errors"
	"time"

	"aloft/api"
	"aloft/internal/store"
)

// Times of a change of who the members are.
const (
	// turnLife is how long a turn outlives the manager that has it.
	turnLife = 75 * time.Second
	// turnTime is how long what is done in a turn may take: less than the turn,
	// so that two never overlap.
	turnTime = 70 * time.Second
	// turnPatience is how long to wait for one's turn.
	turnPatience = 20 * time.Second
)

// inTurn does what takes members away, one after the other in the whole
// cluster: two at the same moment might each count on whom the other removes. A
// row is the turn; it ends by itself some time after its manager has died.
func (m *Manager) inTurn(ctx context.Context, do func(ctx context.Context) error) error {
	kv := m.world.Store
	key := store.Key("turn", "members")
	lease, err := kv.Grant(ctx, turnLife)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quorumTime)
		defer cancel()
		if err := kv.Revoke(ctx, lease); err != nil {
			m.world.Log.Debug("a turn ends later", "error", err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	for late := time.Now().Add(turnPatience); ; {
		_, err := kv.Commit(ctx, store.Txn{
			If: []store.Condition{{Key: key}}, Put: []store.Put{{Key: key, Value: []byte(m.world.MachineID), Lease: lease}},
		})
		switch {
		case err == nil:
			return do(ctx)
		case !errors.Is(err, store.ErrConflict):
			return err
		case time.Now().After(late):
			return &api.Error{
				Kind: api.KindConflict, Message: "another change of the members is under way, or its manager has died just now",
				Remedy: "try again in a minute",
			}
		}
		if pause(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
