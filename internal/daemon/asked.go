package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"iter"
	"net"
	"sync"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/identity"
	"aloft/internal/inventory"
	"aloft/internal/server"
	"aloft/value"
)

// serveUsers answers users of the cluster who come to a machine's own port:
// what is here, what it writes, commands. No manager is needed for it (design
// decision 9). The API is made for the first who comes: a machine that nobody
// asks does without its memory.
func (m *Machine) serveUsers(ctx context.Context) error {
	web := m.node.HTTP(&tls.Config{ClientAuth: tls.RequireAnyClientCert})
	stop := context.AfterFunc(ctx, func() { web.Close() })
	defer stop()
	first, err := web.Accept()
	if err != nil {
		return ctx.Err()
	}
	s := server.New(server.Config{
		Service: asked{m: m}, Log: m.world.Log, Identify: m.user, Changed: m.member.Changed, Machine: true, Audit: m.audit,
	})
	return s.ServeNetwork(ctx, &resumedListener{Listener: web, first: first})
}

// resumedListener is a listener of which one connection was taken already.
type resumedListener struct {
	net.Listener
	once  sync.Once
	first net.Conn
}

func (l *resumedListener) Accept() (conn net.Conn, err error) {
	if l.once.Do(func() { conn = l.first }); conn != nil {
		return conn, nil
	}
	return l.Listener.Accept()
}

// user says which user's certificates these are.
func (m *Machine) user(chain []*x509.Certificate) (api.Caller, error) { return userOf(m.member, chain) }

// userOf says which user of a member's own cluster has these certificates.
func userOf(member *identity.Member, chain []*x509.Certificate) (api.Caller, error) {
	trust := member.Trust()
	if trust == nil {
		return api.Caller{}, fmt.Errorf("this machine is not enrolled yet")
	}
	name, role, _, err := trust.VerifyUser(chain)
	if err != nil {
		return api.Caller{}, err
	}
	if cluster := member.Name().Cluster; name.Cluster != cluster {
		return api.Caller{}, fmt.Errorf("%s is a user of another cluster than %s", name, cluster)
	}
	return api.Caller{Name: name.ID, Role: api.Role(role)}, nil
}

// asked is what a machine answers for itself. Of server.Service it has what the
// routes of machines need; the server asks for nothing else.
type asked struct {
	server.Service
	m *Machine
}

// here returns a way to call this machine's own agent.
func (a asked) here(ctx context.Context) (peerpb.MachineClient, error) {
	if s, ok := a.m.node.Session(a.m.id); ok {
		return peerpb.NewMachineClient(s), nil
	}
	s, err := a.m.node.Self(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewMachineClient(s), nil
}

// held returns the components of each system, by name, in the order of the
// agent.
func (a asked) held(ctx context.Context, system string) (names []string, by map[string]*api.Status, err error) {
	client, err := a.here(ctx)
	if err != nil {
		return nil, nil, err
	}
	reply, err := client.Inspect(ctx, &peerpb.InspectRequest{System: system})
	if err != nil {
		return nil, nil, err
	}
	by = map[string]*api.Status{}
	for _, c := range reply.States {
		st := by[c.System]
		if st == nil {
			st = &api.Status{System: c.System, Revision: c.Revision, State: api.SystemRunning, Machines: []api.Machine{}}
			by[c.System] = st
			names = append(names, c.System)
		}
		st.Revision = max(st.Revision, c.Revision)
		if inventory.State(c.State) != inventory.Running {
			st.State = api.SystemDegraded
		}
		st.Components = append(st.Components, api.Component{
			Path: value.Path(c.Path).String(), Class: c.Class, State: c.State, Reason: c.Reason,
			Machine: a.m.name, Address: a.m.world.Address,
		})
	}
	return names, by, nil
}

// Systems lists the systems that have components here.
func (a asked) Systems(ctx context.Context) ([]api.System, error) {
	names, by, err := a.held(ctx, "")
	list := []api.System{}
	for _, name := range names {
		st := by[name]
		list = append(list, api.System{Name: name, Revision: st.Revision, State: st.State, Components: len(st.Components), Machines: 1})
	}
	return list, err
}

// Status tells of what is here of a system.
func (a asked) Status(ctx context.Context, system string) (*api.Status, error) {
	_, by, err := a.held(ctx, system)
	if err != nil {
		return nil, err
	}
	if st := by[system]; st != nil {
		return st, nil
	}
	return nil, &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("nothing of a system %q is on this machine", system), Remedy: "list what is: aloft systems --machine " + a.m.world.Address}
}

// Logs returns what components here write.
func (a asked) Logs(ctx context.Context, q api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
	path, err := value.ParsePath(q.Path)
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	client, err := a.here(ctx)
	if err != nil {
		return nil, err
	}
	r := logsRequest(q, path)
	return merge(ctx, []logSource{{machine: a.m.name}}, q.Follow, func(ctx context.Context, source logSource, lines chan<- logItem) error {
		return copyLog(ctx, client, source, r, lines)
	}), nil
}

// Exec runs a command here, whatever name the machine was called by.
func (a asked) Exec(ctx context.Context, _ string, r api.ExecRequest, streams api.ExecStreams) (int, error) {
	client, err := a.here(ctx)
	if err != nil {
		return 0, err
	}
	return execute(ctx, client, a.m.name, r, streams)
}
