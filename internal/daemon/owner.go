package daemon

import (
	"context"
	"fmt"
	"io"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/blob"
	"aloft/internal/peer"
)

// owner answers machines, and managers that pass on what machines told them.
type owner struct {
	peerpb.UnimplementedOwnerServer
	m *Manager
}

// reporter returns who reports or asks, and whether a manager has passed it on.
// Nobody else speaks for another.
func reporter(ctx context.Context, machine string) (from string, passed bool, err error) {
	caller := peer.Caller(ctx)
	switch {
	case machine == "":
		return caller.ID, false, nil
	case caller.Kind != peer.Manager:
		return "", false, status.Errorf(codes.PermissionDenied, "%s may not speak for machine %s", caller, machine)
	}
	return machine, true, nil
}

func (o owner) Report(ctx context.Context, r *peerpb.ReportRequest) (*peerpb.ReportReply, error) {
	from, passed, err := reporter(ctx, r.Machine)
	if err != nil {
		return nil, err
	}
	r.Events = seenBy(from, r.Events)
	if err := o.m.control.Report(ctx, from, r, passed); err != nil {
		return nil, err
	}
	return &peerpb.ReportReply{}, nil
}

func (o owner) Hold(ctx context.Context, r *peerpb.HoldRequest) (*peerpb.HoldReply, error) {
	from, passed, err := reporter(ctx, r.Machine)
	if err != nil {
		return nil, err
	}
	return o.m.control.Hold(ctx, from, r.Systems, passed)
}

func (o owner) Read(ctx context.Context, r *peerpb.ReadRequest) (*peerpb.ReadReply, error) {
	from, passed, err := reporter(ctx, r.Machine)
	if err != nil {
		return nil, err
	}
	return o.m.control.Read(ctx, from, r, passed)
}

func (o owner) Certify(ctx context.Context, r *peerpb.CertifyRequest) (*peerpb.CertifyReply, error) {
	from, passed, err := reporter(ctx, r.Machine)
	if err != nil {
		return nil, err
	}
	return o.m.control.Certify(ctx, from, r, passed)
}

func (o owner) Reached(_ context.Context, r *peerpb.ReachedRequest) (*peerpb.ReachedReply, error) {
	reached := slices.DeleteFunc(r.Machines, func(id string) bool { return !(sessions{o.m}).Connected(id) })
	return &peerpb.ReachedReply{Machines: reached}, nil
}

// chunkSize of shipped content on its way to a machine or manager.
const chunkSize = 128 << 10

func (o owner) Fetch(r *peerpb.FetchRequest, stream peerpb.Owner_FetchServer) error {
	var f io.ReadCloser
	var err error
	if r.Here {
		f, err = o.m.blobs.Open(r.Digest)
	} else {
		f, err = o.m.kept().Open(stream.Context(), r.Digest)
	}
	if err != nil {
		return fmt.Errorf("content %s: %w", r.Digest, err)
	}
	defer f.Close()
	buf := make([]byte, chunkSize)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := stream.Send(&peerpb.Chunk{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (o owner) Keep(stream peerpb.Owner_KeepServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := blob.Check(first.Digest); err != nil {
		return status.Errorf(codes.InvalidArgument, "%v", err)
	}
	err = o.m.blobs.Ensure(stream.Context(), first.Digest, func(context.Context) (io.ReadCloser, error) {
		return &chunks{stream: stream, rest: first.Data}, nil
	})
	if err != nil {
		return fmt.Errorf("content %s: %w", first.Digest, err)
	}
	return stream.SendAndClose(&peerpb.KeepReply{})
}
