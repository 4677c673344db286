// Package client is the Go client of the Service API: every operation of a
// managing daemon, over its Unix socket or, with a certificate, over the
// network, where it goes from one manager to the next until one answers. It
// decides nothing, keeps no state but idle connections, and starts no daemon. Calls start only goroutines that
// end with the call.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	"aloft/api"

	"golang.org/x/sys/unix"
)

// ErrEnded is of a daemon that ended, perhaps to begin anew, before it answered:
// what it was asked for may be done or not.
var ErrEnded error = &api.Error{Kind: api.KindUnavailable, Message: "the daemon ended before it answered", Remedy: "try again"}

// ErrNoDaemon is in the chain of the errors of calls that found nobody
// answering at the socket.
var ErrNoDaemon = errors.New("no daemon is running")

// Client calls one daemon, or whichever of several answers. It may be used by
// several goroutines.
type Client struct {
	socket string
	ways   endpoints
	http   *http.Client
}

// New returns a client of the daemon that listens on the Unix socket. It does
// not connect yet.
func New(socket string) *Client {
	c := &Client{socket: socket}
	c.ways.socket(c.dial)
	c.http = &http.Client{Transport: &c.ways}
	return c
}

// NewCluster returns a client of a cluster's managers: of the one at the Unix
// socket, unless that is "", as long as it answers, else of the others.
func NewCluster(socket string, a *Access) (*Client, error) {
	cfg, err := a.tlsConfig()
	if err != nil {
		return nil, err
	}
	c := &Client{socket: socket}
	if socket != "" {
		c.ways.socket(c.dial)
	}
	for _, address := range a.Managers {
		c.ways.manager(address, cfg)
	}
	if len(c.ways.list) == 0 {
		return nil, fmt.Errorf("cluster %s: no manager is known", a.Cluster)
	}
	c.http = &http.Client{Transport: &c.ways}
	return c, nil
}

// Close ends the idle connections.
func (c *Client) Close() { c.ways.close() }

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

// Revisions lists the revisions of a system, the oldest first.
func (c *Client) Revisions(ctx context.Context, system string) ([]api.Revision, error) {
	return call[[]api.Revision](ctx, c, http.MethodGet, at(system)+"/revisions", nil)
}

// Written returns the text that a revision of a system was made from; 0: the
// present one.
func (c *Client) Written(ctx context.Context, system string, revision int64) (*api.Written, error) {
	return call[*api.Written](ctx, c, http.MethodGet, at(system)+"/written?revision="+strconv.FormatInt(revision, 10), nil)
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
	if s, ok := r.(io.Seeker); ok {
		req.GetBody = func() (io.ReadCloser, error) {
			_, err := s.Seek(0, io.SeekStart)
			return io.NopCloser(r), err
		}
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Backup writes what a home is restored from.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	req, err := c.request(ctx, http.MethodGet, "/v1/backup", nil)
	if err != nil {
		return err
	}
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("receive the backup: %w", err)
	}
	return nil
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

// Why tells what made the component at path what it is now.
func (c *Client) Why(ctx context.Context, system, path string) (*api.Why, error) {
	return call[*api.Why](ctx, c, http.MethodGet, at(system)+"/why?"+url.Values{"path": {path}}.Encode(), nil)
}

// Ping asks the component at path, and those below it, whether they answer.
func (c *Client) Ping(ctx context.Context, system, path string) (*api.Ping, error) {
	return call[*api.Ping](ctx, c, http.MethodGet, at(system)+"/ping?"+url.Values{"path": {path}}.Encode(), nil)
}

// Secrets lists the secrets, without their contents.
func (c *Client) Secrets(ctx context.Context) ([]api.Secret, error) {
	return call[[]api.Secret](ctx, c, http.MethodGet, "/v1/secrets", nil)
}

// SetSecret gives a secret its content.
func (c *Client) SetSecret(ctx context.Context, name string, content []byte) (*api.Secret, error) {
	return call[*api.Secret](ctx, c, http.MethodPut, "/v1/secrets/"+url.PathEscape(name), api.SecretContent{Content: content})
}

// RemoveSecret removes a secret that no system refers to.
func (c *Client) RemoveSecret(ctx context.Context, name string) (*api.Secret, error) {
	return call[*api.Secret](ctx, c, http.MethodDelete, "/v1/secrets/"+url.PathEscape(name), nil)
}

// Daemon says what the daemon is.
func (c *Client) Daemon(ctx context.Context) (*api.DaemonStatus, error) {
	return call[*api.DaemonStatus](ctx, c, http.MethodGet, "/v1/daemon", nil)
}

// StopDaemon makes the daemon end; machines go on.
func (c *Client) StopDaemon(ctx context.Context) (*api.StopResult, error) {
	return call[*api.StopResult](ctx, c, http.MethodPost, "/v1/daemon/stop", nil)
}

// Cluster lists the members of the cluster.
func (c *Client) Cluster(ctx context.Context) (*api.Cluster, error) {
	return call[*api.Cluster](ctx, c, http.MethodGet, "/v1/cluster", nil)
}

// Issuer returns the certificate of the issuer of services.
func (c *Client) Issuer(ctx context.Context) (*api.Issuer, error) {
	return call[*api.Issuer](ctx, c, http.MethodGet, "/v1/cluster/issuer", nil)
}

// NewToken makes a token with which a daemon may join the cluster.
func (c *Client) NewToken(ctx context.Context, r api.TokenRequest) (*api.JoinToken, error) {
	return call[*api.JoinToken](ctx, c, http.MethodPost, "/v1/cluster/tokens", r)
}

// Promote makes a host a manager, and returns when its store votes.
func (c *Client) Promote(ctx context.Context, member string) (*api.MemberChange, error) {
	return call[*api.MemberChange](ctx, c, http.MethodPost, ofMember(member)+"/promote", nil)
}

// Demote makes a manager a host.
func (c *Client) Demote(ctx context.Context, member string) (*api.MemberChange, error) {
	return call[*api.MemberChange](ctx, c, http.MethodPost, ofMember(member)+"/demote", nil)
}

// RemoveMember removes a member for good. Without force, a host that machines
// are made on is not removed.
func (c *Client) RemoveMember(ctx context.Context, member string, force bool) (*api.MemberChange, error) {
	path := ofMember(member)
	if force {
		path += "?force=true"
	}
	return call[*api.MemberChange](ctx, c, http.MethodDelete, path, nil)
}

func ofMember(member string) string { return "/v1/cluster/members/" + url.PathEscape(member) }

// Doctor looks for what is wrong on the daemon's host, and repairs it.
func (c *Client) Doctor(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error) {
	return call[*api.DoctorReport](ctx, c, http.MethodPost, "/v1/doctor", r)
}

// Users lists who may call over the network.
func (c *Client) Users(ctx context.Context) ([]api.User, error) {
	return call[[]api.User](ctx, c, http.MethodGet, "/v1/users", nil)
}

// AddUser gives a user a certificate and a role.
func (c *Client) AddUser(ctx context.Context, r api.UserRequest) (*api.Credential, error) {
	return call[*api.Credential](ctx, c, http.MethodPost, "/v1/users", r)
}

// RenewUser gives the caller a new certificate.
func (c *Client) RenewUser(ctx context.Context, r api.RenewRequest) (*api.Credential, error) {
	return call[*api.Credential](ctx, c, http.MethodPost, "/v1/renewal", r)
}

// RemoveUser refuses a user from now on.
func (c *Client) RemoveUser(ctx context.Context, name string) (*api.User, error) {
	return call[*api.User](ctx, c, http.MethodDelete, "/v1/users/"+url.PathEscape(name), nil)
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
	r, err := http.NewRequestWithContext(ctx, method, "http://daemon"+path, body)
	if err == nil && method != http.MethodGet && len(c.ways.list) > 1 {
		r.Header.Set("Idempotency-Key", rand.Text()) // it may be sent to one manager after the other
	}
	return r, err
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
	e := problem(resp.Body)
	if e == nil {
		return nil, fmt.Errorf("%s %s: the daemon answered %s", req.Method, req.URL.Path, resp.Status)
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 && n < 1e6 {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	return nil, e
}

// problem reads the body of a refusal: problem+json of at most 16 MiB. Nil: it
// is none.
func problem(body io.Reader) *api.Error {
	var p api.Problem
	if json.NewDecoder(io.LimitReader(body, 16<<20)).Decode(&p) != nil || p.Type == "" {
		return nil
	}
	return p.Err()
}

// unwrapURL takes off what net/http adds to errors: a method and an address
// that mean nothing on a Unix socket.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("%w: %w", ErrNoDaemon, err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return ErrEnded
	}
	return err
}

// Socket returns the path of the socket the client was made for, "" if none.
func (c *Client) Socket() string { return c.socket }
