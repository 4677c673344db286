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
}

// road is one direction between two hosts.
type road struct{ from, to string }

// gate holds up the messages on some roads until it opens.
type gate struct {
	blocks func(road) bool
	open   chan struct{}
}

// NewNetwork makes a network without hosts, on which messages take no time.
func NewNetwork(seed uint64) *Network {
	return &Network{
		seed:  seed,
		hosts: map[string]*Host{},
		conns: map[*simConn]struct{}{},
		sent:  map[road]uint64{},
		gates: map[*gate]struct{}{},
	}
}

// Delay makes every message take between min and max from now on.
func (w *Network) Delay(min, max time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.min, w.max = min, max
}

// Loss makes this share of messages, 0 to 1, be lost from now on, and the
// connection they are sent on break: a call whose question is lost has had no
// effect, one whose answer is lost has.
func (w *Network) Loss(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss = share
}

// Hold keeps back what one host sends another until release is called.
func (w *Network) Hold(from, to string) (release func()) {
	return w.block(func(r road) bool { return r == road{from, to} })
}

// Cut severs two hosts from each other until heal is called. Connections that
// are cut for longer than probes take to notice break.
func (w *Network) Cut(a, b string) (heal func()) {
	return w.sever(func(r road) bool { return r == road{a, b} || r == road{b, a} })
}

// Isolate severs a host from all others until heal is called.
func (w *Network) Isolate(host string) (heal func()) {
	return w.sever(func(r road) bool { return r.from != r.to && (r.from == host || r.to == host) })
}

// Break breaks every connection between two hosts at once, as a router that
// forgets them does.
func (w *Network) Break(a, b string) {
	w.breakWhere(func(r road) bool { return r == road{a, b} || r == road{b, a} })
}

func (w *Network) block(blocks func(road) bool) (open func()) {
	g := &gate{blocks: blocks, open: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gates[g] = struct{}{}
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.gates, g)
		close(g.open)
	})
}

func (w *Network) sever(blocks func(road) bool) (heal func()) {
	open := w.block(blocks)
	timer := time.AfterFunc(2*keepAlive, func() { w.breakWhere(blocks) })
	return func() {
		timer.Stop()
		open()
	}
}

func (w *Network) breakWhere(match func(road) bool) {
	w.mu.Lock()
	var broken []*simConn
	for c := range w.conns {
		if match(c.ends[0].road) || match(c.ends[1].road) {
			broken = append(broken, c)
		}
	}
	w.mu.Unlock()
	for _, c := range broken {
		c.sever()
	}
}

// carry takes the time that one message on a road needs. It returns errBroken
// when the message is lost, and the cause of ctx's end when that comes first.
func (w *Network) carry(ctx context.Context, r road) error {
	w.mu.Lock()
	w.sent[r]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", r.from, r.to)
	dice := rand.New(rand.NewPCG(w.seed^h.Sum64(), w.sent[r]))
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
	node *Node // that listens here
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
	if err := h.net.carry(ctx, back); err != nil {
		return nil, err
	}
	if other == nil {
		return nil, errors.New("connection refused")
	}
	return h.net.join(n, other, there, address)
}

func (h *Host) dialSelf(n *Node) (Session, error) {
	s, err := h.net.join(n, n, road{h.name, h.name}, self)
	if err != nil {
		return nil, fmt.Errorf("session with itself: %w", err)
	}
	return s, nil
}

// join connects two nodes: the dialler is told last, as in the real handshake.
func (w *Network) join(dialler, listener *Node, there road, address string) (*session, error) {
	near, hello, err := dialler.simLink(address, address == self)
	if err != nil {
		return nil, err
	}
	far, answer, err := listener.simLink("", address == self)
	if err != nil {
		return nil, err
	}
	if err := far.judge(dialler.cfg.Identity.Certificate(), answer, hello); err != nil {
		listener.cfg.Log.Info("refused a session", "address", there.from, "error", err)
		return nil, fmt.Errorf("the other end refuses this daemon: %w", err)
	}
	if err := near.judge(listener.cfg.Identity.Certificate(), hello, answer); err != nil {
		return nil, err
	}
	w.wire(near, far, there)
	if _, err := listener.adoptSim(far); err != nil {
		return nil, fmt.Errorf("the other end is closing: %w", err)
	}
	s, err := dialler.adoptSim(near)
	if err != nil {
		far.close()
		return nil, err
	}
	return s, nil
}

// simLink begins one end of a simulated connection.
func (n *Node) simLink(dialled string, own bool) (*link, hello, error) {
	cert := n.cfg.Identity.Certificate()
	local, err := peerOf(cert)
	if err != nil {
		return nil, hello{}, err
	}
	return &link{
		node: n, dialled: dialled, self: own, local: local,
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
