package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"time"

	"aloft/component"
	"aloft/internal/components/certificate"
	"aloft/internal/components/compound"
	"aloft/internal/components/workflow"
	"aloft/internal/daemon"
	"aloft/internal/member"
	"aloft/internal/peer"
	"aloft/internal/server"
	"aloft/provider"
)

// The managing daemon's names.
const (
	managerHost = "manager"
	managerID   = "00000000-0000-4000-8000-000000000001"
	homeID      = "51a00001"
)

// gateways let machines reach the manager under its name on the network. It
// implements daemon.Gateways.
type gateways struct {
	host *peer.Host
	name string
}

func (g gateways) Run(ctx context.Context, serve func(context.Context, net.Listener) error) error {
	return serve(ctx, g.host.Listen())
}

func (g gateways) Open(context.Context) (daemon.Gateway, error) {
	return daemon.Gateway{Contact: g.Contacts()[0], Isolation: true}, nil
}

func (g gateways) Contacts() []string { return []string{g.name + ":7400"} }

// start runs a daemon that build makes; ended is called if it ends by itself.
func start(power *power, ended func(error), build func(context.Context) (interface{ Run(context.Context) error }, error)) *process {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{power: power, cancel: cancel, done: make(chan struct{})}
	d, err := build(ctx)
	if err != nil {
		p.err = err
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		if p.err = d.Run(ctx); ctx.Err() == nil {
			ended(p.err)
		}
	}()
	return p
}

// supply returns the power of a daemon that starts. When it crashes, restart
// is called.
func (w *world) supply(daemon string, restart func()) *power {
	p := &power{slow: w.slow, luck: w.number}
	if w.fuse != nil {
		p.fuse = w.fuse(daemon)
	}
	p.blown = func() {
		w.mu.Lock()
		w.crashes++
		closed := w.closed
		if !closed {
			w.restarts.Go(restart)
		}
		w.mu.Unlock()
		w.stage.note(call{Machine: daemon, Op: "crash"})
	}
	return p
}

// ended makes what is called when a daemon ends though nobody told it to.
func (w *world) ended(daemon string) func(error) {
	return func(err error) { w.log.Error("daemon ended by itself", "at", daemon, "error", err) }
}

// number draws from the seed.
func (w *world) number(n int) int {
	w.ids.Lock()
	defer w.ids.Unlock()
	return w.rng.IntN(n)
}

// startManager starts the first manager on the disk it has.
func (w *world) startManager() { w.enthrone(w.seats[0]) }

// enthrone starts the managing daemon of a seat on the disk it has.
func (w *world) enthrone(s *seat) {
	s.reign.Lock()
	defer s.reign.Unlock()
	w.install(s)
}

// install is enthrone where the seat is locked.
func (w *world) install(s *seat) {
	host := w.net.Host(s.name)
	var mine *process
	supply := w.supply(s.name, func() {
		s.reign.Lock()
		crashed := mine
		s.reign.Unlock()
		w.replaceManager(s, crashed)
	})
	s.boss = start(supply, w.ended(s.name), func(ctx context.Context) (interface{ Run(context.Context) error }, error) {
		m, err := daemon.NewManager(ctx, daemon.ManagerWorld{
			World: daemon.World{
				Dir: w.folder(s), Journal: plantedRows(drive{s.disk, supply}), Network: host,
				Hostname: s.name, Address: "127.0.0.1", Isolation: true, Managers: w.managers(""), Log: w.log.With("at", s.name),
				Now: w.clock(s.name).now,
			},
			Seat:   daemon.Seat{Name: s.name, Roles: []string{member.Manage}, Listen: s.name + ":7400"},
			HomeID: homeID, MachineID: s.id, Store: plantedStore(powered{s.rows, s, w.rows, supply}), StoreMembers: voters{},
			Providers: []provider.Provider{w.plantedCloud()}, Gateways: gateways{host, s.name}, NewID: w.newID,
		})
		if err == nil {
			s.manager = m
		}
		return m, err
	})
	mine = s.boss
	s.away = false
	select {
	case <-mine.done:
		if mine.err != nil && !errors.Is(mine.err, errPower) {
			w.t.Errorf("start %s: %v", s.name, mine.err)
		}
	default:
	}
}

// folder is the state folder of a manager.
func (w *world) folder(s *seat) string { return filepath.Join(w.dir, s.name) }

func (w *world) managers(ref string) []component.Manager {
	p := &probe{stage: w.stage, ref: ref}
	list := append([]component.Manager{certificate.New(), compound.New(), plantedProbe(p), thing{p}}, workflow.New()...)
	return append(list, understudies(p)...)
}

// restartManager kills the first manager's daemon and starts it again.
func (w *world) restartManager() { w.restartSeat(w.seats[0]) }

func (w *world) restartSeat(s *seat) {
	s.reign.Lock()
	mine := s.boss
	s.reign.Unlock()
	w.replaceManager(s, mine)
}

// replaceManager kills a managing daemon and starts another, unless somebody
// else has.
func (w *world) replaceManager(s *seat, old *process) {
	s.reign.Lock()
	defer s.reign.Unlock() // nobody else replaces it meanwhile
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if s.boss != old || closed || s.away {
		return
	}
	old.end()
	w.install(s)
}

// machineRuns is told by the cloud.
func (w *world) machineRuns(r provider.Resource, userData []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.machines[r.Ref]
	if m == nil {
		m = &machine{userData: userData, dir: filepath.Join(w.dir, r.Ref), disk: w.newDisk(r.Ref)}
		w.machines[r.Ref] = m
	}
	m.resource, m.on = r, true
	m.boots++
	w.startMachine(m)
}

// machineGone is told by the cloud; it must not block.
func (w *world) machineGone(r provider.Resource) {
	w.mu.Lock()
	m := w.machines[r.Ref]
	m.on = false
	p := m.daemon
	m.daemon = nil
	w.mu.Unlock()
	p.power.cut()
	p.cancel()
	w.stage.gone(r.Ref)
}

// startMachine starts a machine's daemon. The lock is held.
func (w *world) startMachine(m *machine) {
	if w.closed || !m.on {
		return
	}
	before := m.daemon
	var mine *process
	supply := w.supply(m.resource.Ref, func() {
		w.mu.Lock()
		crashed := mine
		w.mu.Unlock()
		w.replaceDaemon(m, crashed, time.Duration(w.number(20))*time.Second)
	})
	defer func() { mine = m.daemon }()
	host := w.net.Host(m.resource.Address)
	boot, booted := fmt.Sprint(m.resource.Ref, "-", m.boots), w.stage.begun
	m.daemon = start(supply, w.ended(m.resource.Ref), func(ctx context.Context) (interface{ Run(context.Context) error }, error) {
		if before != nil {
			<-before.done
		}
		return daemon.NewMachine(ctx, daemon.MachineWorld{
			World: daemon.World{
				Dir: m.dir, Journal: plantedRows(drive{m.disk, supply}), Network: host, Hostname: m.resource.Hostname, Address: m.resource.Address,
				Managers: w.managers(m.resource.Ref), Log: w.log.With("at", m.resource.Ref),
				Now:   w.clock(m.resource.Ref).now,
				Clock: func() (string, time.Duration) { return boot, w.plantedSince(m.resource.Ref, booted) },
			},
			UserData: m.userData, Listener: host.Listen(),
		})
	})
}

// machine returns the running machine called SYSTEM/PATH.
func (w *world) machine(name string) *machine {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.machines {
		if m.on && m.resource.Mark.System+"/"+m.resource.Mark.Path == name {
			return m
		}
	}
	w.t.Fatalf("no machine %s runs", name)
	return nil
}

// restartMachine kills the daemon of a machine and starts it again after a
// pause.
func (w *world) restartMachine(m *machine, pause time.Duration) {
	w.mu.Lock()
	p := m.daemon
	w.mu.Unlock()
	w.replaceDaemon(m, p, pause)
}

// replaceDaemon kills a machine's daemon and starts another after a pause,
// unless somebody else has.
func (w *world) replaceDaemon(m *machine, old *process, pause time.Duration) {
	if old == nil {
		return // the machine is gone
	}
	old.end()
	time.Sleep(pause)
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.daemon == old {
		w.startMachine(m)
	}
}

// running returns the machines that run, by ref.
func (w *world) running() (list []*machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ref := range slices.Sorted(maps.Keys(w.machines)) {
		if m := w.machines[ref]; m.on {
			list = append(list, m)
		}
	}
	return list
}

// service is what requests go to: with several managers, to any of them that is
// there, which leads them to the owner of the system as forwarding does.
func (w *world) service() server.Service {
	there := map[string]server.Service{}
	var ids []string
	for _, s := range w.seats {
		s.reign.Lock()
		if !s.away {
			there[s.id] = s.manager.Service()
			ids = append(ids, s.id)
		}
		s.reign.Unlock()
	}
	asked := there[ids[w.number(len(ids))]]
	owner, self := asked.(interface {
		Owner(system string) (manager string, self bool)
	}).Owner("sys")
	if owns := there[owner]; !self && owns != nil {
		return owns
	}
	return asked
}
