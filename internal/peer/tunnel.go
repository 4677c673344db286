package peer

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

// Tunnel connects to what the daemon with this id listens for under a name, over
// the session with it. Errors have the code Unavailable without a session and
// NotFound without a listener. ctx limits the opening alone.
func (n *Node) Tunnel(ctx context.Context, id, name string) (Conn, error) {
	s, err := n.Wait(ctx, id)
	if err != nil {
		return nil, err
	}
	conn, _, err := n.open(ctx, s.Peer(), name, &peerpb.Opening{Name: name}, func(ctx context.Context) (opened, error) {
		return peerpb.NewTunnelClient(s).Open(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("tunnel to %s of %s: %w", name, s.Peer(), err)
	}
	return conn, nil
}

// opened is the caller's end of a stream of segments.
type opened interface {
	segments
	CloseSend() error
}

// open begins a stream of segments and waits for the opening of the answer.
func (n *Node) open(ctx context.Context, other Peer, name string, with *peerpb.Opening, call func(context.Context) (opened, error)) (*streamConn, *peerpb.Opening, error) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	stream, err := call(lasting)
	if err == nil {
		err = stream.Send(&peerpb.Segment{Opening: with})
	}
	var answer *peerpb.Segment
	if stream != nil {
		answer, err = stream.Recv() // of a Send that failed it tells the cause
	}
	if err == nil && answer.Opening == nil {
		err = status.Error(codes.Internal, "the answer does not begin with an opening")
	}
	var conn *streamConn
	if err == nil {
		finish := func() { stream.CloseSend() }
		conn, err = n.newConn(stream, other, name, cancel, finish)
	}
	if !stop() && err == nil {
		conn.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return conn, answer.Opening, nil
}

// answer says that a stream of segments leads somewhere and has use do with it
// what it is for. It returns when the stream is over.
func (n *Node) answer(stream segments, other Peer, name string, with *peerpb.Opening, use func(context.Context, *streamConn) error) error {
	if err := stream.Send(&peerpb.Segment{Opening: with}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	conn, err := n.newConn(stream, other, name, cancel, nil)
	if err != nil {
		return err
	}
	if err := use(ctx, conn); err != nil {
		conn.Close()
		return err
	}
	select {
	case <-conn.closed:
	case <-ctx.Done():
	}
	return nil
}

// Tunnels listens for what managers open to this daemon under a name. The
// connections it accepts are Conns. There is one listener of a name at a time;
// while there is none, openers are told so.
func (n *Node) Tunnels(name string) net.Listener {
	q := newQueue(name)
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.tunnels[name]; old != nil {
		old.Close()
	}
	n.tunnels[name] = q
	return q
}

// tunnels answers the Tunnel service.
type tunnels struct {
	peerpb.UnimplementedTunnelServer
	node *Node
}

func (t tunnels) Open(stream peerpb.Tunnel_OpenServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	name := first.GetOpening().GetName()
	t.node.mu.Lock()
	q := t.node.tunnels[name]
	t.node.mu.Unlock()
	if q == nil || q.isClosed() {
		return status.Errorf(codes.NotFound, "nothing at this daemon listens for tunnels to %q", name)
	}
	return t.node.answer(stream, Caller(stream.Context()), name, &peerpb.Opening{}, func(ctx context.Context, conn *streamConn) error {
		return q.hand(ctx, conn)
	})
}

// queueTime is how long a connection waits to be accepted.
const queueTime = 10 * time.Second

// queue is a listener whose connections are handed to it.
type queue struct {
	name   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue(name string) *queue {
	return &queue{name: name, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// hand waits until somebody accepts conn.
func (q *queue) hand(ctx context.Context, conn net.Conn) error {
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	select {
	case q.conns <- conn:
		return nil
	case <-q.closed:
		return status.Errorf(codes.Unavailable, "%s listens no more", q.name)
	case <-timer.C:
		return status.Errorf(codes.ResourceExhausted, "%s takes no connections at present", q.name)
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (q *queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. What was accepted goes on.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return streamAddr(q.name) }
