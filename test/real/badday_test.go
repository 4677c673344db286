package real

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

// TestBadDays has the bad days of doc/operations.md happen one after the
// other, while an update of ten machines is always under way. Where the system
// looks as described at the end, and the ledger is balanced, nothing was lost
// or doubled.
func TestBadDays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	w := newBadWorld(t)
	w.keepUpdating()
	w.day("quiet", false, w.updated)
	w.killings()
	w.networks()
	w.callers()
	w.disks()
	w.clocks()
	w.stop()()
	w.balanced()
}

func (w *badWorld) killings() {
	w.day("owner-killed", false, func() {
		o := w.owner()
		kill(w.t, o.daemonPID())
		w.updated()
		o.do("daemon", "start")
	})
	w.day("other-manager-killed", false, func() {
		o := w.other(w.owner())
		kill(w.t, o.daemonPID())
		w.updated()
		o.do("daemon", "start")
	})
	w.day("host-killed", true, func() {
		kill(w.t, w.host.daemonPID())
		time.Sleep(3 * time.Second) // the bad day lasts
		w.host.do("daemon", "start")
	})
	w.day("machine-daemon-killed", true, func() {
		w.managers[0].try("exec", "ten/m3", "--", "sh", "-c", "kill -9 $PPID")
	})
	w.day("all-managers-killed", true, func() {
		for _, m := range w.managers {
			_ = syscall.Kill(m.daemonPID(), syscall.SIGKILL)
		}
		time.Sleep(2 * time.Second) // the bad day lasts
		var wg sync.WaitGroup
		for _, m := range w.managers {
			wg.Go(func() {
				if out, status := m.try("daemon", "start"); status != 0 {
					w.t.Errorf("%s: %s", m.name, out)
				}
			})
		}
		wg.Wait()
	})
	w.day("owner-stopped", true, func() {
		o := w.owner()
		w.updateAt(w.other(o))
		pid := o.daemonPID()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			w.t.Fatal(err)
		}
		w.updated()
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			w.t.Fatal(err)
		}
	})
}

func (w *badWorld) networks() {
	w.day("manager-cut-off", true, func() {
		o := w.owner()
		w.updateAt(w.other(o))
		w.updated() // one that was given there waits as long as it is cut off
		o.cut(true)
		eventually(w.t, 20*time.Second, "the one cut off refuses changes", func() bool {
			out, status := o.try("cluster", "token", "--role", "host")
			return status != 0 && (strings.Contains(out, "majority") || strings.Contains(out, "quorum"))
		})
		if out, status := o.try("systems"); status != 0 || !strings.Contains(out, "ten") {
			w.t.Errorf("the one cut off does not read: exit %d\n%s", status, out)
		}
		w.updated()
		o.cut(false)
	})
	w.day("host-cut-off", true, func() {
		w.host.cut(true)
		time.Sleep(6 * time.Second) // the bad day lasts
		w.host.cut(false)
	})
	w.day("peer-swallows", true, func() {
		o := w.other(w.owner())
		w.updateAt(w.other(o))
		w.updated() // what was begun on it has ended, and does not start its daemon again
		kill(w.t, o.daemonPID())
		calls, store := o.swallow("7400"), o.swallow("7401")
		w.updated()
		calls()
		store()
		o.do("daemon", "start")
	})
}

func (w *badWorld) callers() {
	var cut func()
	w.day("never-reads", false, func() { cut = w.neverReads() })
	w.day("strangers", false, w.strangers)
	w.day("watchers", false, w.watchers)
	w.day("malformed", false, w.malformed)
	w.day("tokens", false, w.tokens)
	w.day("repeated", false, w.repeated)
	w.day("machine-as-caller", false, w.machineCalls)
	w.day("never-reads-is-cut", false, func() { cut() })
}

func (w *badWorld) disks() {
	w.day("disk-full", true, func() {
		c := w.managers[2]
		w.updateAt(w.managers[0])
		c.fill(0)
		c.refusesChanges("is full")
		w.updated()
		c.makeRoom()
		c.takesChanges()
	})
	w.day("folder-turns-read-only", true, func() {
		c := w.managers[2]
		c.readOnly(true)
		c.refusesChanges("read-only")
		w.updated()
		c.readOnly(false)
		c.takesChanges()
	})
	w.day("starts-read-only", false, func() {
		c := w.managers[2]
		kill(w.t, c.daemonPID())
		c.readOnly(true)
		if out, status := c.try("daemon", "start"); status != 1 || !strings.Contains(out, "read-only") {
			w.t.Errorf("start in a folder that is read-only: exit %d\n%s", status, out)
		}
		w.updated()
		c.readOnly(false)
		c.do("daemon", "start")
	})
}

// readOnly has the home's folder read-only from now on, or as it was. What a
// daemon has opened before stays open.
func (n *node) readOnly(is bool) {
	n.t.Helper()
	if !is {
		within(n.t, n.pid, "umount -l "+n.dir)
		return
	}
	eventually(n.t, 10*time.Second, n.dir+" is read-only", func() bool {
		within(n.t, n.pid, "mount --bind "+n.dir+" "+n.dir)
		if tryWithin(n.pid, "mount -o remount,bind,ro "+n.dir) == nil {
			return true
		}
		// The daemon has opened a file for writing by the new mount.
		within(n.t, n.pid, "umount -l "+n.dir)
		return false
	})
}

// aChange is a request that changes something, and little.
const aChange = `{"role":"host","ttl":1}`

// refusesChanges waits until the manager answers a change with 503 and a reason.
func (n *node) refusesChanges(reason string) {
	n.t.Helper()
	var said string
	eventually(n.t, 20*time.Second, n.name+" refuses changes: "+reason, func() bool {
		a := n.ask("POST", "/v1/cluster/tokens", aChange, nil)
		said = a.text
		return a.status == http.StatusServiceUnavailable && strings.Contains(a.text, reason)
	})
	n.t.Logf("%s says: %s", n.name, said)
}

// takesChanges waits until the manager takes changes, which it does by itself.
func (n *node) takesChanges() {
	n.t.Helper()
	eventually(n.t, 60*time.Second, n.name+" takes changes again", func() bool {
		return n.ask("POST", "/v1/cluster/tokens", aChange, nil).status < 300
	})
}

// balanced fails unless the ledger, the provider and what is described agree;
// then it ends the system, and nothing may be left.
func (w *badWorld) balanced() {
	t, a := w.t, w.managers[0]
	last := w.runs[len(w.runs)-1].version
	file := a.write("ten", describeBad(last+1))
	a.do("up", file, "-y")
	st := a.status("ten")
	if st.State != api.SystemRunning || len(st.Machines) != badMachines {
		t.Errorf("the system is %s on %d machines", st.State, len(st.Machines))
	}
	hc := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: w.host.dial, DisableKeepAlives: true}}
	var endpoints []api.Endpoint
	a.json(&endpoints, "endpoints", "ten")
	if len(endpoints) != badMachines {
		t.Errorf("%d endpoints", len(endpoints))
	}
	for _, e := range endpoints {
		res, err := hc.Get(e.URI)
		if err != nil {
			t.Error(err)
			continue
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want := fmt.Sprintf("version %d", last+1); err != nil || strings.TrimSpace(string(text)) != want {
			t.Errorf("%s says %q, %v; want %q", e.Path, text, err, want)
		}
	}
	w.doctors(badMachines)
	w.whole()
	a.do("down", "ten", "-y")
	w.doctors(0)
	for _, thing := range left(t, w.host.id()) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}

// doctors asks every manager what is wrong on its host, and compares the list
// of machines with what is wanted. The host's ledger shows in that list, and
// its provider's in whole.
func (w *badWorld) doctors(inUse int) {
	var list []api.Machine
	if w.managers[0].json(&list, "machines"); len(list) != inUse {
		w.t.Errorf("%d machines are listed, want %d", len(list), inUse)
	}
	for _, n := range w.managers {
		var r api.DoctorReport // its status is 1 where something is wrong on this host
		if out, err := n.command("doctor", "-o", "json").Output(); !jsonOf(out, &r) {
			w.t.Fatalf("doctor at %s: %v\n%s", n.name, err, out)
		}
		if kinds, _ := of(r, n.id()); len(kinds) > 0 {
			w.t.Errorf("left over at %s: %v", n.name, kinds)
		}
		for _, c := range r.Checks {
			if c.State == api.CheckError {
				w.t.Errorf("%s: %s: %s", n.name, c.Name, c.Detail)
			}
		}
	}
}
