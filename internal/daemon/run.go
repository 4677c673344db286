package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api"
	"aloft/client"
	"aloft/internal/member"
	"aloft/internal/server"
	"aloft/internal/store"
)

// What ends the run of a daemon without ending its process.
var (
	// errChanged says that the settings are others by now.
	errChanged = errors.New("this daemon has become another")
	// errRemoved says that the cluster has removed this member.
	errRemoved = errors.New("this member was removed from the cluster")
)

// errStopped ends what runs for a daemon that was told to end.
var errStopped = errors.New("told to end")

// runMember runs the daemon of a home as what its settings say, until it is
// told to end. It begins anew with other settings.
func runMember(ctx context.Context, h *home, o Options, log *slog.Logger) error {
	for {
		is, err := readSettings(h.dir)
		if err != nil {
			return err
		}
		switch {
		case is.Removed:
			err = runLimited(ctx, h, o, is, log, api.DaemonRemoved, func(ctx context.Context, _ *progress) error {
				log.Warn("this member was removed from its cluster: its daemon does nothing", "remedy", "aloft cluster leave")
				<-ctx.Done()
				return ctx.Err()
			})
		case is.Join != nil && !is.Join.Enrolled:
			err = runLimited(ctx, h, o, is, log, api.DaemonJoining, func(ctx context.Context, p *progress) error {
				return joinedOrRefused(ctx, p, func() error {
					_, err := joiner{h.dir, h.machine, is, log}.enrol(ctx, o.Version)
					return err
				})
			})
		case is.is(member.Manage):
			err = runManager(ctx, h, o, is, log)
		default:
			err = runHost(ctx, h, o, is, log)
		}
		told := errors.Is(err, errStopped)
		if errors.Is(err, errRemoved) || errors.Is(err, store.ErrRemoved) {
			err = h.removed(is)
		}
		switch {
		case errors.Is(err, errStopped), told && errors.Is(err, errChanged):
			return nil
		case !errors.Is(err, errChanged):
			return err
		}
	}
}

// removed writes down that the member with these settings was removed, unless
// it has become another meanwhile. It returns errChanged.
func (h *home) removed(was settings) error {
	now, err := readSettings(h.dir)
	if err != nil {
		return err
	}
	if was.is(member.Manage) && !now.is(member.Manage) {
		return errChanged // it has become a host
	}
	now.Removed, now.Join = true, nil
	if err := now.write(h.dir); err != nil {
		return err
	}
	return errChanged
}

// joinedOrRefused tries a step of a join until it succeeds, which ends the run
// with errChanged, or is refused for good: then the daemon stays to say so.
func joinedOrRefused(ctx context.Context, p *progress, step func() error) error {
	for {
		err := step()
		switch {
		case err == nil:
			return errChanged
		case ctx.Err() != nil:
			return ctx.Err()
		case status.Code(err) == codes.PermissionDenied:
			p.tell(api.DaemonRefused, status.Convert(err).Message())
			<-ctx.Done()
			return ctx.Err()
		}
		p.tell(api.DaemonJoining, err.Error())
		pause(ctx, askAgain)
	}
}

// runLimited runs work beside an API that tells how far it is. It returns
// work's error, or nil once the daemon was told to end.
func runLimited(ctx context.Context, h *home, o Options, is settings, log *slog.Logger, state string, work func(context.Context, *progress) error) error {
	p := &progress{state: state}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := limited{end: func() { endSoon(func() { cancel(errStopped) }) }}
	l.status = func() *api.DaemonStatus {
		state, reason := p.told()
		return &api.DaemonStatus{
			PID: os.Getpid(), ID: h.machine, Name: is.Name, Roles: is.Roles, Address: is.Listen, Version: o.Version,
			Home: h.dir, HomeID: h.id, State: state, Reason: reason, Machines: h.machines(),
		}
	}
	err := withAPI(ctx, h.dir, o.Socket, l.server(log).ServeSocket, func(ctx context.Context) error { return work(ctx, p) })
	if errors.Is(context.Cause(ctx), errStopped) {
		return nil
	}
	return err
}

// withAPI runs work, and has answer serve an API at the socket as long as it
// runs.
func withAPI(ctx context.Context, home, socket string, answer serve, work func(context.Context) error) error {
	if err := client.RecordSocket(home, socket); err != nil {
		return err
	}
	listener, err := server.Listen(socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	g, inner := errgroup.WithContext(ctx)
	inner, cancel := context.WithCancel(inner)
	defer cancel()
	g.Go(func() error {
		defer cancel() // its end leaves the API nothing to serve
		return work(inner)
	})
	g.Go(func() error { return answer(inner, listener) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
