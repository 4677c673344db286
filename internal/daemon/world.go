package daemon

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"aloft/component"
	"aloft/internal/agent"
	"aloft/internal/journal"
	"aloft/internal/peer"
	"aloft/internal/store"
	"aloft/provider"
)

// World is what a daemon finds around it. A daemon in a simulated world is
// built and wired as a real one is, and differs from it in these values alone.
type World struct {
	Dir     string // state folder, absolute, not shared with another daemon
	Journal journal.Rows
	Network *peer.Host // place on a simulated network; nil: the real one

	Hostname  string
	Address   string // that other machines reach this one by
	Isolation bool   // it has a root file system of its own

	// Managers manage the component classes of machines; Serve, if not nil, is
	// what they need running beside them.
	Managers []component.Manager
	Serve    func(context.Context) error

	// Now tells the time by this host's clock, which may be wrong, and be set while
	// the daemon runs: certificates, tokens, rows and events have such times, and
	// nothing else counts by it. Nil: package time's.
	Now   func() time.Time
	Clock agent.Clock // of tenures; nil: that of this machine's boots
	// Leash has all that runs on this machine ended at a time of that clock,
	// unless it is called again before; 0 is never. Nil: nobody would.
	Leash func(until time.Duration) error

	Build string // version of the program
	Log   *slog.Logger
}

// Seat is a daemon as a member of its cluster.
type Seat struct {
	Name     string       // "" is that of its host
	Roles    []string     // manage, host; nil: both
	Listen   string       // host:port, as other members dial it; "": they cannot
	Listener net.Listener // what listens there; nil: nothing

	// Orphans is what becomes of those that are found at the start: adopt,
	// destroy or keep. "" is adopt.
	Orphans string

	// Become writes down that the daemon has other roles from its next start
	// on, as which it joins with a token, by way of a manager. Nil: it keeps
	// its roles.
	Become func(roles []string, token, address string) error
}

// ManagerWorld is what a managing daemon finds around it.
type ManagerWorld struct {
	World
	Seat
	HomeID    string // eight hexadecimal digits, in the names of everything made outside
	MachineID string // of this daemon (UUID)
	Store     store.KV
	// StoreMembers are those that keep the store; nil: it has no members.
	StoreMembers StoreMembers
	StorePeer    string              // host:port where other managers' stores reach this one's
	Providers    []provider.Provider // enabled modules, in order of preference
	Gateways     Gateways
	Residue      Residue       // nil: machines leave nothing on this host
	NewID        func() string // of plans and machines (UUIDs)
}

// MachineWorld is what the daemon of a machine finds around it.
type MachineWorld struct {
	World
	UserData []byte       // what its maker handed it
	Listener net.Listener // where managers dial it; nil: they cannot
}

// Gateways lets machines reach a manager, at the addresses that lead from
// where they are made to this host.
type Gateways interface {
	// Run listens at what was and will be opened, until ctx ends: serve is
	// called for each listener and returns when it is closed or ctx ends.
	Run(ctx context.Context, serve func(context.Context, net.Listener) error) error
	// Open opens the way for the machines that are made now, if it is not
	// open. Run must be running.
	Open(ctx context.Context) (Gateway, error)
	// Contacts returns where machines reach this manager, host:port.
	Contacts() []string
}

// Gateway is one way from machines to this host.
type Gateway struct {
	Contact   string // host:port
	Proxy     string // "http://host:port" of the package proxy, or ""
	Isolation bool   // the machines have root file systems of their own
}

// name returns the daemon's name as a member.
func (w *ManagerWorld) name() string {
	if w.Name == "" {
		return w.Hostname
	}
	return w.Name
}

// clock returns what tenures are measured by.
func (w *World) clock() agent.Clock {
	if w.Clock != nil {
		return w.Clock
	}
	return bootClock()
}

// now is this host's time.
func (w *World) now() time.Time {
	if w.Now != nil {
		return w.Now()
	}
	return time.Now()
}

// path returns a place in the state folder.
func (w *World) path(names ...string) string {
	return filepath.Join(append([]string{w.Dir}, names...)...)
}
