package daemon

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"aloft/api"
	"aloft/internal/server"
)

// limited is the Service API of a daemon that does not manage: a host's, one
// that joins, and one that was removed. It answers about the daemon alone.
type limited struct {
	status func() *api.DaemonStatus
	doctor func(context.Context, api.DoctorRequest) (*api.DoctorReport, error)
	end    func()

	managers func() []string // where managers are, host:port; nil: it is not known
}

// server returns what answers at the socket of such a daemon: no change, before
// anything else is looked at, so that a caller who knows managers asks them.
func (l limited) server(log *slog.Logger) *server.Server {
	return server.New(server.Config{Service: l, Writable: func(context.Context) error { return l.not() }, Log: log})
}

// Daemon says what this daemon is.
func (l limited) Daemon(context.Context) (*api.DaemonStatus, error) { return l.status(), nil }

// StopDaemon makes the daemon end soon; machines go on.
func (l limited) StopDaemon(context.Context) (*api.StopResult, error) {
	l.end()
	return &api.StopResult{PID: os.Getpid(), Machines: l.status().Machines}, nil
}

// Doctor looks for what is wrong on this host.
func (l limited) Doctor(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error) {
	if l.doctor == nil {
		return nil, l.not()
	}
	return l.doctor(ctx, r)
}

// not is the error of everything that only managers answer.
func (l limited) not() error {
	e := &api.Error{Kind: api.KindUnavailable, Remedy: "use the command line of a manager's home, or, here, a context: aloft user add there, aloft context add here"}
	switch st := l.status(); st.State {
	case api.DaemonJoining:
		e.Message, e.Remedy = "this daemon is joining the cluster still", "ask again once it has: aloft daemon status"
	case api.DaemonRemoved:
		e.Message, e.Remedy = "this daemon was removed from its cluster", "aloft cluster leave makes its home fit to join again"
	case api.DaemonRefused:
		e.Message, e.Remedy = "the cluster has not let this daemon in: "+st.Reason, "aloft cluster leave makes its home fit to join again"
	default:
		e.RetryAfter = time.Second // of a manager: who knows them asks them
		e.Message = "this daemon is a host, and manages nothing"
		if l.managers != nil {
			if at := l.managers(); len(at) > 0 {
				e.Message += "; managers are at " + strings.Join(at, ", ")
			}
		}
	}
	return e
}

func (l limited) Plan(context.Context, api.PlanRequest) (*api.Plan, error) { return nil, l.not() }

func (l limited) Apply(context.Context, string, string) (*api.Deployment, error) {
	return nil, l.not()
}

func (l limited) Deployment(context.Context, string) (*api.Deployment, error) { return nil, l.not() }

func (l limited) Revisions(context.Context, string) ([]api.Revision, error) { return nil, l.not() }

func (l limited) Written(context.Context, string, int64) (*api.Written, error) { return nil, l.not() }

func (l limited) MissingBlobs(context.Context, []string) ([]string, error) { return nil, l.not() }

func (l limited) PutBlob(context.Context, string, io.Reader) error { return l.not() }

func (l limited) Systems(context.Context) ([]api.System, error) { return nil, l.not() }

func (l limited) Status(context.Context, string) (*api.Status, error) { return nil, l.not() }

func (l limited) Get(context.Context, string, string, bool) (*api.Value, error) { return nil, l.not() }

func (l limited) Machines(context.Context) ([]api.Machine, error) { return nil, l.not() }

func (l limited) Endpoints(context.Context, string) ([]api.Endpoint, error) { return nil, l.not() }

func (l limited) Events(context.Context, api.EventQuery) (iter.Seq2[api.Event, error], error) {
	return nil, l.not()
}

func (l limited) Logs(context.Context, api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
	return nil, l.not()
}

func (l limited) Exec(context.Context, string, api.ExecRequest, api.ExecStreams) (int, error) {
	return 0, l.not()
}

func (l limited) Users(context.Context) ([]api.User, error) { return nil, l.not() }

func (l limited) RemoveUser(context.Context, string) (*api.User, error) { return nil, l.not() }

func (l limited) Secrets(context.Context) ([]api.Secret, error) { return nil, l.not() }

func (l limited) SetSecret(context.Context, string, []byte) (*api.Secret, error) {
	return nil, l.not()
}

func (l limited) RemoveSecret(context.Context, string) (*api.Secret, error) { return nil, l.not() }

func (l limited) Ping(context.Context, string, string) (*api.Ping, error) { return nil, l.not() }

func (l limited) Why(context.Context, string, string) (*api.Why, error) { return nil, l.not() }

func (l limited) AddUser(context.Context, api.UserRequest) (*api.Credential, error) {
	return nil, l.not()
}

func (l limited) RenewUser(context.Context, api.RenewRequest) (*api.Credential, error) {
	return nil, l.not()
}

func (l limited) Cluster(context.Context) (*api.Cluster, error) { return nil, l.not() }

// Issuer is no host's.
func (l limited) Issuer(context.Context) (*api.Issuer, error) { return nil, l.not() }

func (l limited) NewToken(context.Context, api.TokenRequest) (*api.JoinToken, error) {
	return nil, l.not()
}

func (l limited) Promote(context.Context, string) (*api.MemberChange, error) { return nil, l.not() }

func (l limited) Demote(context.Context, string) (*api.MemberChange, error) { return nil, l.not() }

func (l limited) RemoveMember(context.Context, string, bool) (*api.MemberChange, error) {
	return nil, l.not()
}

func (l limited) Backup(context.Context, io.Writer) error { return l.not() }

// progress is how far a daemon that does not serve yet is.
type progress struct {
	mu            sync.Mutex
	state, reason string // guarded by mu
}

func (p *progress) tell(state, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.reason = state, reason
}

func (p *progress) told() (state, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.reason
}
