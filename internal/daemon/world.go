package daemon

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"

	"aloft/component"
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

	Build string // version of the program
	Log   *slog.Logger
}

// ManagerWorld is what a managing daemon finds around it.
type ManagerWorld struct {
	World
	HomeID    string // eight hexadecimal digits, in the names of everything made outside
	MachineID string // of this daemon (UUID)
	Store     store.KV
	Providers []provider.Provider // enabled modules, in order of preference
	Gateways  Gateways
	Residue   Residue       // nil: machines leave nothing on this host
	NewID     func() string // of plans and machines (UUIDs)
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

// path returns a place in the state folder.
func (w *World) path(names ...string) string {
	return filepath.Join(append([]string{w.Dir}, names...)...)
}
