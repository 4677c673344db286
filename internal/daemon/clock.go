package daemon

import (
	"context"
	"log/slog"
	"time"
)

const (
	// glance is how often a daemon looks whether its clock was set.
	glance = 5 * time.Second
	// setBy is by how much a clock must have been set to be told of: what keeps
	// it right moves it by less.
	setBy = time.Minute
)

// watchClock calls each of then when the clock was set, or the host was
// suspended: the timers of those who wait for a time of day notice neither.
func watchClock(ctx context.Context, clock func() time.Time, log *slog.Logger, then ...func()) error {
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	last, begun := clock(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		now := clock()
		by := now.Round(0).Sub(last.Round(0)) - time.Since(begun) // of the clock, and of what timers run by
		last, begun = now, time.Now()
		if by.Abs() < setBy {
			continue
		}
		log.Warn("the clock was set, or this host was suspended", "by", by.Round(time.Second))
		for _, f := range then {
			f()
		}
	}
}
