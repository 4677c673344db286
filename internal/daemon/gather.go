package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/status"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/blob"
	"aloft/internal/member/memberpb"
	"aloft/internal/peer"
)

// Times of gathering. Content is put on a majority of those who manage then, so
// whoever comes later, or was away, has to fetch it: else it would go with the
// managers that had it.
const (
	gatherEvery = time.Second     // between two looks for managers to gather from
	gatherAgain = 5 * time.Minute // from the same one
)

// heldBatch is how many digests are told at a time.
const heldBatch = 1000

// Held lists the content that is here.
func (o owner) Held(_ *peerpb.HeldRequest, stream peerpb.Owner_HeldServer) error {
	batch := &peerpb.HeldReply{}
	err := o.m.blobs.Each(func(digest string) error {
		if batch.Digests = append(batch.Digests, digest); len(batch.Digests) < heldBatch {
			return nil
		}
		err := stream.Send(batch)
		batch = &peerpb.HeldReply{}
		return err
	})
	if err != nil {
		return err
	}
	return stream.Send(batch)
}

// gatherAll has this manager hold all content that the others do, until ctx ends.
func (m *Manager) gatherAll(ctx context.Context) error {
	last := map[string]time.Time{}
	for ctx.Err() == nil {
		for _, id := range m.fellows.managers() {
			if at, did := last[id]; id == m.world.MachineID || did && time.Since(at) < gatherAgain {
				continue
			}
			if err := m.gather(ctx, id); err == nil {
				last[id] = time.Now()
			} else if ctx.Err() == nil {
				m.world.Log.Debug("gather content", "peer", id, "error", err)
			}
		}
		pause(ctx, gatherEvery)
	}
	return ctx.Err()
}

// inheritTime is how long what a manager holds is asked for again where its
// session breaks on the way: two that lose it together make another soon.
const inheritTime = 10 * time.Second

// inherit fetches what may be lost with a manager that is about to be none any
// more. It is waited for where it only has no session yet, as when this one has
// just begun: a dead one, who has nothing to give, is told by its store.
func (m *Manager) inherit(ctx context.Context, from *memberpb.Member) error {
	for begun := time.Now(); ; pause(ctx, askAgain) {
		if from.Joining || !m.inReach(from.Id) && !m.alive(ctx)(from.Id) {
			return nil
		}
		_, err := m.call(ctx, from)
		if err == nil {
			err = m.gather(ctx, from.Id)
		}
		switch {
		case err == nil:
			return nil
		case time.Since(begun) > inheritTime || ctx.Err() != nil:
			return &api.Error{
				Kind: api.KindUnavailable, Message: fmt.Sprintf("what %s holds could not be taken over: %s", from.Name, status.Convert(err).Message()),
				Remedy: "try again; or, if it is lost all the same, end its daemon first",
			}
		}
	}
}

// gather fetches what another manager holds and this one does not.
func (m *Manager) gather(ctx context.Context, from string) error {
	s, ok := m.node.Session(from)
	if !ok {
		return fmt.Errorf("no session with manager %s", from)
	}
	return takeOver(ctx, s, m.blobs)
}

// takeOver has blobs hold all content that a manager does.
func takeOver(ctx context.Context, manager peer.Session, blobs *blob.Blobs) error {
	client := peerpb.NewOwnerClient(manager)
	held, err := client.Held(ctx, &peerpb.HeldRequest{})
	if err != nil {
		return err
	}
	for {
		batch, err := held.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, digest := range batch.Digests {
			err := blobs.Ensure(ctx, digest, func(ctx context.Context) (io.ReadCloser, error) {
				stream, err := client.Fetch(ctx, &peerpb.FetchRequest{Digest: digest, Here: true})
				if err != nil {
					return nil, err
				}
				return &chunks{stream: stream}, nil
			})
			if err != nil {
				return fmt.Errorf("content %s: %w", digest, err)
			}
		}
	}
}
