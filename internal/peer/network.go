package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// Network is a simulated network in one process: the nodes on its hosts find,
// judge and call each other without sockets, and messages are late, lost or
// stuck as the test says. Time is package time's, so it runs under synctest.
// What happens to the nth message from one host to another depends on the seed
// alone. Connections behave as TCP does: nothing is lost inside one, it breaks.
type Network struct {
	seed uint64

	mu sync.Mutex
	// guarded by mu
	hosts    map[string]*Host
	conns    map[*simConn]struct{}
	sent     map[road]uint64
	gates    map[*gate]struct{}
	min, max time.Duration
	loss     float64
	twice    float64
	holds    []*hold
	offers   map[uint64]*offer // of connections by relays
	offered  uint64
}

// road is one direction between two hosts.
type road struct{ from, to string }

// route is the roads from one end of a connection to the other: several, with
// relays in between.
type route []road

func (r route) back() (back route) {
	for _, leg := range slices.Backward(r) {
		back = append(back, road{leg.to, leg.from})
	}
	return back
}

// NewNetwork makes a network without hosts, on which messages take no time.
func NewNetwork(seed uint64) *Network {
	return &Network{
		seed:  seed,
		hosts: map[string]*Host{},
		conns: map[*simConn]struct{}{},
		sent:  map[road]uint64{},
		gates: map[*gate]struct{}{},

		offers: map[uint64]*offer{},
	}
}

// travel is carry along a route.
func (w *Network) travel(ctx context.Context, r route) error {
	for _, leg := range r {
		if err := w.carry(ctx, leg); err != nil {
			return err
		}
	}
	return nil
}

// carry takes the time that one message on a road needs. It returns errBroken
// when the message is lost, and the cause of ctx's end when that comes first.
func (w *Network) carry(ctx context.Context, r road) error {
	w.mu.Lock()
	w.sent[r]++
	dice := w.dice(r, 0)
	lost := dice.Float64() < w.loss
	delay := w.min
	if w.max > w.min {
		delay += time.Duration(dice.Int64N(int64(w.max - w.min)))
	}
	w.mu.Unlock()
	if lost {
		return errBroken
	}
	if delay > 0 {
		pause(ctx, delay)
	}
	for ctx.Err() == nil {
		g := w.gate(r)
		if g == nil {
			return nil
		}
		select {
		case <-g.open:
		case <-ctx.Done():
		}
	}
	return status.FromContextError(ctx.Err()).Err()
}

// dice are those of the message sent last on a road. w.mu is held.
func (w *Network) dice(r road, what uint64) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", r.from, r.to)
	return rand.New(rand.NewPCG(w.seed^h.Sum64()^what, w.sent[r]))
}

func (w *Network) gate(r road) *gate {
	w.mu.Lock()
	defer w.mu.Unlock()
	for g := range w.gates {
		if g.blocks(r) {
			return g
		}
	}
	return nil
}

// Host is a place on a Network, by its name. In addresses that are dialled the
// part before the port is the name.
type Host struct {
	net  *Network
	name string

	mu sync.Mutex
	// guarded by mu
	node    *Node // that listens here
	newest  *Node // that was made here
	filters int   // that let nobody dial
}

func (h *Host) filter(more int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.filters += more
}

func (h *Host) filtered() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.filters > 0
}

// inhabit notes a node that was made here.
func (h *Host) inhabit(n *Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest = n
}

func (h *Host) latest() *Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest
}

// Host returns the host of this name; it is made when there is none.
func (w *Network) Host(name string) *Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[name]
	if h == nil {
		h = &Host{net: w, name: name}
		w.hosts[name] = h
	}
	return h
}

// Listen returns the listener to hand to Node.Serve. A node that does not serve
// it cannot be dialled.
func (h *Host) Listen() net.Listener { return &simListener{host: h} }

type simListener struct{ host *Host }

func (l *simListener) Accept() (net.Conn, error) {
	return nil, errors.New("a simulated listener is for Node.Serve")
}
func (l *simListener) Close() error   { return nil }
func (l *simListener) Addr() net.Addr { return &net.UnixAddr{Name: l.host.name, Net: "simulated"} }

func (l *simListener) serve(ctx context.Context, n *Node) error {
	if err := l.host.occupy(n); err != nil {
		return err
	}
	<-ctx.Done()
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	l.host.node = nil
	return ctx.Err()
}

func (h *Host) occupy(n *Node) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.node != nil {
		return fmt.Errorf("host %s: address in use", h.name)
	}
	h.node = n
	return nil
}

func (h *Host) listening() *Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.node
}

func (h *Host) dial(ctx context.Context, n *Node, address string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	name := address
	if i := strings.LastIndexByte(address, ':'); i >= 0 {
		name = address[:i]
	}
	s, err := h.connect(ctx, n, name, address)
	if err != nil {
		return nil, fmt.Errorf("session with %s: %w", address, err)
	}
	return s, nil
}

func (h *Host) connect(ctx context.Context, n *Node, name, address string) (*session, error) {
	there, back := road{h.name, name}, road{name, h.name}
	if err := h.net.carry(ctx, there); err != nil {
		return nil, err
	}
	other := h.net.Host(name).listening()
	if h.net.Host(name).filtered() {
		<-ctx.Done() // nobody answers
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if err := h.net.carry(ctx, back); err != nil {
		return nil, err
	}
	if other == nil {
		return nil, errors.New("connection refused")
	}
	s, _, err := h.net.join(n, other, route{there}, way{dialled: address})
	return s, err
}

func (h *Host) dialSelf(n *Node) (Session, error) {
	s, _, err := h.net.join(n, n, route{{h.name, h.name}}, way{dialled: self, self: true})
	if err != nil {
		return nil, fmt.Errorf("session with itself: %w", err)
	}
	return s, nil
}

// join connects two nodes: the dialler is told last, as in the real handshake.
// It returns the end of the connection at the dialler too.
func (w *Network) join(dialler, listener *Node, there route, by way) (*session, *simEnd, error) {
	near, hello, err := dialler.simLink(by)
	if err != nil {
		return nil, nil, err
	}
	far, answer, err := listener.simLink(way{self: by.self, hops: by.hops})
	if err != nil {
		return nil, nil, err
	}
	if err := far.judge(dialler.cfg.Identity.Certificate(), answer, hello); err != nil {
		listener.cfg.Log.Info("refused a session", "address", there[0].from, "error", err)
		return nil, nil, fmt.Errorf("the other end refuses this daemon: %w", err)
	}
	if err := near.judge(listener.cfg.Identity.Certificate(), hello, answer); err != nil {
		return nil, nil, err
	}
	w.wire(near, far, there)
	if _, err := listener.adoptSim(far); err != nil {
		return nil, nil, fmt.Errorf("the other end is closing: %w", err)
	}
	s, err := dialler.adoptSim(near)
	if err != nil {
		far.close()
		return nil, nil, err
	}
	return s, near.wire.(*simEnd), nil
}

// simLink begins one end of a simulated connection.
func (n *Node) simLink(by way) (*link, hello, error) {
	cert := n.cfg.Identity.Certificate()
	local, err := peerOf(cert)
	if err != nil {
		return nil, hello{}, err
	}
	return &link{
		node: n, way: by, local: local,
		ours: cert.Leaf.NotAfter, refresh: refreshAt(cert.Leaf), done: make(chan struct{}),
	}, n.hello(), nil
}

// judge does what TLS and the hello do in the real handshake.
func (l *link) judge(presented *tls.Certificate, ours, theirs hello) error {
	var chain []*x509.Certificate
	for _, der := range presented.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, c)
	}
	name, expires, err := l.node.cfg.Identity.Verify(chain)
	if err != nil {
		return err
	}
	l.expires = expires
	l.chain = chain
	l.refresh = earlier(l.refresh, refreshAt(chain[0]))
	if l.remote, err = parsePeer(name); err != nil {
		return err
	}
	return l.agree(ours, theirs)
}

func (n *Node) adoptSim(l *link) (*session, error) {
	s, err := n.adopt(l)
	if err != nil {
		return nil, err
	}
	end := l.wire.(*simEnd)
	if !n.start(func() { <-end.ctx.Done(); l.close() }) {
		l.close()
		return nil, ErrClosed
	}
	return s, nil
}
