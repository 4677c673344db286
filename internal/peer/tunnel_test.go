package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

// bosses is two managers of one cluster with a session.
func (w *world) bosses() (a, b *manager) {
	w.t.Helper()
	a = w.manager()
	a.listen()
	b = a.colleague()
	if _, err := b.node.Dial(w.t.Context(), a.address); err != nil {
		w.t.Fatal(err)
	}
	a.session(b.id)
	return a, b
}

func TestTunnelCarriesBytesBothWaysToTheEnd(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		ln := b.node.Tunnels("echo")
		defer ln.Close()
		text := make([]byte, 5<<20)
		dice := rand.NewChaCha8([32]byte{1})
		dice.Read(text)
		background(t, func(context.Context) error {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			if from := conn.(Conn).Peer(); from != a.node.Name() {
				t.Errorf("tunnel from %v", from)
			}
			io.Copy(conn, conn) // to the half-close of the other end
			return conn.Close()
		})
		conn, err := a.node.Tunnel(t.Context(), b.id, "echo")
		if err != nil {
			t.Fatal(err)
		}
		background(t, func(context.Context) error {
			if _, err := conn.Write(text); err != nil {
				t.Error(err)
			}
			return conn.CloseWrite()
		})
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes of %d came back, %v", len(got), len(text), err)
		}
		if _, err := conn.Write([]byte("x")); err == nil {
			t.Error("wrote after the half-close")
		}
		conn.Close()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	})
}

func TestWhatWasWrittenBeforeCloseArrives(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		ln := b.node.Tunnels("x")
		defer ln.Close()
		for _, far := range []bool{false, true} { // which end closes
			ends := make(chan Conn, 1)
			background(t, func(context.Context) error {
				c, err := ln.Accept()
				if err == nil {
					ends <- c.(Conn)
				}
				return err
			})
			var from Conn
			from, err := a.node.Tunnel(t.Context(), b.id, "x")
			if err != nil {
				t.Fatal(err)
			}
			to := <-ends
			if far {
				from, to = to, from
			}
			text := strings.Repeat("last words ", 10_000)
			if _, err := io.WriteString(from, text); err != nil {
				t.Fatal(err)
			}
			from.Close()
			got, err := io.ReadAll(to)
			if err != nil || string(got) != text {
				t.Errorf("far %v: got %d bytes of %d, %v", far, len(got), len(text), err)
			}
			to.Close()
		}
	})
}

func TestTunnelLeadsOnlyWhereSomebodyListensAndOnlyManagers(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		if _, err := a.node.Tunnel(t.Context(), b.id, "nothing"); status.Code(err) != codes.NotFound {
			t.Errorf("tunnel to nothing: %v", err)
		}
		m := a.machine()
		m.enrol()
		m.contact(a.address)
		a.session(m.id)
		ln := a.node.Tunnels("api")
		defer ln.Close()
		if _, err := m.node.Tunnel(t.Context(), a.id, "api"); status.Code(err) != codes.PermissionDenied {
			t.Errorf("a machine's tunnel: %v", err)
		}
	})
}

func TestTunnelDeadlines(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		ln := b.node.Tunnels("x")
		defer ln.Close()
		ends := make(chan net.Conn, 1)
		background(t, func(context.Context) error {
			c, err := ln.Accept()
			ends <- c
			return err
		})
		conn, err := a.node.Tunnel(t.Context(), b.id, "x")
		if err != nil {
			t.Fatal(err)
		}
		far := <-ends
		defer far.Close()
		conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !err.(net.Error).Timeout() {
			t.Errorf("read: %v", err)
		}
		conn.SetReadDeadline(time.Time{})
		far.Write([]byte("y")) // a deadline that has passed breaks nothing
		if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("read after it: %v", err)
		}
		conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		var written int
		for err = nil; err == nil && written < 100<<20; { // nobody reads there
			var n int
			n, err = conn.Write(make([]byte, 64<<10))
			written += n
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write of %d bytes: %v", written, err)
		}
		conn.Close()
	})
}

// TestServiceAPIGoesThroughATunnel is how a manager forwards requests: a reverse
// proxy with streams of events, and connections that are taken over.
func TestServiceAPIGoesThroughATunnel(t *testing.T) {
	w := &world{t: t}
	a, b := w.bosses()
	ln := b.node.Tunnels("api")
	more := make(chan string)
	server := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, c.(Conn).Peer().ID)
		},
		Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/events":
				out.Header().Set("Content-Type", "text/event-stream")
				out.(http.Flusher).Flush()
				for text := range more {
					fmt.Fprintf(out, "data: %s\n\n", text)
					out.(http.Flusher).Flush()
				}
			case "/exec":
				conn, buffered, err := out.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				io.Copy(conn, buffered)
			default:
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(out, "%s of %v said %s", r.URL.Path, r.Context().Value(callerKey{}), body)
			}
		}),
	}
	background(t, func(context.Context) error { return server.Serve(ln) })
	t.Cleanup(func() { server.Close() })

	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return a.node.Tunnel(ctx, b.id, "api") }}
	defer transport.CloseIdleConnections()
	at, _ := url.Parse("http://owner")
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.Transport = transport
	front := &http.Server{Handler: proxy}
	entry, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(context.Context) error { return front.Serve(entry) })
	t.Cleanup(func() { front.Close() })
	base := "http://" + entry.Addr().String()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var calls sync.WaitGroup
	for i := range 20 {
		calls.Go(func() {
			response, err := client.Post(base+"/plan", "", strings.NewReader(strings.Repeat("z", i*10_000)))
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			if want := "/plan of " + a.id + " said " + strings.Repeat("z", i*10_000); string(body) != want {
				t.Errorf("got %d bytes, want %d", len(body), len(want))
			}
		})
	}
	calls.Wait()

	response, err := client.Get(base + "/events")
	if err != nil {
		t.Fatal(err)
	}
	events := bufio.NewReader(response.Body)
	for _, text := range []string{"one", "two"} { // each before the next is made
		more <- text
		if line, err := events.ReadString('\n'); line != "data: "+text+"\n" {
			t.Fatalf("event %q, %v", line, err)
		}
		events.ReadString('\n')
	}
	close(more)
	response.Body.Close()

	conn, err := net.Dial("tcp", entry.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	answers := bufio.NewReader(conn)
	upgraded, err := http.ReadResponse(answers, nil)
	if err != nil || upgraded.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", upgraded, err)
	}
	io.WriteString(conn, "words\n")
	if line, err := answers.ReadString('\n'); line != "words\n" {
		t.Errorf("echo %q, %v", line, err)
	}
}

func TestTunnelEndsWithItsSession(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		a, b := w.bosses()
		ln := b.node.Tunnels("x")
		defer ln.Close()
		accepted, ended := make(chan bool, 1), make(chan error, 1)
		background(t, func(context.Context) error {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			accepted <- true
			_, err = c.Read(make([]byte, 1))
			ended <- err
			return c.Close()
		})
		conn, err := a.node.Tunnel(t.Context(), b.id, "x")
		if err != nil {
			t.Fatal(err)
		}
		<-accepted // a session that ends before that has brought nothing
		a.session(b.id).Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read over a broken session: %v", err)
		}
		if err := <-ended; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("at the other end: %v", err)
		}
		conn.Close()
	})
}

// TestLateCallReachesTheDaemonThatIsThereThen is DI's command of a former owner:
// its caller is gone, the machine's daemon was started anew, and it comes still.
func TestLateCallReachesTheDaemonThatIsThereThen(t *testing.T) {
	simulated(t, 1, func(t *testing.T, w *world, boss *manager, m *machine) {
		client := peerpb.NewMachineClient(boss.session(m.id))
		release := w.sim.Hold(boss.id, m.id, func(method string) bool { return strings.HasSuffix(method, "/Tell") })
		failed := make(chan error, 1)
		go func() { failed <- tell(context.Background(), client) }()
		synctest.Wait()
		boss.stop()
		boss.deafen()
		if err := <-failed; status.Code(err) != codes.Unavailable {
			t.Errorf("the caller was told %v", err)
		}
		m.stop()
		m.deafen()
		again := w.daemon(m.id, m.identity, nil)
		synctest.Wait()
		release()
		synctest.Wait()
		if got := again.called(); len(got) != 1 || got[0].ID != boss.id {
			t.Errorf("called by %v", got)
		}
		if len(m.called()) != 0 {
			t.Error("the former process was called")
		}
	})
}

func TestCallsArriveTwiceAndOutOfOrder(t *testing.T) {
	simulated(t, 1, func(t *testing.T, w *world, boss *manager, m *machine) {
		w.sim.Delay(time.Millisecond, 100*time.Millisecond)
		w.sim.Duplicate(0.5)
		client := peerpb.NewMachineClient(boss.session(m.id))
		for range 20 {
			if err := tell(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if n := len(m.called()); n <= 22 || n > 38 {
			t.Errorf("20 calls arrived %d times", n)
		}
	})
}

func TestCutOneWay(t *testing.T) {
	simulated(t, 1, func(t *testing.T, w *world, boss *manager, m *machine) {
		heal := w.sim.CutOneWay(m.id, boss.id)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tell(ctx, peerpb.NewMachineClient(boss.session(m.id))); status.Code(err) != codes.DeadlineExceeded || len(m.called()) != 1 {
			t.Errorf("got %v, handled %d times", err, len(m.called()))
		}
		heal()
	})
}

func tell(ctx context.Context, m peerpb.MachineClient) error {
	_, err := m.Tell(ctx, &peerpb.TellRequest{})
	return err
}
