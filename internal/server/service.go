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

	// Doctor looks for what is wrong on this host and, asked to, repairs it.
	Doctor(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error)
}
