package peer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

// pair is a manager and an enrolled machine that both listen, without session.
func (w *world) pair() (*manager, *machine) {
	w.t.Helper()
	boss := w.manager()
	boss.listen()
	m := boss.machine()
	request, err := m.identity.Request()
	if err != nil {
		w.t.Fatal(err)
	}
	chain, roots, err := boss.identity.Enrol(w.t.Context(), m.token, m.id, request)
	if err != nil {
		w.t.Fatal(err)
	}
	install(w.t, &peerpb.Certificates{Chain: chain, Roots: roots}, m)
	m.listen()
	return boss, m
}

func TestCallsSurviveReplacementOfTheConnection(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss, m := w.pair()
		m.hold = make(chan struct{})
		if _, err := m.node.Dial(t.Context(), boss.address); err != nil {
			t.Fatal(err)
		}
		live := boss.session(m.id)
		client := peerpb.NewMachineClient(live)
		old := live.(*session).current()

		// A call and a stream are under way over the first connection.
		answered := make(chan error, 1)
		go func() {
			_, err := client.Inspect(context.Background(), &peerpb.InspectRequest{})
			answered <- err
		}()
		exec, err := client.Exec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		echo(t, exec, "before")

		// The other side dials as well.
		if _, err := boss.node.Dial(t.Context(), m.address); err != nil {
			t.Fatal(err)
		}
		if now := live.(*session).current(); now == old {
			t.Fatal("the newer connection is not the one in use")
		}
		if _, err := client.Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
			t.Errorf("call over the newer connection: %v", err)
		}
		echo(t, exec, "after")
		select {
		case <-old.done:
			t.Fatal("the older connection closed with calls under way")
		default:
		}
		close(m.hold)
		if err := <-answered; err != nil {
			t.Errorf("call under way: %v", err)
		}
		exec.CloseSend()
		if _, err := exec.Recv(); err == nil {
			t.Error("the stream goes on")
		}
		<-old.done // nothing is left to wait for
		if _, err := client.Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
			t.Errorf("call afterwards: %v", err)
		}
		if s := boss.session(m.id); s != live {
			t.Error("the table has another session than before")
		}
	})
}

func echo(t *testing.T, stream peerpb.Machine_ExecClient, word string) {
	t.Helper()
	if err := stream.Send(&peerpb.ExecInput{Stdin: []byte(word)}); err != nil {
		t.Fatal(err)
	}
	if out, err := stream.Recv(); err != nil || string(out.Stdout) != word {
		t.Fatalf("sent %q, got %q, %v", word, out.GetStdout(), err)
	}
}

// TestDaemonsThatDialEachOtherAtOnceKeepOneConnection runs many times with
// messages in different orders: both ends must choose the same connection, and
// calls made all the while must not notice.
func TestDaemonsThatDialEachOtherAtOnceKeepOneConnection(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, sim: NewNetwork(seed)}
				boss, m := w.pair()
				w.sim.Delay(time.Millisecond, 50*time.Millisecond)
				var dials sync.WaitGroup
				for range 3 {
					dials.Go(func() { boss.node.Dial(t.Context(), m.address) })
					dials.Go(func() { m.node.Dial(t.Context(), boss.address) })
				}
				down := peerpb.NewMachineClient(boss.session(m.id))
				up := peerpb.NewOwnerClient(m.session(boss.id))
				var calls sync.WaitGroup
				for range 30 {
					time.Sleep(5 * time.Millisecond)
					calls.Go(func() {
						if _, err := down.Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
							t.Error(err)
						}
					})
					calls.Go(func() {
						if _, err := up.Report(t.Context(), &peerpb.ReportRequest{}); err != nil {
							t.Error(err)
						}
					})
				}
				dials.Wait()
				calls.Wait()
				time.Sleep(time.Second)
				for _, d := range []*daemon{boss.daemon, m.daemon} {
					d.node.mu.Lock()
					if got := len(d.node.links); got != 1 {
						t.Errorf("%s has %d connections", d.node.Name(), got)
					}
					d.node.mu.Unlock()
				}
			})
		})
	}
}

// TestRetiredConnectionDoesNotOutliveItsSession: otherwise one end could go on
// using a connection on which the other has said that it calls no more.
func TestRetiredConnectionDoesNotOutliveItsSession(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss, m := w.pair()
		m.hold = make(chan struct{})
		s, err := m.node.Dial(t.Context(), boss.address)
		if err != nil {
			t.Fatal(err)
		}
		old := s.(*session).current()
		failed := make(chan error, 1)
		go func() {
			_, err := peerpb.NewMachineClient(boss.session(m.id)).Inspect(context.Background(), &peerpb.InspectRequest{})
			failed <- err
		}()
		exec, err := peerpb.NewMachineClient(boss.session(m.id)).Exec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for len(m.called()) < 2 {
			time.Sleep(time.Millisecond)
		}
		if _, err := m.node.Dial(t.Context(), boss.address); err != nil {
			t.Fatal(err)
		}
		s.Close() // the newer connection; the call is on the older
		if err := <-failed; status.Code(err) != codes.Unavailable {
			t.Errorf("call under way: %v", err)
		}
		if _, err := exec.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("stream under way: %v", err)
		}
		<-old.done
	})
}

func TestMachineComesBackToARestartedManager(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss, m := w.pair()
		m.contact(boss.address)
		changes := make(chan string, 100)
		background(t, func(ctx context.Context) error {
			return m.node.Watch(ctx, func(c Change) {
				if c.Session == nil {
					changes <- "down " + c.Peer.ID
				} else {
					changes <- "up " + c.Peer.ID
				}
			})
		})
		first := m.session(boss.id)
		told := func(want string) {
			t.Helper()
			select {
			case got := <-changes:
				if got != want+boss.id {
					t.Errorf("watch: got %q, want %q", got, want+boss.id)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("watch: %q was not told", want)
			}
		}
		told("up ") // what ends before that may not be told at all
		boss.stop()
		boss.deafen()
		<-first.Done()
		if _, err := peerpb.NewOwnerClient(first).Report(t.Context(), &peerpb.ReportRequest{}); status.Code(err) != codes.Unavailable {
			t.Errorf("call over a session that is over: %v", err)
		}
		again := w.daemon(boss.id, boss.identity, boss.identity)
		again.address = boss.address
		again.listen()
		again.session(m.id)
		second := m.session(boss.id)
		if _, err := peerpb.NewOwnerClient(second).Report(t.Context(), &peerpb.ReportRequest{}); err != nil {
			t.Error(err)
		}
		told("down ")
		told("up ")
	})
}

func TestCertificatesAreRenewedAndSessionsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sim: NewNetwork(1)}
		boss := w.manager()
		background(t, boss.identity.Run)
		boss.listen()
		m := boss.machine()
		m.enrol()
		m.contact(boss.address)
		session := boss.session(m.id)
		// A second machine is one that the manager dials.
		d := boss.machine()
		d.listen()
		d.enrol()
		reach := boss.node.NewReach()
		background(t, reach.Run)
		reach.Set(d.id, d.address)
		dialled := boss.session(d.id)

		for range 50 {
			time.Sleep(10 * time.Hour)
			for _, s := range []Session{session, dialled} {
				if _, err := peerpb.NewMachineClient(s).Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := peerpb.NewOwnerClient(m.session(boss.id)).Report(t.Context(), &peerpb.ReportRequest{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestDaemonCallsItselfOverASession(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss := w.manager()
		s, err := boss.node.Self(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := boss.node.Session(boss.id); !ok || got != s {
			t.Error("the session is not in the table")
		}
		if _, err := peerpb.NewMachineClient(s).Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
			t.Fatal(err)
		}
		if boss.called()[0] != boss.node.Name() {
			t.Errorf("called by %v", boss.called()[0])
		}
		checkStreams(t, s)
	})
}

func TestCutSessionIsNoticedAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sim: NewNetwork(1)}
		boss, m := w.pair()
		m.contact("nowhere:7400", boss.address, boss.address)
		m.session(boss.id)
		heal := w.sim.Cut(m.id, boss.id)
		time.Sleep(silence + time.Second)
		if _, ok := m.node.Session(boss.id); ok {
			t.Error("a cut session was not noticed")
		}
		if _, ok := boss.node.Session(m.id); ok {
			t.Error("a cut session was not noticed by the manager")
		}
		heal()
		time.Sleep(lastRetry + handshakeTime)
		if _, ok := m.node.Session(boss.id); !ok {
			t.Error("no session after the network healed")
		}
	})
}

func TestDialGoesThroughAProxy(t *testing.T) {
	w := &world{t: t}
	boss, m := w.pair()
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
		asked = append(asked, r.Method+" "+r.Host+" "+user+" "+password)
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			out.WriteHeader(http.StatusBadGateway)
			return
		}
		conn, buffered, err := out.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		go func() { buffered.WriteTo(to); to.Close() }()
		buf := make([]byte, 4096)
		for {
			n, err := to.Read(buf)
			conn.Write(buf[:n])
			if err != nil {
				conn.Close()
				return
			}
		}
	}))
	defer proxy.Close()
	at, _ := url.Parse(proxy.URL)
	at.User = url.UserPassword("ann", "p@ss word")
	m.node.cfg.Dial = Proxy(at)
	s, err := m.node.Dial(t.Context(), boss.address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peerpb.NewOwnerClient(s).Report(t.Context(), &peerpb.ReportRequest{}); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || asked[0] != "CONNECT "+boss.address+" ann p@ss word" {
		t.Errorf("proxy was asked %q", asked)
	}
	if _, err := m.node.Dial(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("a refused tunnel is a session")
	}
}
