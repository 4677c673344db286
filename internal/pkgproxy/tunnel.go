package pkgproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// tunnel connects a machine to port 443 of an origin, where the two speak TLS
// with each other.
func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil || port != "443" {
		refuse(w, http.StatusForbidden, "the package proxy connects to port 443 only, not to "+r.Host)
		return
	}
	if err := p.mayReach(host); err != nil {
		refuse(w, http.StatusForbidden, err.Error())
		return
	}
	far, err := p.reach(r.Context(), r.Host)
	if err != nil {
		refuse(w, statusOf(err), fmt.Sprintf("connect to %s: %v", r.Host, err))
		return
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	if !p.track(near, far) {
		return
	}
	_ = near.SetDeadline(time.Time{}) // the server's own no longer hold
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		p.untrack(near, far)
		return
	}
	// Two goroutines: each way can end before the other.
	go func() {
		defer p.untrack(near, far)
		back := make(chan struct{})
		go func() {
			defer close(back)
			splice(near, far, far)
		}()
		splice(far, buffered.Reader, near)
		<-back
	}()
}

// splice copies one way, then says that no more comes. On an error both ends
// are closed, which ends the other way too.
func splice(to net.Conn, from io.Reader, end net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		_ = end.Close()
		return
	}
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	} else {
		_ = to.Close()
	}
}

// track counts a tunnel among what runs, unless the proxy ends: then its
// connections are closed. Untrack takes it off.
func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.ending {
			_ = c.Close()
		} else {
			p.tunnels[c] = true
		}
	}
	if !p.ending {
		p.running.Add(1) // here, so that Run cannot have stopped waiting
	}
	return !p.ending
}

func (p *Proxy) untrack(conns ...net.Conn) {
	defer p.running.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.tunnels, c)
	}
}

// reach connects to address (host:port), by way of the host's proxy if it has
// one for HTTPS.
func (p *Proxy) reach(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, headerTimeout)
	defer cancel()
	via, err := p.cfg.Upstream.proxyOf(&url.URL{Scheme: "https", Host: address})
	if err != nil {
		return nil, err
	}
	if via == nil {
		return p.dial(ctx, "tcp", address)
	}
	c, err := p.dial(ctx, "tcp", hostPort(via))
	if err != nil {
		return nil, fmt.Errorf("the host's proxy: %w", err)
	}
	if via.Scheme == "https" {
		c = tls.Client(c, &tls.Config{ServerName: via.Hostname()})
	}
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	if err := ask(c, address, via.User); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("the host's proxy: %w", err)
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

// maxAnswer is how many bytes of a proxy's answer to CONNECT are read.
const maxAnswer = 64 << 10

// ask has a proxy connect c to address.
func ask(c net.Conn, address string, user *url.Userinfo) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization",
			"Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(c); err != nil {
		return err
	}
	// The far end of TLS waits for us, so nothing of it can be in the buffer.
	resp, err := http.ReadResponse(bufio.NewReaderSize(io.LimitReader(c, maxAnswer), 16), req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}
