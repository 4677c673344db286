package daemon

import (
	"context"
	"strconv"
	"sync"

	"aloft/internal/event"
)

type memEvents struct {
	mu   sync.Mutex
	all  []event.Event
	more chan struct{}
}

func newMemEvents() *memEvents { return &memEvents{more: make(chan struct{})} }

func (m *memEvents) Emit(e event.Event) {
	m.mu.Lock()
	m.all = append(m.all, e)
	close(m.more)
	m.more = make(chan struct{})
	m.mu.Unlock()
}

func (m *memEvents) Cursor() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strconv.Itoa(len(m.all))
}

func (m *memEvents) Since(ctx context.Context, cursor string, follow bool, f func(event.Event, string) bool) {
	n, _ := strconv.Atoi(cursor)
	for {
		m.mu.Lock()
		rest, more := m.all[min(n, len(m.all)):], m.more
		m.mu.Unlock()
		for _, e := range rest {
			n++
			if !f(e, strconv.Itoa(n)) {
				return
			}
		}
		if !follow {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		}
	}
}
