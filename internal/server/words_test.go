package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"aloft/api"
)

// What the library that parses requests refuses is told in our words: what is
// wrong, where, and what to do.
func TestWhatIsWrongWithARequestIsSaid(t *testing.T) {
	s := New(Config{Service: &stub{machine: []api.Machine{}}, Log: discard()})
	const deploy = "/v1/systems/s/deployment"
	for _, c := range []struct{ method, target, body, where, what string }{
		{"POST", "/v1/plans", `{"name"`, "body", "it is no JSON"},
		{"POST", "/v1/plans", ``, "", "wants a body, and none came"},
		{"POST", "/v1/plans", `[]`, "body", "want an object"},
		{"POST", "/v1/plans", `{"name":7}`, "body.name", "want a text"},
		{"POST", deploy, `{}`, "body.plan", "it is missing"},
		{"POST", deploy, `{"plan":"p","extra":1}`, "body.extra", "nothing of this name belongs here"},
		{"GET", "/v1/machines?limit=x", "", "query.limit", `want a whole number, found "x"`},
		{"GET", "/v1/machines?limit=-1", "", "query.limit", "want at least 0, found -1"},
		{"GET", "/v1/systems/s/value?cached=maybe", "", "query.cached", "want true or false"},
		{"POST", "/v1/cluster/tokens", `{"role":"king","ttl":9}`, "body.role", "want one of manage, host"},
		{"POST", "/v1/cluster/tokens", `{"role":"host","ttl":0}`, "body.ttl", "want at least 1"},
		{"POST", "/v1/users", `{"name":"A!","role":"viewer","request":""}`, "body.name", "want a text, of the form"},
	} {
		w := s.ask(t, c.method, c.target, c.body, http.Header{})
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatalf("%s %s: %v: %s", c.method, c.target, err, w.Body)
		}
		if p.Type != api.KindInvalid || p.Remedy == "" || !strings.Contains(p.Detail, c.what) || !strings.Contains(p.Detail, c.where) {
			t.Errorf("%s %s %s: %s", c.method, c.target, c.body, w.Body)
		}
		if c.where != "" && (len(p.Diagnostics) == 0 || p.Diagnostics[0].Attribute != c.where || !strings.Contains(p.Diagnostics[0].Message, c.what)) {
			t.Errorf("%s %s %s: %s", c.method, c.target, c.body, w.Body)
		}
		for _, theirs := range []string{"validation failed", "expected string", "property"} {
			if strings.Contains(p.Detail, theirs) {
				t.Errorf("%s %s %s: the library's words: %s", c.method, c.target, c.body, p.Detail)
			}
		}
	}
}
