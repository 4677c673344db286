package peer

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

// standing is what a caller is to this node.
type standing uint8

const (
	asManager    standing = 1 << iota // of this cluster
	asMachine                         // of this cluster
	asExpired                         // a machine of this cluster whose certificate expired
	asUnenrolled                      // nobody yet
)

// rights says who may call what. A method without a row is called by nobody
// and its service cannot be registered.
var rights = map[string]standing{
	peerpb.Enrolment_Enrol_FullMethodName: asUnenrolled,
	peerpb.Enrolment_Renew_FullMethodName: asMachine | asExpired,

	// A manager runs parts as well and reports to their owner.
	peerpb.Owner_Report_FullMethodName: asMachine | asManager,
	peerpb.Owner_Fetch_FullMethodName:  asMachine | asManager,
	peerpb.Owner_Read_FullMethodName:   asMachine | asManager,

	peerpb.Machine_Deliver_FullMethodName:   asManager,
	peerpb.Machine_Tell_FullMethodName:      asManager,
	peerpb.Machine_Interrupt_FullMethodName: asManager,
	peerpb.Machine_Inspect_FullMethodName:   asManager,
	peerpb.Machine_Logs_FullMethodName:      asManager,
	peerpb.Machine_Exec_FullMethodName:      asManager,
}

func methodsOf(desc *grpc.ServiceDesc) (names []string) {
	for _, m := range desc.Methods {
		names = append(names, "/"+desc.ServiceName+"/"+m.MethodName)
	}
	for _, s := range desc.Streams {
		names = append(names, "/"+desc.ServiceName+"/"+s.StreamName)
	}
	return names
}

// standing judges the other end of a link anew at every call, since
// certificates expire while sessions last.
func (l *link) standing() standing {
	switch {
	case l.remote == Peer{}:
		return asUnenrolled
	case l.remote.Cluster != l.local.Cluster:
		return 0 // another cluster's members are told apart, and may call nothing yet
	case l.self:
	case time.Now().After(l.expires):
		if l.remote.Kind == Machine {
			return asExpired
		}
		return 0
	}
	switch l.remote.Kind {
	case Manager:
		return asManager
	case Machine:
		return asMachine
	}
	return 0
}

// admit refuses a call that the other end of the link has no right to, and
// otherwise makes its name known to the handler.
func (l *link) admit(ctx context.Context, method string) (context.Context, error) {
	as := l.standing()
	switch {
	case rights[method]&as != 0:
		return context.WithValue(ctx, callerKey{}, l.remote), nil
	case l.remote != Peer{} && !l.self && time.Now().After(l.expires):
		return nil, status.Errorf(codes.Unauthenticated, "%s may not call %s: its certificate expired at %s and has to be renewed first",
			l.remote, method, l.expires.Format(time.RFC3339))
	}
	return nil, status.Errorf(codes.PermissionDenied, "%s may not call %s", l.remote, method)
}

type callerKey struct{}

// Caller returns who calls, in the context of a handler; the zero Peer for a
// machine that is not enrolled.
func Caller(ctx context.Context) Peer {
	p, _ := ctx.Value(callerKey{}).(Peer)
	return p
}

// admitted is a server stream whose context names the caller.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (a *admitted) Context() context.Context { return a.ctx }
