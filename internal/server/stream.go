package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// streams registers the operations answered by server-sent events. Each
// message has the item's cursor as its id. A stream that has come to its end
// says so with the event "end", one that broke with "error" and a problem;
// without either the connection was cut, and the caller goes on by its cursor.
func (h *handlers) streams(a huma.API) {
	type events struct {
		System string `query:"system"`
		Path   string `query:"path"`
		Plan   string `query:"plan"`
		After  string `query:"after" doc:"cursor of the last event seen"`
		Follow bool   `query:"follow"`
	}
	huma.Register(a, streamOperation[api.Event](a, huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/events", Summary: "What happened, and happens",
	}), func(ctx context.Context, in *events) (*huma.StreamResponse, error) {
		seq, err := h.Events(ctx, api.EventQuery(*in))
		if err != nil {
			return nil, h.problem(err)
		}
		return stream(h, seq, func(e api.Event) string { return e.Cursor }), nil
	})
	type logs struct {
		System string `path:"system"`
		Path   string `query:"path"`
		Lines  int    `query:"lines" minimum:"0" doc:"at most so many lines of the past per component; 0: all"`
		After  string `query:"after" doc:"cursor of the last line seen"`
		Follow bool   `query:"follow"`
	}
	huma.Register(a, streamOperation[api.LogLine](a, huma.Operation{
		OperationID: "logs", Method: http.MethodGet, Path: "/v1/systems/{system}/logs",
		Summary: "What components write", Errors: []int{404},
	}), func(ctx context.Context, in *logs) (*huma.StreamResponse, error) {
		seq, err := h.Logs(ctx, api.LogQuery{
			System: in.System, Path: in.Path, Lines: in.Lines, After: in.After, Follow: in.Follow,
		})
		if err != nil {
			return nil, h.problem(err)
		}
		return stream(h, seq, func(l api.LogLine) string { return l.Cursor }), nil
	})
}

// streamOperation documents that op answers with a stream of T.
func streamOperation[T any](a huma.API, op huma.Operation) huma.Operation {
	schema := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "server-sent events; the data of each is one item",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}}
	return op
}

func stream[T any](h *handlers, seq iter.Seq2[T, error], cursor func(T) string) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		out := http.NewResponseController(w)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
		// The first flush tells the caller that the stream stands, before
		// anything has happened. A failing write means that the caller left.
		if out.Flush() != nil {
			return
		}
		for item, err := range seq {
			if ctx.Context().Err() != nil {
				return
			}
			if err != nil {
				_ = message(w, "error", "", h.problem(err).Problem)
				return
			}
			if message(w, "", cursor(item), item) != nil || out.Flush() != nil {
				return
			}
		}
		if ctx.Context().Err() == nil {
			_ = message(w, "end", "", struct{}{})
		}
	}}
}

// message writes one server-sent event. JSON has no line ends, so one data
// line is enough.
func message(w io.Writer, event, id string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if event != "" {
		event = "event: " + event + "\n"
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	_, err = fmt.Fprintf(w, "%s%sdata: %s\n\n", event, id, text)
	return err
}
