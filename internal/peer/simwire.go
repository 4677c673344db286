package peer

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// simConn is a simulated connection.
type simConn struct{ ends [2]*simEnd }

// simEnd is one end of it: the wire of its link.
type simEnd struct {
	net   *Network
	conn  *simConn
	other *simEnd
	link  *link
	route route // to the other end

	ctx context.Context // of the connection, as far as this end knows
	cut context.CancelFunc
}

// wire puts a connection under two links.
func (w *Network) wire(near, far *link, there route) {
	c := &simConn{}
	for i, l := range []*link{near, far} {
		e := &simEnd{net: w, conn: c, link: l, route: there}
		e.ctx, e.cut = context.WithCancel(context.Background())
		there = there.back()
		l.wire = e
		c.ends[i] = e
	}
	c.ends[0].other, c.ends[1].other = c.ends[1], c.ends[0]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = struct{}{}
}

// sever ends the connection at both ends.
func (c *simConn) sever() {
	c.ends[0].cut()
	c.ends[1].cut()
}

// shut ends the connection at this end; the other learns of it by a message.
func (e *simEnd) shut() {
	e.cut()
	e.net.mu.Lock()
	delete(e.net.conns, e.conn)
	e.net.mu.Unlock()
	far := e.other
	far.link.node.start(func() {
		if err := e.net.travel(far.ctx, e.route); err == nil || errors.Is(err, errBroken) {
			far.cut()
		}
	})
}

// send carries one message of this end to the other.
func (e *simEnd) send(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	err := e.net.travel(ctx, e.route)
	switch {
	case errors.Is(err, errBroken):
		e.conn.sever()
	case e.ctx.Err() != nil:
		return errBroken
	}
	return err
}

func (e *simEnd) tellRetired() {
	if e.send(e.ctx) == nil {
		e.other.link.heardRetired()
	}
}

// answering makes the context of a handler at this end, for a call with ctx
// from the other. It ends with the call or the connection.
func (e *simEnd) answering(ctx context.Context) (context.Context, context.CancelFunc) {
	answer, cancel := context.WithCancel(e.ctx)
	stop := context.AfterFunc(ctx, cancel)
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		answer = metadata.NewIncomingContext(answer, md.Copy())
	}
	if deadline, ok := ctx.Deadline(); ok {
		var end context.CancelFunc
		answer, end = context.WithDeadline(answer, deadline)
		return answer, func() { stop(); end(); cancel() }
	}
	return answer, func() { stop(); cancel() }
}

// find returns the service that a method belongs to and the method's own name,
// once the node answers calls.
func (n *Node) find(ctx context.Context, method string) (service, string, error) {
	select {
	case <-n.begun:
	case <-ctx.Done():
		return service{}, "", status.FromContextError(ctx.Err()).Err()
	}
	name, short, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	s, ok := n.services[name]
	if !ok {
		return service{}, "", status.Errorf(codes.Unimplemented, "unknown service %s", name)
	}
	return s, short, nil
}

// simCall is a call on its way.
type simCall struct {
	ctx     context.Context // of the caller
	method  string
	request []byte
	answers chan simAnswer // has room for all that may come
}

type simAnswer struct {
	body []byte
	err  error
}

// Invoke implements grpc.ClientConnInterface by calling the other node's handler.
func (e *simEnd) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	request, err := proto.Marshal(args.(proto.Message))
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	c := simCall{ctx, method, request, make(chan simAnswer, 2)}
	if !e.net.park(e.route, method, func() { e.deliverLate(c) }) {
		if err := e.send(ctx); err != nil {
			return err
		}
		answering, cancel := e.other.answering(ctx)
		if !e.deliver(c, e.other.link, answering, cancel) {
			return errBroken
		}
		if e.net.again(e.route) {
			e.other.link.node.start(func() {
				if e.net.travel(e.other.ctx, e.route) == nil {
					e.deliverLate(c)
				}
			})
		}
	}
	select {
	case a := <-c.answers:
		if a.err != nil {
			return a.err
		}
		return proto.Unmarshal(a.body, reply.(proto.Message))
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-e.ctx.Done():
		return errBroken
	}
}

// deliver has a call handled at the end l, and sends the answer.
func (e *simEnd) deliver(c simCall, l *link, ctx context.Context, cancel context.CancelFunc) bool {
	started := l.node.start(func() {
		defer cancel()
		body, err := l.handle(ctx, c.method, c.request)
		if lost := e.other.send(e.other.ctx); lost == nil {
			c.answers <- simAnswer{body, err}
		}
	})
	if !started {
		cancel()
	}
	return started
}

// deliverLate has a call handled by the daemon that is at the other end's host
// now, though caller and connection may be gone.
func (e *simEnd) deliverLate(c simCall) {
	l := e.other.link
	if node := l.node.cfg.Host.latest(); node != l.node {
		l = &link{node: node, way: l.way, local: l.local, remote: l.remote, expires: l.expires}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if e.deliver(c, l, ctx, cancel) {
		l.node.start(func() {
			select {
			case <-l.node.ended:
				cancel()
			case <-ctx.Done():
			}
		})
	}
}

func (l *link) handle(ctx context.Context, method string, request []byte) ([]byte, error) {
	ctx, err := l.admit(ctx, method)
	if err != nil {
		return nil, err
	}
	s, name, err := l.node.find(ctx, method)
	if err != nil {
		return nil, err
	}
	for _, m := range s.desc.Methods {
		if m.MethodName != name {
			continue
		}
		reply, err := m.Handler(s.impl, ctx, func(v any) error { return proto.Unmarshal(request, v.(proto.Message)) }, nil)
		if err != nil {
			return nil, overWire(err)
		}
		return proto.Marshal(reply.(proto.Message))
	}
	return nil, status.Errorf(codes.Unimplemented, "unknown method %s", method)
}

// overWire leaves of an error what gRPC carries.
func overWire(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	return status.FromProto(s.Proto()).Err()
}

// streamBuffer is how many messages of a stream may wait for their reader, in
// place of a window of bytes.
const streamBuffer = 64

// frame is a message of a stream, or its status.
type frame struct {
	body []byte
	last bool
	err  error
}

// simStream is one end of a stream. Both grpc.ClientStream and
// grpc.ServerStream are made of it.
type simStream struct {
	end      *simEnd
	ctx      context.Context
	in       <-chan frame
	out      chan<- frame
	finished <-chan struct{} // the handler returned: nobody reads out any more

	mu sync.Mutex
	// guarded by mu
	over error // how in ended; nil while it has not
}

func (s *simStream) Context() context.Context { return s.ctx }

func (s *simStream) put(f frame) error {
	if err := s.end.send(s.ctx); err != nil {
		return err
	}
	select {
	case s.out <- f:
		return nil
	case <-s.finished:
		return io.EOF
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	case <-s.end.ctx.Done():
		return errBroken
	}
}

func (s *simStream) SendMsg(m any) error {
	body, err := proto.Marshal(m.(proto.Message))
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return s.put(frame{body: body})
}

func (s *simStream) RecvMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return s.over
	}
	select {
	case f, more := <-s.in:
		if more && !f.last {
			return proto.Unmarshal(f.body, m.(proto.Message))
		}
		s.over = f.err
		if f.err == nil {
			s.over = io.EOF
		}
	case <-s.ctx.Done():
		s.over = status.FromContextError(s.ctx.Err()).Err()
	case <-s.end.ctx.Done():
		s.over = errBroken
	}
	return s.over
}

// simServerStream is the handler's end. Headers and trailers go nowhere: the
// protocol between daemons has none.
type simServerStream struct{ *simStream }

func (simServerStream) SetHeader(metadata.MD) error  { return nil }
func (simServerStream) SendHeader(metadata.MD) error { return nil }
func (simServerStream) SetTrailer(metadata.MD)       {}

// simClientStream is the caller's end.
type simClientStream struct {
	*simStream
	desc     *grpc.StreamDesc
	lasting  context.Context // as long as the stream
	closeOut func()
	finish   context.CancelFunc
}

func (c *simClientStream) Context() context.Context     { return c.lasting }
func (c *simClientStream) Header() (metadata.MD, error) { return nil, nil }
func (c *simClientStream) Trailer() metadata.MD         { return nil }

func (c *simClientStream) CloseSend() error {
	if err := c.end.send(c.ctx); err != nil {
		return err
	}
	c.closeOut()
	return nil
}

func (c *simClientStream) RecvMsg(m any) error {
	err := c.simStream.RecvMsg(m)
	if err == nil && !c.desc.ServerStreams { // one answer; what follows is the status
		if err = c.simStream.RecvMsg(m); errors.Is(err, io.EOF) {
			err = nil
		}
		c.finish()
	}
	if err != nil {
		c.finish()
	}
	return err
}

// NewStream implements grpc.ClientConnInterface by running the other node's handler.
func (e *simEnd) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := e.send(ctx); err != nil {
		return nil, err
	}
	answering, cancel := e.other.answering(ctx)
	up, down := make(chan frame, streamBuffer), make(chan frame, streamBuffer)
	finished := make(chan struct{})
	server := &simStream{end: e.other, ctx: answering, in: up, out: down}
	started := e.other.link.node.start(func() {
		defer cancel()
		err := e.other.handleStream(server, method)
		close(finished)
		// The handler's own context may have ended, and what it began may read
		// still; the caller waits for the status.
		last := &simStream{end: e.other, ctx: ctx, out: down}
		last.put(frame{last: true, err: overWire(err)})
	})
	if !started {
		cancel()
		return nil, errBroken
	}
	over, finish := context.WithCancel(e.ctx)
	forget := context.AfterFunc(ctx, finish)
	lasting, end := context.WithCancel(ctx)
	context.AfterFunc(over, func() {
		forget()
		end()
		for _, o := range opts {
			if o, ok := o.(grpc.OnFinishCallOption); ok {
				o.OnFinish(nil)
			}
		}
	})
	return &simClientStream{
		simStream: &simStream{end: e, ctx: ctx, in: down, out: up, finished: finished},
		desc:      desc, lasting: lasting, closeOut: sync.OnceFunc(func() { close(up) }), finish: finish,
	}, nil
}

func (e *simEnd) handleStream(stream *simStream, method string) error {
	ctx, err := e.link.admit(stream.ctx, method)
	if err != nil {
		return err
	}
	s, name, err := e.link.node.find(ctx, method)
	if err != nil {
		return err
	}
	stream.ctx = ctx
	for _, d := range s.desc.Streams {
		if d.StreamName == name {
			return d.Handler(s.impl, simServerStream{stream})
		}
	}
	return status.Errorf(codes.Unimplemented, "unknown method %s", method)
}
