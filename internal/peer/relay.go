package peer

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

const (
	// maxHops is how many relays may be between two daemons. A connection over
	// another that is relayed counts those too, so whatever is carried by itself
	// would count more than itself: there are no loops.
	maxHops = 3

	// What a relay carries at once, and how long without a byte: sessions probe
	// their other end more often.
	relayedStrangers = 64
	relayedMachine   = 8
	relayedManager   = 4096
	relayedAll       = 8192
	relayIdle        = time.Minute
)

// relay answers the Relay service. It splices two streams and understands
// nothing of what goes through: that is TLS between the two ends.
type relay struct {
	peerpb.UnimplementedRelayServer
	node *Node
}

// Open connects the caller with another daemon. Members of this cluster may
// look for its managers, managers for everybody; who has no certificate, or an
// expired one, for any manager.
func (r relay) Open(stream peerpb.Relay_OpenServer) error {
	if r.node.cfg.Relay == nil {
		return status.Error(codes.FailedPrecondition, "this daemon is no relay")
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	caller := linkOf(stream.Context())
	leave, err := r.node.relayed.enter(caller)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	idle := time.AfterFunc(handshakeTime, cancel)
	defer idle.Stop()

	to, err := r.node.lookFor(ctx, caller, first.GetOpening())
	if err != nil {
		return err
	}
	hops := int32(caller.hops + to.current().hops + 1)
	far, err := peerpb.NewRelayClient(to).Accept(ctx)
	if err == nil {
		err = far.Send(&peerpb.Segment{Opening: &peerpb.Opening{Hops: hops, Peer: caller.remote.ID}})
	}
	if far != nil {
		_, err = far.Recv() // of a Send that failed it tells the cause
	}
	if err != nil {
		return fmt.Errorf("relay to %s: %w", to.peer, err)
	}
	if err := stream.Send(&peerpb.Segment{Opening: &peerpb.Opening{Hops: hops, Peer: to.peer.ID}}); err != nil {
		return err
	}
	live := func() { idle.Reset(relayIdle) }
	if r.node.cfg.Host != nil { // what is simulated is not probed
		live = func() {}
		idle.Stop()
	}
	live()
	r.node.start(func() {
		if err := copySegments(far, stream, live); err != nil {
			cancel()
			return
		}
		far.CloseSend()
	})
	return copySegments(stream, far, live)
}

// copySegments returns nil when from has ended in good order.
func copySegments(to interface {
	Send(*peerpb.Segment) error
}, from interface {
	Recv() (*peerpb.Segment, error)
}, live func(),
) error {
	for {
		s, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		live()
		if err := to.Send(s); err != nil {
			return err
		}
	}
}

// lookFor returns the session with whom the caller looks for.
func (n *Node) lookFor(ctx context.Context, caller *link, what *peerpb.Opening) (*session, error) {
	as := caller.standing()
	target := what.GetTarget()
	if target == "" {
		return n.anyOf(caller, what)
	}
	if as&(asManager|asMachine) == 0 {
		return nil, status.Error(codes.PermissionDenied, "who has no valid certificate is led to any manager, and to nobody by name")
	}
	n.mu.Lock()
	s := n.sessions[target]
	n.mu.Unlock()
	if s == nil && as == asManager {
		s = n.fetch(ctx, target)
	}
	switch {
	case s == nil:
		return nil, status.Errorf(codes.NotFound, "this relay has no session with %s", target)
	case as != asManager && s.peer.Kind != Manager:
		return nil, status.Errorf(codes.PermissionDenied, "%s may be led to managers only", caller.remote)
	}
	l := s.current()
	if l.self || l.remote == caller.remote {
		return nil, status.Errorf(codes.InvalidArgument, "%s is at an end of this very session", target)
	}
	return s, fits(caller, l, what)
}

// fits refuses a way with more relays than there may be.
func fits(caller, l *link, what *peerpb.Opening) error {
	if hops := caller.hops + l.hops + 1; hops > maxHops || hops > int(what.GetHops()) {
		return status.Errorf(codes.FailedPrecondition, "%d relays in a row are too many", hops)
	}
	return nil
}

// anyOf returns the session with the manager with the fewest relays on the way; among
// several, callers are spread evenly.
func (n *Node) anyOf(caller *link, what *peerpb.Opening) (*session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var best *session
	var hops int
	var rank uint64
	for id, s := range n.sessions {
		l := s.current()
		if s.peer.Kind != Manager || l.self || l.remote == caller.remote || slices.Contains(what.GetExcept(), id) || fits(caller, l, what) != nil {
			continue
		}
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %s", id, caller.remote.ID)
		if r := h.Sum64(); best == nil || l.hops < hops || l.hops == hops && r > rank {
			best, hops, rank = s, l.hops, r
		}
	}
	if best == nil {
		return nil, status.Error(codes.NotFound, "this relay has no session with another manager")
	}
	return best, nil
}

// fetch dials a daemon for somebody else.
func (n *Node) fetch(ctx context.Context, id string) *session {
	for _, address := range n.cfg.Relay(id) {
		s, err := n.dial(ctx, address)
		if err != nil {
			continue
		}
		if s.peer.ID == id && s.current().tabled() {
			return s
		}
		s.Close()
	}
	return nil
}

// Accept takes a connection that came by a relay, as one that came by itself.
func (r relay) Accept(stream peerpb.Relay_AcceptServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hops := int(first.GetOpening().GetHops())
	if hops < 1 || hops > maxHops {
		return status.Errorf(codes.InvalidArgument, "%d relays between the ends", hops)
	}
	by := linkOf(stream.Context())
	return r.node.answer(stream, by.remote, "relay", &peerpb.Opening{}, func(ctx context.Context, conn *streamConn) error {
		r.node.shake(ctx, conn, way{hops: hops, over: by})
		return nil
	})
}

// dialBy makes a session with the daemon target, or with "" any manager but
// those in except, by a relay.
func (n *Node) dialBy(ctx context.Context, relay *session, target string, except []string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	over := relay.current()
	with := &peerpb.Opening{Target: target, Except: except, Hops: maxHops}
	conn, answer, err := n.open(ctx, relay.peer, "relay", with, func(ctx context.Context) (opened, error) {
		return peerpb.NewRelayClient(relay).Open(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("relay %s: %w", relay.peer, err)
	}
	s, err := n.connect(ctx, conn, way{dialled: "relay " + relay.peer.ID, hops: max(int(answer.Hops), 1), over: over})
	switch {
	case err != nil:
		return nil, fmt.Errorf("by relay %s: %w", relay.peer, err)
	case target != "" && s.peer.ID != target, target == "" && s.peer.Kind != Manager:
		s.Close()
		return nil, fmt.Errorf("relay %s led to %s", relay.peer, s.peer)
	}
	return s, nil
}

// relayed counts what a relay carries.
type relayed struct {
	mu sync.Mutex
	// guarded by mu
	all int
	of  map[string]int // by caller's id; "" for all without a valid certificate
}

func (r *relayed) enter(caller *link) (leave func(), err error) {
	id, most := caller.remote.ID, relayedMachine
	switch caller.standing() {
	case asManager:
		most = relayedManager
	case asMachine:
	default:
		id, most = "", relayedStrangers
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= relayedAll || r.of[id] >= most {
		return nil, status.Errorf(codes.ResourceExhausted, "this relay carries %d connections, %d of them for %s", r.all, r.of[id], caller.remote)
	}
	if r.of == nil {
		r.of = map[string]int{}
	}
	r.all++
	r.of[id]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all--
		if r.of[id]--; r.of[id] == 0 {
			delete(r.of, id)
		}
	}, nil
}
