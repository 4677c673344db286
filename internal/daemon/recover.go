package daemon

import (
	"context"
	"log/slog"
	"slices"

	"aloft/internal/member"
	"aloft/internal/store"
)

// Recovered is what became of a cluster whose majority was lost.
type Recovered struct {
	Epoch   int64
	GivenUp []string // names of the managers that are none any more
}

// Recover makes the manager in a home, whose daemon does not run, the only one
// of its cluster, with what it has of the store. What only the others have is
// lost. It may be repeated.
func Recover(ctx context.Context, dir string) (*Recovered, error) {
	is, err := readSettings(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(is.Roles, member.Manage) || is.Join != nil:
		return nil, advise("on one that is a manager: aloft cluster recover", "the daemon of %s is no manager: it has no copy of the store", dir)
	case is.Removed:
		return nil, advise("aloft cluster leave makes it fit to join again", "the daemon of %s was removed from its cluster", dir)
	}
	h, err := openHome(dir)
	if err != nil {
		return nil, err
	}
	defer h.close()
	cfg := store.Config{Dir: h.path("store"), Name: h.machine, Log: slog.New(slog.DiscardHandler)}
	if err := store.Recover(ctx, cfg); err != nil {
		return nil, err
	}
	s, err := succeed(ctx, successor{dir: dir, machine: h.machine})
	if err != nil {
		return nil, err
	}
	r := Recovered(*s)
	return &r, nil
}
