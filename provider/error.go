package provider

import (
	"errors"
	"fmt"
	"time"
)

// ErrorKind is the closed set of kinds callers branch on. It survives the wire.
type ErrorKind string

// The kinds of a module's errors. Everything else is simply an error.
const (
	NotFound     ErrorKind = "not found"
	Conflict     ErrorKind = "conflict"
	Quota        ErrorKind = "quota"
	Capacity     ErrorKind = "capacity"
	Denied       ErrorKind = "denied"
	Invalid      ErrorKind = "invalid"
	NotSupported ErrorKind = "not supported"
	Transient    ErrorKind = "transient"
)

// Error is a module's error with what its caller can act on.
type Error struct {
	Kind       ErrorKind
	Provider   string
	Op         string        // "create", "get" …
	RetryAfter time.Duration // 0: the caller's own pause
	// MayHaveHappened is set when the answer was lost: the effect may exist,
	// and must be looked for by its token before it is asked for again.
	MayHaveHappened bool
	Remedy          string // what a person can do, or ""
	Err             error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s: %s", e.Provider, e.Op, e.Kind)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's chain, or "".
func KindOf(err error) ErrorKind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// MayHaveHappened reports whether the effect of the failed call may exist.
func MayHaveHappened(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.MayHaveHappened
}
