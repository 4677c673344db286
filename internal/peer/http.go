package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"
)

// web takes the connections to the node's port that are no sessions.
type web struct {
	*queue
	cfg *tls.Config
}

// HTTP returns the listener of what comes to the node's port as HTTP: it accepts
// a *tls.Conn whose handshake is done and has agreed on h2, http/1.1 or nothing.
// cfg decides on client certificates (ClientAuth, VerifyConnection) and may have
// certificates of its own, else the node's are presented; it must not be changed
// afterwards. TLS 1.3, and the limits on number and time of handshakes, are the
// node's. Until it is called, and once the listener is closed, such connections
// are refused.
func (n *Node) HTTP(cfg *tls.Config) net.Listener {
	cfg = cfg.Clone()
	cfg.MinVersion = tls.VersionTLS13
	cfg.NextProtos = []string{"h2", "http/1.1"}
	cfg.SessionTicketsDisabled = true
	w := &web{queue: newQueue("http"), cfg: cfg}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.web = w
	return w
}

func (n *Node) listening() *web {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.web == nil || n.web.isClosed() {
		return nil
	}
	return n.web
}

// parting is how connections part that come to the one port: by the protocol
// that the other end asks for.
func (n *Node) parting(own *tls.Certificate, session *tls.Config) *tls.Config {
	w := n.listening()
	if w == nil {
		return session
	}
	both := session.Clone()
	both.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, ALPN) {
			return session, nil
		}
		cfg := w.cfg
		if len(cfg.Certificates) == 0 && cfg.GetCertificate == nil {
			cfg = cfg.Clone()
			cfg.Certificates = []tls.Certificate{*own}
		}
		return cfg, nil
	}
	return both
}

// toWeb hands on a connection that is no session.
func (n *Node) toWeb(ctx context.Context, conn *tls.Conn) error {
	w := n.listening()
	if w == nil {
		return fmt.Errorf("the other end does not speak %s, and nothing here takes HTTP", ALPN)
	}
	conn.SetDeadline(time.Time{})
	return w.hand(ctx, conn)
}
