package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/blob"
	"aloft/internal/control"
	"aloft/value"
)

// service is what the Service API answers: control's methods, and those of the
// daemon as a whole. It implements server.Service.
type service struct {
	*control.Control
	m *Manager
}

// known returns the name under which machines know a system, and the path there
// of what is at path in it: they are others where it was detached.
func (s service) known(ctx context.Context, system string, path value.Path) (string, value.Path, error) {
	if system == "" {
		return system, path, nil
	}
	name, top, err := s.Origin(ctx, system)
	if err == nil && path == value.Root {
		path = top
	}
	return name, path, err
}

// MissingBlobs returns those of the digests whose content is not here.
func (s service) MissingBlobs(_ context.Context, digests []string) ([]string, error) {
	missing := []string{}
	for _, d := range digests {
		if err := blob.Check(d); err != nil {
			return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
		}
		if !s.m.blobs.Has(d) {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

// PutBlob keeps the content of r.
func (s service) PutBlob(ctx context.Context, digest string, r io.Reader) error {
	err := s.m.blobs.Ensure(ctx, digest, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil })
	if errors.Is(err, blob.ErrDigest) {
		return &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	if err != nil {
		return err
	}
	return s.m.kept().spread(ctx, digest)
}

// execReach is how long a session with the machine of a command is sought.
const execReach = 5 * time.Second

// Exec runs a command on a machine.
func (s service) Exec(ctx context.Context, name string, r api.ExecRequest, streams api.ExecStreams) (int, error) {
	id, err := s.MachineID(ctx, name)
	if err != nil {
		return 0, err
	}
	// Another manager may have had the session with it until now.
	soon, cancel := context.WithTimeout(ctx, execReach)
	machine, err := sessions{s.m}.Machine(soon, id)
	cancel()
	if err != nil {
		return 0, &api.Error{Kind: api.KindUnavailable, Message: fmt.Sprintf("machine %s does not answer", name), Remedy: "look at it with: aloft machines"}
	}
	return execute(ctx, machine, name, r, streams)
}

// execute runs a command on the machine called name.
func execute(ctx context.Context, machine peerpb.MachineClient, name string, r api.ExecRequest, streams api.ExecStreams) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := machine.Exec(ctx)
	if err != nil {
		return 0, err
	}
	first := &peerpb.ExecInput{Command: r.Command, Terminal: r.TTY, Rows: int32(r.Size.Rows), Columns: int32(r.Size.Cols)}
	if err := stream.Send(first); err != nil {
		return 0, err
	}
	go sendInput(ctx, stream, streams)
	for {
		out, err := stream.Recv()
		switch {
		case status.Code(err) == codes.Unavailable:
			return 0, &api.Error{Kind: api.KindUnavailable, Message: fmt.Sprintf("machine %s went out of reach while the command ran", name), Remedy: "look at it with: aloft machines"}
		case err != nil:
			return 0, fmt.Errorf("command on %s: %w", name, err)
		}
		if len(out.Stdout) > 0 {
			if _, err := streams.Stdout.Write(out.Stdout); err != nil {
				return 0, err
			}
		}
		if len(out.Stderr) > 0 {
			if _, err := streams.Stderr.Write(out.Stderr); err != nil {
				return 0, err
			}
		}
		switch {
		case out.Failure != "":
			return 0, &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("on %s: %s", name, out.Failure)}
		case out.Exited:
			return int(out.Status), nil
		}
	}
}

// sendInput passes on what the caller types until it ends.
func sendInput(ctx context.Context, stream peerpb.Machine_ExecClient, streams api.ExecStreams) {
	input := make(chan []byte)
	go func() {
		defer close(input)
		for {
			buf := make([]byte, 16<<10)
			n, err := streams.Stdin.Read(buf)
			if n > 0 {
				select {
				case input <- buf[:n]:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		var m *peerpb.ExecInput
		select {
		case b, more := <-input:
			m = &peerpb.ExecInput{Stdin: b, CloseStdin: !more}
			if !more {
				input = nil
			}
		case size := <-streams.Resize:
			m = &peerpb.ExecInput{Rows: int32(size.Rows), Columns: int32(size.Cols)}
		case <-ctx.Done():
			return
		}
		if stream.Send(m) != nil {
			return
		}
	}
}

// Daemon says what this daemon is.
func (s service) Daemon(ctx context.Context) (*api.DaemonStatus, error) {
	systems, err := s.Systems(ctx)
	if err != nil {
		return nil, err
	}
	machines, err := s.Machines(ctx)
	if err != nil {
		return nil, err
	}
	status := &api.DaemonStatus{
		PID: os.Getpid(), ID: s.m.world.MachineID, Name: s.m.world.name(), Roles: s.m.world.Roles, Address: s.m.world.Listen,
		Version: s.m.world.Build, Home: s.m.world.Dir, HomeID: s.m.world.HomeID,
		Machines: len(machines), Systems: len(systems),
		Cluster: s.m.identity.Name().Cluster, State: api.DaemonReady, Quorum: s.m.quorum(ctx), Members: len(s.m.fellows.all()),
	}
	for _, r := range s.m.fellows.all() {
		if r.Id == status.ID {
			status.Name = r.Name
		}
	}
	if contacts := s.m.world.Gateways.Contacts(); len(contacts) > 0 && status.Address == "" {
		status.Address = contacts[0]
	}
	return status, nil
}

// StopDaemon makes the daemon end soon; machines go on.
func (s service) StopDaemon(ctx context.Context) (*api.StopResult, error) {
	count := 0
	if machines, err := s.Machines(ctx); err == nil {
		count = len(machines)
	} else if entries, err := s.m.provision.Entries(); err == nil { // without the store it ends all the same
		count = len(entries)
	}
	s.m.endSoon()
	return &api.StopResult{PID: os.Getpid(), Machines: count}, nil
}

// Doctor looks for what is wrong on this host.
func (s service) Doctor(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error) {
	return s.m.examine(ctx, r)
}
