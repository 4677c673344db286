package real

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

// lostWorld is three managers and two hosts, each in a network of its own, on
// two switches: what the cable between these connects is one side of a
// partition each, and both live.
type lostWorld struct {
	t        *testing.T
	managers []*node // a and b stay with the host that is new, c with the old one
	old, new *node
	systems  map[string]string // by name: what its process sleeps for, which tells it from others

	mu      sync.Mutex
	doubled map[string]string // by system: when two were seen
}

// lostSystem describes a machine with a process.
func lostSystem(says, sleeps, more string) string {
	return fmt.Sprintf("sfConfig extends {\n  m extends VM { %s p extends Process { command [| \"sleep\", %q |]; %s } }\n}\n", says, sleeps, more)
}

// newLostWorld deploys systems on the old host, before there is a new one.
func newLostWorld(t *testing.T, systems map[string][2]string) *lostWorld {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
	l := newLAN(t)
	l.ip("link add br1 type bridge")
	l.ip("link set br1 up")
	l.ip("link add between type veth peer name between1")
	l.ip("link set between master br0 up")
	l.ip("link set between1 master br1 up")
	w := &lostWorld{t: t, systems: map[string]string{}, doubled: map[string]string{}}
	for i, name := range []string{"a", "b", "c"} {
		w.managers = append(w.managers, l.node(name, i+1, false))
	}
	w.old, w.new = l.node("old", 4, false), l.node("new", 5, false)
	t.Cleanup(w.end) // before the homes'
	for _, n := range []*node{w.managers[2], w.old} {
		l.ip("link set to-" + n.name + " master br1")
	}
	a := w.managers[0]
	a.do("cluster", "init", "--role", "manage", "--listen", a.address+":7400", "--name", "a")
	w.joins(w.managers[1], "manage")
	w.joins(w.managers[2], "manage")
	w.joins(w.old, "host")
	var wg sync.WaitGroup
	for i, name := range slices.Sorted(maps.Keys(systems)) {
		w.systems[name] = strconv.Itoa(86_001 + i)
		file := a.write(name, lostSystem(systems[name][0], w.systems[name], systems[name][1]))
		wg.Go(func() {
			if out, status := a.try("up", file, "-y"); status != 0 {
				t.Errorf("up %s: exit %d\n%s", name, status, out)
			}
		})
	}
	wg.Wait()
	for name := range systems {
		w.expect(name, w.old)
	}
	w.joins(w.new, "host")
	if t.Failed() {
		t.FailNow()
	}
	return w
}

// end leaves nothing, also of a test that failed.
func (w *lostWorld) end() {
	w.split(false)
	defer endNodes(w.t, w.old, w.managers, func() {})
	defer endNodes(w.t, w.new, nil, func() {})
	for name := range w.systems {
		if out, status := w.managers[0].try("down", name, "-y", "--now"); status != 0 && !strings.Contains(out, "no system") {
			w.t.Errorf("clean up %s: %s", name, out)
		}
	}
}

func (w *lostWorld) joins(n *node, role string) {
	n.join(w.managers[0].home, w.managers[0].address+":7400", n.address+":7400", role, n.name)
}

// split parts the two sides, or puts them together again.
func (w *lostWorld) split(apart bool) {
	w.t.Helper()
	w.old.lan.ip("link set between" + map[bool]string{true: " down", false: " up"}[apart])
}

// running lists the processes of systems, by system and host.
func (w *lostWorld) running() map[string]map[*node][]int {
	spaces := map[string]*node{} // of machines' processes
	sleepers := map[int]string{} // by process: its system
	for _, dir := range glob(w.t, "/proc/[0-9]*") {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		args, _ := os.ReadFile(dir + "/cmdline")
		words := strings.Split(string(args), "\x00")
		switch {
		case len(words) > 3 && words[1] == "init":
			space, _ := os.Readlink(dir + "/ns/pid")
			for _, n := range []*node{w.old, w.new} {
				if id, err := os.ReadFile(filepath.Join(n.dir, "home-id")); err == nil && slices.Contains(words, strings.TrimSpace(string(id))) {
					spaces[space] = n
				}
			}
		case len(words) > 1 && words[0] == "sleep" && alive(pid):
			for name, sleeps := range w.systems {
				if words[1] == sleeps {
					sleepers[pid] = name
				}
			}
		}
	}
	all := map[string]map[*node][]int{}
	for pid, name := range sleepers {
		space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		if err != nil || spaces[space] == nil {
			continue // of another test, or just ended
		}
		if all[name] == nil {
			all[name] = map[*node][]int{}
		}
		all[name][spaces[space]] = append(all[name][spaces[space]], pid)
	}
	return all
}

// on reports whether a system's process runs on these hosts, once on each, and
// nowhere else.
func (w *lostWorld) on(system string, want ...*node) bool {
	at := w.running()[system]
	for _, n := range want {
		if len(at[n]) != 1 {
			return false
		}
	}
	return len(at) == len(want)
}

func (w *lostWorld) expect(system string, want ...*node) {
	w.t.Helper()
	if !w.on(system, want...) {
		w.t.Errorf("%s runs as %s, want it on %s", system, w.places(system), names(want))
	}
}

func (w *lostWorld) places(system string) string {
	var text []string
	for n, pids := range w.running()[system] {
		text = append(text, fmt.Sprint(n.name, pids))
	}
	slices.Sort(text)
	return "[" + strings.Join(text, " ") + "]"
}

func names(nodes []*node) (list []string) {
	for _, n := range nodes {
		list = append(list, n.name)
	}
	return list
}

// watch notes every system of which two run, until stop is called.
func (w *lostWorld) watch() (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		begun := time.Now()
		for {
			for name, at := range w.running() {
				if n := len(at[w.old]) + len(at[w.new]); n > 1 {
					w.mu.Lock()
					if w.doubled[name] == "" {
						w.doubled[name] = fmt.Sprintf("%d ran after %s", n, time.Since(begun).Round(time.Millisecond))
					}
					w.mu.Unlock()
				}
			}
			select {
			case <-over:
				return
			case <-time.After(100 * time.Millisecond): // between two looks
			}
		}
	}()
	return sync.OnceFunc(func() { close(over); <-ended })
}

// machinesOn counts the machines of a host.
func (w *lostWorld) machinesOn(n *node) int {
	machines, _ := processes(w.t, n.id())
	return machines
}

// tell fails unless each of these managers tells soon that just these machines
// do not answer.
func (w *lostWorld) tell(managers []*node, silent ...string) {
	w.t.Helper()
	for _, n := range managers {
		var said []string
		defer func() { // also where the next line does not return
			if w.t.Failed() {
				w.t.Logf("%s said %v last", n.name, said)
			}
		}()
		eventually(w.t, 20*time.Second, fmt.Sprintf("%s tells that these do not answer: %v", n.name, silent), func() bool {
			var list []api.Machine
			n.json(&list, "machines")
			said = nil
			for _, m := range list {
				if m.State != api.MachineRunning {
					said = append(said, m.System+" "+m.State)
				}
			}
			slices.Sort(said)
			return len(list) == len(w.systems) && slices.Equal(said, silent)
		})
	}
}

// machineDaemon returns the process of the daemon on the machine of a system.
func (w *lostWorld) machineDaemon(system string) int {
	w.t.Helper()
	for _, pids := range w.running()[system] {
		space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pids[0]))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, dir := range glob(w.t, "/proc/[0-9]*") {
			args, _ := os.ReadFile(dir + "/cmdline")
			if s, _ := os.Readlink(dir + "/ns/pid"); s == space && strings.Contains(string(args), "daemon\x00run\x00--machine") {
				pid, _ := strconv.Atoi(filepath.Base(dir))
				return pid
			}
		}
	}
	w.t.Fatalf("no daemon on the machine of %s", system)
	return 0
}

// HL1 HL2 HL3 HL4: there is a partition with managers, a host and machines alive on
// both of its sides, and a machine whose daemon hangs meanwhile. At no instant
// do two copies run of what does not say that it keeps running.
func TestHL1HL2HL3HL4LostHosts(t *testing.T) {
	const stop = `sfOnIsolation "stop"; sfTenure 30;`
	w := newLostWorld(t, map[string][2]string{
		"silent": {"", ""},
		"stop":   {stop, ""},
		"hung":   {stop, ""},
		"keep":   {`sfOnIsolation "keep"; sfTenure 30;`, ""},
		"data":   {"sfTenure 30;", "keepOnTerminate true;"},
	})
	a := w.managers[0]
	w.tell(w.managers) // also who has no session with them
	silent := w.running()["silent"][w.old]
	unwatch := w.watch()
	defer unwatch()
	hung := w.machineDaemon("hung")
	if err := syscall.Kill(hung, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.split(true)
	cut := time.Now()
	for _, name := range []string{"stop", "hung"} {
		eventually(t, 90*time.Second, name+" runs on the new host", func() bool { return w.on(name, w.new) })
		t.Logf("%s was placed again after %s", name, time.Since(cut).Round(100*time.Millisecond))
	}
	eventually(t, 90*time.Second, "keep runs on both hosts", func() bool { return w.on("keep", w.old, w.new) })
	w.expect("silent", w.old)
	w.expect("data")
	w.tell(w.managers[:2], "data lost", "silent lost")
	t.Logf("HL1: %s; HL3: %s", component(t, a.status("silent"), "m").Reason, component(t, a.status("data"), "m").Reason)
	_ = syscall.Kill(hung, syscall.SIGCONT) // it may have been ended
	w.split(false)
	eventually(t, 60*time.Second, "keep is ended on the old host", func() bool { return w.on("keep", w.new) })
	eventually(t, 60*time.Second, "data is brought back", func() bool { return w.on("data", w.old) })
	for _, name := range []string{"stop", "hung"} {
		w.expect(name, w.new)
	}
	if now := w.running()["silent"][w.old]; !slices.Equal(now, silent) {
		t.Errorf("HL1: %v became %v", silent, now)
	}
	eventually(t, 60*time.Second, "what was placed again is destroyed on the old host", func() bool { return w.machinesOn(w.old) == 2 })
	unwatch()
	for name, when := range w.doubled {
		if name != "keep" {
			t.Errorf("two of %s: %s", name, when)
		}
	}
	w.tell(w.managers)
	for name := range w.systems {
		a.do("down", name, "-y")
	}
}
