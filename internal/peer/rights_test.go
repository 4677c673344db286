package peer

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	"aloft/api/peerpb"
	"aloft/internal/identity"
)

// rows is the rights table as people read it, written a second time: who may
// call what. A method that is not here fails the test below.
var rows = map[string]string{
	"Enrolment/Enrol":    "stranger",
	"Enrolment/Renew":    "machine host expired",
	"Owner/Report":       "machine host manager",
	"Owner/Hold":         "machine host manager",
	"Owner/Fetch":        "machine host manager",
	"Owner/Read":         "machine host manager",
	"Owner/Secret":       "machine host manager",
	"Owner/Certify":      "machine host manager",
	"Owner/Keep":         "manager",
	"Owner/Reached":      "manager",
	"Owner/Held":         "manager",
	"Observation/Follow": "manager",
	"Membership/Update":  "manager",
	"Tunnel/Open":        "manager",
	"Relay/Open":         "stranger expired machine host manager",
	"Relay/Accept":       "machine host manager",
	"Cluster/Join":       "stranger",
	"Cluster/Attach":     "manager",
	"Cluster/Vote":       "manager",
	"Cluster/Enter":      "machine host",
	"Cluster/Admit":      "machine host",
	"Cluster/Retire":     "machine host",
	"Cluster/Fate":       "stranger",
	"Cluster/Dismiss":    "manager",
	"Cluster/Demote":     "manager",
	"Hosting/Offer":      "manager",
	"Hosting/Promote":    "manager",
	"Machine/Deliver":    "manager",
	"Machine/Tell":       "manager",
	"Machine/Interrupt":  "manager",
	"Machine/Inspect":    "manager",
	"Machine/Check":      "manager",
	"Machine/Spare":      "manager",
	"Machine/Reread":     "manager",
	"Machine/Logs":       "manager",
	"Machine/Exec":       "manager",
}

// TestEveryRPCAsEverybody calls every method of the protocol as everybody there
// is, over real sessions. Removed managers and machines of other clusters have no
// session to call over.
func TestEveryRPCAsEverybody(t *testing.T) {
	w := &world{t: t, before: func(n *Node) {
		if n.services["aloft.peer.v1.Observation"].desc == nil {
			peerpb.RegisterObservationServer(n, peerpb.UnimplementedObservationServer{})
			peerpb.RegisterClusterServer(n, peerpb.UnimplementedClusterServer{})
			peerpb.RegisterHostingServer(n, peerpb.UnimplementedHostingServer{})
		}
	}}
	a, b := w.bosses()
	stranger := a.machine()
	machine, host := a.admit(a.machine()), a.admit(a.host())
	expired := a.machine()
	install(t, issueExpired(t, a, expired), expired)
	removed := a.colleague()
	other := w.manager()
	foreign := other.admit(other.machine())
	callers := map[string]*Node{
		"stranger": stranger.node, "machine": machine.node, "host": host.node, "expired": expired.node, "manager": b.node,
	}
	sessions := map[string]Session{}
	for as, node := range callers {
		s, err := node.Dial(t.Context(), a.address)
		if err != nil {
			t.Fatalf("%s: %v", as, err)
		}
		sessions[as] = s
	}
	before, err := removed.node.Dial(t.Context(), a.address)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.identity.Remove(t.Context(), identity.KindManager, removed.id); err != nil {
		t.Fatal(err)
	}
	a.node.Recheck()
	<-before.Done()
	for as, node := range map[string]*Node{"removed manager": removed.node, "machine of another cluster": foreign.node} {
		if _, err := node.Dial(t.Context(), a.address); err == nil {
			t.Errorf("%s has a session", as)
		}
	}

	var services []protoreflect.ServiceDescriptor
	for _, file := range []protoreflect.FileDescriptor{peerpb.File_peer_proto, peerpb.File_cluster_proto} {
		for i := range file.Services().Len() {
			services = append(services, file.Services().Get(i))
		}
	}
	seen := 0
	for _, service := range services {
		methods := service.Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			short := string(service.Name()) + "/" + string(m.Name())
			full := "/" + string(service.FullName()) + "/" + string(m.Name())
			may, ok := rows[short]
			if !ok {
				t.Errorf("%s has no row in this test: say who may call it", short)
				continue
			}
			seen++
			for as, s := range sessions {
				var err error
				if m.IsStreamingClient() || m.IsStreamingServer() {
					err = tryStream(t, s, full)
				} else {
					err = s.Invoke(t.Context(), full, &emptypb.Empty{}, &emptypb.Empty{})
				}
				// Who may call is told something else: by the handler, or that there is none.
				code := status.Code(err)
				refused := (code == codes.PermissionDenied || code == codes.Unauthenticated) && strings.Contains(err.Error(), "may not call "+full)
				if allowed := strings.Contains(" "+may+" ", " "+as+" "); allowed == refused {
					t.Errorf("%s as %s: %v", short, as, err)
				}
			}
		}
	}
	if seen != len(rows) {
		t.Errorf("%d rows for %d methods", len(rows), seen)
	}
}

func tryStream(t *testing.T, s Session, method string) error {
	t.Helper()
	stream, err := s.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	stream.SendMsg(&emptypb.Empty{})
	stream.CloseSend()
	return stream.RecvMsg(&emptypb.Empty{})
}

// TestStrangersArePushedOutByStrangers: those who only take up room cannot keep
// out one who comes to enrol.
func TestStrangersArePushedOutByStrangers(t *testing.T) {
	n := NewNode(Config{})
	first := &link{node: n, begun: 1, stranger: true}
	n.links[first] = nil
	n.links[&link{node: n, begun: 2, stranger: true}] = nil
	n.links[&link{node: n, begun: 0}] = nil // a member
	n.strangers = maxStrangers - 1
	if got := n.crowded(); got != nil {
		t.Error("somebody has to go while there is room")
	}
	n.strangers++
	if got := n.crowded(); got != first {
		t.Error("not the oldest stranger has to go")
	}
}

// TestSilentConnectionsKeepNobodyOut: as many as are taken that say nothing.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	w := &world{t: t, quiet: true}
	boss, m := w.pair()
	for range maxHandshakes + 10 {
		conn, err := dialTCP(boss.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	from := time.Now()
	if _, err := m.node.Dial(t.Context(), boss.address); err != nil || time.Since(from) > handshakeTime/2 {
		t.Errorf("after %v: %v", time.Since(from), err)
	}
}
