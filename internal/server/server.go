package server

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Config is what a Server is made of.
type Config struct {
	Service Service
	Log     *slog.Logger

	// Identify says whose certificate chain came over the network, or refuses
	// it: users of this cluster have roles, everybody else is a stranger. Nil:
	// nobody may come over the network.
	Identify func(chain []*x509.Certificate) (api.Caller, error)
	// Changed returns a channel that is closed when Identify may say something
	// else of a chain than before, because a user was removed; nil: that is
	// not told, and open streams go on.
	Changed func() <-chan struct{}
	// Machine is set in the daemon of a machine: of all operations it answers
	// those that the table of routes says, for what the machine holds.
	Machine bool
	// Writable says why no change can be taken now, in words and with a time to
	// come again; nil: changes are taken. It is asked for each change.
	Writable func(ctx context.Context) error
	// Rows is the shared store; nil: Idempotency-Key and If-Match are refused.
	Rows Rows
	// Owners leads to other managers; nil: there is none.
	Owners Owners
	// Metrics answers GET /metrics; nil: there are none.
	Metrics http.Handler
	// Audit is told of every change that was asked for; may be nil.
	Audit func(ctx context.Context, c Change)
}

// Change is a change that somebody asked for.
type Change struct {
	Caller    api.Caller
	Operation string // as "POST /v1/systems/shop/deployment"
	System    string // "" where it is about none
	Plan      string // that was begun by it; "" where none was
	Err       error  // why it was refused; nil: it was accepted
}

func (c *Config) writable(ctx context.Context) error {
	if c.Writable == nil {
		return nil
	}
	return c.Writable(ctx)
}

// Server answers the Service API. It is made by New, and answers on each
// listener that it is given.
type Server struct {
	cfg      Config
	owner    uint32 // uid that the Unix socket is for, beside root
	mux      *http.ServeMux
	api      huma.API
	callers  callers
	watch    broadcast
	standing standing
	tunnels  *http.Transport
}

// New returns a server. It answers nobody yet.
func New(cfg Config) *Server {
	ownProblems()
	form := huma.DefaultConfig("aloft", api.Version)
	form.CreateHooks = nil // no $schema members in answers
	form.DocsPath = ""     // the built-in page would load scripts from elsewhere
	form.SchemasPath = ""
	form.OpenAPIPath = ""
	s := &Server{
		cfg: cfg, owner: uint32(os.Geteuid()), mux: http.NewServeMux(),
		callers: callers{rate: defaultRate, burst: defaultBurst, streams: defaultStreams, known: map[string]*allowance{}},
	}
	s.tunnels = s.newTunnels()
	mux := guarded{s.mux, s}
	s.api = humago.New(mux, form)
	s.plans()
	s.reads()
	s.daemon()
	s.cluster()
	s.users()
	s.secrets()
	s.backup(mux)
	s.blobs(mux)
	s.streams()
	s.exec(mux)
	s.health(mux)
	s.mux.HandleFunc("/", s.nowhere)
	return s
}

// OpenAPI returns the OpenAPI 3.1 document of the Service API in JSON.
func OpenAPI() ([]byte, error) {
	return New(Config{Log: slog.New(slog.DiscardHandler)}).api.OpenAPI().MarshalJSON()
}

// audit tells of a change that was asked for. What was run on a machine is not
// told, only where: command lines hold what nobody else is to see.
func (s *Server) audit(r *http.Request, row route, caller api.Caller, plan string, err error) {
	if s.cfg.Audit == nil || !row.change && !row.audited && !(err != nil && row.role == api.RoleOperator) {
		return
	}
	c := Change{Caller: caller, Operation: r.Method + " " + r.URL.Path, System: r.PathValue("system"), Plan: plan, Err: err}
	if machine := r.URL.Query().Get("machine"); row.audited && machine != "" {
		c.Operation += " on " + machine
		c.System = ofMachine(r, nil)
	}
	s.cfg.Audit(r.Context(), c)
}

// reply is an answer with a JSON body.
type reply[T any] struct{ Body T }

// paged is an answer of which there may be more.
type paged[T any] struct {
	Link string `header:"Link" doc:"the next page, rel=next"`
	Body T
}

// body is a request with a JSON body.
type body[T any] struct{ Body T }

// bySystem is a request that names a system.
type bySystem struct {
	System string `path:"system" doc:"name of the system"`
}

// register adds one operation whose answer is what call returns.
func register[I, O any](s *Server, op huma.Operation, call func(context.Context, *I) (O, error)) {
	add(s, op, func(ctx context.Context, in *I) (*reply[O], error) {
		out, err := call(ctx, in)
		return &reply[O]{Body: out}, err
	})
}

// add adds one operation.
func add[I, O any](s *Server, op huma.Operation, call func(context.Context, *I) (*O, error)) {
	// The body has been read, and is bounded by its row. Huma's own deadline would
	// stay on the connection, and net/http then cancel a call that takes longer.
	op.BodyReadTimeout = -1
	op.MaxBodyBytes = max(routes[op.Method+" "+op.Path].body, 1)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := call(ctx, in)
		if err != nil {
			return nil, s.problem(err)
		}
		return out, nil
	})
}

func (s *Server) plans() {
	register(s, huma.Operation{
		OperationID: "plan", Method: http.MethodPost, Path: "/v1/plans",
		Summary: "Say what would have to be done", Errors: []int{409, 422, 503},
	}, func(ctx context.Context, in *body[api.PlanRequest]) (*api.Plan, error) {
		return s.cfg.Service.Plan(ctx, in.Body)
	})
	type apply struct {
		System string `path:"system"`
		Body   struct {
			Plan string `json:"plan" doc:"id of the plan"`
		}
	}
	register(s, huma.Operation{
		OperationID: "apply", Method: http.MethodPost, Path: "/v1/systems/{system}/deployment",
		Summary: "Begin to carry out a plan", Errors: []int{404, 409},
	}, func(ctx context.Context, in *apply) (*api.Deployment, error) {
		return s.cfg.Service.Apply(ctx, in.System, in.Body.Plan)
	})
	register(s, huma.Operation{
		OperationID: "deployment", Method: http.MethodGet, Path: "/v1/systems/{system}/deployment",
		Summary: "The newest accepted plan of a system", Errors: []int{404},
	}, func(ctx context.Context, in *bySystem) (*api.Deployment, error) {
		return s.cfg.Service.Deployment(ctx, in.System)
	})
	register(s, huma.Operation{
		OperationID: "revisions", Method: http.MethodGet, Path: "/v1/systems/{system}/revisions",
		Summary: "List the revisions of a system, the oldest first", Errors: []int{404},
	}, func(ctx context.Context, in *bySystem) ([]api.Revision, error) {
		return present(s.cfg.Service.Revisions(ctx, in.System))
	})
	type written struct {
		System   string `path:"system"`
		Revision int64  `query:"revision" minimum:"0" doc:"absent: the present one"`
	}
	register(s, huma.Operation{
		OperationID: "written", Method: http.MethodGet, Path: "/v1/systems/{system}/written",
		Summary: "The text that a revision was made from", Errors: []int{404},
	}, func(ctx context.Context, in *written) (*api.Written, error) {
		return s.cfg.Service.Written(ctx, in.System, in.Revision)
	})
}

func (s *Server) reads() {
	add(s, huma.Operation{
		OperationID: "systems", Method: http.MethodGet, Path: "/v1/systems", Summary: "List the systems",
	}, func(ctx context.Context, in *page) (*paged[[]api.System], error) {
		list, err := present(s.cfg.Service.Systems(ctx))
		if err != nil {
			return nil, err
		}
		list, next, err := cut(list, *in, true, func(s api.System) string { return s.Name })
		return &paged[[]api.System]{in.next("/v1/systems", next), list}, err
	})
	type status struct {
		System string `path:"system" doc:"name of the system"`
		Limit  int    `query:"limit" minimum:"0" maximum:"10000" doc:"at most so many components; the header Link then leads to the next ones; 0: all"`
		Cursor string `query:"cursor" maxLength:"2000" doc:"where the page before ended, as its Link says"`
	}
	add(s, huma.Operation{
		OperationID: "status", Method: http.MethodGet, Path: "/v1/systems/{system}",
		Summary: "What a system looks like now", Description: "A page is of its components.", Errors: []int{404},
	}, func(ctx context.Context, in *status) (*paged[*api.Status], error) {
		st, err := s.cfg.Service.Status(ctx, in.System)
		if err != nil {
			return nil, err
		}
		p := page{in.Limit, in.Cursor}
		list, next, err := cut(st.Components, p, false, func(c api.Component) string { return c.Path })
		part := *st
		part.Components = list
		return &paged[*api.Status]{p.next("/v1/systems/"+url.PathEscape(in.System), next), &part}, err
	})
	type get struct {
		System string `path:"system"`
		Path   string `query:"path" doc:"the value's path; absent: the top"`
		Cached bool   `query:"cached" doc:"the value known last, where the machine that holds it does not answer"`
	}
	register(s, huma.Operation{
		OperationID: "value", Method: http.MethodGet, Path: "/v1/systems/{system}/value",
		Summary: "Read one value of a system", Errors: []int{404, 503},
	}, func(ctx context.Context, in *get) (*api.Value, error) {
		return s.cfg.Service.Get(ctx, in.System, in.Path, in.Cached)
	})
	register(s, huma.Operation{
		OperationID: "endpoints", Method: http.MethodGet, Path: "/v1/systems/{system}/endpoints",
		Summary: "List where a system's services answer", Errors: []int{404},
	}, func(ctx context.Context, in *bySystem) ([]api.Endpoint, error) {
		return present(s.cfg.Service.Endpoints(ctx, in.System))
	})
	type component struct {
		System string `path:"system"`
		Path   string `query:"path" doc:"the component's path; absent: the top"`
	}
	register(s, huma.Operation{
		OperationID: "why", Method: http.MethodGet, Path: "/v1/systems/{system}/why",
		Summary: "What made a component what it is now", Errors: []int{404},
	}, func(ctx context.Context, in *component) (*api.Why, error) {
		return s.cfg.Service.Why(ctx, in.System, in.Path)
	})
	register(s, huma.Operation{
		OperationID: "ping", Method: http.MethodGet, Path: "/v1/systems/{system}/ping",
		Summary: "Ask components whether they still are what was made of them", Errors: []int{404},
	}, func(ctx context.Context, in *component) (*api.Ping, error) {
		return s.cfg.Service.Ping(ctx, in.System, in.Path)
	})
	add(s, huma.Operation{
		OperationID: "machines", Method: http.MethodGet, Path: "/v1/machines", Summary: "List the created machines",
	}, func(ctx context.Context, in *page) (*paged[[]api.Machine], error) {
		list, err := present(s.cfg.Service.Machines(ctx))
		if err != nil {
			return nil, err
		}
		list, next, err := cut(list, *in, true, func(m api.Machine) string { return m.Name })
		return &paged[[]api.Machine]{in.next("/v1/machines", next), list}, err
	})
}

func (s *Server) daemon() {
	type none struct{}
	register(s, huma.Operation{
		OperationID: "daemon", Method: http.MethodGet, Path: "/v1/daemon", Summary: "What this daemon is",
	}, func(ctx context.Context, _ *none) (*api.DaemonStatus, error) {
		return s.cfg.Service.Daemon(ctx)
	})
	register(s, huma.Operation{
		OperationID: "stopDaemon", Method: http.MethodPost, Path: "/v1/daemon/stop",
		Summary: "End this daemon; machines go on",
	}, func(ctx context.Context, _ *none) (*api.StopResult, error) {
		return s.cfg.Service.StopDaemon(ctx)
	})
	register(s, huma.Operation{
		OperationID: "doctor", Method: http.MethodPost, Path: "/v1/doctor",
		Summary: "Look for what is wrong on this host, and repair it when asked",
	}, func(ctx context.Context, in *body[api.DoctorRequest]) (*api.DoctorReport, error) {
		return s.cfg.Service.Doctor(ctx, in.Body)
	})
}

// blobs registers the content operations. The upload is not huma's: that would
// hold all of the content in memory.
func (s *Server) blobs(mux guarded) {
	register(s, huma.Operation{
		OperationID: "missingBlobs", Method: http.MethodPost, Path: "/v1/blobs/missing",
		Summary: "Say which contents have to be uploaded",
	}, func(ctx context.Context, in *body[api.BlobQuery]) (*api.BlobAnswer, error) {
		missing, err := present(s.cfg.Service.MissingBlobs(ctx, in.Body.Digests))
		return &api.BlobAnswer{Missing: missing}, err
	})
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "putBlob", Method: http.MethodPut, Path: "/v1/blobs/{digest}",
		Summary:    "Upload content",
		Parameters: []*huma.Param{{Name: "digest", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}},
		Responses: map[string]*huma.Response{"204": {Description: "the content is here"}},
	})
	mux.HandleFunc("PUT /v1/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		if err := s.cfg.Service.PutBlob(r.Context(), r.PathValue("digest"), r.Body); err != nil {
			var over *http.MaxBytesError
			if errors.As(err, &over) || errors.Is(err, os.ErrDeadlineExceeded) {
				err = badBody(err, maxBlob)
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
			s.fail(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// present makes an empty list of an absent one, which JSON would show as null.
func present[T any](list []T, err error) ([]T, error) {
	if list == nil {
		list = []T{}
	}
	return list, err
}
