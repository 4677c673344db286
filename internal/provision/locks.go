package provision

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
)

// locks lets one call at a time act on each key.
type locks struct {
	mu   sync.Mutex
	held map[string]*turn // guarded by mu
}

type turn struct {
	free  chan struct{} // holds one token while nobody acts
	users int           // guarded by locks.mu: those acting or waiting
}

// take waits for key's turn, or for the end of ctx.
func (l *locks) take(ctx context.Context, key string) (done func(), err error) {
	l.mu.Lock()
	t, ok := l.held[key]
	if !ok {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		l.held[key] = t
	}
	t.users++
	l.mu.Unlock()
	drop := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case <-t.free:
		return func() { t.free <- struct{}{}; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, ctx.Err()
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
