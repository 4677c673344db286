package daemon

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/member"
	"aloft/internal/peer"
	"aloft/internal/provision"
	"aloft/internal/store"
	"aloft/provider"
)

// sessions reaches daemons by machine id. It implements control.Machines and
// vm.Sessions.
type sessions struct{ m *Manager }

func (s sessions) Machine(ctx context.Context, id string) (peerpb.MachineClient, error) {
	if shard, ok := s.m.accounts.shard(id); ok {
		session, err := s.m.accounts.session(ctx, id, shard)
		if err != nil {
			return nil, err
		}
		return peerpb.NewMachineClient(session), nil
	}
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
	return s.m.reach.Find(ctx, id, s.relays)
}

// relays returns who may lead to a machine: the hosts, one of which made it,
// then the other managers.
func (s sessions) relays() (ids []string) {
	for _, manage := range []bool{false, true} {
		for _, row := range s.m.fellows.all() {
			if row.Id != s.m.world.MachineID && member.Is(row, member.Manage) == manage {
				ids = append(ids, row.Id)
			}
		}
	}
	return ids
}

// owner reaches a manager that owns something, if there is a session with it.
func (s sessions) owner(_ context.Context, manager string) (peerpb.OwnerClient, error) {
	session, ok := s.m.node.Session(manager)
	if !ok {
		return nil, fmt.Errorf("manager %s does not answer", manager)
	}
	return peerpb.NewOwnerClient(session), nil
}

func (s sessions) Connected(id string) bool {
	if id == s.m.world.MachineID {
		return true
	}
	if shard, ok := s.m.accounts.shard(id); ok {
		return s.m.accounts.connected(shard)
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

// Removed reads the row that a removal leaves behind; it is not asked of members.
func (s sessions) Removed(id string) (name string, removed bool) {
	if id == "" || s.m.fellows.is(id) {
		return "", false
	}
	ctx, cancel := context.WithTimeout(context.Background(), quorumTime)
	defer cancel()
	row, err := revokedTable.Get(ctx, store.Stale(s.m.world.Store), id)
	if err != nil {
		return "", false
	}
	return row.Message.Name, true
}

func (s sessions) Wait(ctx context.Context, id string) error {
	_, err := s.m.node.Wait(ctx, id)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // a limit of the caller's is no failure of the session
	}
	return err
}

// reaching tells reach where machines are as they come and go, and sees to it
// that those that went get no other certificate.
type reaching struct {
	*provision.Provisioner
	reach *peer.Reach
	// retire refuses a machine from now on that is gone.
	retire func(ctx context.Context, machineID string) error
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
	if err := r.Provisioner.Release(ctx, machineID, holder); err != nil {
		return err
	}
	return r.retire(ctx, machineID)
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

func (t *toSelf) Hold(ctx context.Context, systems []string) (*peerpb.HoldReply, error) {
	s, err := t.session(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Hold(ctx, &peerpb.HoldRequest{Systems: systems})
}

func (t *toSelf) Read(ctx context.Context, r *peerpb.ReadRequest) (*peerpb.ReadReply, error) {
	s, err := t.session(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Read(ctx, r)
}

func (t *toSelf) Secret(ctx context.Context, r *peerpb.SecretRequest) (*peerpb.SecretReply, error) {
	s, err := t.session(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Secret(ctx, r)
}

func (t *toSelf) Certify(ctx context.Context, r *peerpb.CertifyRequest) (*peerpb.CertifyReply, error) {
	s, err := t.session(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Certify(ctx, r)
}

// absence knows when daemons were last in reach.
type absence struct {
	begun time.Time // of this daemon: it knows of nothing before

	mu sync.Mutex
	// left is when the session with a daemon ended, or zero while there is one;
	// guarded by mu
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
		a.left[c.Peer.ID] = time.Time{}
	}
}

// since returns since when a daemon that is not in reach is not. A session that
// has ended may not have been noted yet: it ended just now.
func (a *absence) since(id string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch at, known := a.left[id]; {
	case !known:
		return a.begun
	case at.IsZero():
		return time.Now()
	default:
		return at
	}
}
