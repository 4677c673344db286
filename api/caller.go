package api

import "context"

// Role is what somebody may do through the Service API.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"   // may read
	RoleOperator Role = "operator" // may change, and see what reading alone must not: run commands, make users
)

// Allows reports whether a caller with role r may do what needs role need.
// Every other role than the two allows nothing.
func (r Role) Allows(need Role) bool {
	switch r {
	case RoleOperator:
		return need == RoleOperator || need == RoleViewer
	case RoleViewer:
		return need == RoleViewer
	default:
		return false
	}
}

// Caller is who sent a request.
type Caller struct {
	Name string // a user's name, or "uid:N" for a process at the Unix socket
	Role Role
}

type callerKey struct{}

// WithCaller returns a ctx for what is done on behalf of c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns on whose behalf ctx is; the zero Caller, who may nothing, if
// it is on nobody's.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
