package ownership

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"aloft/internal/ownership/ownershippb"
	"aloft/internal/store"
)

const (
	// interval is the time between two beats.
	interval = 400 * time.Millisecond
	// patience is how long an acquisition may take: longer than the store needs
	// to choose a new leader.
	patience = 2 * time.Second
	// A beat that a dying leader of the store swallowed is given up after
	// beatLimit; where the store is only slow, the next may take longer.
	beatLimit  = 700 * time.Millisecond
	beatLimits = 4 * beatLimit
	// atOnce is how many shards are acquired, or given away, at once.
	atOnce = 32
	// farewell is how long giving the shards away may take at the end.
	farewell = 3 * time.Second
)

// Run keeps what is known of owners and managers up to date, beats while there
// are other managers, and acquires what falls to this one, until ctx ends. Then
// it gives away what it holds, if there is somebody to give it to.
func (k *Keeper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { k.follow(ctx, ownerTable.Under(), ownerEvent) })
	wg.Go(func() { k.follow(ctx, beatTable.Under(), beatEvent) })
	wg.Go(func() { k.beat(ctx) })
	k.claim(ctx)
	wg.Wait()
	// ctx has ended, and with it what was written in the name of the claims.
	away, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	k.leave(away)
	return ctx.Err()
}

// claim acquires what is due, whenever something has changed.
func (k *Keeper) claim(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, atOnce)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		k.step(know{k.cfg.Managers()})
		for shard, now := range k.due() {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				k.step(failed{shard})
				continue
			}
			wg.Go(func() {
				defer func() { <-places }()
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				claim, err := k.take(ctx, shard, now)
				if err != nil {
					k.cfg.Log.Debug("not acquired", "shard", shard, "error", err)
					return
				}
				k.cfg.Log.Info("owner", "shard", shard, "term", claim.term, "before", now.manager)
				k.cfg.Take(claim)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.wake:
		}
	}
}

// due returns what is to be acquired, with the rows as they are known, and
// marks it as being taken.
func (k *Keeper) due() map[string]row {
	k.mu.Lock()
	defer k.mu.Unlock()
	shards := map[string]row{}
	for _, shard := range k.state.due() {
		k.state.taking[shard] = true
		shards[shard] = k.state.rows[shard]
	}
	return shards
}

// beat writes that this manager lives, while there is somebody to see it.
func (k *Keeper) beat(ctx context.Context) {
	limit := beatLimit
	for n := int64(1); ; n++ {
		// Two that were taken are never less than the interval apart: after a
		// manager was stopped, beats that catch up would leave the others no time
		// to be heard between them.
		next := time.Now().Add(interval)
		if len(k.cfg.Managers()) > 1 {
			if k.write(ctx, n, limit) {
				limit, next = beatLimit, time.Now().Add(interval)
			} else {
				limit = min(2*limit, beatLimits)
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// write reports whether the store took the beat in time.
func (k *Keeper) write(ctx context.Context, n int64, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	put, err := beatTable.Put(&ownershippb.Beat{Count: n}, k.cfg.Manager)
	if err == nil {
		var revision int64
		if revision, err = k.cfg.Store.Commit(ctx, store.Txn{Put: []store.Put{put}}); err == nil {
			k.step(beaten{revision})
			return true
		}
	}
	k.cfg.Log.Debug("no beat", "error", err)
	return false
}

// leave gives every shard to the living manager that ranks first for it.
func (k *Keeper) leave(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, atOnce)
	for shard, heir := range k.heirs() {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := k.Give(ctx, shard, heir); err != nil && !errors.Is(err, ErrLost) {
				k.cfg.Log.Warn("the shard is not given away; it is taken from this manager later", "shard", shard, "error", err)
			}
		})
	}
}

func (k *Keeper) heirs() map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	heirs := map[string]string{}
	for shard := range k.claims {
		if heir := k.state.heir(shard); heir != "" {
			heirs[shard] = heir
		}
	}
	return heirs
}

// follow takes in the rows under prefix and every change of them.
func (k *Keeper) follow(ctx context.Context, prefix string, read func(store.Change) (event, error)) {
	take := func(c store.Change) {
		ev, err := read(c)
		if err != nil {
			k.cfg.Log.Error("row left out", "error", err)
		} else if ev != nil {
			k.step(ev)
		}
	}
	for ctx.Err() == nil {
		entries, revision, err := k.cfg.Store.List(ctx, prefix)
		if err != nil {
			k.cfg.Log.Debug("follow", "rows", prefix, "error", err)
			pause(ctx)
			continue
		}
		there := map[string]bool{}
		for _, e := range entries {
			there[e.Key] = true
			take(store.Change{Entry: e})
		}
		for _, key := range k.known(prefix) {
			if !there[key] {
				take(store.Change{Entry: store.Entry{Key: key, Revision: revision}, Deleted: true})
			}
		}
		for b := range k.cfg.Store.Watch(ctx, prefix, revision+1) {
			if b.Err != nil {
				k.cfg.Log.Debug("follow", "rows", prefix, "error", b.Err)
				break
			}
			for _, c := range b.Changes {
				take(c)
			}
		}
		pause(ctx)
	}
}

// known returns the keys under prefix that the state has.
func (k *Keeper) known(prefix string) (keys []string) {
	if prefix != ownerTable.Under() {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for shard, r := range k.state.rows {
		if r.revision != 0 {
			keys = append(keys, ownerKey(shard))
		}
	}
	return keys
}

func pause(ctx context.Context) {
	t := time.NewTimer(interval / 4)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func ownerEvent(c store.Change) (event, error) {
	shard, is := shardOf(c.Key)
	if !is {
		return nil, nil // renamed, or about to be
	}
	if c.Deleted {
		return gone{shard, c.Revision}, nil
	}
	r, err := rowOf(c.Entry)
	if err != nil {
		return nil, err
	}
	return changed{shard, r}, nil
}

func beatEvent(c store.Change) (event, error) {
	manager := strings.TrimPrefix(c.Key, beatTable.Under())
	if c.Deleted {
		return nil, nil
	}
	return seen{manager, c.Revision}, nil
}
