// Package peer carries calls between daemons. Two daemons talk in one session:
// a long-lived connection with mutual TLS 1.3, yamux over it, and gRPC both
// ways, so that who dialled says nothing about who may call. Calls name a
// machine id, never an address.
//
// It refuses to know what is called: services are registered from outside, and
// one table (rights.go) says who may call what. It refuses to decide who
// somebody is as well: an Identity does.
//
// A Node has the sessions of one daemon; Contacts and Reach make and keep them.
// Each has a Run that the daemon starts and that ends with all it began. A
// Network is the simulated twin: nodes of one process talk over it without
// TLS, yamux or gRPC, and everything above, down to the choice between two
// connections, is the same code.
package peer

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"aloft/api/peerpb"
)

// Port is the port that every daemon listens at.
const Port = 7400

// Protocol versions that this build speaks. Managers speak to machines two
// releases back, so raise oldestProtocol two releases after newestProtocol.
const (
	oldestProtocol = 1
	newestProtocol = 1
)

// Peer names a daemon, as aloft://CLUSTER/KIND/ID does. The zero Peer is
// somebody not enrolled.
type Peer struct {
	Cluster string
	Kind    string // manager or machine
	ID      string // UUID
}

// The kinds of daemons.
const (
	Manager = "manager"
	Machine = "machine"
)

// String prints the peer's URI.
func (p Peer) String() string {
	if p == (Peer{}) {
		return "an unenrolled machine"
	}
	return p.name()
}

func (p Peer) name() string {
	if p == (Peer{}) {
		return ""
	}
	return "aloft://" + p.Cluster + "/" + p.Kind + "/" + p.ID
}

func parsePeer(name string) (Peer, error) {
	if name == "" {
		return Peer{}, nil
	}
	rest, ok := strings.CutPrefix(name, "aloft://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return Peer{}, fmt.Errorf("peer name %q is not aloft://CLUSTER/KIND/ID", name)
	}
	return Peer{Cluster: parts[0], Kind: parts[1], ID: parts[2]}, nil
}

// Identity is what a node proves itself with, and its judge of others. Package
// identity provides it. It must be safe for concurrent use.
type Identity interface {
	// Certificate returns the chain to present, with Leaf set. It is asked at
	// every handshake and may give another one after renewal. A leaf without a
	// URI is that of an unenrolled machine.
	Certificate() *tls.Certificate
	// Verify says whose a chain is (aloft://CLUSTER/KIND/ID) and when it expires.
	// That may be in the past: its holder may renew it, and do nothing else. The
	// name is "" for somebody who may enrol, and do nothing else.
	Verify(chain []*x509.Certificate) (name string, expires time.Time, err error)
}

// Session is one daemon's connection to another, on which generated clients
// work: peerpb.NewMachineClient(session). It survives the replacement of the
// connection under it, as long as the process at the other end is the same.
type Session interface {
	grpc.ClientConnInterface
	// Peer says who is at the other end.
	Peer() Peer
	// Done is closed when the session is over.
	Done() <-chan struct{}
	// Close ends the session; calls under way fail.
	Close() error
}

// Config is what a Node is made from.
type Config struct {
	Identity Identity
	Log      *slog.Logger
	Build    string // version of this daemon's program, told to peers

	// Dial connects to host:port; nil means TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	// Relay, if given, makes the node a relay: it connects daemons that cannot
	// dial each other. It returns the addresses (host:port) at which a daemon with
	// which there is no session may be dialled, if any.
	Relay func(id string) []string

	// Now tells the time that certificates are measured by; nil: package time's.
	Now func() time.Time

	// Host puts the node on a simulated Network instead of a real one.
	Host *Host
}

// ErrClosed is returned by a Node whose Run has ended.
var ErrClosed = errors.New("this daemon's sessions are closed")

// Node has the sessions of one daemon, and answers what is called over them
// with the services registered on it. It is a grpc.ServiceRegistrar.
type Node struct {
	cfg      Config
	boot     uint64        // tells this process from an earlier one of the same daemon
	counter  atomic.Uint64 // of connections, to order those between the same two daemons
	services map[string]service
	incoming *incoming     // gRPC connections inside links
	shaking  *shaking      // connections that are not links yet
	relayed  relayed       // what is carried for others
	begun    chan struct{} // closed when Run begins; services may not be added then
	ended    chan struct{} // closed when Run begins to end
	wg       sync.WaitGroup

	mu sync.Mutex
	// guarded by mu
	closed    bool
	views     map[string]map[*view]bool // who follows the rest, by the daemon it is about
	clock     chan struct{}             // closed and replaced when the clock was set
	sessions  map[string]*session
	links     map[*link]*session
	expired   map[*link]*session // those of links on which only what a machine needs for a new certificate is answered
	entered   uint64             // links so far
	strangers int                // links to nobody
	tunnels   map[string]*queue  // listeners, by name
	web       *web               // what takes HTTP; nil: nothing does
}

type service struct {
	desc *grpc.ServiceDesc
	impl any
}

// NewNode makes a node without sessions.
func NewNode(cfg Config) *Node {
	if cfg.Dial == nil {
		dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}} // yamux looks after it
		cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	var boot [8]byte
	rand.Read(boot[:])
	n := &Node{
		cfg:      cfg,
		boot:     binary.BigEndian.Uint64(boot[:]),
		services: map[string]service{},
		incoming: newIncoming(),
		begun:    make(chan struct{}),
		ended:    make(chan struct{}),
		views:    map[string]map[*view]bool{},
		expired:  map[*link]*session{},
		clock:    make(chan struct{}),
		sessions: map[string]*session{},
		links:    map[*link]*session{},
		tunnels:  map[string]*queue{},
		shaking:  newShaking(),
	}
	if cfg.Host != nil {
		cfg.Host.inhabit(n)
	}
	peerpb.RegisterTunnelServer(n, tunnels{node: n})
	peerpb.RegisterRelayServer(n, relay{node: n})
	return n
}

// RegisterService implements grpc.ServiceRegistrar. It must be called before
// Run, for services all of whose methods the rights table knows.
func (n *Node) RegisterService(desc *grpc.ServiceDesc, impl any) {
	select {
	case <-n.begun:
		panic("peer: service " + desc.ServiceName + " registered on a running node")
	default:
	}
	for _, method := range methodsOf(desc) {
		if rights[method] == 0 {
			panic("peer: the rights table says of nobody that they may call " + method)
		}
	}
	n.services[desc.ServiceName] = service{desc, impl}
}

// Run answers calls until ctx ends. Then it closes every session and returns
// when nothing of the node is running any more.
func (n *Node) Run(ctx context.Context) error {
	server := grpc.NewServer(serverOptions(n)...)
	for _, s := range n.services {
		server.RegisterService(s.desc, s.impl)
	}
	close(n.begun)
	served := make(chan error, 1)
	go func() { served <- server.Serve(n.incoming) }()
	<-ctx.Done()
	close(n.ended)

	n.mu.Lock()
	n.closed = true
	var open []*link
	for l := range n.links {
		open = append(open, l)
	}
	n.mu.Unlock()
	for _, l := range open {
		l.close()
	}
	server.Stop()
	n.shaking.end()
	<-served
	n.wg.Wait()
	return ctx.Err()
}

// start runs f so that Run waits for it. It reports false when the node is closed.
func (n *Node) start(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.wg.Go(f)
	return true
}

// Name returns the node's own name at present; the zero Peer when not enrolled.
func (n *Node) Name() Peer {
	self, err := peerOf(n.cfg.Identity.Certificate())
	if err != nil {
		n.cfg.Log.Error("this daemon's own certificate", "error", err)
	}
	return self
}

func peerOf(own *tls.Certificate) (Peer, error) {
	if len(own.Leaf.URIs) == 0 {
		return Peer{}, nil
	}
	return parsePeer(own.Leaf.URIs[0].String())
}

func (n *Node) versions() *peerpb.Versions {
	return &peerpb.Versions{Oldest: oldestProtocol, Newest: newestProtocol, Build: n.cfg.Build}
}
