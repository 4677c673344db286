// Package sim tests whole deployments in one process and in fake time: a
// managing daemon and the daemons of machines, wired by their own constructors,
// in a world where only disk, network, provider and the component class Probe
// are simulated. It tests no real process, network or file system.
package sim

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"aloft/api"
	"aloft/component"
	"aloft/internal/components/compound"
	"aloft/internal/daemon"
	cloud "aloft/internal/drivers/sim"
	"aloft/internal/peer"
	"aloft/internal/provision"
	"aloft/internal/sdl/resolve"
	"aloft/internal/server"
	"aloft/internal/store"
	"aloft/provider"
	"aloft/value"
)

var (
	onlySeed = flag.Uint64("sim.seed", 0, "run scenarios over seeds with this seed alone")
	verbose  = flag.Bool("sim.log", false, "print the daemons' logs of a failed scenario")
)

// world is everything around the daemons.
type world struct {
	t     *testing.T
	seed  uint64
	dir   string
	net   *peer.Network
	cloud *cloud.Cloud
	rows  *store.Memory
	stage *stage
	log   *slog.Logger

	ids sync.Mutex
	rng *rand.Rand // guarded by ids

	managerDisk *disk
	fuse        func(daemon string) int // at which of its writes a daemon that starts is to crash; 0: at none

	reign   lock            // held while the manager is replaced
	boss    *process        // guarded by reign
	manager *daemon.Manager // guarded by reign

	mu       sync.Mutex
	machines map[string]*machine // by ref; guarded by mu
	crashes  int                 // guarded by mu
	closed   bool                // guarded by mu
	restarts sync.WaitGroup      // of what crashed
}

// lock is a mutex that fake time does not stop for.
type lock chan struct{}

func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }

// machine is a machine of the cloud, with its disk.
type machine struct {
	resource provider.Resource
	userData []byte
	dir      string
	disk     *disk
	daemon   *process // nil: none runs
	on       bool     // it has power and gets its daemon back
}

// process is one daemon from its start to its end.
type process struct {
	power  *power
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run; to be read after done
}

// end kills the daemon and returns when nothing of it runs any more.
func (p *process) end() {
	p.power.cut()
	p.cancel()
	<-p.done
}

// options says what kind of world it is.
type options struct {
	seed   uint64
	cloud  cloud.Config
	random time.Duration // probes take up to this where they say nothing
}

// scenario runs f in a world of its own, in fake time.
func scenario(t *testing.T, o options, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, o)
		defer w.close()
		w.startManager()
		f(w)
	})
}

// overSeeds runs a scenario for each of n seeds, or for the one that was asked
// for.
func overSeeds(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	if testing.Short() {
		n = (n + 3) / 4
	}
	for i := range n {
		seed := uint64(i + 1)
		if *onlySeed != 0 {
			seed = *onlySeed
			if i > 0 {
				return
			}
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					name, _, _ := strings.Cut(t.Name(), "/")
					t.Logf("to repeat it: go test ./test/sim -run '^%s$' -sim.seed %d -sim.log", name, seed)
				}
			})
			f(t, seed)
		})
	}
}

func newWorld(t *testing.T, o options) *world {
	w := &world{
		t: t, seed: o.seed, dir: t.TempDir(), net: peer.NewNetwork(o.seed), rows: store.NewMemory(), stage: newStage(o.seed),
		rng: rand.New(rand.NewPCG(o.seed, 1)), managerDisk: newDisk(), reign: make(lock, 1), machines: map[string]*machine{},
	}
	w.stage.random = o.random
	var text lockedBuffer
	w.log = slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Duration("at", a.Value.Time().Sub(w.stage.begun))
		}
		return a
	}}))
	t.Cleanup(func() {
		if t.Failed() {
			for _, c := range w.stage.trace() {
				t.Log(c)
			}
			if *verbose {
				t.Logf("daemons:\n%s", text.String())
			}
		}
	})
	c := o.cloud
	c.Seed = o.seed
	c.OnRunning, c.OnGone = w.machineRuns, w.machineGone
	w.cloud = cloud.NewCloud(c)
	w.net.Delay(time.Millisecond, 5*time.Millisecond)
	return w
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.restarts.Wait()
	w.reign.Lock()
	w.boss.end()
	w.reign.Unlock()
	w.cloud.Close()
	w.mu.Lock()
	var running []*process
	for _, m := range w.machines {
		if m.daemon != nil {
			running = append(running, m.daemon)
		}
		w.stage.gone(m.resource.Ref)
	}
	w.mu.Unlock()
	for _, p := range running {
		p.end()
	}
	w.rows.Close()
}

// newID draws a UUID from the seed.
func (w *world) newID() string {
	w.ids.Lock()
	defer w.ids.Unlock()
	var id uuid.UUID
	for i := range id {
		id[i] = byte(w.rng.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}

// The managing daemon's names.
const (
	managerHost = "manager"
	managerID   = "00000000-0000-4000-8000-000000000001"
	homeID      = "51a00001"
)

// gateways let machines reach the manager under its name on the network. It
// implements daemon.Gateways.
type gateways struct{ host *peer.Host }

func (g gateways) Run(ctx context.Context, serve func(context.Context, net.Listener) error) error {
	return serve(ctx, g.host.Listen())
}

func (g gateways) Open(context.Context) (daemon.Gateway, error) {
	return daemon.Gateway{Contact: g.Contacts()[0], Isolation: true}, nil
}

func (gateways) Contacts() []string { return []string{managerHost + ":7400"} }

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
	p := &power{}
	if w.fuse != nil {
		p.fuse = w.fuse(daemon)
		p.last = w.number(2) == 0
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

// startManager starts the managing daemon on the disk it has.
func (w *world) startManager() {
	w.reign.Lock()
	defer w.reign.Unlock()
	host := w.net.Host(managerHost)
	var mine *process
	supply := w.supply(managerHost, func() {
		w.reign.Lock()
		crashed := mine
		w.reign.Unlock()
		w.replaceManager(crashed)
	})
	w.boss = start(supply, w.ended(managerHost), func(ctx context.Context) (interface{ Run(context.Context) error }, error) {
		m, err := daemon.NewManager(ctx, daemon.ManagerWorld{
			World: daemon.World{
				Dir: filepath.Join(w.dir, "manager"), Journal: drive{w.managerDisk, supply}, Network: host,
				Hostname: managerHost, Address: "127.0.0.1", Isolation: true, Managers: w.managers(""), Log: w.log.With("at", managerHost),
			},
			HomeID: homeID, MachineID: managerID, Store: powered{w.rows, supply}, Providers: []provider.Provider{w.cloud.Driver()},
			Gateways: gateways{host}, NewID: w.newID,
		})
		if err == nil {
			w.manager = m
		}
		return m, err
	})
	mine = w.boss
	select {
	case <-mine.done:
		if mine.err != nil && !errors.Is(mine.err, errPower) {
			w.t.Errorf("start the manager: %v", mine.err)
		}
	default:
	}
}

func (w *world) managers(ref string) []component.Manager {
	return []component.Manager{compound.New(), &probe{stage: w.stage, ref: ref}}
}

// restartManager kills the managing daemon and starts it again.
func (w *world) restartManager() {
	w.reign.Lock()
	mine := w.boss
	w.reign.Unlock()
	w.replaceManager(mine)
}

// replaceManager kills a managing daemon and starts another, unless somebody
// else has.
func (w *world) replaceManager(old *process) {
	w.reign.Lock()
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if w.boss != old || closed {
		w.reign.Unlock()
		return
	}
	old.end()
	w.reign.Unlock()
	w.startManager()
}

// machineRuns is told by the cloud.
func (w *world) machineRuns(r provider.Resource, userData []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.machines[r.Ref]
	if m == nil {
		m = &machine{userData: userData, dir: filepath.Join(w.dir, r.Ref), disk: newDisk()}
		w.machines[r.Ref] = m
	}
	m.resource, m.on = r, true
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
	m.daemon = start(supply, w.ended(m.resource.Ref), func(ctx context.Context) (interface{ Run(context.Context) error }, error) {
		if before != nil {
			<-before.done
		}
		return daemon.NewMachine(ctx, daemon.MachineWorld{
			World: daemon.World{
				Dir: m.dir, Journal: drive{m.disk, supply}, Network: host, Hostname: m.resource.Hostname, Address: m.resource.Address,
				Managers: w.managers(m.resource.Ref), Log: w.log.With("at", m.resource.Ref),
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

func (w *world) service() server.Service {
	w.reign.Lock()
	defer w.reign.Unlock()
	return w.manager.Service()
}

// prelude names the classes, as the library does.
const prelude = `
VM extends { sfClass "VM"; cloudProvider "sim"; }
Probe extends { sfClass "Probe"; }
Compound extends { sfClass "Compound"; }
`

// request resolves the text of a description.
func (w *world) request(text string) api.PlanRequest {
	w.t.Helper()
	source := resolve.Source{Name: "sys.sf", Folder: resolve.Folder{FS: fstest.MapFS{"sys.sf": {Data: []byte(prelude + text)}}}}
	res, err := resolve.Resolve(context.Background(), source, resolve.Options{Now: time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	if res.Diagnostics.Errors() > 0 {
		for _, d := range res.Diagnostics.All() {
			w.t.Error(d)
		}
		w.t.FailNow()
	}
	wire, err := value.Encode(res.Description.Root)
	if err != nil {
		w.t.Fatal(err)
	}
	return api.PlanRequest{Name: "sys", File: "/sys.sf", Description: wire}
}

// apply plans and applies a request without waiting for its end.
func (w *world) apply(r api.PlanRequest) (*api.Plan, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // who calls a dead daemon gives up
	defer cancel()
	p, err := w.service().Plan(ctx, r)
	if err != nil || p.Attached || p.Empty {
		return p, err
	}
	_, err = w.service().Apply(ctx, r.Name, p.ID)
	return p, err
}

// begin applies a description.
func (w *world) begin(text string) *api.Plan {
	w.t.Helper()
	return w.insist(w.request(text))
}

// insist applies a request, again where the manager crashed under it.
func (w *world) insist(r api.PlanRequest) *api.Plan {
	w.t.Helper()
	for {
		p, err := w.apply(r)
		switch {
		case err == nil:
			return p
		case r.Now && errors.Is(err, &api.Error{Kind: api.KindNotFound}):
			return nil // it was terminated, and the answer was lost
		case !errors.Is(err, errPower) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, &api.Error{Kind: api.KindStale}):
			w.t.Fatalf("up or down: %v%s", err, details(err))
		}
		time.Sleep(time.Second)
	}
}

func details(err error) (text string) {
	if e, ok := errors.AsType[*api.Error](err); ok {
		for _, d := range e.Diagnostics {
			text += fmt.Sprintf("\n%+v", d)
		}
	}
	return text
}

// patience is how long a deployment may take, in fake time.
const patience = 6 * time.Hour

// end waits for the end of the newest deployment, in whichever daemon.
func (w *world) end() *api.Deployment {
	w.t.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(100 * time.Millisecond) {
		if d, err := w.service().Deployment(context.Background(), "sys"); err == nil && d.Ended() {
			return d
		}
	}
	d, err := w.service().Deployment(context.Background(), "sys")
	w.t.Fatalf("the deployment does not end: %+v, %v", d, err)
	return nil
}

// up deploys a description and waits for the end.
func (w *world) up(text string) *api.Deployment {
	w.t.Helper()
	if p := w.begin(text); p.Empty {
		w.t.Fatal("up: no changes")
	}
	return w.end()
}

// runs is up for a description that is expected to run.
func (w *world) runs(text string) {
	w.t.Helper()
	if d := w.up(text); d.State != api.DeploymentDone {
		w.t.Fatalf("up ended %s: %+v", d.State, d.Failures)
	}
	w.expectState(api.SystemRunning)
}

// down terminates the system and checks that nothing is left of it.
func (w *world) down(now bool) {
	w.t.Helper()
	w.insist(api.PlanRequest{Name: "sys", Down: true, Now: now})
	if d := w.end(); d.State != api.DeploymentDone {
		w.t.Fatalf("down ended %s: %+v", d.State, d.Failures)
	}
	w.expectGone()
	w.expectNothing()
}

// expectGone checks that the system is known no more.
func (w *world) expectGone() {
	w.t.Helper()
	if st, err := w.service().Status(context.Background(), "sys"); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
		w.t.Errorf("status: %+v, %v; want not found", st, err)
	}
}

// expectNothing checks that there is no machine and nothing on one, and that
// the ledger's sums are right.
func (w *world) expectNothing() {
	w.t.Helper()
	time.Sleep(time.Minute) // for destructions that are finished afterwards
	if left := w.cloud.Resources(); len(left) > 0 {
		w.t.Errorf("machines are left over: %+v", left)
	}
	if live := w.stage.live(); len(live) > 0 {
		w.t.Errorf("components are left over: %v", live)
	}
	w.balance(0)
}

// balance checks the ledger: machines created = in use + destroyed.
func (w *world) balance(inUse int) {
	w.t.Helper()
	ledger := provision.LedgerOf(w.managerDisk.readOnly(), "machine/")
	p, err := provision.New(provision.Config{Home: homeID, Vendors: provision.Fixed{w.cloud.Driver()}, Ledger: ledger, Log: w.log})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := p.Sweep(context.Background(), "", false)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Created != r.InUse+r.Destroyed || r.InUse != inUse || len(r.Strays) > 0 || len(r.Missing) > 0 {
		w.t.Errorf("ledger: created %d, in use %d (want %d), destroyed %d, strays %v, missing %v", r.Created, r.InUse, inUse, r.Destroyed, r.Strays, r.Missing)
	}
}

// states returns the state of each component by path.
func (w *world) states() map[string]string {
	w.t.Helper()
	st, err := w.service().Status(context.Background(), "sys")
	if err != nil {
		w.t.Fatal(err)
	}
	states := map[string]string{}
	for _, c := range st.Components {
		states[c.Path] = c.State
	}
	return states
}

// expectState checks the state of the system, and when it runs that of each
// component; states come a moment after facts.
func (w *world) expectState(want string) {
	w.t.Helper()
	time.Sleep(2 * time.Second)
	st, err := w.service().Status(context.Background(), "sys")
	if err != nil {
		w.t.Fatal(err)
	}
	if st.State != want {
		w.t.Errorf("the system is %s, want %s: %+v", st.State, want, st.Components)
	}
}

// expectLive checks what is deployed on the machines.
func (w *world) expectLive(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.stage.live(); !slices.Equal(got, want) {
		w.t.Errorf("on the machines are %v, want %v", got, want)
	}
}

// expectStates checks the states of some components.
func (w *world) expectStates(want map[string]string) {
	w.t.Helper()
	got := w.states()
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			w.t.Errorf("%s is %q, want %q", path, got[path], want[path])
		}
	}
}
