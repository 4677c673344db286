package peer

import (
	"context"
	"fmt"
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
	asSelf                            // this very node, for a user who came to it
)

// rights says who may call what. A method without a row is called by nobody
// and its service cannot be registered.
var rights = map[string]standing{
	peerpb.Enrolment_Enrol_FullMethodName: asUnenrolled,
	peerpb.Enrolment_Renew_FullMethodName: asMachine | asExpired,

	// A manager runs parts as well and reports to their owner.
	peerpb.Owner_Report_FullMethodName: asMachine | asManager,
	peerpb.Owner_Hold_FullMethodName:   asMachine | asManager,
	peerpb.Owner_Fetch_FullMethodName:  asMachine | asManager,
	peerpb.Owner_Read_FullMethodName:   asMachine | asManager,
	peerpb.Owner_Secret_FullMethodName: asMachine | asManager,
	// For which component, and which names, control looks.
	peerpb.Owner_Certify_FullMethodName: asMachine | asManager,
	peerpb.Owner_Keep_FullMethodName:    asManager,
	peerpb.Owner_Held_FullMethodName:    asManager,

	peerpb.Owner_Reached_FullMethodName: asManager,

	peerpb.Observation_Follow_FullMethodName: asManager,

	peerpb.Membership_Update_FullMethodName: asManager,

	// Who may enter, admit and retire is a member of the role host: the handlers
	// look. Fate tells of one id alone, to who knows it.
	peerpb.Cluster_Join_FullMethodName:    asUnenrolled,
	peerpb.Cluster_Attach_FullMethodName:  asManager,
	peerpb.Cluster_Vote_FullMethodName:    asManager,
	peerpb.Cluster_Enter_FullMethodName:   asMachine,
	peerpb.Cluster_Admit_FullMethodName:   asMachine,
	peerpb.Cluster_Retire_FullMethodName:  asMachine,
	peerpb.Cluster_Fate_FullMethodName:    asUnenrolled,
	peerpb.Cluster_Dismiss_FullMethodName: asManager,
	peerpb.Cluster_Demote_FullMethodName:  asManager,
	peerpb.Hosting_Offer_FullMethodName:   asManager,
	peerpb.Hosting_Promote_FullMethodName: asManager,

	peerpb.Tunnel_Open_FullMethodName: asManager,

	// Who has no valid certificate comes by a relay to get one: rights to whom
	// it may come are in relay.go. A relay brings what anybody could bring to the
	// daemon's port, to be judged there.
	peerpb.Relay_Open_FullMethodName:   asManager | asMachine | asExpired | asUnenrolled,
	peerpb.Relay_Accept_FullMethodName: asManager | asMachine,

	peerpb.Machine_Deliver_FullMethodName:   asManager,
	peerpb.Machine_Tell_FullMethodName:      asManager,
	peerpb.Machine_Interrupt_FullMethodName: asManager,
	peerpb.Machine_Inspect_FullMethodName:   asManager | asSelf,
	peerpb.Machine_Check_FullMethodName:     asManager,
	peerpb.Machine_Spare_FullMethodName:     asManager,
	peerpb.Machine_Reread_FullMethodName:    asManager,
	peerpb.Machine_Logs_FullMethodName:      asManager | asSelf,
	peerpb.Machine_Exec_FullMethodName:      asManager | asSelf,
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
	case l.node.cfg.Now().After(l.expires):
		if l.remote.Kind == Machine {
			return asExpired
		}
		return 0
	}
	switch l.remote.Kind {
	case Manager:
		return asManager
	case Machine:
		if l.self {
			return asMachine | asSelf
		}
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
		return context.WithValue(ctx, callerKey{}, l), nil
	case l.remote != Peer{} && !l.self && l.node.cfg.Now().After(l.expires):
		return nil, status.Errorf(codes.Unauthenticated, "%s may not call %s: its certificate %s and has to be renewed first", l.remote, method, l.age())
	}
	return nil, status.Errorf(codes.PermissionDenied, "%s may not call %s", l.remote, method)
}

// age says why the other end's certificate is not good, which counts as expired.
func (l *link) age() string {
	const form = time.RFC3339
	if now := l.node.cfg.Now(); len(l.chain) > 0 && now.Before(l.chain[0].NotBefore) {
		return fmt.Sprintf("is good from %s on, and here it is %s", l.chain[0].NotBefore.UTC().Format(form), now.UTC().Format(form))
	}
	return "expired at " + l.expires.UTC().Format(form)
}

type callerKey struct{}

// Caller returns who calls, in the context of a handler; the zero Peer for a
// machine that is not enrolled.
func Caller(ctx context.Context) Peer {
	if l := linkOf(ctx); l != nil {
		return l.remote
	}
	return Peer{}
}

// linkOf returns the connection that a call came over; nil outside of handlers.
func linkOf(ctx context.Context) *link {
	l, _ := ctx.Value(callerKey{}).(*link)
	return l
}

// admitted is a server stream whose context names the caller.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (a *admitted) Context() context.Context { return a.ctx }
