package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"time"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// streams registers the operations answered by server-sent events. Each
// message that can be gone on from has the item's cursor as its id. A stream that has come to its end
// says so with the event "end", one that broke with "error" and a problem;
// without either the connection was cut, and the caller goes on by its cursor,
// given as "after" or, as browsers do, in the header Last-Event-ID.
func (s *Server) streams() {
	type events struct {
		System string `query:"system"`
		Path   string `query:"path"`
		Plan   string `query:"plan"`
		After  string `query:"after" doc:"cursor of the last event seen"`
		Follow bool   `query:"follow"`
		Limit  int    `query:"limit" minimum:"0" doc:"without follow: end after so many; the event end then has the cursor to go on from; 0: all"`
		Last   string `header:"Last-Event-ID" doc:"cursor of the last event seen; it wins over after"`
	}
	huma.Register(s.api, streamOperation[api.Event](s.api, huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/events", Summary: "What happened, and happens",
	}), func(ctx context.Context, in *events) (*huma.StreamResponse, error) {
		q := api.EventQuery{System: in.System, Path: in.Path, Plan: in.Plan, After: in.After, Follow: in.Follow}
		if in.Last != "" {
			q.After = in.Last
		}
		past := q
		past.Follow = false
		past.EveryCursor = in.Limit > 0 && !in.Follow
		seq, err := s.cfg.Service.Events(ctx, past)
		if err != nil {
			return nil, s.problem(err)
		}
		if q.Follow {
			return s.watchers(q, seq), nil
		}
		return stream(s, seq, in.Limit, func(e api.Event) string { return e.Cursor }), nil
	})
	type logs struct {
		System string    `path:"system"`
		Path   string    `query:"path"`
		Lines  int       `query:"lines" minimum:"0" doc:"at most so many lines of the past per component; 0: all"`
		Since  time.Time `query:"since" doc:"no lines from before"`
		After  string    `query:"after" doc:"cursor of the last line seen"`
		Follow bool      `query:"follow"`
		Limit  int       `query:"limit" minimum:"0" doc:"end after so many; 0: never"`
		Last   string    `header:"Last-Event-ID" doc:"cursor of the last line seen; it wins over after"`
	}
	huma.Register(s.api, streamOperation[api.LogLine](s.api, huma.Operation{
		OperationID: "logs", Method: http.MethodGet, Path: "/v1/systems/{system}/logs",
		Summary: "What components write", Errors: []int{404},
	}), func(ctx context.Context, in *logs) (*huma.StreamResponse, error) {
		q := api.LogQuery{System: in.System, Path: in.Path, Lines: in.Lines, Since: in.Since, After: in.After, Follow: in.Follow}
		if in.Last != "" {
			q.After = in.Last
		}
		seq, err := s.cfg.Service.Logs(ctx, q)
		if err != nil {
			return nil, s.problem(err)
		}
		return stream(s, seq, in.Limit, func(l api.LogLine) string { return l.Cursor }), nil
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

// begin starts a stream. The first flush tells the caller that it stands,
// before anything has happened. A failing write means that the caller left.
func begin(w http.ResponseWriter) (*http.ResponseController, error) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return out, out.Flush()
}

// stream answers with the items of seq, as fast as the caller takes them, at
// most limit of them unless it is 0.
func stream[T any](s *Server, seq iter.Seq2[T, error], limit int, cursor func(T) string) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		out, err := begin(w)
		if err != nil {
			return
		}
		end := struct {
			Next string `json:"next,omitempty"`
		}{}
		sent := 0
		for item, err := range seq {
			if ctx.Context().Err() != nil {
				return
			}
			_ = out.SetWriteDeadline(time.Now().Add(answerTime))
			if err != nil {
				_ = message(w, "error", "", s.problem(err).Problem)
				return
			}
			at := cursor(item)
			if message(w, "", at, item) != nil || out.Flush() != nil {
				return
			}
			if sent++; sent == limit {
				end.Next = at
				break
			}
		}
		if ctx.Context().Err() == nil {
			_ = message(w, "end", "", end)
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

// encoded is message as bytes.
func encoded(event, id string, data any) []byte {
	var b bytes.Buffer
	if err := message(&b, event, id, data); err != nil {
		panic(err) // the types of the API always have a form
	}
	return b.Bytes()
}
