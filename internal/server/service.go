package server

import (
	"context"
	"io"
	"iter"

	"aloft/api"
)

// Service is what a managing daemon does for its callers; the server puts it
// on the wire and adds nothing. Errors that callers should act on are (or
// wrap) *api.Error; any other is shown as a mistake of ours. Methods may be
// called concurrently and return soon after ctx is cancelled.
type Service interface {
	// Plan compares the request with what exists. KindInvalid carries the
	// diagnostics; KindConflict means that another revision is under way. When
	// an equal one is, the plan under way comes back with Attached set.
	Plan(ctx context.Context, r api.PlanRequest) (*api.Plan, error)

	// Apply begins to carry out a plan and returns without waiting for its
	// end. Again for the plan under way it returns that. KindStale means that
	// the plan's base has changed, or the daemon does not know the plan any
	// more.
	Apply(ctx context.Context, system, plan string) (*api.Deployment, error)

	// Deployment returns the newest plan that was accepted for a system. After
	// a completed termination it is still known for as long as somebody may
	// want to read how it ended.
	Deployment(ctx context.Context, system string) (*api.Deployment, error)

	// Revisions lists the revisions of a system that are remembered, the oldest
	// first, failed ones included.
	Revisions(ctx context.Context, system string) ([]api.Revision, error)

	// Written returns the text that a revision was made from; 0: the present
	// one. KindNotFound also means that it was given without.
	Written(ctx context.Context, system string, revision int64) (*api.Written, error)

	// MissingBlobs returns those of the digests whose content is not here.
	MissingBlobs(ctx context.Context, digests []string) ([]string, error)

	// PutBlob keeps the content of r, which must have this digest
	// ("sha256:…").
	PutBlob(ctx context.Context, digest string, r io.Reader) error

	// Systems lists the systems by name.
	Systems(ctx context.Context) ([]api.System, error)

	// Status returns what a system looks like now.
	Status(ctx context.Context, system string) (*api.Status, error)

	// Get reads an attribute, an output or a component at path, as
	// "web:software:nginx:port"; ROOT is the top. Late references are read. What
	// is held by a machine that does not answer is unavailable within 10 s,
	// unless cached asks for the value known last.
	Get(ctx context.Context, system, path string, cached bool) (*api.Value, error)

	// Machines lists the created machines by name.
	Machines(ctx context.Context) ([]api.Machine, error)

	// Endpoints lists where a system's services answer, in definition order.
	Endpoints(ctx context.Context, system string) ([]api.Endpoint, error)

	// Events returns the events that q chooses, oldest first. The sequence
	// ends when they do; with q.Follow only with ctx or an error.
	Events(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error)

	// Logs returns the output of components likewise.
	Logs(ctx context.Context, q api.LogQuery) (iter.Seq2[api.LogLine, error], error)

	// Exec runs a command on a machine (by name SYSTEM/PATH) and returns its
	// exit status; one ended by signal n has 128+n. Cancelling ctx ends it.
	Exec(ctx context.Context, machine string, r api.ExecRequest, s api.ExecStreams) (int, error)

	// Daemon says what this daemon is.
	Daemon(ctx context.Context) (*api.DaemonStatus, error)

	// StopDaemon makes the daemon end soon after this call has returned.
	// Machines go on.
	StopDaemon(ctx context.Context) (*api.StopResult, error)

	// Cluster lists the members of the cluster by name.
	Cluster(ctx context.Context) (*api.Cluster, error)

	// Issuer returns the certificate of the issuer of services. KindNotFound means
	// that no service has asked for a certificate yet.
	Issuer(ctx context.Context) (*api.Issuer, error)

	// NewToken makes a token with which one daemon may join the cluster.
	NewToken(ctx context.Context, r api.TokenRequest) (*api.JoinToken, error)

	// Promote makes a host a manager and returns when its store votes.
	Promote(ctx context.Context, member string) (*api.MemberChange, error)

	// Demote makes a manager a host. KindConflict means that the managers that
	// remain would be no majority.
	Demote(ctx context.Context, member string) (*api.MemberChange, error)

	// RemoveMember removes a member for good, running or not. KindConflict as
	// for Demote, or that there are machines on it; with force these are lost.
	RemoveMember(ctx context.Context, member string, force bool) (*api.MemberChange, error)

	// Why tells what made the component at path what it is now.
	Why(ctx context.Context, system, path string) (*api.Why, error)

	// Ping asks the component at path, and those below it, whether they still are
	// what their last operation has made of them, within 12 s. A machine that
	// does not answer is named.
	Ping(ctx context.Context, system, path string) (*api.Ping, error)

	// Secrets lists the secrets by name, without their contents.
	Secrets(ctx context.Context) ([]api.Secret, error)

	// SetSecret gives a secret its content, which systems that refer to it take
	// over when they are planned next.
	SetSecret(ctx context.Context, name string, content []byte) (*api.Secret, error)

	// RemoveSecret removes a secret. KindConflict means that systems refer to
	// it.
	RemoveSecret(ctx context.Context, name string) (*api.Secret, error)

	// Backup writes what a home is restored from.
	Backup(ctx context.Context, w io.Writer) error

	// Doctor looks for what is wrong on this host and, asked to, repairs it.
	Doctor(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error)

	// Users lists who may call over the network, by name.
	Users(ctx context.Context) ([]api.User, error)

	// AddUser gives a user a certificate and a role.
	AddUser(ctx context.Context, r api.UserRequest) (*api.Credential, error)

	// RenewUser gives the caller a new certificate, while the one it came with
	// is valid.
	RenewUser(ctx context.Context, r api.RenewRequest) (*api.Credential, error)

	// RemoveUser refuses a user from now on.
	RemoveUser(ctx context.Context, name string) (*api.User, error)
}
