package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/agent"
	"aloft/internal/blob"
	"aloft/internal/host"
	"aloft/internal/identity"
	"aloft/internal/journal"
	"aloft/internal/peer"
)

// userData is what a machine's first boot is handed: who it is, and how it
// enrols. It is what a cloud's metadata would hold.
type userData struct {
	Machine   string   `json:"machine"` // machine id (UUID)
	Name      string   `json:"name"`    // SYSTEM/PATH
	Hostname  string   `json:"hostname"`
	Token     string   `json:"token"`           // single-use
	Contacts  []string `json:"contacts"`        // host:port of managers, best first
	Proxy     string   `json:"proxy,omitempty"` // of packages, "http://host:port"
	Isolation bool     `json:"isolation"`       // a root file system of its own
}

// Limits of what a machine keeps of shipped content.
const (
	machineBlob  = 1 << 30
	machineBlobs = 4 << 30
)

// lookup returns an environment variable out of environ.
func lookup(environ []string, name string) string {
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

func readUserData(h *home, environ []string) (userData, error) {
	path := lookup(environ, "ALOFT_USERDATA")
	if path == "" {
		path = h.path("userdata.json")
	}
	var u userData
	b, err := os.ReadFile(path)
	if err != nil {
		return u, fmt.Errorf("user data of this machine: %w", err)
	}
	if err := json.Unmarshal(b, &u); err != nil {
		return u, fmt.Errorf("user data of this machine (%s): %w", path, err)
	}
	return u, nil
}

// runMachine runs the daemon of a machine: sessions with managers, and the
// agent.
func runMachine(ctx context.Context, h *home, o Options, log *slog.Logger) error {
	u, err := readUserData(h, o.Environ)
	if err != nil {
		return err
	}
	id, err := identity.OpenMachine(h.path("identity"), u.Machine, u.Token)
	if err != nil {
		return err
	}
	file, err := journal.Open(h.path("journal.db"))
	if err != nil {
		return err
	}
	defer file.Close()
	blobs, err := blob.Open(blob.Config{Dir: h.path("blobs"), Blob: machineBlob, Total: machineBlobs})
	if err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	node := peer.NewNode(peer.Config{Identity: id, Log: log, Build: o.Version})
	processes := host.NewProcesses(log)
	address := lookup(o.Environ, "ALOFT_ADDRESS")
	facts := component.Machine{
		Name: u.Name, Hostname: u.Hostname, Address: address, Folder: "/", Isolation: u.Isolation, Proxy: u.Proxy,
	}
	if !u.Isolation {
		facts.Folder = filepath.Dir(h.dir)
	}
	a, err := agent.New(ctx, agent.Config{
		ID: u.Machine, Build: o.Version, PID: os.Getpid(), Managers: newRegistry(machineManagers(processes, binary)...).managers,
		Journal: journal.New(file), Owner: managers{node}, Sources: fetched{blobs, node},
		Verify:  func(p *peerpb.SignedPart) error { return verify(&id.Member, p) },
		Machine: func(string) component.Machine { return facts },
		WorkDir: h.path("work"), Limit: operations(), Log: log, ComponentLog: componentLog,
	})
	if err != nil {
		return err
	}
	peerpb.RegisterMachineServer(node, a)
	listener, err := net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(peer.Port)))
	if err != nil {
		log.Warn("this machine cannot be dialled", "error", err) // it still dials
	}
	contacts := node.NewContacts(u.Contacts...)
	enrolment := &peer.Enrolment{Node: node, Credentials: id, Machine: u.Machine, Token: u.Token, Contacts: contacts.Update}
	log.Info("daemon of a machine", "machine", u.Name, "id", u.Machine, "address", address, "pid", os.Getpid())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return node.Run(ctx) })
	if listener != nil {
		g.Go(func() error { return node.Serve(ctx, listener) })
	}
	g.Go(func() error { return contacts.Run(ctx) })
	g.Go(func() error { return enrolment.Run(ctx) })
	g.Go(func() error { return processes.Run(ctx) })
	g.Go(func() error { return a.Run(ctx) })
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
