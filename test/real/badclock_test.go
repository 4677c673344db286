package real

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"aloft/api"
)

// clocks are the days on which the clocks of daemons are wrong, or have gone on
// past the end of what they were given.
func (w *badWorld) clocks() {
	const off = 10 * time.Minute
	w.day("clock-of-a-manager", false, func() {
		o := w.owner()
		w.updateAt(w.other(o))
		for _, by := range []time.Duration{off, -off} {
			o.clock(by) // while it runs
			w.updated()
			o.do("daemon", "stop")
			o.do("daemon", "start") // all its sessions are made by that clock
			w.in(o)
			w.updateAt(o)
			w.updated()
		}
		o.clock(0)
	})
	w.day("clock-of-a-host", false, func() {
		for _, by := range []time.Duration{off, -off} {
			w.host.clock(by) // and that of its machines
			w.updated()
			w.host.do("daemon", "stop")
			w.host.do("daemon", "start")
			w.updated()
		}
		w.host.clock(0)
	})
	w.day("a-day-passes", true, func() {
		// As when all were asleep: every certificate has expired, of daemons that
		// run and of two that do not.
		down := w.other(w.owner())
		w.updateAt(w.other(down))
		w.updated()
		for _, n := range []*node{down, w.host} {
			kill(w.t, n.daemonPID())
		}
		for _, n := range w.all() {
			n.clock(25 * time.Hour)
		}
		for _, n := range []*node{down, w.host} {
			n.do("daemon", "start")
		}
		w.in(down)
		w.updated()
	})
	w.day("clock-a-day-ahead", true, func() {
		// By it, the certificates of all others have expired, and what this
		// manager makes for itself is good from tomorrow on.
		owner := w.owner()
		o := w.other(owner)
		w.updateAt(owner)
		w.updated()
		o.clock(50 * time.Hour)
		eventually(w.t, 60*time.Second, o.name+" says that its clock was set", func() bool {
			return strings.Contains(o.log(), "the clock was set")
		})
		w.updated()
		o.clock(25 * time.Hour)
		w.in(o)
		w.updateAt(o)
		w.updated()
	})
}

// log returns what the node's daemon has written.
func (n *node) log() string {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "daemon.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text)
}

// in waits until all other managers see a manager at work.
func (w *badWorld) in(n *node) {
	w.t.Helper()
	eventually(w.t, 60*time.Second, n.name+" is in", func() bool {
		for _, m := range w.managers {
			var list []api.Member
			out, err := m.command("cluster", "members", "-o", "json").Output()
			if err != nil || !jsonOf(out, &list) {
				return false
			}
			for _, one := range list {
				if one.Name == n.name && one.State != api.MemberReady {
					return false
				}
			}
		}
		return true
	})
}
