package server

import (
	"encoding/json"
	"net/http"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
)

// health registers what is asked by those who watch daemons, and the document
// that describes all the others.
func (s *Server) health(mux guarded) {
	plain := func(status, what string) map[string]*huma.Response {
		return map[string]*huma.Response{status: {Description: what, Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	}
	add := func(id, path, summary string, answers map[string]*huma.Response, f http.HandlerFunc) {
		s.api.OpenAPI().AddOperation(&huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Responses: answers})
		mux.HandleFunc("GET "+path, f)
	}
	add("healthz", "/healthz", "Whether the process lives", plain("200", "it does"), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	ready := plain("200", "changes are taken")
	ready["503"] = &huma.Response{Description: "only reads are answered; the detail says why", Content: map[string]*huma.MediaType{api.ProblemType: {}}}
	add("readyz", "/readyz", "Whether this daemon takes changes", ready, func(w http.ResponseWriter, r *http.Request) {
		if err := s.cfg.writable(r.Context()); err != nil {
			s.fail(w, err)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	add("metrics", "/metrics", "What a Prometheus server collects", plain("200", "the text format of Prometheus"), func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Metrics == nil {
			s.nowhere(w, r)
			return
		}
		s.cfg.Metrics.ServeHTTP(w, r)
	})
	add("openapi", "/openapi.json", "This document", map[string]*huma.Response{
		"200": {Description: "OpenAPI 3.1", Content: map[string]*huma.MediaType{"application/json": {}}},
	}, func(w http.ResponseWriter, _ *http.Request) {
		text, err := json.Marshal(s.api.OpenAPI())
		if err != nil {
			s.fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	})
}
