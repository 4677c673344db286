package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/observe"
	"aloft/internal/peer"
)

// observation tells other managers what this one knows to have happened. Of
// progress, which nobody keeps, it tells nothing.
type observation struct {
	peerpb.UnimplementedObservationServer
	events *events
}

// tellAtOnce is how many events go in one message.
const tellAtOnce = 256

func (o observation) Follow(r *peerpb.FollowRequest, stream peerpb.Observation_FollowServer) error {
	sub := o.events.Subscribe(observe.Cursor(r.After), observe.Filter{})
	defer sub.Close()
	for {
		batch, err := sub.Next(stream.Context())
		switch {
		case errors.Is(err, observe.ErrClosed):
			return status.Error(codes.Unavailable, "this manager is ending")
		case err != nil:
			return err
		}
		reply := &peerpb.FollowReply{}
		for _, e := range batch.Events {
			if e.Origin == peer.Caller(stream.Context()).ID {
				continue
			}
			if reply.Events = append(reply.Events, e.Proto()); len(reply.Events) == tellAtOnce {
				if err := stream.Send(reply); err != nil {
					return err
				}
				reply = &peerpb.FollowReply{}
			}
		}
		if len(reply.Events) > 0 {
			if err := stream.Send(reply); err != nil {
				return err
			}
		}
	}
}

// follow keeps here what other managers know to have happened, from each with
// which there is a session, until ctx ends.
func (m *Manager) follow(ctx context.Context) error {
	var following sync.WaitGroup
	defer following.Wait()
	return m.node.Watch(ctx, func(c peer.Change) {
		if c.Session == nil || c.Peer.Kind != peer.Manager || c.Peer.ID == m.world.MachineID {
			return
		}
		following.Go(func() {
			for ctx.Err() == nil {
				err := m.followOne(ctx, c.Session)
				select {
				case <-c.Session.Done():
					return
				case <-ctx.Done():
					return
				case <-time.After(followAgain):
					m.world.Log.Debug("follow events", "peer", c.Peer.String(), "error", err)
				}
			}
		})
	})
}

// followAgain is how long to wait before events are asked for again.
const followAgain = time.Second

func (m *Manager) followOne(ctx context.Context, s peer.Session) error {
	_, after := m.events.Latest(0, observe.Filter{})
	stream, err := peerpb.NewObservationClient(s).Follow(ctx, &peerpb.FollowRequest{After: after})
	if err != nil {
		return err
	}
	for {
		reply, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, p := range reply.Events {
			e, err := event.FromProto(p)
			if err != nil {
				m.world.Log.Debug("event left out", "peer", s.Peer().String(), "error", err)
				continue
			}
			if e.Origin != m.world.MachineID && e.Kind.Stored() {
				m.events.Receive(e)
			}
		}
	}
}
