package peer

import (
	"net"
	"sync/atomic"
	"time"
)

const (
	// A daemon is probed once a second when nothing comes from it, and given up
	// after three. A daemon with many sessions asks for fewer probes: 500 a second
	// for all of them, as long as each gets one in 15 s.
	probeMost    = time.Second
	probeLeast   = 15 * time.Second
	probePer     = 2 * time.Millisecond
	silentProbes = 3
	silence      = (silentProbes + 1) * probeMost // after which, at the latest, a daemon with few sessions notices a dead connection
	stuckTime    = 30 * time.Second               // for what yamux sends; watch is quicker where the other end is silent
)

// wantedProbes is how often, at most, this daemon wants to be probed in a
// session.
func (n *Node) wantedProbes() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return min(max(time.Duration(len(n.links))*probePer, probeMost), probeLeast)
}

// probeTime is how often a session is probed that begins with these hellos.
func probeTime(ours, theirs hello) time.Duration {
	wanted := time.Duration(max(ours.versions.ProbeMilliseconds, theirs.versions.ProbeMilliseconds)) * time.Millisecond
	return min(max(wanted, probeMost), probeLeast)
}

// heard is a connection that notes whether anything came.
type heard struct {
	net.Conn
	since atomic.Bool
}

func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if n > 0 {
		h.since.Store(true)
	}
	return n, err
}

// watch closes a link whose other end is silent: at three looks in a row nothing
// had come since the one before, though the second and third were preceded by a
// probe. Any byte is a sign of life, so that a probe behind much data is no false
// alarm; and looks are counted, not time, so that neither is a pause of this
// process: stopped, starved, or asleep with its machine. It is a timer and not a
// goroutine, which would cost 3 KiB a session.
func (w *muxWire) watch(l *link) {
	var timer *time.Timer
	silent := 0
	var probing atomic.Bool
	look := func() {
		if w.heard.since.Swap(false) {
			silent = 0
		} else if silent++; silent >= silentProbes {
			l.node.cfg.Log.Info("peer is silent", "peer", l.remote.String(), "time", silentProbes*w.probes)
			l.close()
			return
		} else if probing.CompareAndSwap(false, true) {
			l.node.start(func() {
				defer probing.Store(false)
				w.mux.Ping() // what comes of it, heard tells
			})
		}
		select {
		case <-l.done:
		default:
			timer.Reset(w.probes)
		}
	}
	begin := make(chan struct{})
	timer = time.AfterFunc(w.probes, func() {
		<-begin
		l.node.start(look)
	})
	close(begin)
}
