package server

import (
	"encoding/json"
	"net/http"

	"aloft/api"
)

// problem is an api.Problem as huma wants its errors.
type problem struct{ api.Problem }

func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) ContentType(string) string { return api.ProblemType }

// problem returns err for the wire and logs it if it is a mistake of ours.
func (h *handlers) problem(err error) *problem {
	p := api.ProblemOf(err)
	if p.Type == api.KindInternal {
		h.log.Error("request failed", "error", err)
	}
	return &problem{*p}
}

// fail answers with err, where huma does not.
func (h *handlers) fail(w http.ResponseWriter, err error) {
	p := h.problem(err)
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.Problem) // the caller is gone if this fails
}
