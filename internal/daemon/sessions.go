package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/blob"
	"aloft/internal/peer"
	"aloft/internal/provision"
	"aloft/provider"
)

// sessions reaches daemons by machine id. It implements control.Machines and
// vm.Sessions.
type sessions struct{ m *Manager }

func (s sessions) Machine(ctx context.Context, id string) (peerpb.MachineClient, error) {
	session, err := s.session(ctx, id)
	if err != nil {
		return nil, err
	}
	return peerpb.NewMachineClient(session), nil
}

func (s sessions) session(ctx context.Context, id string) (peer.Session, error) {
	if id == s.m.world.MachineID {
		return s.m.self.session(ctx)
	}
	return s.m.node.Wait(ctx, id)
}

func (s sessions) Connected(id string) bool {
	if id == s.m.world.MachineID {
		return true
	}
	_, ok := s.m.node.Session(id)
	return ok
}

func (s sessions) Silent(id string) (since time.Time, silent bool) {
	if s.Connected(id) {
		return time.Time{}, false
	}
	return s.m.absence.since(id), true
}

func (s sessions) Wait(ctx context.Context, id string) error {
	_, err := s.m.node.Wait(ctx, id)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // a limit of the caller's is no failure of the session
	}
	return err
}

// reaching tells reach where machines are as they come and go.
type reaching struct {
	*provision.Provisioner
	reach *peer.Reach
}

func (r reaching) Acquire(ctx context.Context, w provision.Want) (provider.Resource, error) {
	res, err := r.Provisioner.Acquire(ctx, w)
	if err == nil {
		r.reach.Set(w.MachineID, net.JoinHostPort(res.Address, fmt.Sprint(peer.Port)))
	}
	return res, err
}

func (r reaching) Release(ctx context.Context, machineID, holder string) error {
	r.reach.Remove(machineID)
	return r.Provisioner.Release(ctx, machineID, holder)
}

// toSelf is the one session of a manager with itself. It reports to the manager
// that this very daemon is.
type toSelf struct {
	node *peer.Node
	id   string

	making sync.Mutex // one is made at a time
}

func (t *toSelf) session(ctx context.Context) (peer.Session, error) {
	t.making.Lock()
	defer t.making.Unlock()
	if s, ok := t.node.Session(t.id); ok {
		return s, nil
	}
	return t.node.Self(ctx)
}

func (t *toSelf) Report(ctx context.Context, r *peerpb.ReportRequest) error {
	s, err := t.session(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	_, err = peerpb.NewOwnerClient(s).Report(ctx, r)
	return err
}

func (t *toSelf) Read(ctx context.Context, r *peerpb.ReadRequest) (*peerpb.ReadReply, error) {
	s, err := t.session(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Read(ctx, r)
}

// absence knows when daemons were last in reach.
type absence struct {
	begun time.Time // of this daemon: it knows of nothing before

	mu sync.Mutex
	// left is when the session with a daemon ended; guarded by mu
	left map[string]time.Time
}

func newAbsence() *absence { return &absence{begun: time.Now(), left: map[string]time.Time{}} }

// note takes in that a session began or ended.
func (a *absence) note(c peer.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.Session == nil {
		a.left[c.Peer.ID] = time.Now()
	} else {
		delete(a.left, c.Peer.ID)
	}
}

// since returns since when a daemon that is not in reach is not.
func (a *absence) since(id string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, known := a.left[id]; known {
		return at
	}
	return a.begun
}

// kept is shipped content and documents on this daemon's own disk.
type kept struct{ blobs *blob.Blobs }

func (k kept) Open(_ context.Context, digest string) (io.ReadCloser, error) {
	return k.blobs.Open(digest)
}

func (k kept) Put(ctx context.Context, r io.Reader) (string, int64, error) {
	return k.blobs.Put(ctx, r)
}

func (k kept) Read(_ context.Context, digest string) ([]byte, error) {
	f, err := k.blobs.Open(digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// owner answers machines.
type owner struct {
	peerpb.UnimplementedOwnerServer
	m *Manager
}

func (o owner) Report(ctx context.Context, r *peerpb.ReportRequest) (*peerpb.ReportReply, error) {
	from := peer.Caller(ctx).ID
	r.Events = seenBy(from, r.Events)
	if err := o.m.control.Report(ctx, from, r); err != nil {
		return nil, err
	}
	return &peerpb.ReportReply{}, nil
}

func (o owner) Read(ctx context.Context, r *peerpb.ReadRequest) (*peerpb.ReadReply, error) {
	return o.m.control.Read(ctx, peer.Caller(ctx).ID, r)
}

// chunkSize of shipped content on its way to a machine.
const chunkSize = 128 << 10

func (o owner) Fetch(r *peerpb.FetchRequest, stream peerpb.Owner_FetchServer) error {
	f, err := o.m.blobs.Open(r.Digest)
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
