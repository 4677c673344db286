package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"aloft/api"
	"aloft/internal/server"
)

// fake is a daemon's service that plays what a file says: what is planned,
// which events follow an Apply, and how it ends. It is served on a real socket.
type fake struct {
	server.Service // Exec and the like that no script uses panic

	script
	played   server.Service // who is asked in its place, if anybody
	stop     func()         // ends the daemon
	followed chan struct{}  // closed when somebody follows the events

	mu sync.Mutex
	// under mu:
	requests []api.PlanRequest
	blobs    map[string]string
	applied  bool
	told     bool // all events have been sent
}

// script is the content of the file.
type script struct {
	Daemon      api.DaemonStatus      `json:"daemon"`
	Plan        api.Plan              `json:"plan"`
	Problem     *api.Problem          `json:"problem"` // of Plan
	Deployment  api.Deployment        `json:"deployment"`
	After       *api.Deployment       `json:"after"` // what took over when the events are told
	Events      []api.Event           `json:"events"`
	Cuts        int                   `json:"cuts"`    // how often who follows the events is cut behind the first
	Endless     bool                  `json:"endless"` // the deployment never ends
	Forgets     int                   `json:"forgets"` // how often the plan is not known when it is to begin
	Systems     []api.System          `json:"systems"`
	Status      map[string]api.Status `json:"status"`
	Values      map[string]string     `json:"values"`
	Silent      map[string]bool       `json:"silent"` // values on a machine that does not answer
	Machines    []api.Machine         `json:"machines"`
	Endpoints   []api.Endpoint        `json:"endpoints"`
	Logs        []api.LogLine         `json:"logs"`
	Reasons     map[string]api.Why    `json:"reasons"`
	Pings       map[string]api.Ping   `json:"pings"` // by path
	Doctor      api.DoctorReport      `json:"doctor"`
	ExecStatus  int                   `json:"execStatus"`
	ExecProblem *api.Problem          `json:"execProblem"`
}

func loadFake(file string) (*fake, error) {
	f := &fake{blobs: map[string]string{}, followed: make(chan struct{}), stop: func() {}}
	if file == "" {
		return f, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return f, json.Unmarshal(text, &f.script)
}

// serve runs the fake at socket until ctx ends or StopDaemon is called.
func (f *fake) serve(ctx context.Context, socket string) error {
	l, err := server.Listen(socket)
	if err != nil {
		return err
	}
	ctx, f.stop = context.WithCancel(ctx)
	if f.played == nil {
		f.played = f
	}
	return server.New(server.Config{Service: f.played, Log: slog.New(slog.DiscardHandler)}).ServeSocket(ctx, l)
}

func (f *fake) system(name string) (api.Status, error) {
	if st, ok := f.script.Status[name]; ok {
		return st, nil
	}
	e := &api.Error{Kind: api.KindNotFound, Message: "there is no system " + name}
	for n := range f.script.Status {
		e.Nearest = append(e.Nearest, n)
	}
	return api.Status{}, e
}

func (f *fake) Plan(_ context.Context, r api.PlanRequest) (*api.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r)
	if f.Problem != nil {
		return nil, f.Problem.Err()
	}
	p := f.script.Plan
	p.System, p.Down = r.Name, r.Down
	return &p, nil
}

func (f *fake) Apply(_ context.Context, system, plan string) (*api.Deployment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.script.Forgets > 0 {
		f.script.Forgets--
		return nil, &api.Error{Kind: api.KindStale, Message: "plan " + plan + " is not known here any more"}
	}
	if plan != f.script.Plan.ID {
		return nil, &api.Error{Kind: api.KindStale, Message: "unknown plan " + plan}
	}
	f.applied = true
	return f.deployment(system), nil
}

func (f *fake) deployment(system string) *api.Deployment {
	d := f.script.Deployment
	if f.told && f.After != nil {
		d = *f.After
	}
	d.System = system
	if !f.told || f.Endless {
		d.State, d.Failures = api.DeploymentRunning, nil
	}
	return &d
}

func (f *fake) Deployment(_ context.Context, system string) (*api.Deployment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.applied && !f.script.Plan.Attached {
		return nil, &api.Error{Kind: api.KindNotFound, Message: "nothing was ever deployed as " + system}
	}
	return f.deployment(system), nil
}

func (f *fake) Events(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
	after, _ := strconv.Atoi(q.After)
	return func(yield func(api.Event, error) bool) {
		if q.Follow {
			f.mu.Lock()
			select {
			case <-f.followed:
			default:
				close(f.followed)
			}
			f.mu.Unlock()
		}
		for i, e := range f.script.Events {
			if i < after {
				continue
			}
			e.Sequence, e.Cursor = int64(i+1), strconv.Itoa(i+1)
			if i == len(f.script.Events)-1 {
				f.mu.Lock()
				f.told = true
				f.mu.Unlock()
			}
			if !yield(e, nil) {
				return
			}
			f.mu.Lock()
			cut := q.Follow && f.script.Cuts > 0
			if cut {
				f.script.Cuts--
			}
			f.mu.Unlock()
			if cut {
				yield(api.Event{}, &api.Error{Kind: api.KindUnavailable, Message: "the stream was cut: more than 1 MiB of events waited to be read"})
				return
			}
		}
		if q.Follow {
			<-ctx.Done()
		}
	}, nil
}

func (f *fake) MissingBlobs(_ context.Context, digests []string) (missing []string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range digests {
		if _, ok := f.blobs[d]; !ok {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

func (f *fake) PutBlob(_ context.Context, digest string, r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if digest != "sha256:"+hex.EncodeToString(sum[:]) {
		return &api.Error{Kind: api.KindInvalid, Message: "content does not have digest " + digest}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[digest] = string(text)
	return nil
}

func (f *fake) Systems(context.Context) ([]api.System, error) { return f.script.Systems, nil }

func (f *fake) Status(_ context.Context, system string) (*api.Status, error) {
	st, err := f.system(system)
	return &st, err
}

func (f *fake) Get(_ context.Context, system, path string, cached bool) (*api.Value, error) {
	if f.Silent[path] && !cached {
		return nil, &api.Error{
			Kind: api.KindUnavailable, Message: "unavailable: machine " + system + "/web has not answered since 2026-01-02T03:04:05Z",
			Remedy: "the value known last: aloft get --cached " + system + " " + path,
		}
	}
	text, ok := f.Values[path]
	if !ok {
		return nil, &api.Error{Kind: api.KindNotFound, Message: system + " has no value " + path}
	}
	return &api.Value{System: system, Path: path, Value: json.RawMessage(text)}, nil
}

func (f *fake) Why(_ context.Context, system, path string) (*api.Why, error) {
	w, ok := f.Reasons[path]
	if !ok {
		return nil, &api.Error{Kind: api.KindNotFound, Message: "nothing is known of " + path}
	}
	w.System, w.Path = system, path
	return &w, nil
}

func (f *fake) Ping(_ context.Context, system, path string) (*api.Ping, error) {
	if _, err := f.system(system); err != nil {
		return nil, err
	}
	p, ok := f.Pings[path]
	if !ok {
		return nil, &api.Error{Kind: api.KindNotFound, Message: "system " + system + " has no component " + path, Remedy: "list the components with: aloft status " + system}
	}
	p.System, p.Path = system, path
	return &p, nil
}

func (f *fake) Machines(context.Context) ([]api.Machine, error) { return f.script.Machines, nil }

func (f *fake) Endpoints(_ context.Context, system string) ([]api.Endpoint, error) {
	_, err := f.system(system)
	return f.script.Endpoints, err
}

func (f *fake) Logs(_ context.Context, q api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
	if _, err := f.system(q.System); err != nil {
		return nil, err
	}
	return func(yield func(api.LogLine, error) bool) {
		for _, l := range f.script.Logs {
			if q.Path == "" || q.Path == l.Path {
				if !yield(l, nil) {
					return
				}
			}
		}
	}, nil
}

// Exec writes the machine and command to standard output, and standard input
// to standard error.
func (f *fake) Exec(_ context.Context, machine string, r api.ExecRequest, s api.ExecStreams) (int, error) {
	if f.ExecProblem != nil {
		return 0, f.ExecProblem.Err()
	}
	fmt.Fprintf(s.Stdout, "%s %q\n", machine, r.Command)
	if _, err := io.Copy(s.Stderr, s.Stdin); err != nil {
		return 0, err
	}
	return f.ExecStatus, nil
}

func (f *fake) Daemon(context.Context) (*api.DaemonStatus, error) {
	d := f.script.Daemon
	if d.PID == 0 {
		d.PID = os.Getpid()
	}
	return &d, nil
}

func (f *fake) StopDaemon(context.Context) (*api.StopResult, error) {
	// The answer has to leave before the daemon ends.
	time.AfterFunc(50*time.Millisecond, f.stop)
	st, err := f.Daemon(context.Background())
	return &api.StopResult{PID: st.PID, Machines: st.Machines}, err
}

func (f *fake) Doctor(_ context.Context, r api.DoctorRequest) (*api.DoctorReport, error) {
	rep := f.script.Doctor
	rep.LeftOver = append([]api.LeftOver(nil), rep.LeftOver...)
	for i := range rep.LeftOver {
		l := &rep.LeftOver[i]
		l.Removed = r.Fix && (l.Reason == "" || r.HomeID == l.HomeID)
	}
	return &rep, nil
}
