package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// maxPlan bounds a plan request: the wire form of a description with some ten
// thousand components. Shipped content goes by blobs.
const maxPlan = 64 << 20

// handlers turns requests into calls of the service.
type handlers struct {
	Service
	log *slog.Logger
}

// New returns the handler of every operation of s. Mistakes of ours go to log;
// what the caller can act on is answered and not logged.
func New(s Service, log *slog.Logger) http.Handler {
	mux, _ := build(s, log)
	return mux
}

// OpenAPI returns the OpenAPI 3.1 document of the Service API in JSON.
func OpenAPI() ([]byte, error) {
	_, a := build(nil, slog.New(slog.DiscardHandler))
	return a.OpenAPI().MarshalJSON()
}

func build(s Service, log *slog.Logger) (http.Handler, huma.API) {
	ownProblems()
	cfg := huma.DefaultConfig("aloft", api.Version)
	cfg.CreateHooks = nil // no $schema members in answers
	cfg.DocsPath = ""     // the built-in page would load scripts from elsewhere
	cfg.SchemasPath = ""
	cfg.OpenAPIPath = "/" + api.Version + "/openapi"
	mux := http.NewServeMux()
	a := humago.New(mux, cfg)
	h := &handlers{Service: s, log: log}
	h.plans(a)
	h.reads(a)
	h.daemon(a)
	h.blobs(mux, a)
	h.streams(a)
	h.exec(mux, a)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, &api.Error{
			Kind:    api.KindNotFound,
			Message: "the daemon has no operation " + r.Method + " " + r.URL.Path,
			Remedy:  "command line and daemon may be of different versions: compare 'aloft version' and 'aloft daemon status'",
		})
	})
	return mux, a
}

// reply is an answer with a JSON body.
type reply[T any] struct{ Body T }

// body is a request with a JSON body.
type body[T any] struct{ Body T }

// bySystem is a request that names a system.
type bySystem struct {
	System string `path:"system" doc:"name of the system"`
}

// register adds one operation whose answer is what call returns.
func register[I, O any](h *handlers, a huma.API, op huma.Operation, call func(context.Context, *I) (O, error)) {
	// huma would leave its deadline on the connection, and net/http then cancels
	// a call that takes longer. Callers are local and of our own user.
	op.BodyReadTimeout = -1
	huma.Register(a, op, func(ctx context.Context, in *I) (*reply[O], error) {
		out, err := call(ctx, in)
		if err != nil {
			return nil, h.problem(err)
		}
		return &reply[O]{Body: out}, nil
	})
}

func (h *handlers) plans(a huma.API) {
	register(h, a, huma.Operation{
		OperationID: "plan", Method: http.MethodPost, Path: "/v1/plans", MaxBodyBytes: maxPlan,
		Summary: "Say what would have to be done", Errors: []int{409, 422, 503},
	}, func(ctx context.Context, in *body[api.PlanRequest]) (*api.Plan, error) {
		return h.Plan(ctx, in.Body)
	})
	type apply struct {
		System string `path:"system"`
		Body   struct {
			Plan string `json:"plan" doc:"id of the plan"`
		}
	}
	register(h, a, huma.Operation{
		OperationID: "apply", Method: http.MethodPost, Path: "/v1/systems/{system}/deployment",
		Summary: "Begin to carry out a plan", Errors: []int{404, 409},
	}, func(ctx context.Context, in *apply) (*api.Deployment, error) {
		return h.Apply(ctx, in.System, in.Body.Plan)
	})
	register(h, a, huma.Operation{
		OperationID: "deployment", Method: http.MethodGet, Path: "/v1/systems/{system}/deployment",
		Summary: "The newest accepted plan of a system", Errors: []int{404},
	}, func(ctx context.Context, in *bySystem) (*api.Deployment, error) {
		return h.Deployment(ctx, in.System)
	})
}

func (h *handlers) reads(a huma.API) {
	type none struct{}
	register(h, a, huma.Operation{
		OperationID: "systems", Method: http.MethodGet, Path: "/v1/systems", Summary: "List the systems",
	}, func(ctx context.Context, _ *none) ([]api.System, error) {
		return present(h.Systems(ctx))
	})
	register(h, a, huma.Operation{
		OperationID: "status", Method: http.MethodGet, Path: "/v1/systems/{system}",
		Summary: "What a system looks like now", Errors: []int{404},
	}, func(ctx context.Context, in *bySystem) (*api.Status, error) {
		return h.Status(ctx, in.System)
	})
	type get struct {
		System string `path:"system"`
		Path   string `query:"path" doc:"the value's path; absent: the top"`
		Cached bool   `query:"cached" doc:"the value known last, where the machine that holds it does not answer"`
	}
	register(h, a, huma.Operation{
		OperationID: "value", Method: http.MethodGet, Path: "/v1/systems/{system}/value",
		Summary: "Read one value of a system", Errors: []int{404, 503},
	}, func(ctx context.Context, in *get) (*api.Value, error) {
		return h.Get(ctx, in.System, in.Path, in.Cached)
	})
	register(h, a, huma.Operation{
		OperationID: "endpoints", Method: http.MethodGet, Path: "/v1/systems/{system}/endpoints",
		Summary: "List where a system's services answer", Errors: []int{404},
	}, func(ctx context.Context, in *bySystem) ([]api.Endpoint, error) {
		return present(h.Endpoints(ctx, in.System))
	})
	register(h, a, huma.Operation{
		OperationID: "machines", Method: http.MethodGet, Path: "/v1/machines", Summary: "List the created machines",
	}, func(ctx context.Context, _ *none) ([]api.Machine, error) {
		return present(h.Machines(ctx))
	})
}

func (h *handlers) daemon(a huma.API) {
	type none struct{}
	register(h, a, huma.Operation{
		OperationID: "daemon", Method: http.MethodGet, Path: "/v1/daemon", Summary: "What this daemon is",
	}, func(ctx context.Context, _ *none) (*api.DaemonStatus, error) {
		return h.Daemon(ctx)
	})
	register(h, a, huma.Operation{
		OperationID: "stopDaemon", Method: http.MethodPost, Path: "/v1/daemon/stop",
		Summary: "End this daemon; machines go on",
	}, func(ctx context.Context, _ *none) (*api.StopResult, error) {
		return h.StopDaemon(ctx)
	})
	register(h, a, huma.Operation{
		OperationID: "doctor", Method: http.MethodPost, Path: "/v1/doctor",
		Summary: "Look for what is wrong on this host, and repair it when asked",
	}, func(ctx context.Context, in *body[api.DoctorRequest]) (*api.DoctorReport, error) {
		return h.Doctor(ctx, in.Body)
	})
}

// blobs registers the content operations. The upload is not huma's: that would
// hold all of the content in memory.
func (h *handlers) blobs(mux *http.ServeMux, a huma.API) {
	register(h, a, huma.Operation{
		OperationID: "missingBlobs", Method: http.MethodPost, Path: "/v1/blobs/missing",
		Summary: "Say which contents have to be uploaded", MaxBodyBytes: maxPlan,
	}, func(ctx context.Context, in *body[api.BlobQuery]) (*api.BlobAnswer, error) {
		missing, err := present(h.MissingBlobs(ctx, in.Body.Digests))
		return &api.BlobAnswer{Missing: missing}, err
	})
	a.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "putBlob", Method: http.MethodPut, Path: "/v1/blobs/{digest}",
		Summary:    "Upload content",
		Parameters: []*huma.Param{{Name: "digest", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}},
		Responses: map[string]*huma.Response{"204": {Description: "the content is here"}},
	})
	mux.HandleFunc("PUT /v1/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		if err := h.PutBlob(r.Context(), r.PathValue("digest"), r.Body); err != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
			h.fail(w, err)
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

// ownProblems makes huma write what it finds itself (a malformed body, say) in
// our form. The library has one variable for the whole process.
var ownProblems = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		p := problem{*api.ProblemOf(&api.Error{Kind: api.KindInvalid, Message: msg})}
		if status >= 500 {
			p = problem{*api.ProblemOf(&api.Error{Kind: api.KindInternal, Message: msg})}
		}
		for _, err := range errs {
			d := api.Diagnostic{Severity: "error", Message: err.Error()}
			if e, ok := err.(huma.ErrorDetailer); ok {
				d.Message, d.Attribute = e.ErrorDetail().Message, e.ErrorDetail().Location
			}
			p.Diagnostics = append(p.Diagnostics, d)
		}
		if status != 0 {
			p.Status = status
			p.Title = http.StatusText(status)
		}
		return &p
	}
})
