package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/agent"
	"aloft/internal/blob"
	"aloft/internal/crash"
	"aloft/internal/identity"
	"aloft/internal/journal"
	"aloft/internal/peer"
)

// Limits of what a machine keeps of shipped content.
const (
	machineBlob  = 1 << 30
	machineBlobs = 4 << 30
)

// Machine is the daemon of a machine.
type Machine struct {
	world     MachineWorld
	id, name  string // its UUID; SYSTEM/PATH
	member    *identity.Member
	node      *peer.Node
	contacts  *peer.Contacts
	enrolment *peer.Enrolment
	agent     *agent.Agent
}

// NewMachine makes the rooms of a machine's daemon and hands each what it
// needs of the others. It has read what its disk holds, and has begun nothing.
func NewMachine(ctx context.Context, w MachineWorld) (*Machine, error) {
	u, err := decodeUserData(w.UserData)
	if err != nil {
		return nil, err
	}
	crash.In(w.Dir, path.Base(u.Name))
	id, err := identity.OpenMachine(w.path("identity"), u.Machine, u.Token, w.Now)
	if err != nil {
		return nil, err
	}
	blobs, err := blob.Open(blob.Config{Dir: w.path("blobs"), Blob: machineBlob, Total: machineBlobs})
	if err != nil {
		return nil, err
	}
	m := &Machine{world: w, id: u.Machine, name: u.Name, member: &id.Member, node: peer.NewNode(peer.Config{Identity: id, Log: w.Log, Build: w.Build, Host: w.Network, Now: w.Now})}
	facts := component.Machine{
		Name: u.Name, Hostname: u.Hostname, Address: w.Address, Folder: "/", Isolation: u.Isolation, Proxy: u.Proxy,
	}
	if !u.Isolation {
		facts.Folder = filepath.Dir(w.Dir)
	}
	m.agent, err = agent.New(ctx, agent.Config{
		ID: u.Machine, Build: w.Build, PID: os.Getpid(), Managers: newRegistry(w.Managers...).managers,
		Journal: journal.New(w.Journal), Owner: managers{m.node}, Sources: fetched{blobs, m.node},
		Secrets: &sealed{dir: w.path("secrets"), ask: managers{m.node}.Secret}, Certify: managers{m.node}.Certify,
		Verify:  func(p *peerpb.SignedPart) error { return verify(&id.Member, p) },
		Machine: func(string) component.Machine { return facts },
		Clock:   w.clock(), Leash: w.Leash, WorkDir: w.path("work"), Limit: operations(), Log: w.Log, ComponentLog: componentLog, Now: w.Now,
	})
	if err != nil {
		return nil, err
	}
	peerpb.RegisterMachineServer(m.node, m.agent)
	book := contactBook{file: w.path("contacts.json"), log: w.Log}
	m.contacts = m.node.NewContacts(book.with(u.Contacts)...)
	m.enrolment = &peer.Enrolment{Node: m.node, Credentials: id, Machine: u.Machine, Token: u.Token, Contacts: func(addresses []string) {
		book.keep(addresses)
		m.contacts.Update(addresses)
	}}
	peerpb.RegisterMembershipServer(m.node, peer.NewMembership(func(_ context.Context, _ peer.Peer, signed []byte) ([]byte, error) {
		newer, err := id.AcceptRoster(signed)
		if newer {
			// Where it was made leads to managers whichever these are by now.
			contacts := append(slices.Clone(u.Contacts), contactsIn(id.Roster())...)
			book.keep(contacts)
			m.contacts.Update(contacts)
			m.node.Recheck()
		}
		return id.SignedRoster(), err
	}))
	w.Log.Info("daemon of a machine", "machine", u.Name, "id", u.Machine, "address", w.Address, "pid", os.Getpid())
	return m, nil
}

// Run runs the rooms until ctx ends: sessions with managers, and the agent.
func (m *Machine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.node.Run(ctx) })
	if m.world.Listener != nil {
		g.Go(func() error { return m.node.Serve(ctx, m.world.Listener) })
		g.Go(func() error { return m.serveUsers(ctx) })
	}
	g.Go(func() error { return m.contacts.Run(ctx) })
	g.Go(func() error { return m.enrolment.Run(ctx) })
	g.Go(func() error { return watchClock(ctx, m.world.now, m.world.Log, m.node.ClockSet) })
	if m.world.Serve != nil {
		g.Go(func() error { return m.world.Serve(ctx) })
	}
	g.Go(func() error { return m.agent.Run(ctx) })
	return g.Wait()
}

// verify checks that a part was signed by a manager of the cluster.
func verify(m *identity.Member, p *peerpb.SignedPart) error {
	_, err := m.VerifySigned(p.Part, p.Signature, p.Chain)
	return err
}

// managers reports to whichever manager is in reach.
type managers struct{ node *peer.Node }

func (m managers) Report(ctx context.Context, r *peerpb.ReportRequest) error {
	s, err := m.node.AnyManager(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reportLimit)
	defer cancel()
	_, err = peerpb.NewOwnerClient(s).Report(ctx, r)
	return err
}

func (m managers) Hold(ctx context.Context, systems []string) (*peerpb.HoldReply, error) {
	s, err := m.node.AnyManager(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Hold(ctx, &peerpb.HoldRequest{Systems: systems})
}

func (m managers) Read(ctx context.Context, r *peerpb.ReadRequest) (*peerpb.ReadReply, error) {
	s, err := m.node.AnyManager(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Read(ctx, r)
}

func (m managers) Secret(ctx context.Context, r *peerpb.SecretRequest) (*peerpb.SecretReply, error) {
	ctx, cancel := context.WithTimeout(ctx, secretLimit)
	defer cancel()
	s, err := m.node.AnyManager(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Secret(ctx, r)
}

func (m managers) Certify(ctx context.Context, r *peerpb.CertifyRequest) (*peerpb.CertifyReply, error) {
	ctx, cancel := context.WithTimeout(ctx, secretLimit)
	defer cancel()
	s, err := m.node.AnyManager(ctx)
	if err != nil {
		return nil, err
	}
	return peerpb.NewOwnerClient(s).Certify(ctx, r)
}

// secretLimit is how long a machine waits for the content of a secret, or a
// certificate; what is kept of it serves then.
const secretLimit = 10 * time.Second

const reportLimit = 30 * time.Second

// fetched opens shipped content, fetching what is not here from a manager.
type fetched struct {
	blobs *blob.Blobs
	node  *peer.Node
}

func (f fetched) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	err := f.blobs.Ensure(ctx, digest, func(ctx context.Context) (io.ReadCloser, error) {
		s, err := f.node.AnyManager(ctx)
		if err != nil {
			return nil, err
		}
		stream, err := peerpb.NewOwnerClient(s).Fetch(ctx, &peerpb.FetchRequest{Digest: digest})
		if err != nil {
			return nil, err
		}
		return &chunks{stream: stream}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", digest, err)
	}
	return f.blobs.Open(digest)
}

// chunks reads a stream of chunks as one.
type chunks struct {
	stream interface{ Recv() (*peerpb.Chunk, error) }
	rest   []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		chunk, err := c.stream.Recv()
		if err != nil {
			return 0, err
		}
		c.rest = chunk.Data
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *chunks) Close() error { return nil }

// componentLog returns the log that the manager of a component writes, beside
// the component's own output.
func componentLog(workDir string) *slog.Logger {
	return slog.New(slog.NewTextHandler(lazyFile(filepath.Join(workDir, "manager.log")), nil))
}

// lazyFile appends to a file that is opened for each line: few are written,
// and nothing has to be closed.
type lazyFile string

func (f lazyFile) Write(p []byte) (int, error) {
	file, err := os.OpenFile(string(f), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return file.Write(p)
}
