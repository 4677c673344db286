package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"aloft/client"
	"aloft/internal/drivers/local"
	"aloft/internal/journal"
	"aloft/internal/peer"
	"aloft/internal/server"
	"aloft/internal/store"
	"aloft/provider"
)

// runManager runs the managing daemon of a home on this host.
func runManager(ctx context.Context, h *home, o Options, log *slog.Logger) (err error) {
	rows, err := store.Open(ctx, store.Config{Dir: h.path("store"), Log: log})
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
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
	driver, err := local.New(local.Config{Home: h.dir, ID: h.id, Binary: binary, HostID: h.machine, Log: log})
	if err != nil {
		return fmt.Errorf("open the local driver: %w", err)
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	t := newTools(log)
	m, err := NewManager(ctx, ManagerWorld{
		World: World{
			Dir: h.dir, Journal: file, Hostname: hostname, Address: "127.0.0.1", Isolation: os.Geteuid() == 0,
			Managers: machineManagers(t, binary), Serve: together(t.processes.Run, rotating(o.Log, log)), Build: o.Version, Log: log,
		},
		HomeID: h.id, MachineID: h.machine, Store: rows, Providers: []provider.Provider{driver},
		Gateways: newGateways(driver, h.path("packages"), o.Environ, log), Residue: driver, NewID: uuid.NewString,
	})
	if err != nil {
		return err
	}
	return serveAPI(ctx, m, o.Socket)
}

// serveAPI runs a managing daemon together with the Service API on a socket.
func serveAPI(ctx context.Context, m *Manager, socket string) error {
	w := m.world
	if err := client.RecordSocket(w.Dir, socket); err != nil {
		return err
	}
	listener, err := server.Listen(socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	w.Log.Info("daemon", "home", w.Dir, "home_id", w.HomeID, "pid", os.Getpid())
	handler := http.NewServeMux()
	handler.Handle("/", server.New(m.Service(), w.Log))
	handler.Handle("GET /metrics", m.Metrics())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer cancel() // asked to stop, the daemon leaves the API nothing to serve
		return m.Run(ctx)
	})
	g.Go(func() error {
		return server.Serve(ctx, listener, handler, w.Log)
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
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
			Build: o.Version, Log: log,
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
