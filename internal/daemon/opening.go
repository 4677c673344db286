package daemon

import (
	"context"
	"fmt"
	"log/slog"

	"aloft/api"
	"aloft/internal/identity"
	"aloft/internal/store"
)

// openStore opens the store of a manager. One that joins becomes a learner
// first, and has its vote when openStore returns.
func openStore(ctx context.Context, h *home, o Options, is settings, log *slog.Logger) (*store.Store, error) {
	cfg := store.Config{Dir: h.path("store"), Name: h.machine, Log: log}
	if is.Listen != "" {
		tls, err := identity.OpenStoreTLS(h.path("identity"), h.machine)
		if err != nil {
			return nil, fmt.Errorf("identity of the store: %w", err)
		}
		cfg.Peer = &store.Peer{Listen: storePeer(is.Listen), Cert: tls.Cert, Key: tls.Key, CA: tls.CA, ServerName: tls.ServerName}
	}
	if is.Join == nil {
		rows, err := store.Open(ctx, cfg)
		if err != nil {
			return nil, fmt.Errorf("open the store: %w", err)
		}
		return rows, nil
	}
	var rows *store.Store
	err := runLimited(ctx, h, o, is, log, api.DaemonJoining, func(ctx context.Context, p *progress) error {
		return joinedOrRefused(ctx, p, func() (err error) {
			rows, err = joiner{h.dir, h.machine, is, log}.open(ctx, o.Version, cfg, func(reason string) { p.tell(api.DaemonJoining, reason) })
			return err
		})
	})
	if rows == nil && err == nil {
		err = errStopped
	}
	if err != nil && rows == nil {
		return nil, err
	}
	return rows, nil
}

// open has this manager's store join those of the others, and returns it once
// it votes.
func (j joiner) open(ctx context.Context, build string, cfg store.Config, told func(reason string)) (*store.Store, error) {
	joined, err := j.attach(ctx, build, told)
	if err != nil {
		return nil, err
	}
	cfg.Join = joined
	rows, err := store.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if joined != nil {
		err = j.vote(ctx, build, joined.Member, told)
	}
	if err == nil {
		is := j.is
		is.Joined, is.Join = digest(is.Join.Token), nil
		err = is.write(j.dir)
	}
	if err != nil {
		rows.Close()
		return nil, err
	}
	return rows, nil
}
