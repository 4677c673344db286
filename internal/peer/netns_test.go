package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"aloft/api/peerpb"
)

// namespace is a network of its own.
type namespace struct {
	name string
	file *os.File
}

func newNamespace(t *testing.T, name string) *namespace {
	t.Helper()
	name = fmt.Sprintf("aloft-%d-%s", os.Getpid(), name)
	ip(t, "netns add "+name)
	t.Cleanup(func() { ip(t, "netns del "+name) })
	ip(t, "-n "+name+" link set lo up")
	f, err := os.Open("/var/run/netns/" + name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &namespace{name, f}
}

func ip(t *testing.T, words string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", words, err, out)
	}
}

// segment is a network that several namespaces are on, a bridge in one of its own.
type segment struct {
	*namespace
	members int
}

func newSegment(t *testing.T) *segment {
	t.Helper()
	s := &segment{namespace: newNamespace(t, "segment")}
	ip(t, "-n "+s.name+" link add br0 type bridge")
	ip(t, "-n "+s.name+" link set br0 up")
	return s
}

// join puts a namespace on the network and returns its address there.
func (s *segment) join(t *testing.T, n *namespace) (address string) {
	t.Helper()
	s.members++
	port := fmt.Sprintf("port%d", s.members)
	address = fmt.Sprintf("10.211.0.%d", s.members)
	ip(t, fmt.Sprintf("-n %s link add %s type veth peer name eth0 netns %s", s.name, port, n.name))
	ip(t, fmt.Sprintf("-n %s link set %s master br0 up", s.name, port))
	ip(t, fmt.Sprintf("-n %s addr add %s/24 dev eth0", n.name, address))
	ip(t, fmt.Sprintf("-n %s link set eth0 up", n.name))
	return address
}

// oneWay has a packet filter pass what belongs to connections that the
// namespace began, and nothing else: what homes and offices have before them.
func (n *namespace) oneWay(t *testing.T) {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", n.name, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(`table ip filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iif lo accept
		ct state established,related accept
	}
}`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// do runs f where sockets are made in the namespace. They stay there.
func (n *namespace) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (n *namespace) dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = n.do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// TestBothEndsDialRelaysBehindOneWayFilters: a manager and a machine that listen
// and know each other's address, each behind a packet filter that lets nobody
// in; two relays that both can dial. A part goes through one relay, it dies,
// and the next goes through the other.
func TestBothEndsDialRelaysBehindOneWayFilters(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces takes root")
	}
	w := &world{t: t}
	network := newSegment(t)
	far, near := newNamespace(t, "manager"), newNamespace(t, "machine")
	a := w.manager()
	b := a.colleague()
	c := a.colleague()
	m := a.admit(a.machine())
	// on puts a daemon on the network, where it listens.
	on := func(n *namespace, d *daemon) string {
		address := network.join(t, n) + ":7400"
		if err := n.do(func() error {
			d.address = address
			d.listen()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return address
	}
	var relays []string
	for i, relay := range []*manager{a, b} {
		relays = append(relays, on(newNamespace(t, fmt.Sprintf("relay%d", i)), relay.daemon))
		c.reach.Set(relay.id, relays[i])
	}
	c.node.cfg.Dial, m.node.cfg.Dial = far.dial, near.dial
	toManager, toMachine := on(far, c.daemon), on(near, m.daemon)
	far.oneWay(t)
	near.oneWay(t)
	for _, one := range []struct {
		from *namespace
		to   string
	}{{far, toMachine}, {near, toManager}} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if conn, err := one.from.dial(ctx, one.to); err == nil {
			conn.Close()
			t.Fatalf("%s can be dialled", one.to)
		}
		cancel()
	}
	m.contact(relays...)
	c.reach.Set(m.id, toMachine)
	c.reach.SetVia(m.id, a.id, b.id)

	for _, relay := range []*manager{a, b} {
		s := c.session(m.id)
		if hops := s.(*session).current().hops; hops != 1 {
			t.Errorf("%d relays between the ends", hops)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := peerpb.NewMachineClient(s).Tell(ctx, &peerpb.TellRequest{})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if got := m.called(); got[len(got)-1] != c.node.Name() {
			t.Errorf("called by %v", got)
		}
		if relay == a {
			from := time.Now()
			over := s.(*session).current()
			a.stop()
			a.deafen()
			c.leaves(m.id, over)
			t.Logf("by another relay after %v", time.Since(from))
		}
	}
}
