package server

import (
	"encoding/json"
	"net/http"
	"strings"

	"aloft/api"
)

// Limits of request bodies in bytes.
const (
	small   = 64 << 10 // names, options
	maxExec = 2 << 20  // as the kernel bounds a command line
	maxPlan = 64 << 20 // the wire form of a description with some ten thousand components
	maxBlob = 4 << 30  // content that is shipped
)

// route says who may call an operation, and how its requests are treated.
type route struct {
	role api.Role // the least that may call it
	body int64    // the largest body in bytes; 0: it has none

	// change is an operation that has an effect: it is refused while this daemon
	// cannot write, may carry Idempotency-Key and If-Match, and is audited.
	change bool
	// audited is an operation that is told of like a change, though it changes
	// nothing that is kept here.
	audited bool
	// stream is an operation that answers as it goes, or takes its body so.
	stream bool
	// here is an operation about this very daemon: it is answered even where
	// nothing can be written.
	here bool
	// machine is an operation that a machine answers as well, for what it holds.
	machine bool
	// system returns whose owner has to answer, "" for any manager. Nil: any.
	system func(r *http.Request, body []byte) string
}

// routes is who may call what: one row for each operation, by its pattern. An
// operation without a row answers nobody.
var routes = map[string]route{
	"GET /healthz":      {role: api.RoleViewer, machine: true},
	"GET /readyz":       {role: api.RoleViewer},
	"GET /metrics":      {role: api.RoleViewer},
	"GET /openapi.json": {role: api.RoleViewer},

	"GET /v1/systems":                     {role: api.RoleViewer, machine: true},
	"GET /v1/systems/{system}":            {role: api.RoleViewer, machine: true, system: inPath},
	"GET /v1/systems/{system}/value":      {role: api.RoleViewer, system: inPath},
	"GET /v1/systems/{system}/endpoints":  {role: api.RoleViewer, system: inPath},
	"GET /v1/systems/{system}/deployment": {role: api.RoleViewer, system: inPath},
	"GET /v1/systems/{system}/revisions":  {role: api.RoleViewer, system: inPath},
	"GET /v1/systems/{system}/logs":       {role: api.RoleViewer, machine: true, stream: true, system: inPath},
	"GET /v1/systems/{system}/why":        {role: api.RoleViewer, system: inPath},
	"GET /v1/systems/{system}/ping":       {role: api.RoleViewer, system: inPath},
	"GET /v1/events":                      {role: api.RoleViewer, stream: true, system: inQuery},
	"GET /v1/machines":                    {role: api.RoleViewer},
	"GET /v1/daemon":                      {role: api.RoleViewer},

	"GET /v1/cluster":                           {role: api.RoleViewer},
	"GET /v1/cluster/issuer":                    {role: api.RoleViewer},
	"POST /v1/cluster/tokens":                   {role: api.RoleOperator, body: small, change: true},
	"POST /v1/cluster/members/{member}/promote": {role: api.RoleOperator, change: true},
	"POST /v1/cluster/members/{member}/demote":  {role: api.RoleOperator, change: true},
	"DELETE /v1/cluster/members/{member}":       {role: api.RoleOperator, change: true},

	// What it answers has the cluster's keys in it.
	"GET /v1/backup": {role: api.RoleOperator, stream: true, audited: true},

	"GET /v1/users":           {role: api.RoleViewer},
	"POST /v1/users":          {role: api.RoleOperator, body: small, change: true},
	"DELETE /v1/users/{user}": {role: api.RoleOperator, change: true},
	"POST /v1/renewal":        {role: api.RoleViewer, body: small, change: true}, // of the caller's own

	"GET /v1/secrets":           {role: api.RoleViewer},
	"PUT /v1/secrets/{name}":    {role: api.RoleOperator, body: 2 * small, change: true},
	"DELETE /v1/secrets/{name}": {role: api.RoleOperator, change: true},

	// A text may hold what a plan would not show.
	"GET /v1/systems/{system}/written": {role: api.RoleOperator, system: inPath},

	// A plan changes nothing, but asks providers, and costs what a change costs.
	"POST /v1/plans":                       {role: api.RoleOperator, body: maxPlan, system: inPlan},
	"POST /v1/systems/{system}/deployment": {role: api.RoleOperator, body: small, change: true, system: inPath},
	"POST /v1/blobs/missing":               {role: api.RoleOperator, body: maxPlan},
	"PUT /v1/blobs/{digest}":               {role: api.RoleOperator, body: maxBlob, change: true, stream: true},
	"POST /v1/exec":                        {role: api.RoleOperator, machine: true, body: maxExec, stream: true, audited: true, system: ofMachine},
	"POST /v1/daemon/stop":                 {role: api.RoleOperator, change: true, here: true},
	"POST /v1/doctor":                      {role: api.RoleOperator, body: small, change: true, here: true},
}

func inPath(r *http.Request, _ []byte) string  { return r.PathValue("system") }
func inQuery(r *http.Request, _ []byte) string { return r.URL.Query().Get("system") }

// ofMachine reads the system out of a machine's name, SYSTEM/PATH.
func ofMachine(r *http.Request, _ []byte) string {
	system, _, _ := strings.Cut(r.URL.Query().Get("machine"), "/")
	return system
}

// inPlan reads the system out of a plan request. What makes no sense is for
// whoever takes the request to refuse.
func inPlan(_ *http.Request, body []byte) string {
	var p struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(body, &p)
	return p.Name
}
