// Package sim tests whole deployments in one process and in fake time: a
// managing daemon and the daemons of machines, wired by their own constructors,
// in a world where only disk, network, provider and the component class Probe
// are simulated. It tests no real process, network or file system.
package sim

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"aloft/internal/daemon"
	cloud "aloft/internal/drivers/sim"
	"aloft/internal/peer"
	"aloft/internal/store"
	"aloft/provider"
	"aloft/test/plain"
)

var (
	onlySeed  = flag.Uint64("sim.seed", 0, "run scenarios over seeds with this seed alone")
	seeds     = flag.Int("sim.seeds", 0, "run scenarios over so many seeds instead of the few of a usual run")
	first     = flag.Uint64("sim.first", 1, "the first of the seeds")
	onlyFault = flag.String("sim.fault", "", "plant this fault in every world")
	verbose   = flag.Bool("sim.log", false, "print the daemons' logs of a failed scenario")
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
	// guarded by ids
	rng    *rand.Rand
	clocks map[string]*clock // by host

	wrongClocks bool

	slow int                     // others get their turn up to so often before a write is durable
	fuse func(daemon string) int // at which of its writes a daemon that starts is to crash; 0: at none

	seats []*seat // of managers; more than one where it is a cluster

	mu          sync.Mutex
	machines    map[string]*machine // by ref; guarded by mu
	crashes     int                 // guarded by mu
	closed      bool                // guarded by mu
	undying     bool                // the cloud refuses to destroy; guarded by mu
	unstartable bool                // … to start what was stopped; guarded by mu
	restarts    sync.WaitGroup      // of what crashed
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
	boots    int      // how often it was booted
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

// seat is one manager of the world, whichever daemon is in it.
type seat struct {
	name string // of its host
	id   string // UUID
	disk *disk
	rows *store.Client // its way to the store
	gate gate          // closed while the daemon is frozen

	reign   lock            // held while the daemon is replaced
	boss    *process        // guarded by reign
	manager *daemon.Manager // guarded by reign
	away    bool            // requests cannot go to it; guarded by reign

	mu sync.Mutex
	// guarded by mu
	mute   bool                 // its writes do not reach the store
	loses  func(store.Txn) bool // … those of which this is true
	frozen bool                 // … until it thaws
	late   []store.Txn
}

// keeps reports whether a write does not reach the store now.
func (s *seat) keeps(t store.Txn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		t.If, t.Put, t.Delete = slices.Clone(t.If), slices.Clone(t.Put), slices.Clone(t.Delete)
		s.late = append(s.late, t)
	}
	return s.mute || s.loses != nil && s.loses(t)
}

// lose has writes of the seat not reach the store, nil: no more.
func (s *seat) lose(which func(store.Txn) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loses = which
}

// muted says whether the seat's writes are kept, and whether they are lost. It
// returns those that were not.
func (s *seat) muted(mute, frozen bool) (late []store.Txn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	late, s.late = s.late, nil
	s.mute, s.frozen = mute, frozen
	return late
}

// newSeat makes the nth seat of a world.
func (w *world) newSeat(n int) *seat {
	s := &seat{name: managerHost, id: managerID, reign: make(lock, 1), gate: newGate()}
	if n > 0 {
		s.name, s.id = fmt.Sprint(managerHost, n+1), fmt.Sprintf("%s%d", managerID[:len(managerID)-1], n+1)
	}
	s.disk = w.newDisk(s.name)
	s.rows = w.rows.Client(func(store.Call) store.Fault { s.gate.pass(); return store.Fault{} })
	return s
}

// gate holds up what passes while it is closed.
type gate chan chan struct{}

func newGate() gate {
	open := make(chan struct{})
	close(open)
	g := make(gate, 1)
	g <- open
	return g
}

func (g gate) pass() {
	now := <-g
	g <- now
	<-now
}

// shut closes the gate until open is called.
func (g gate) shut() (open func()) {
	<-g
	g <- make(chan struct{})
	return g.open
}

// open lets pass what was held up.
func (g gate) open() {
	now := <-g
	select {
	case <-now:
	default:
		close(now)
	}
	g <- now
}

// options says what kind of world it is.
type options struct {
	seed   uint64
	cloud  cloud.Config
	random time.Duration // probes take up to this where they say nothing
	more   int           // managers beside the first
	clocks bool          // each host has a clock that is wrong
}

// scenario runs f in a world of its own, in fake time.
func scenario(t *testing.T, o options, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, o)
		defer w.close()
		w.startManager()
		for range o.more {
			w.join()
		}
		f(w)
		w.expectNoWrong()
	})
}

func TestMain(m *testing.M) {
	status := m.Run()
	if plainFolder != "" {
		_ = os.RemoveAll(plainFolder)
	}
	os.Exit(status)
}

// plainBinary makes this binary without the race detector, once for all.
var (
	plainFolder string
	plainBinary = sync.OnceValues(func() (binary string, err error) {
		if plainFolder, err = os.MkdirTemp("", "aloft-sim-"); err != nil {
			return "", err
		}
		return plain.Build(plainFolder)
	})
)

// overSeeds runs a scenario for each of n seeds, or for the one that was asked
// for. Where the race detector is on, which makes it several times slower, it is
// so for every fourth seed alone.
func overSeeds(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	if testing.Short() {
		n = (n + 3) / 4
	}
	if *seeds > 0 {
		n = *seeds
	}
	if plain.RaceDetector() && *seeds == 0 && *onlySeed == 0 && n > 1 {
		all := n
		n = (n + 3) / 4
		t.Run("plain", func(t *testing.T) { without(t, n, all-n) })
	}
	for i := range n {
		seed := *first + uint64(i)
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
					planted := ""
					if *onlyFault != "" {
						planted = " -sim.fault " + *onlyFault
					}
					t.Logf("to repeat it: go test ./test/sim -run '^%s$' -sim.seed %d%s -sim.log", name, seed, planted)
				}
			})
			f(t, seed)
		})
	}
}

// without runs the test that t is part of over more seeds, after the first n,
// without the race detector.
func without(t *testing.T, n, more int) {
	name, _, _ := strings.Cut(t.Name(), "/")
	binary, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, "-test.run", "^"+name+"$",
		"-sim.first", fmt.Sprint(*first+uint64(n)), "-sim.seeds", fmt.Sprint(more)).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func newWorld(t *testing.T, o options) *world {
	w := &world{
		t: t, seed: o.seed, dir: t.TempDir(), net: peer.NewNetwork(o.seed), rows: store.NewMemory(), stage: newStage(o.seed),
		rng: rand.New(rand.NewPCG(o.seed, 1)), machines: map[string]*machine{},
		clocks: map[string]*clock{}, wrongClocks: o.clocks,
	}
	w.stage.random = o.random
	w.seats = []*seat{w.newSeat(0)}
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
	for _, s := range w.seats {
		s.gate.open() // a test that failed may have left it shut, and its daemon would never end
		s.reign.Lock()
		s.boss.end()
		s.reign.Unlock()
	}
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
