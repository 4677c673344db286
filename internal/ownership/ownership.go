// Package ownership shares the work among the managers of a cluster. The work
// comes in shards, each named by what it is of: a system, or an account at a
// provider. A shard has one owner at a time, which is fenced, not trusted: who
// acquires it raises its term, and what the owner writes is written on the
// condition that nobody has acquired it since (Claim.Commit). So a manager that
// was stopped, or cut off, and believes that it still owns cannot write.
//
// That a manager is dead is guessed, by beats: rows that each writes while it
// is not alone. One is dead for another when that one has written three in a
// row and read none of the first's between them, nor that it has become the
// owner of anything. No clock is compared, and without a quorum nobody writes,
// so nobody is dead. A wrong guess costs a change of owner, never a wrong effect.
// Shards of the dead go to the living one that ranks first for the shard; a
// manager that ends in good order gives its own away.
//
// The package does not know what its shards are for, and asks no machine
// anything. Run owns its goroutines.
package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"aloft/internal/store"
)

// ErrLost says that the shard has, or may have, another owner by now, and that
// nothing was written.
var ErrLost = errors.New("it has another owner by now")

// OwnedError says that a shard is another living manager's.
type OwnedError struct {
	Shard   string
	Manager string
}

func (e *OwnedError) Error() string {
	return fmt.Sprintf("%s is owned by manager %s", e.Shard, e.Manager)
}

// Config is what a Keeper needs.
type Config struct {
	Store   store.KV
	Manager string // id of this one
	// Managers returns the ids of all managers of the cluster, this one among
	// them, or nil as long as they are not known. It must not block.
	Managers func() []string
	// Take is told of every shard that falls to this manager without having been
	// asked for by Acquire. It is called by goroutines of Run and must not block.
	Take func(*Claim)
	Log  *slog.Logger
}

// Keeper knows whose every shard is, and holds those of one manager.
type Keeper struct {
	cfg Config

	mu sync.Mutex
	// guarded by mu
	state  *state
	claims map[string]*Claim // by shard, of those held
	moved  chan struct{}     // closed, and made anew, when state has changed

	wake chan struct{} // has one element when something may be due
}

// New returns a Keeper that has read whose the shards are, or were when a
// majority of the managers last answered: the first that comes back after all
// were down begins without one. It has acquired none: Run does, and reads anew.
func New(ctx context.Context, cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, state: newState(cfg.Manager), claims: map[string]*Claim{}, moved: make(chan struct{}), wake: make(chan struct{}, 1)}
	known := store.Stale(cfg.Store)
	entries, _, err := known.List(ctx, ownerTable.Under())
	if err != nil {
		return nil, fmt.Errorf("read the owners: %w", err)
	}
	if err := migrate(ctx, cfg.Store, cfg.Manager, entries); err != nil {
		return nil, err
	}
	if entries, _, err = known.List(ctx, ownerTable.Under()); err != nil {
		return nil, fmt.Errorf("read the owners: %w", err)
	}
	for _, e := range entries {
		ev, err := ownerEvent(store.Change{Entry: e})
		if err != nil {
			return nil, err
		}
		if ev != nil {
			k.step(ev)
		}
	}
	k.step(know{cfg.Managers()})
	return k, nil
}

// Claim is a shard held by this manager.
type Claim struct {
	keeper   *Keeper
	shard    string
	term     int64
	revision int64
	lost     chan struct{}
}

// Shard is what is held.
func (c *Claim) Shard() string { return c.shard }

// Term is higher than that of every claim on the shard before it.
func (c *Claim) Term() int64 { return c.term }

// Lost is closed once it is known that the shard has another owner.
func (c *Claim) Lost() <-chan struct{} { return c.lost }

// Commit carries t out if the shard is still held, and returns ErrLost if not.
// What it writes must be the shard's.
func (c *Claim) Commit(ctx context.Context, t store.Txn) (int64, error) {
	select {
	case <-c.lost:
		return 0, fmt.Errorf("%s: %w", c.shard, ErrLost)
	default:
	}
	key := ownerKey(c.shard)
	t.If = append([]store.Condition{{Key: key, Revision: c.revision}}, t.If...)
	revision, err := c.keeper.cfg.Store.Commit(ctx, t)
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok && conflict.Key == key {
		c.keeper.drop(c)
		_, _ = c.keeper.read(ctx, c.shard) // so that whose it is is known; if not now, by the watch
		return 0, fmt.Errorf("%s: %w", c.shard, ErrLost)
	}
	return revision, err
}

// Conditions is how many conditions of a transaction Commit needs for itself.
const Conditions = 1

// Owner returns whose a shard is; "" is nobody's.
func (k *Keeper) Owner(shard string) (manager string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.rows[shard].manager
}

// Term returns the newest term of a shard that is known here.
func (k *Keeper) Term(shard string) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.rows[shard].term
}

// Alive reports whether a manager is one of the cluster's and not known to be
// dead.
func (k *Keeper) Alive(manager string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.state.dead(manager)
}

// Living returns the managers that are not known to be dead.
func (k *Keeper) Living() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.living()
}

// Apart returns a living manager for a shard that is none of those to avoid, ""
// if there is none.
func (k *Keeper) Apart(shard string, avoid []string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.apart(shard, avoid)
}

// Held returns the claim on a shard that this manager holds, or nil.
func (k *Keeper) Held(shard string) *Claim {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.claims[shard]
}

// Changed returns a channel that is closed when an owner or who lives may have
// changed.
func (k *Keeper) Changed() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.moved
}

// step takes in what happened.
func (k *Keeper) step(e event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note(e)
}

// note is step with the lock held.
func (k *Keeper) note(e event) {
	for _, shard := range k.state.step(e) {
		if c := k.claims[shard]; c != nil {
			delete(k.claims, shard)
			close(c.lost)
			k.cfg.Log.Info("no longer the owner", "shard", shard, "term", c.term, "owner", k.state.rows[shard].manager)
		}
	}
	close(k.moved)
	k.moved = make(chan struct{})
	switch e.(type) {
	case changed, gone, beaten, seen:
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// drop ends a claim whose row was found changed.
func (k *Keeper) drop(c *Claim) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.claims[c.shard] != c {
		return
	}
	delete(k.claims, c.shard)
	delete(k.state.held, c.shard)
	close(c.lost)
}

// Acquire makes this manager the owner of a shard, or returns the claim that it
// has. It is refused with an *OwnedError where another living manager owns it.
func (k *Keeper) Acquire(ctx context.Context, shard string) (*Claim, error) {
	for {
		k.mu.Lock()
		claim, moved := k.claims[shard], k.moved
		wait := claim == nil && k.state.taking[shard]
		if claim == nil && !wait {
			k.state.taking[shard] = true
		}
		k.mu.Unlock()
		switch {
		case claim != nil:
			return claim, nil
		case !wait:
			claim, err := k.acquire(ctx, shard)
			if errors.Is(err, store.ErrConflict) {
				continue // another manager wrote the row since it was read: it tells who
			}
			return claim, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Renew is Acquire, but where this manager has a claim already, that one is lost
// to a new one with a higher term.
func (k *Keeper) Renew(ctx context.Context, shard string) (*Claim, error) {
	old := k.Held(shard)
	if old == nil {
		return k.Acquire(ctx, shard)
	}
	k.drop(old)
	return k.Acquire(ctx, shard)
}

// acquire reads the row as it is now and takes it. The shard is marked as being
// taken.
func (k *Keeper) acquire(ctx context.Context, shard string) (*Claim, error) {
	now, err := k.read(ctx, shard)
	if err == nil && now.manager != "" && now.manager != k.cfg.Manager && k.Alive(now.manager) {
		err = &OwnedError{Shard: shard, Manager: now.manager}
	}
	if err != nil {
		k.step(failed{shard})
		return nil, err
	}
	return k.take(ctx, shard, now)
}

// read takes in what the row of a shard is now, and returns it; zero if there is
// none.
func (k *Keeper) read(ctx context.Context, shard string) (row, error) {
	e, err := k.cfg.Store.Get(ctx, ownerKey(shard))
	if errors.Is(err, store.ErrNotFound) {
		return row{}, nil
	}
	if err != nil {
		return row{}, err
	}
	now, err := rowOf(e)
	if err == nil {
		k.step(changed{shard, now})
	}
	return now, err
}

// take raises the term of a shard whose row is as given. The shard is marked as
// being taken.
func (k *Keeper) take(ctx context.Context, shard string, now row) (*Claim, error) {
	next := row{manager: k.cfg.Manager, term: now.term + 1}
	put, err := ownerPut(shard, next.manager, next.term)
	if err == nil {
		next.revision, err = k.cfg.Store.Commit(ctx, store.Txn{
			If: []store.Condition{{Key: put.Key, Revision: now.revision}}, Put: []store.Put{put},
		})
	}
	if err != nil {
		k.step(failed{shard})
		return nil, fmt.Errorf("become the owner of %s: %w", shard, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	claim := &Claim{keeper: k, shard: shard, term: next.term, revision: next.revision, lost: make(chan struct{})}
	k.note(took{shard, next})
	if _, held := k.state.held[shard]; !held { // somebody was faster still
		return nil, fmt.Errorf("%s: %w", shard, ErrLost)
	}
	k.claims[shard] = claim
	return claim, nil
}

// Give makes another manager the owner of a shard that this one holds, with the
// next term. The claim on it is lost.
func (k *Keeper) Give(ctx context.Context, shard, manager string) error {
	claim := k.Held(shard)
	if claim == nil {
		return fmt.Errorf("%s: %w", shard, ErrLost)
	}
	put, err := ownerPut(shard, manager, claim.term+1)
	if err != nil {
		return err
	}
	revision, err := claim.Commit(ctx, store.Txn{Put: []store.Put{put}})
	if err != nil {
		return fmt.Errorf("give %s to manager %s: %w", shard, manager, err)
	}
	k.step(changed{shard, row{manager: manager, term: claim.term + 1, revision: revision}})
	return nil
}

// rowOf reads a row of the store.
func rowOf(e store.Entry) (row, error) {
	r, err := ownerTable.Row(e)
	if err != nil {
		return row{}, err
	}
	return row{manager: r.Message.Manager, term: r.Message.Term, revision: r.Revision}, nil
}
