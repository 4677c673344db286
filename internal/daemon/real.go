package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"aloft/internal/drivers/local"
	"aloft/internal/journal"
	"aloft/internal/member"
	"aloft/internal/peer"
	"aloft/internal/server"
	"aloft/provider"
)

// runManager runs the managing daemon of a home on this host.
func runManager(ctx context.Context, h *home, o Options, is settings, log *slog.Logger) (err error) {
	listener, err := is.listener()
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
	}
	rows, err := openStore(ctx, h, o, is, log)
	if err != nil {
		return err
	}
	defer rows.Close()
	file, err := journal.Open(h.path("journal.db"))
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	t := newTools(log)
	w := ManagerWorld{
		World: World{
			Dir: h.dir, Journal: file, Hostname: hostname, Address: is.address(), Isolation: os.Geteuid() == 0,
			Managers: machineManagers(t, binary), Serve: together(t.processes.Run, rotating(o.Log, log)), Build: o.Version, Log: log,
		},
		Seat:   Seat{Name: is.Name, Roles: is.Roles, Listen: is.Listen, Listener: listener, Orphans: is.Orphans, Become: h.become},
		HomeID: h.id, MachineID: h.machine, Store: rows, StoreMembers: rows, Gateways: nowhere{}, NewID: uuid.NewString,
	}
	if is.is(member.Host) {
		driver, err := local.New(local.Config{Home: h.dir, ID: h.id, Binary: binary, HostID: h.machine, Log: log})
		if err != nil {
			return fmt.Errorf("open the local driver: %w", err)
		}
		defer func() { err = errors.Join(err, driver.Close()) }()
		w.Providers, w.Residue = []provider.Provider{driver}, driver
		w.Gateways = newGateways(driver, h.path("packages"), o.Environ, log)
	}
	m, err := NewManager(ctx, w)
	if err != nil {
		return err
	}
	return serveAPI(ctx, m, o.Socket, rows.Run)
}

// serveAPI runs a managing daemon together with the Service API on a socket, as
// long as keep keeps its store.
func serveAPI(ctx context.Context, m *Manager, socket string, keep func(context.Context) error) error {
	w := m.world
	w.Log.Info("daemon", "home", w.Dir, "home_id", w.HomeID, "pid", os.Getpid())
	api := server.New(server.Config{
		Service: m.Service(), Log: w.Log, Identify: m.user, Changed: m.identity.Changed, Rows: w.Store, Writable: m.writable, Metrics: m.Metrics(),
		Owners: owners{m}, Audit: m.audit,
	})
	// Callers show whose they are; whether these may call is the API's to say.
	web := m.node.HTTP(&tls.Config{ClientAuth: tls.RequireAnyClientCert})
	tunnels := m.node.Tunnels(tunnelAPI)
	answer := func(ctx context.Context, socket net.Listener) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return api.ServeSocket(ctx, socket) })
		g.Go(func() error { return api.ServeNetwork(ctx, web) })
		g.Go(func() error { return api.ServeTunnels(ctx, tunnels) })
		return g.Wait()
	}
	return withAPI(ctx, w.Dir, socket, answer, func(ctx context.Context) error {
		// What ends in good order writes still.
		kept, cancelKept := context.WithCancel(context.WithoutCancel(ctx))
		ctx, cancel := context.WithCancel(ctx)
		lost := make(chan error, 1)
		go func() {
			defer cancel()
			lost <- keep(kept)
		}()
		err := m.Run(ctx)
		cancelKept()
		if failed := <-lost; failed != nil {
			err = failed
		}
		return m.ended(err)
	})
}

// runMachine runs the daemon of the machine that this is.
func runMachine(ctx context.Context, h *home, o Options, log *slog.Logger) error {
	path := lookup(o.Environ, "ALOFT_USERDATA")
	if path == "" {
		path = h.path("userdata.json")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("user data of this machine: %w", err)
	}
	file, err := journal.Open(h.path("journal.db"))
	if err != nil {
		return err
	}
	defer file.Close()
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	address := lookup(o.Environ, "ALOFT_ADDRESS")
	listener, err := net.Listen("tcp", net.JoinHostPort(address, fmt.Sprint(peer.Port)))
	if err != nil {
		log.Warn("this machine cannot be dialled", "error", err) // it still dials
	} else {
		defer listener.Close()
	}
	t := newTools(log)
	m, err := NewMachine(ctx, MachineWorld{
		World: World{
			Dir: h.dir, Journal: file, Address: address, Managers: machineManagers(t, binary), Serve: together(t.processes.Run, rotating(o.Log, log)),
			Leash: leashed(o.Environ), Build: o.Version, Log: log,
		},
		UserData: data, Listener: listener,
	})
	if err != nil {
		return err
	}
	return m.Run(ctx)
}

// lookup returns an environment variable out of environ.
func lookup(environ []string, name string) string {
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}
