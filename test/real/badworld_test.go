package real

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

// badMachines is how many machines the system of the bad days has.
const badMachines = 10

// badWorld is three managers and a host with ten machines, each in a network of
// its own, under an update that never ends.
type badWorld struct {
	t        *testing.T
	managers []*node
	host     *node
	users    map[string]*node       // the managers, as who updates uses them
	from     atomic.Pointer[node]   // whose user updates
	stop     func() (ended func())  // of the updates
	saying   atomic.Pointer[spoken] // what the newest update says
	used     string                 // the token that the host has joined with

	mu   sync.Mutex
	runs []updateRun
}

// updateRun is one update: from its first try to its end.
type updateRun struct {
	version    int
	begin, end time.Time
	failures   []string // what the tries said that failed
	done       bool
}

func describeBad(version int) string {
	var b strings.Builder
	b.WriteString("sfConfig extends {\n")
	for i := range badMachines {
		fmt.Fprintf(&b, "  m%d extends VM { site extends Website { pages extends DATA { \"/\" \"version %d\"; } } p extends Process { command [| \"sleep\", \"infinity\" |]; } }\n", i, version)
	}
	return b.String() + "}\n"
}

// newBadWorld makes the world, with the system in its first version.
func newBadWorld(t *testing.T) *badWorld {
	t.Helper()
	l := newLAN(t)
	w := &badWorld{t: t, users: map[string]*node{}, stop: func() func() { return func() {} }}
	for i, name := range []string{"a", "b", "c"} {
		w.managers = append(w.managers, l.node(name, i+1, name == "c"))
	}
	w.host = l.node("host", 4, false)
	t.Cleanup(w.end)
	for _, m := range w.managers {
		user := *m.home // its test stays the same
		w.users[m.name] = &node{home: &user, name: m.name}
	}
	a := w.managers[0]
	a.do("cluster", "init", "--role", "manage", "--listen", a.address+":7400", "--name", "a")
	for _, m := range w.managers[1:] {
		m.join(a.home, a.address+":7400", m.address+":7400", "manage", m.name)
	}
	w.used = strings.TrimSpace(a.do("cluster", "token", "--role", "host", "--ttl", "10m", "-o", "name"))
	w.host.do("join", a.address+":7400", "--role", "host", "--token", w.used, "--listen", w.host.address+":7400", "--name", "host")
	first := w.managers[1]
	first.do("up", first.write("ten", describeBad(0)), "-y")
	w.updateAt(first)
	return w
}

func (w *badWorld) all() []*node { return append(slices.Clone(w.managers), w.host) }

// updateAt has the updates that are begun from now on given at a manager.
func (w *badWorld) updateAt(m *node) { w.from.Store(w.users[m.name]) }

// keepUpdating changes the value of every component, again and again.
func (w *badWorld) keepUpdating() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	w.stop = func() func() { cancel(); return func() { <-ended } }
	go func() {
		defer close(ended)
		for version := 1; ctx.Err() == nil; version++ {
			w.mu.Lock()
			w.runs = append(w.runs, updateRun{version: version, begin: time.Now()})
			i := len(w.runs) - 1
			w.mu.Unlock()
			for ctx.Err() == nil {
				said, ok := w.update(w.from.Load(), version)
				w.mu.Lock()
				r := &w.runs[i]
				if r.end, r.done = time.Now(), ok; !ok {
					r.failures = append(r.failures, said)
				}
				w.mu.Unlock()
				if ok {
					break
				}
				time.Sleep(200 * time.Millisecond) // not a wait for anything: a user who tries again
			}
		}
	}()
}

// update gives one update at a manager, and returns what it said.
func (w *badWorld) update(n *node, version int) (said string, ok bool) {
	out := &spoken{}
	w.saying.Store(out)
	cmd := n.command("up", n.write("ten", describeBad(version)), "-y")
	cmd.Stdout, cmd.Stderr = out, out
	fmt.Fprintf(out, "version %d at %s\n", version, n.name)
	err := cmd.Start()
	if err == nil {
		hung := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
		defer hung.Stop()
		err = cmd.Wait()
	}
	if err != nil {
		fmt.Fprintln(out, err)
	}
	return out.String(), err == nil
}

// spoken is what a command has said so far.
type spoken struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// updated waits for an update that was begun after now and has ended well.
func (w *badWorld) updated() {
	w.t.Helper()
	since := time.Now()
	for ; time.Since(since) < 90*time.Second; time.Sleep(20 * time.Millisecond) {
		w.mu.Lock()
		done := slices.ContainsFunc(w.runs, func(r updateRun) bool { return r.done && r.begin.After(since) })
		w.mu.Unlock()
		if done {
			return
		}
	}
	w.t.Fatalf("no update that was begun since %s has ended; the newest says\n%s", since.Format(time.TimeOnly), w.saying.Load())
}

// day lets something bad happen, and shows that the update goes on: what is
// under way ends, and so does what begins after. refused is a day on which a
// user may be told to try again.
func (w *badWorld) day(name string, refused bool, happens func()) {
	w.t.Helper()
	ok := w.t.Run(name, func(t *testing.T) {
		outer := w.t
		w.setT(t)
		defer w.setT(outer)
		begin := time.Now()
		happens()
		w.updated()
		w.mu.Lock()
		var longest time.Duration
		var failures []string
		n := 0
		for _, r := range w.runs {
			if r.done && r.end.After(begin) {
				longest = max(longest, r.end.Sub(r.begin))
				failures = append(failures, r.failures...)
				n++
			}
		}
		w.mu.Unlock()
		t.Logf("DAY %-22s %5.1f s, longest update %5.1f s of %d, %d tries failed", name, time.Since(begin).Seconds(), longest.Seconds(), n, len(failures))
		for _, f := range failures {
			if t.Logf("an up failed: %s", tail(f, 6)); !refused {
				t.Fail()
			}
		}
		w.whole()
	})
	if !ok {
		w.t.FailNow()
	}
}

func (w *badWorld) setT(t *testing.T) {
	w.t, w.host.lan.t = t, t
	for _, n := range w.all() {
		n.t = t
	}
}

// whole fails unless all is there once, and as described.
func (w *badWorld) whole() {
	w.t.Helper()
	if m, s := processes(w.t, w.host.id()); m != badMachines || s != badMachines {
		w.t.Errorf("%d machines and %d processes, want %d of each", m, s, badMachines)
	}
}

// owner returns the manager that owns the system, as some manager sees it.
func (w *badWorld) owner() *node {
	w.t.Helper()
	var found *node
	eventually(w.t, 20*time.Second, "the system has an owner", func() bool {
		for _, m := range w.managers {
			var all []api.System
			out, err := m.command("systems", "-o", "json").Output()
			if err != nil || !jsonOf(out, &all) || len(all) != 1 || all[0].Owner == nil {
				continue
			}
			for _, o := range w.managers {
				if o.name == all[0].Owner.Name {
					found = o
				}
			}
			return found != nil
		}
		return false
	})
	return found
}

// other returns a manager that n is not.
func (w *badWorld) other(n *node) *node {
	return w.managers[slices.IndexFunc(w.managers, func(m *node) bool { return m != n })]
}

// daemonPID returns the id of a node's daemon without asking it.
func (n *node) daemonPID() int {
	n.t.Helper()
	pid, ok := n.daemon()
	if !ok {
		n.t.Fatalf("no daemon of %s runs", n.name)
	}
	return pid
}

func (n *node) daemon() (pid int, ok bool) {
	for _, dir := range glob(n.t, "/proc/[0-9]*") {
		args, _ := os.ReadFile(dir + "/cmdline")
		words := strings.Split(string(args), "\x00")
		if slices.Contains(words, n.dir) && slices.Contains(words, "daemon") && slices.Contains(words, "run") {
			if _, err := fmt.Sscan(filepath.Base(dir), &pid); err == nil && alive(pid) {
				return pid, true
			}
		}
	}
	return 0, false
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// end leaves nothing of the world, however far the test came.
func (w *badWorld) end() {
	ended := w.stop()
	endNodes(w.t, w.host, w.managers, ended)
}

// endNodes leaves nothing of a host and managers, however far a test came; ended
// waits for the end of what calls them. What a failed test has left is killed: a
// system cannot be ended in order where the test has just found that something
// does not work.
func endNodes(t *testing.T, host *node, managers []*node, ended func()) {
	failed := t.Failed()
	id, err := os.ReadFile(filepath.Join(host.dir, "home-id"))
	all := append(slices.Clone(managers), host)
	for _, n := range all {
		if failed {
			log, _ := os.ReadFile(filepath.Join(n.dir, "daemon.log"))
			t.Logf("daemon.log of %s:\n%s", n.name, tail(string(log), 60))
		}
		if pid, ok := n.daemon(); ok && failed {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		} else if ok {
			n.do("daemon", "stop")
		}
	}
	ended()
	for _, n := range all { // an update under way may have started it again
		if pid, ok := n.daemon(); ok {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if failed && err == nil {
		removeMachines(t, host, strings.TrimSpace(string(id)))
	}
}

// removeMachines kills the machines of a host's home, and removes what they leave.
func removeMachines(t *testing.T, host *node, id string) {
	for range 3 { // the keeper of one may be starting another
		for _, pid := range bearers(t, id) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if err := os.RemoveAll(host.dir); err != nil { // a home that exists looks after itself
		t.Error(err)
	}
	sweeper := newHome(t)
	sweeper.do("daemon", "start")
	sweeper.do("doctor", "--fix", "-y", "--home-id", id)
}
