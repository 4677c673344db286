package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/blob"
	"aloft/internal/peer"
)

// meetingTime is how long a manager may take to make a session with another one
// that has just started, or whose session broke.
const meetingTime = 5 * time.Second

// kept is shipped content and documents, on the disks of the managers. What is
// put is on a majority of them; what this one lacks comes from another.
type kept struct {
	blobs    *blob.Blobs
	node     *peer.Node
	self     string
	managers func() []string // ids; nil: not known
}

func (k kept) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	digest, size, err := k.blobs.Put(ctx, r)
	if err != nil {
		return "", 0, err
	}
	return digest, size, k.spread(ctx, digest)
}

// spread returns once a majority of the managers has the content of a digest
// on disk, this one among them.
func (k kept) spread(ctx context.Context, digest string) error {
	var others []string
	for _, id := range k.managers() {
		if id != k.self {
			others = append(others, id)
		}
	}
	need := (len(others) + 1) / 2 // beside this one
	if need == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(others))
	for _, id := range others {
		go func() { answers <- k.push(ctx, id, digest) }()
	}
	var errs []error
	for range others {
		if err := <-answers; err != nil {
			errs = append(errs, err)
			if len(others)-len(errs) < need {
				return &api.Error{
					Kind: api.KindUnavailable, Message: fmt.Sprintf("content %s is on too few managers: %v", digest, errors.Join(errs...)),
					Remedy: "look which manager is silent with: aloft cluster members",
				}
			}
		} else if need--; need == 0 {
			return nil
		}
	}
	return nil
}

// push has another manager keep the content of a digest.
func (k kept) push(ctx context.Context, manager, digest string) error {
	met, cancel := context.WithTimeout(ctx, meetingTime)
	defer cancel()
	s, err := k.node.Wait(met, manager)
	if err != nil {
		return fmt.Errorf("manager %s does not answer", manager)
	}
	f, err := k.blobs.Open(digest)
	if err != nil {
		return err
	}
	defer f.Close()
	stream, err := peerpb.NewOwnerClient(s).Keep(ctx)
	if err != nil {
		return fmt.Errorf("manager %s: %w", manager, err)
	}
	chunk := &peerpb.Chunk{Digest: digest}
	buf := make([]byte, chunkSize)
	for {
		n, err := f.Read(buf)
		if chunk.Data = buf[:n]; n > 0 || chunk.Digest != "" {
			if stream.Send(chunk) != nil {
				break // it has it already, or its answer says why not
			}
			chunk = &peerpb.Chunk{}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return fmt.Errorf("manager %s: %w", manager, err)
	}
	return nil
}

// Open opens content, which another manager may have to send first.
func (k kept) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	if f, err := k.blobs.Open(digest); err == nil {
		return f, nil
	}
	errs := []error{fmt.Errorf("content %s is not on this manager", digest)}
	for _, id := range k.managers() {
		s, ok := k.node.Session(id)
		if id == k.self || !ok {
			continue
		}
		err := k.blobs.Ensure(ctx, digest, func(ctx context.Context) (io.ReadCloser, error) {
			stream, err := peerpb.NewOwnerClient(s).Fetch(ctx, &peerpb.FetchRequest{Digest: digest, Here: true})
			if err != nil {
				return nil, err
			}
			return &chunks{stream: stream}, nil
		})
		if err == nil {
			return k.blobs.Open(digest)
		}
		errs = append(errs, fmt.Errorf("manager %s: %w", id, err))
	}
	return nil, errors.Join(errs...)
}

func (k kept) Read(ctx context.Context, digest string) ([]byte, error) {
	f, err := k.Open(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
