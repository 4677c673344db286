package peer

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcpeer "google.golang.org/grpc/peer"
)

// Serve accepts sessions at ln until ctx ends; the sessions go on. It closes ln.
func (n *Node) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	if sim, ok := ln.(*simListener); ok {
		return sim.serve(ctx, n)
	}
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of files, most likely: others will end
			n.cfg.Log.Warn("accepting a session", "error", err)
			pause(ctx, 100*time.Millisecond)
			continue
		}
		n.shake(ctx, conn, way{})
	}
}

// Dial makes a session with whoever is at host:port, and says who that is.
func (n *Node) Dial(ctx context.Context, address string) (Session, error) {
	s, err := n.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (n *Node) dial(ctx context.Context, address string) (*session, error) {
	if n.cfg.Host != nil {
		return n.cfg.Host.dial(ctx, n, address)
	}
	dialCtx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	conn, err := n.cfg.Dial(dialCtx, address)
	if err != nil {
		return nil, fmt.Errorf("session with %s: %w", address, err)
	}
	s, err := n.connect(ctx, conn, way{dialled: address})
	if err != nil {
		return nil, fmt.Errorf("session with %s: %w", address, err)
	}
	return s, nil
}

// Self makes a session of the node with itself, over the same TLS, yamux and
// gRPC as any other, and enters it in the table under the node's own id.
func (n *Node) Self(ctx context.Context) (Session, error) {
	if n.cfg.Host != nil {
		return n.cfg.Host.dialSelf(n)
	}
	near, far := net.Pipe()
	answered := make(chan error, 1)
	go func() {
		_, err := n.connect(ctx, far, way{self: true})
		answered <- err
	}()
	s, err := n.connect(ctx, near, way{dialled: self, self: true})
	if err := errors.Join(err, <-answered); err != nil {
		return nil, fmt.Errorf("session with itself: %w", err)
	}
	return s, nil
}

// Proxy returns a dial function for Config that goes through an HTTP proxy with
// CONNECT. The proxy sees the address and TLS.
func Proxy(proxy *url.URL) func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", proxy.Host)
		if err != nil {
			return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
		}
		stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		if err := tunnel(conn, proxy.User, address); err != nil {
			conn.Close()
			return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
		}
		return conn, nil
	}
}

// maxAnswer is how many bytes of a proxy's answer to CONNECT are read.
const maxAnswer = 64 << 10

func tunnel(conn net.Conn, user *url.Userinfo, address string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password() // String would write both as in an address, with escapes
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	// The other end of the tunnel is silent until we speak, so nothing of it can
	// be caught in this buffer.
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswer)), request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT %s: %s", address, response.Status)
	}
	return nil
}

// self stands for an address in the session of a node with itself.
const self = "self"

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func serverOptions(n *Node) []grpc.ServerOption {
	of := func(ctx context.Context) *link {
		p, _ := grpcpeer.FromContext(ctx)
		return p.AuthInfo.(callInfo).link
	}
	return []grpc.ServerOption{
		grpc.Creds(callCredentials{insecure.NewCredentials()}),
		grpc.WaitForHandlers(true),
		grpc.ReadBufferSize(0),
		grpc.WriteBufferSize(bufferSize),
		grpc.StaticStreamWindowSize(windowSize),
		grpc.StaticConnWindowSize(4 * windowSize),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			ctx, err := of(ctx).admit(ctx, info.FullMethod)
			if err != nil {
				return nil, err
			}
			return handler(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx, err := of(stream.Context()).admit(stream.Context(), info.FullMethod)
			if err != nil {
				return err
			}
			return handler(srv, &admitted{stream, ctx})
		}),
	}
}
