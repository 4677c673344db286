package real

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A node is a computer of a test: a network and mounts of its own, on a cable
// to a switch that all nodes share, and a home.
type node struct {
	*home
	name    string
	address string
	pid     int // of the process that holds its namespaces
	lan     *lan
}

// lan is the switch.
type lan struct {
	t   *testing.T
	pid int
}

// hold starts a process with a network and mounts of its own, which ends with
// the test, also when that is killed, and returns its id. Its /sys shows that
// network, and the control groups as before.
func hold(t *testing.T) int {
	t.Helper()
	const script = `set -e
mkdir -p "$1"; mount --rbind /sys/fs/cgroup "$1"
mount -t sysfs sysfs /sys; mount --move "$1" /sys/fs/cgroup
ip link set lo up; echo ready; exec cat`
	cmd := exec.Command("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script, "sh", t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("end of a namespace: %v", err)
		}
	})
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatalf("a namespace: %v", err)
	}
	return cmd.Process.Pid
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces takes root")
	}
	l := &lan{t: t, pid: hold(t)}
	l.ip("link add br0 type bridge")
	l.ip("link set br0 up")
	return l
}

// inside returns the words that run a command in the namespaces of a process.
func inside(pid int) []string {
	return []string{"nsenter", "-t", strconv.Itoa(pid), "--net", "--mount"}
}

func within(t *testing.T, pid int, words string) {
	t.Helper()
	if err := tryWithin(pid, words); err != nil {
		t.Fatal(err)
	}
}

func tryWithin(pid int, words string) error {
	argv := append(inside(pid), strings.Fields(words)...)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", words, err, out)
	}
	return nil
}

func (l *lan) ip(words string) { l.t.Helper(); within(l.t, l.pid, "ip "+words) }

// node adds a computer, whose home is a file system of its own if disk.
func (l *lan) node(name string, number int, disk bool) *node {
	l.t.Helper()
	dir, err := os.MkdirTemp("", "aloft") // short: a socket's path is
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if disk {
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
		if err := os.RemoveAll(dir); err != nil {
			l.t.Error(err)
		}
	})
	h := &home{t: l.t, dir: dir, disk: disk, binary: clocked(l.t)}
	if disk {
		if err := unix.Mount("aloft-test", dir, "tmpfs", 0, "size=20g,mode=0700"); err != nil {
			l.t.Fatal(err)
		}
	}
	n := &node{home: h, name: name, address: fmt.Sprintf("10.77.0.%d", number), pid: hold(l.t), lan: l}
	h.user = inside(n.pid)
	l.ip(fmt.Sprintf("link add to-%s type veth peer name eth0 netns %d", name, n.pid))
	l.ip("link set to-" + name + " master br0 up")
	within(l.t, n.pid, "ip addr add "+n.address+"/24 dev eth0")
	within(l.t, n.pid, "ip link set eth0 up")
	n.newClock()
	return n
}

// cut takes the cable out, or puts it in again.
func (n *node) cut(out bool) {
	n.t.Helper()
	n.lan.ip("link set to-" + n.name + map[bool]string{true: " down", false: " up"}[out])
}

// do runs f where sockets are made in the node's network. They stay there.
func (n *node) inNet(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		ns, err := os.Open(filepath.Join("/proc", strconv.Itoa(n.pid), "ns/net"))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (n *node) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.inNet(func() (err error) {
		conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// swallow listens at a port of the node: it takes what comes and never answers.
func (n *node) swallow(port string) (end func()) {
	n.t.Helper()
	var l net.Listener
	if err := n.inNet(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(n.t.Context(), "tcp", net.JoinHostPort(n.address, port))
		return err
	}); err != nil {
		n.t.Fatal(err)
	}
	ended := make(chan struct{})
	end = sync.OnceFunc(func() { l.Close(); <-ended })
	n.t.Cleanup(end)
	go func() {
		defer close(ended)
		var conns []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
		for _, c := range conns {
			c.Close()
		}
	}()
	return end
}

// socket returns where the node's daemon answers its own users.
func (n *node) socket() string { return filepath.Join(n.dir, "aloft.sock") }
