package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"aloft/api"
	"aloft/internal/store"
)

const (
	// spare is the free space, in bytes, below which no change is taken: what
	// is under way has to be recorded to its end.
	spare = 8 << 20
	// probeLimit is how long the store may take for a write.
	probeLimit = 2 * time.Second
	// probeLife is how long a probe's outcome is believed.
	probeLife = time.Second
)

// probe finds out whether this daemon can record what it does.
type probe struct {
	mu sync.Mutex
	// under mu:
	at      time.Time
	outcome error
}

// writable says why no change can be taken now; nil: changes are taken.
func (m *Manager) writable(ctx context.Context) error {
	m.probe.mu.Lock()
	defer m.probe.mu.Unlock()
	if !m.probe.at.IsZero() && time.Since(m.probe.at) < probeLife {
		return m.probe.outcome
	}
	err := m.tryWrite(ctx)
	if ctx.Err() != nil {
		return err // of this caller, who left
	}
	m.probe.at, m.probe.outcome = time.Now(), err
	return err
}

func (m *Manager) tryWrite(ctx context.Context) error {
	refuse := func(remedy, format string, args ...any) error {
		return &api.Error{
			Kind: api.KindUnavailable, Message: "no change can be taken now: " + fmt.Sprintf(format, args...), Remedy: remedy, RetryAfter: 2 * time.Second,
		}
	}
	select {
	case <-m.stop:
		return refuse("ask another manager, or this one once it runs again", "this daemon is ending")
	default:
	}
	dir := m.world.Dir
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return refuse("see to that disk", "the state folder %s: %v", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < spare {
		return refuse("free some space there", "the disk of %s is full: %d KiB are free", dir, free>>10)
	}
	if err := touch(m.world.path("probe")); err != nil {
		return refuse("see to that disk", "the state folder cannot be written: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	_, err := m.world.Store.Commit(ctx, store.Txn{Put: []store.Put{{Key: store.Key("probe", m.world.MachineID)}}})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return refuse("it goes on by itself once a majority of the managers is there", "the store has no majority of its managers")
	case err != nil:
		return refuse("it goes on by itself once the store does", "the store: %v", err)
	}
	return nil
}

// touch writes a file anew.
func touch(path string) error {
	if err := os.WriteFile(path, []byte{'\n'}, 0o600); err != nil {
		return err
	}
	return os.Remove(path)
}
