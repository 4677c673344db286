package api

import (
	"errors"
	"net/http"
	"time"
)

// Kind is what is wrong with a request, in a word that never changes: callers
// branch on it, and it is the "type" of the problem document on the wire.
type Kind string

// The kinds of errors.
const (
	KindInvalid     Kind = "invalid"     // the request or description is wrong; Diagnostics say where
	KindNotFound    Kind = "not-found"   // no such system, component, machine; Nearest has names close to it
	KindConflict    Kind = "conflict"    // something else is under way; Revision and Since say what
	KindStale       Kind = "stale"       // the plan read what has changed since; plan again
	KindUnavailable Kind = "unavailable" // a daemon or machine cannot be reached just now
	KindDenied      Kind = "denied"      // the caller may not
	KindTooLarge    Kind = "too-large"   // the request is larger than may be; nothing was done
	KindTooMany     Kind = "too-many"    // the caller asks too often, or has too many streams; RetryAfter says when to go on
	KindChanged     Kind = "changed"     // what the request's If-Match names is not what is there now
	KindInternal    Kind = "internal"    // a mistake of ours
)

// Error is an error of the Service API. A Service returns it, the server
// writes it as a problem document (RFC 9457), the client reads it back.
type Error struct {
	Kind    Kind
	Message string // what is wrong and where, one line, lower case
	Remedy  string // what to do, one line, or ""

	Nearest     []string     // of KindNotFound: names the caller may have meant
	Revision    int64        // of KindConflict: the revision under way
	Since       time.Time    // of KindConflict: when it began
	Diagnostics []Diagnostic // of KindInvalid: everything found in the description

	// RetryAfter is when to try again, of KindUnavailable and KindTooMany; 0:
	// nobody knows. On the wire it is the header Retry-After, in seconds.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Message
	}
	return e.Message + "; " + e.Remedy
}

// Is makes errors.Is(err, &Error{Kind: k}) true for every error of kind k.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Message == ""
}

// KindOf returns the kind of the Error in err's chain: KindInternal if there
// is none, "" if err is nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Diagnostic is one thing found wrong with a description while planning, in
// the form of the language's own diagnostics.
type Diagnostic struct {
	Severity  string   `json:"severity" enum:"error,warning,note"`
	Code      string   `json:"code,omitempty" example:"PLN101"`
	File      string   `json:"file,omitempty"`
	Line      int      `json:"line,omitempty"`   // from 1; 0 unknown
	Column    int      `json:"column,omitempty"` // from 1, in characters
	Path      string   `json:"path,omitempty"`   // the component
	Attribute string   `json:"attribute,omitempty"`
	Message   string   `json:"message"`
	Expected  string   `json:"expected,omitempty"`
	Found     string   `json:"found,omitempty"`
	Hints     []string `json:"hints,omitempty"`
}

// Problem is the wire form of an Error: a problem document of RFC 9457.
type Problem struct {
	Type        Kind         `json:"type" enum:"invalid,not-found,conflict,stale,unavailable,denied,too-large,too-many,changed,internal"`
	Title       string       `json:"title"`
	Status      int          `json:"status"`
	Detail      string       `json:"detail"`
	Remedy      string       `json:"remedy,omitempty"`
	Nearest     []string     `json:"nearest,omitempty"`
	Revision    int64        `json:"revision,omitempty"`
	Since       *time.Time   `json:"since,omitempty"`
	Diagnostics []Diagnostic `json:"diagnostics,omitempty"`
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// ProblemOf returns err as it goes over the wire. An error that is no Error
// becomes one of KindInternal.
func ProblemOf(err error) *Problem {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Kind: KindInternal, Message: err.Error()}
	}
	status := e.Kind.status()
	p := &Problem{
		Type:        e.Kind,
		Title:       http.StatusText(status),
		Status:      status,
		Detail:      e.Message,
		Remedy:      e.Remedy,
		Nearest:     e.Nearest,
		Revision:    e.Revision,
		Diagnostics: e.Diagnostics,
	}
	if !e.Since.IsZero() {
		p.Since = &e.Since
	}
	return p
}

// Err returns the Error that p stands for.
func (p *Problem) Err() *Error {
	e := &Error{
		Kind:        p.Type,
		Message:     p.Detail,
		Remedy:      p.Remedy,
		Nearest:     p.Nearest,
		Revision:    p.Revision,
		Diagnostics: p.Diagnostics,
	}
	if p.Since != nil {
		e.Since = *p.Since
	}
	return e
}

func (k Kind) status() int {
	switch k {
	case KindInvalid:
		return http.StatusUnprocessableEntity
	case KindNotFound:
		return http.StatusNotFound
	case KindConflict, KindStale:
		return http.StatusConflict
	case KindUnavailable:
		return http.StatusServiceUnavailable
	case KindDenied:
		return http.StatusForbidden
	case KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case KindTooMany:
		return http.StatusTooManyRequests
	case KindChanged:
		return http.StatusPreconditionFailed
	default:
		return http.StatusInternalServerError
	}
}
