package peer

import (
	"slices"
	"sync"
	"time"
)

// gate holds up the messages on some roads until it opens.
type gate struct {
	blocks func(road) bool
	open   chan struct{}
}

// Delay makes every message take between min and max from now on.
func (w *Network) Delay(min, max time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.min, w.max = min, max
}

// Loss makes this share of messages, 0 to 1, be lost from now on, and the
// connection they are sent on break: a call whose question is lost has had no
// effect, one whose answer is lost has.
func (w *Network) Loss(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss = share
}

// Duplicate makes this share of calls, 0 to 1, arrive twice from now on, each
// time after a delay of its own: the second after the first was answered, or
// before it arrives. Streams arrive once.
func (w *Network) Duplicate(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.twice = share
}

// again rolls the dice for a second arrival.
func (w *Network) again(r route) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.twice > 0 && w.dice(r[0], 1).Float64() < w.twice
}

// hold keeps calls back.
type hold struct {
	way    road
	match  func(method string) bool
	parked []func() // what delivers each; guarded by the network's mu
}

// Hold keeps back the calls from one host to another whose full method name
// matches, until release is called, which may be done once. They are delivered
// then, whatever became of their caller and of its connection, and to the daemon
// that is at the other host by that time: a command of a manager that is none any
// more. A caller that still waits gets the answer. Streams are not kept back.
func (w *Network) Hold(from, to string, match func(method string) bool) (release func()) {
	h := &hold{way: road{from, to}, match: match}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holds = append(w.holds, h)
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.holds = slices.DeleteFunc(w.holds, func(o *hold) bool { return o == h })
		parked := h.parked
		h.parked = nil
		w.mu.Unlock()
		for _, deliver := range parked {
			deliver()
		}
	})
}

// park keeps a call back if it is to be. It reports whether it did.
func (w *Network) park(r route, method string, deliver func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.holds {
		if h.way == (road{r[0].from, r[len(r)-1].to}) && h.match(method) {
			h.parked = append(h.parked, deliver)
			return true
		}
	}
	return false
}

// Stall keeps back everything that one host sends another until release is
// called.
func (w *Network) Stall(from, to string) (release func()) {
	return w.block(func(r road) bool { return r == road{from, to} })
}

// Cut severs two hosts from each other until heal is called. Connections that
// are cut for longer than probes take to notice break.
func (w *Network) Cut(a, b string) (heal func()) {
	return w.sever(func(r road) bool { return r == road{a, b} || r == road{b, a} })
}

// CutOneWay lets nothing from one host reach another until heal is called; the
// other direction works, but for what needs an answer.
func (w *Network) CutOneWay(from, to string) (heal func()) {
	return w.sever(func(r road) bool { return r == road{from, to} })
}

// Filter lets nobody dial a host until heal is called, as a firewall does that
// lets connections out alone. Connections there are stay.
func (w *Network) Filter(host string) (heal func()) {
	h := w.Host(host)
	h.filter(1)
	return sync.OnceFunc(func() { h.filter(-1) })
}

// Isolate severs a host from all others until heal is called.
func (w *Network) Isolate(host string) (heal func()) {
	return w.sever(func(r road) bool { return r.from != r.to && (r.from == host || r.to == host) })
}

// Break breaks every connection between two hosts at once, as a router that
// forgets them does.
func (w *Network) Break(a, b string) {
	w.breakWhere(func(r road) bool { return r == road{a, b} || r == road{b, a} })
}

func (w *Network) block(blocks func(road) bool) (open func()) {
	g := &gate{blocks: blocks, open: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gates[g] = struct{}{}
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.gates, g)
		close(g.open)
	})
}

func (w *Network) sever(blocks func(road) bool) (heal func()) {
	open := w.block(blocks)
	timer := time.AfterFunc(silence, func() { w.breakWhere(blocks) })
	return func() {
		timer.Stop()
		open()
	}
}

func (w *Network) breakWhere(match func(road) bool) {
	w.mu.Lock()
	var broken []*simConn
	for c := range w.conns {
		if slices.ContainsFunc(c.ends[0].route, match) || slices.ContainsFunc(c.ends[1].route, match) {
			broken = append(broken, c)
		}
	}
	w.mu.Unlock()
	for _, c := range broken {
		c.sever()
	}
}
