package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/yamux"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// ALPN is the protocol of sessions between daemons.
const ALPN = "aloft-peer/1"

const (
	handshakeTime = 10 * time.Second
	windowSize    = 1 << 20 // bytes under way in one stream; memory only when they are
	bufferSize    = 4 << 10 // of gRPC, per connection; yamux has its own
	maxMessage    = 16 << 20
	maxCalls      = 4096 // under way from one end of a session; more have to wait there
)

// The first byte of each yamux stream says what it is for.
const (
	streamCalls   = 'g' // a gRPC connection; whoever opened it calls
	streamRetired = 'r' // no more calls from this end; nothing follows
)

// muxWire is a real connection: yamux over TLS, and in it a gRPC connection for
// our calls, opened with the first of them.
type muxWire struct {
	mux    *yamux.Session
	calls  *grpc.ClientConn
	heard  *heard
	probes time.Duration // between looks for a sign of life
}

func newMuxWire(conn net.Conn, dialled bool, probes time.Duration, log *slog.Logger) (*muxWire, error) {
	cfg := &yamux.Config{
		AcceptBacklog:          64,
		KeepAliveInterval:      stuckTime, // must be given; watch does what it is for
		ConnectionWriteTimeout: stuckTime,
		MaxStreamWindowSize:    windowSize,
		StreamOpenTimeout:      stuckTime,
		StreamCloseTimeout:     time.Minute,
		Logger:                 yamuxLog{log},
	}
	open := yamux.Server
	if dialled {
		open = yamux.Client
	}
	w := &muxWire{heard: &heard{Conn: conn}, probes: probes}
	mux, err := open(w.heard, cfg)
	if err != nil {
		return nil, err
	}
	w.mux = mux
	w.calls, err = grpc.NewClient("passthrough:///peer",
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return w.open(streamCalls) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the connection beneath is TLS
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithReadBufferSize(0),
		grpc.WithWriteBufferSize(bufferSize),
		grpc.WithStaticStreamWindowSize(windowSize),
		grpc.WithStaticConnWindowSize(4*windowSize),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, errors.Join(err, mux.Close())
	}
	return w, nil
}

func (w *muxWire) open(kind byte) (net.Conn, error) {
	stream, err := w.mux.Open()
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write([]byte{kind}); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return stream, nil
}

func (w *muxWire) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return w.explain(ctx, w.calls.Invoke(ctx, method, args, reply, opts...))
}

func (w *muxWire) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := w.calls.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, w.explain(ctx, err)
	}
	return &muxStream{stream, func(err error) error { return w.explain(ctx, err) }}, nil
}

// explain tells a call that was cut off from one that its caller cancelled:
// gRPC says Canceled of both when the connection is closed from this side.
func (w *muxWire) explain(ctx context.Context, err error) error {
	if status.Code(err) == codes.Canceled && ctx.Err() == nil && w.mux.IsClosed() {
		return errBroken
	}
	return err
}

// muxStream is a stream whose errors are explained.
type muxStream struct {
	grpc.ClientStream
	explain func(error) error
}

func (s *muxStream) RecvMsg(m any) error {
	return s.explain(s.ClientStream.RecvMsg(m))
}

func (w *muxWire) tellRetired() {
	stream, err := w.open(streamRetired)
	if err == nil {
		stream.Close()
	}
}

func (w *muxWire) shut() {
	w.mux.Close()
	w.calls.Close()
}

// serve takes the streams that the other end opens, until the connection ends.
func (w *muxWire) serve(l *link) {
	defer l.close()
	w.watch(l)
	for {
		stream, err := w.mux.Accept()
		if err != nil {
			return
		}
		if !l.node.start(func() { w.take(l, stream) }) {
			stream.Close()
			return
		}
	}
}

func (w *muxWire) take(l *link, stream net.Conn) {
	var kind [1]byte
	stream.SetReadDeadline(time.Now().Add(handshakeTime))
	if _, err := io.ReadFull(stream, kind[:]); err != nil {
		stream.Close()
		return
	}
	stream.SetReadDeadline(time.Time{})
	switch kind[0] {
	case streamCalls:
		if !l.node.incoming.hand(&callConn{Conn: stream, link: l}, l.done) {
			stream.Close()
		}
	case streamRetired:
		stream.Close()
		l.heardRetired()
	default:
		stream.Close() // of a later version; the hello said that it is not needed
	}
}

// connect makes a session of a connection, or closes it. The session is nil
// when what came is not one, and was given to whom it is for.
func (n *Node) connect(ctx context.Context, conn net.Conn, by way) (*session, error) {
	if n.cfg.Host != nil {
		return n.cfg.Host.meet(ctx, n, conn.(*streamConn), by) // what else comes to a simulated host has its own ways
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	l, err := n.handshake(ctx, conn, by)
	if l == nil {
		stop()
		if err != nil {
			conn.Close()
		}
		return nil, err
	}
	if !stop() {
		l.wire.shut()
		return nil, ctx.Err()
	}
	s, err := n.adopt(l)
	if err != nil {
		l.wire.shut()
		return nil, err
	}
	if !n.start(func() { l.wire.(*muxWire).serve(l) }) {
		l.close()
		return nil, ErrClosed
	}
	return s, nil
}

// handshake is TLS, then a hello each way: the dialler's first. The hello also
// tells the dialler that its certificate was accepted, which TLS 1.3 does not.
func (n *Node) handshake(ctx context.Context, raw net.Conn, by way) (*link, error) {
	raw.SetDeadline(time.Now().Add(handshakeTime))
	own := n.cfg.Identity.Certificate()
	l := &link{node: n, way: by, ours: own.Leaf.NotAfter, done: make(chan struct{})}
	var err error
	if l.local, err = peerOf(own); err != nil {
		return nil, err
	}
	var peerName string
	cfg := sessionTLS(own, func(chain []*x509.Certificate) (err error) {
		peerName, l.expires, err = n.cfg.Identity.Verify(chain)
		return err
	})
	dialler := by.dialled != ""
	var conn *tls.Conn
	if dialler {
		conn = tls.Client(raw, cfg)
	} else {
		conn = tls.Server(raw, n.parting(own, cfg))
	}
	if err := conn.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != ALPN {
		if !dialler {
			return nil, n.toWeb(ctx, conn)
		}
		return nil, fmt.Errorf("the other end does not speak %s", ALPN)
	}
	l.chain = state.PeerCertificates
	if l.remote, err = parsePeer(peerName); err != nil {
		return nil, err
	}
	ours := n.hello()
	theirs, err := n.greet(conn, l, ours, dialler)
	if err != nil {
		return nil, err
	}
	l.refresh = earlier(refreshAt(own.Leaf), refreshAt(state.PeerCertificates[0]))
	raw.SetDeadline(time.Time{})
	wire, err := newMuxWire(conn, dialler, probeTime(ours, theirs), n.cfg.Log)
	if err != nil {
		return nil, err
	}
	l.wire = wire
	return l, nil
}

// sessionTLS is how sessions prove themselves, either end.
func sessionTLS(own *tls.Certificate, judge func([]*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{ALPN},
		Certificates:           []tls.Certificate{*own},
		SessionTicketsDisabled: true, // every session is judged by certificates
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // names are URIs, not hosts: VerifyConnection judges
		VerifyConnection:       func(state tls.ConnectionState) error { return judge(state.PeerCertificates) },
	}
}

func (n *Node) greet(conn net.Conn, l *link, ours hello, first bool) (theirs hello, err error) {
	if first {
		if err := ours.write(conn); err != nil {
			return hello{}, fmt.Errorf("greet %s: %w", l.remote, err)
		}
	}
	theirs, err = readHello(conn)
	if err != nil {
		return hello{}, fmt.Errorf("%s did not accept this daemon: %w", l.remote, err)
	}
	if !first {
		if err := ours.write(conn); err != nil {
			return hello{}, fmt.Errorf("greet %s: %w", l.remote, err)
		}
	}
	return theirs, l.agree(ours, theirs)
}

// agree completes a link from what both ends said, or refuses it.
func (l *link) agree(ours, theirs hello) error {
	if err := meet(l.remote, ours.versions, theirs.versions); err != nil {
		return err
	}
	if l.self != (theirs.boot == ours.boot) {
		return errors.New("the address is this daemon's own")
	}
	if !l.self && l.remote == l.local && l.local != (Peer{}) {
		return fmt.Errorf("another daemon runs under this one's name %s", l.local)
	}
	if l.remote != (Peer{}) && l.remote.Kind != Manager && l.remote.Kind != Machine {
		return fmt.Errorf("%s is no daemon", l.remote)
	}
	if l.remote.Kind != Machine && l.node.cfg.Now().After(l.expires) && l.remote != (Peer{}) {
		return fmt.Errorf("the certificate of %s %s; it has to renew it itself", l.remote, l.age())
	}
	l.boot = theirs.boot
	l.order = order(l.local, l.remote, ours, theirs)
	return nil
}

// incoming is the listener of the gRPC server: it yields the gRPC connections
// that peers open inside their links.
type incoming struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newIncoming() *incoming {
	return &incoming{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (i *incoming) hand(conn net.Conn, done <-chan struct{}) bool {
	select {
	case i.conns <- conn:
		return true
	case <-i.closed:
	case <-done:
	}
	return false
}

func (i *incoming) Accept() (net.Conn, error) {
	select {
	case conn := <-i.conns:
		return conn, nil
	case <-i.closed:
		return nil, net.ErrClosed
	}
}

func (i *incoming) Close() error {
	close(i.closed) // the gRPC server, its one user, closes it once
	return nil
}

func (i *incoming) Addr() net.Addr { return &net.UnixAddr{Name: "peer"} }

// callConn is a gRPC connection that knows its link.
type callConn struct {
	net.Conn
	link *link
}

// callCredentials hands a call's link from its connection to its handler.
type callCredentials struct {
	credentials.TransportCredentials
}

type callInfo struct {
	credentials.CommonAuthInfo
	link *link
}

func (callInfo) AuthType() string { return ALPN }

func (callCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := conn.(*callConn)
	if !ok {
		return nil, nil, fmt.Errorf("gRPC connection of a foreign kind %T", conn)
	}
	return c, callInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, link: c.link}, nil
}

// yamuxLog passes on what yamux says; the reasons why connections end, mostly.
type yamuxLog struct{ log *slog.Logger }

func (y yamuxLog) Print(v ...any)   { y.log.Debug("yamux", "text", fmt.Sprint(v...)) }
func (y yamuxLog) Println(v ...any) { y.log.Debug("yamux", "text", fmt.Sprint(v...)) }
func (y yamuxLog) Printf(format string, v ...any) {
	y.log.Debug("yamux", "text", fmt.Sprintf(format, v...))
}
