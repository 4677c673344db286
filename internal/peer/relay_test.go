package peer

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/identity"
)

// unreachable makes a daemon listen where nobody can dial it.
func (d *daemon) unreachable(w *world) {
	if w.sim != nil {
		d.listen()
		w.t.Cleanup(w.sim.Filter(d.id))
	}
}

// member enrols a host or machine without a session, as a deployment done before.
func (m *manager) admit(d *machine) *machine {
	m.t.Helper()
	request, err := d.identity.Request()
	if err != nil {
		m.t.Fatal(err)
	}
	chain, roots, err := m.identity.Enrol(m.t.Context(), d.token, d.id, request)
	if err != nil {
		m.t.Fatal(err)
	}
	install(m.t, &peerpb.Certificates{Chain: chain, Roots: roots}, d)
	return d
}

func TestMachineEnrolsAndKeepsTwoManagersThroughAHost(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		c := a.colleague()
		b.listen()
		c.unreachable(w)
		host := a.admit(a.host())
		host.listen()
		host.contact(a.address, b.address)
		a.session(host.id)
		b.session(host.id)

		m := a.machine() // knows its host alone
		m.unreachable(w)
		m.enrol()
		m.contact(host.address)
		up := m.session(a.id)
		m.session(b.id)
		if hops := up.(*session).current().hops; hops != 1 {
			t.Errorf("%d relays between machine and manager", hops)
		}
		checkBothWays(t, a, m)

		// One manager goes, another comes: the machine has two again.
		a.stop()
		a.deafen()
		if _, err := c.node.Dial(t.Context(), host.address); err != nil {
			t.Fatal(err)
		}
		m.session(c.id)
		if _, err := peerpb.NewOwnerClient(m.session(c.id)).Report(t.Context(), &peerpb.ReportRequest{}); err != nil {
			t.Error(err)
		}
	})
}

// TestManagerReachesAMachineByRelaysThatDie: neither end can be dialled, both
// dial two relays. A session through one, then through the other.
func TestManagerReachesAMachineByRelaysThatDie(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		c := a.colleague() // cannot be dialled, as m cannot
		c.unreachable(w)
		m := a.admit(a.machine())
		m.unreachable(w)
		b.listen()
		for _, relay := range []*manager{a, b} {
			for _, d := range []*daemon{c.daemon, m.daemon} {
				if _, err := d.node.Dial(t.Context(), relay.address); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.reach.Set(m.id, "127.0.0.1:1")
		c.reach.SetVia(m.id, a.id, b.id)
		s := c.session(m.id)
		if _, err := peerpb.NewMachineClient(s).Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
			t.Fatal(err)
		}
		if caller := m.called()[0]; caller != c.node.Name() {
			t.Errorf("called by %v, through a relay", caller)
		}
		checkStreams(t, s)
		over := s.(*session).current()
		a.stop()
		a.deafen()
		c.leaves(m.id, over)
		s = c.session(m.id)
		if _, err := peerpb.NewMachineClient(s).Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
			t.Errorf("by the second relay: %v", err)
		}
	})
}

func TestRelayDialsForManagersAndRefusesOthers(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		m, other := a.admit(a.machine()), a.admit(a.machine())
		m.listen()
		other.listen()
		a.reach.Set(m.id, m.address)
		a.session(m.id).Close()
		if _, err := b.node.dialBy(t.Context(), b.session(a.id).(*session), m.id, nil); err != nil {
			t.Errorf("a manager by a relay that has an address: %v", err)
		}
		up, err := other.node.Dial(t.Context(), a.address)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			target string
			code   codes.Code
		}{{m.id, codes.PermissionDenied}, {"nobody", codes.NotFound}, {other.id, codes.PermissionDenied}} {
			if _, err := other.node.dialBy(t.Context(), up.(*session), c.target, nil); status.Code(err) != c.code {
				t.Errorf("a machine to %s: %v", c.target, err)
			}
		}
		if _, err := other.node.dialBy(t.Context(), up.(*session), "", []string{b.id}); status.Code(err) != codes.NotFound {
			t.Errorf("to any manager but the only other one: %v", err)
		}
		stranger := a.machine()
		s, err := stranger.node.Dial(t.Context(), a.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stranger.node.dialBy(t.Context(), s.(*session), b.id, nil); status.Code(err) != codes.PermissionDenied {
			t.Errorf("a stranger to a manager by name: %v", err)
		}
		if _, err := stranger.node.dialBy(t.Context(), s.(*session), "", nil); err != nil {
			t.Errorf("a stranger to any manager: %v", err)
		}
		// A plain machine relays for nobody.
		if _, err := a.node.dialBy(t.Context(), a.session(m.id).(*session), b.id, nil); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("a machine relays: %v", err)
		}
	})
}

func TestRelayIsBounded(t *testing.T) {
	r := &relayed{}
	caller := func(kind string, expires time.Time) *link {
		return &link{node: &Node{cfg: Config{Now: time.Now}}, local: Peer{"c", Manager, "me"}, remote: Peer{"c", kind, kind}, expires: expires}
	}
	soon := time.Now().Add(time.Hour)
	for _, c := range []struct {
		who  *link
		most int
	}{
		{caller(Machine, soon), relayedMachine},
		{caller(Manager, soon), relayedManager},
		{caller(Machine, soon.Add(-2*time.Hour)), relayedStrangers},
	} {
		var leave []func()
		for range c.most {
			l, err := r.enter(c.who)
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, l)
		}
		if _, err := r.enter(c.who); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%v: one more than %d: %v", c.who.remote, c.most, err)
		}
		for _, l := range leave {
			l()
		}
	}
	if r.all != 0 || len(r.of) != 0 {
		t.Errorf("left over: %d, %v", r.all, r.of)
	}
}

// TestRelaysInARowEnd: three daemons that each know the next by relay only.
func TestRelaysInARowEnd(t *testing.T) {
	caller := &link{way: way{hops: 2}}
	to := &link{way: way{hops: 1}}
	if err := fits(caller, to, &peerpb.Opening{Hops: 100}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("4 relays: %v", err)
	}
	to.hops = 0
	if err := fits(caller, to, &peerpb.Opening{Hops: maxHops}); err != nil {
		t.Errorf("3 relays: %v", err)
	}
	if err := fits(caller, to, &peerpb.Opening{Hops: 2}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("more than the caller allows: %v", err)
	}
}

// TestDirectConnectionTakesThePlaceOfARelayedOne, and not the other way round.
func TestDirectConnectionTakesThePlaceOfARelayedOne(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		m := a.admit(a.machine())
		m.listen()
		if _, err := m.node.Dial(t.Context(), a.address); err != nil {
			t.Fatal(err)
		}
		relay := b.session(a.id).(*session)
		a.session(m.id)
		if _, err := b.node.dialBy(t.Context(), relay, m.id, nil); err != nil {
			t.Fatal(err)
		}
		s := b.session(m.id).(*session)
		if s.current().hops != 1 {
			t.Fatal("not by relay")
		}
		if _, err := b.node.Dial(t.Context(), m.address); err != nil {
			t.Fatal(err)
		}
		if _, err := b.node.dialBy(t.Context(), relay, m.id, nil); err != nil {
			t.Fatal(err)
		}
		if b.session(m.id) != Session(s) || s.current().hops != 0 {
			t.Errorf("%d relays in the connection in use", s.current().hops)
		}
		if _, err := peerpb.NewMachineClient(s).Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
			t.Error(err)
		}
	})
}

// TestRelayCannotReadWhatItCarries looks at all bytes that a relay is given.
func TestRelayCannotReadWhatItCarries(t *testing.T) {
	spy := &spy{}
	w := &world{t: t, before: func(n *Node) {
		peerpb.RegisterRelayServer(n, spyingRelay{relay{node: n}, spy})
	}}
	a, b := w.bosses()
	m := a.admit(a.machine())
	if _, err := m.node.Dial(t.Context(), a.address); err != nil {
		t.Fatal(err)
	}
	a.session(m.id)
	s, err := b.node.dialBy(t.Context(), b.session(a.id).(*session), m.id, nil)
	if err != nil {
		t.Fatal(err)
	}
	exec, err := peerpb.NewMachineClient(s).Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	echo(t, exec, "a secret")
	exec.CloseSend()
	if spy.seen.Load() < 1000 || spy.secrets.Load() != 0 {
		t.Errorf("the relay saw %d bytes, %d times the secret", spy.seen.Load(), spy.secrets.Load())
	}
	// It alters one: the ends part at once, and the call under way fails.
	spy.alter.Store(true)
	exec, err = peerpb.NewMachineClient(s).Exec(t.Context())
	if err == nil {
		exec.Send(&peerpb.ExecInput{Stdin: []byte("a secret")})
		_, err = exec.Recv()
	}
	if err == nil {
		t.Error("altered bytes were taken")
	}
	<-s.Done()
}

// spyingRelay looks at what the caller of Open sends, and may alter it.
type spyingRelay struct {
	relay
	spy *spy
}

type spy struct {
	seen, secrets atomic.Int64
	alter         atomic.Bool
}

func (s spyingRelay) Open(stream peerpb.Relay_OpenServer) error {
	return s.relay.Open(spiedStream{stream, s.spy})
}

type spiedStream struct {
	peerpb.Relay_OpenServer
	spy *spy
}

func (s spiedStream) Recv() (*peerpb.Segment, error) {
	seg, err := s.Relay_OpenServer.Recv()
	if err != nil || len(seg.Data) == 0 {
		return seg, err
	}
	s.spy.seen.Add(int64(len(seg.Data)))
	if strings.Contains(string(seg.Data), "a secret") {
		s.spy.secrets.Add(1)
	}
	if s.spy.alter.Load() {
		seg.Data[len(seg.Data)-1] ^= 1
	}
	return seg, nil
}

// TestMachineLearnsManagersThatAllCameWhileItWasCutOff: the only one it knew is
// gone for good; a new one finds it through its host.
func TestMachineLearnsManagersThatAllCameWhileItWasCutOff(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		old, next := w.bosses()
		next.listen()
		host := old.admit(old.host())
		host.listen()
		m := old.machine()
		m.enrol()
		m.contact(old.address)
		m.session(old.id)
		m.mu.Lock()
		m.roster = func(signed []byte) { m.contacts.Update(strings.Fields(string(signed))) }
		m.mu.Unlock()
		old.stop()
		old.deafen()

		// Its host is reached by the new manager, and it by its host.
		if _, err := host.node.Dial(t.Context(), next.address); err != nil {
			t.Fatal(err)
		}
		if _, err := m.node.Dial(t.Context(), host.address); err != nil {
			t.Fatal(err)
		}
		rosters := next.node.NewRosters(nil)
		rosters.Set([]byte(next.address))
		background(t, rosters.Run)
		next.reach.SetVia(m.id, host.id)
		s := next.session(m.id)
		deadline := time.Now().Add(20 * time.Second)
		for time.Now().Before(deadline) && !m.contacts.knows(next.address) {
			time.Sleep(10 * time.Millisecond)
		}
		next.reach.Remove(m.id)
		s.Close()
		m.session(next.id) // it dials by itself now
	})
}

func (c *Contacts) knows(address string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.contacts[address] != nil
}

func TestRemovedDaemonsSessionsEnd(t *testing.T) {
	w := &world{t: t}
	boss := w.manager()
	boss.listen()
	m := boss.admit(boss.machine())
	if _, err := m.node.Dial(t.Context(), boss.address); err != nil {
		t.Fatal(err)
	}
	s := boss.session(m.id)
	boss.node.Recheck()
	select {
	case <-s.Done():
		t.Error("the session of a member ended")
	default:
	}
	if err := boss.identity.Remove(t.Context(), identity.KindMachine, m.id); err != nil {
		t.Fatal(err)
	}
	boss.node.Recheck()
	<-s.Done()
}

func TestRelayedSessionsSurviveALossyNetwork(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, sim: NewNetwork(seed)}
			a := w.manager()
			a.listen()
			host := a.admit(a.host())
			host.listen()
			host.contact(a.address)
			w.sim.Delay(time.Millisecond, 20*time.Millisecond)
			w.sim.Loss(0.05)
			m := a.machine()
			m.enrol()
			m.contact(host.address)
			for !m.identity.Enrolled() {
				if time.Sleep(time.Second); time.Since(m.born) > 10*time.Minute {
					t.Fatal("not enrolled in ten minutes")
				}
			}
			w.sim.Loss(0)
			time.Sleep(time.Minute)
			checkBothWays(t, a, m)
		})
	}
}

// TestSwallowedPeerIsNoticed: a proxy that takes bytes and passes none on.
func TestSwallowedPeerIsNoticed(t *testing.T) {
	w := &world{t: t}
	boss, m := w.pair()
	var swallow atomic.Bool
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	background(t, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { ln.Close() })
		defer stop()
		near, err := ln.Accept()
		if err != nil {
			return err
		}
		far, err := net.Dial("tcp", boss.address)
		if err != nil {
			return err
		}
		both := make(chan struct{}, 2)
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				defer func() { both <- struct{}{} }()
				buf := make([]byte, 32<<10)
				for {
					n, err := way[0].Read(buf)
					if err != nil {
						return
					}
					if !swallow.Load() {
						way[1].Write(buf[:n])
					}
				}
			}()
		}
		<-ctx.Done()
		near.Close()
		far.Close()
		<-both
		<-both
		return nil
	})
	s, err := m.node.Dial(t.Context(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * probeMost) // idle sessions stay
	select {
	case <-s.Done():
		t.Fatal("an idle session ended")
	default:
	}
	swallow.Store(true)
	from := time.Now()
	<-s.Done()
	if took := time.Since(from); took > silence+10*time.Second {
		t.Errorf("noticed after %v", took)
	}
}
