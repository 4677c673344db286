// Package client is the Go client of the Service API: every operation of a
// managing daemon, over its Unix socket. It decides nothing, keeps no state
// but idle connections, and starts no daemon. Calls start only goroutines that
// end with the call.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"

	"aloft/api"

	"golang.org/x/sys/unix"
)

// ErrNoDaemon is in the chain of the errors of calls that found nobody
// answering at the socket.
var ErrNoDaemon = errors.New("no daemon is running")

// Client calls one daemon. It may be used by several goroutines.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client of the daemon that listens on the Unix socket. It does
// not connect yet.
func New(socket string) *Client {
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableCompression: true,
	}}
	return c
}

// Close ends the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// dial connects to the socket, and only to a daemon of our own or root's:
// another user's program at that place must not be told what to deploy.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNoDaemon
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, &api.Error{Kind: api.KindDenied, Message: "the daemon at " + c.socket + " belongs to another user", Remedy: "use a home of your own (--home)"}
	}
	if err != nil {
		return nil, err
	}
	uid, err := peer(conn.(*net.UnixConn))
	if err == nil && uid != 0 && int(uid) != os.Geteuid() {
		err = &api.Error{Kind: api.KindDenied, Message: fmt.Sprintf("the program at %s belongs to uid %d", c.socket, uid), Remedy: "use a home of your own (--home)"}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// peer returns the uid of the process at the other end.
func peer(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, sockErr); err != nil {
		return 0, fmt.Errorf("who listens at %s: %w", conn.RemoteAddr(), err)
	}
	return cred.Uid, nil
}

// Plan asks what would have to be done.
func (c *Client) Plan(ctx context.Context, r api.PlanRequest) (*api.Plan, error) {
	return call[*api.Plan](ctx, c, http.MethodPost, "/v1/plans", r)
}

// Apply begins to carry out a plan.
func (c *Client) Apply(ctx context.Context, system, plan string) (*api.Deployment, error) {
	return call[*api.Deployment](ctx, c, http.MethodPost, at(system)+"/deployment", map[string]string{"plan": plan})
}

// Deployment returns the newest accepted plan of a system.
func (c *Client) Deployment(ctx context.Context, system string) (*api.Deployment, error) {
	return call[*api.Deployment](ctx, c, http.MethodGet, at(system)+"/deployment", nil)
}

// MissingBlobs returns those of the digests that have to be uploaded.
func (c *Client) MissingBlobs(ctx context.Context, digests []string) ([]string, error) {
	a, err := call[*api.BlobAnswer](ctx, c, http.MethodPost, "/v1/blobs/missing", api.BlobQuery{Digests: digests})
	if err != nil {
		return nil, err
	}
	return a.Missing, nil
}

// PutBlob uploads the content of r, which must have this digest.
func (c *Client) PutBlob(ctx context.Context, digest string, r io.Reader) error {
	req, err := c.request(ctx, http.MethodPut, "/v1/blobs/"+url.PathEscape(digest), io.NopCloser(r))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Systems lists the systems.
func (c *Client) Systems(ctx context.Context) ([]api.System, error) {
	return call[[]api.System](ctx, c, http.MethodGet, "/v1/systems", nil)
}

// Status returns what a system looks like now.
func (c *Client) Status(ctx context.Context, system string) (*api.Status, error) {
	return call[*api.Status](ctx, c, http.MethodGet, at(system), nil)
}

// Get reads one value of a system. What is held by a machine that does not
// answer is an error of kind unavailable, unless cached asks for the value
// known last.
func (c *Client) Get(ctx context.Context, system, path string, cached bool) (*api.Value, error) {
	query := url.Values{"path": {path}}
	if cached {
		query.Set("cached", "true")
	}
	return call[*api.Value](ctx, c, http.MethodGet, at(system)+"/value?"+query.Encode(), nil)
}

// Machines lists the created machines.
func (c *Client) Machines(ctx context.Context) ([]api.Machine, error) {
	return call[[]api.Machine](ctx, c, http.MethodGet, "/v1/machines", nil)
}

// Endpoints lists where a system's services answer.
func (c *Client) Endpoints(ctx context.Context, system string) ([]api.Endpoint, error) {
	return call[[]api.Endpoint](ctx, c, http.MethodGet, at(system)+"/endpoints", nil)
}

// Daemon says what the daemon is.
func (c *Client) Daemon(ctx context.Context) (*api.DaemonStatus, error) {
	return call[*api.DaemonStatus](ctx, c, http.MethodGet, "/v1/daemon", nil)
}

// StopDaemon makes the daemon end; machines go on.
func (c *Client) StopDaemon(ctx context.Context) (*api.StopResult, error) {
	return call[*api.StopResult](ctx, c, http.MethodPost, "/v1/daemon/stop", nil)
}

// Doctor looks for what is wrong on the daemon's host, and repairs it.
func (c *Client) Doctor(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error) {
	return call[*api.DoctorReport](ctx, c, http.MethodPost, "/v1/doctor", r)
}

func at(system string) string { return "/v1/systems/" + url.PathEscape(system) }

// call sends in as JSON, unless it is nil, and reads a JSON answer.
func call[O any](ctx context.Context, c *Client, method, path string, in any) (out O, err error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return out, fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(text)
	}
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return out, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("answer to %s %s: %w", method, path, err)
	}
	return out, nil
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, method, "http://daemon"+path, body)
}

// do sends req and turns an answer that is an error into one.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unwrapURL(err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var p api.Problem
	if json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&p) != nil || p.Type == "" {
		return nil, fmt.Errorf("%s %s: the daemon answered %s", req.Method, req.URL.Path, resp.Status)
	}
	return nil, p.Err()
}

// unwrapURL takes off what net/http adds to errors: a method and an address
// that mean nothing on a Unix socket.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return &api.Error{Kind: api.KindUnavailable, Message: "the daemon ended before it answered", Remedy: "try again"}
	}
	return err
}

// Socket returns the path of the socket the client was made for.
func (c *Client) Socket() string { return c.socket }
