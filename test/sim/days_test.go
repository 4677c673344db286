package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
	cloud "aloft/internal/drivers/sim"
	"aloft/value"
)

// variant is a description that a day asks for: a forest with some of its
// leaves, numbers that differ from one variant to the next, and beside it a set
// of machines that are copies.
type variant struct {
	forest
	numbers []int  // of each plant
	without []bool // … that are not there
	cores   []int  // of each machine: another number is another machine
	copies  int
}

// vary makes up a variant of a forest.
func (f forest) vary(rng *rand.Rand, like *variant) *variant {
	v := &variant{forest: f, numbers: make([]int, len(f.plants)), without: make([]bool, len(f.plants)), cores: make([]int, f.machines), copies: 1 + rng.IntN(3)}
	for i := range v.cores {
		v.cores[i] = 1
		if like != nil {
			v.cores[i] = like.cores[i]
		}
		if rng.IntN(6) == 0 {
			v.cores[i] = 3 - v.cores[i]
		}
	}
	needed := make([]bool, len(f.plants)) // by one that is there
	needed[0] = true                      // by the copies
	for i := len(f.plants) - 1; i >= 0; i-- {
		p := f.plants[i]
		v.numbers[i] = rng.IntN(3)
		if v.without[i] = !needed[i] && rng.IntN(5) == 0; v.without[i] {
			continue
		}
		if p.parent >= 0 {
			needed[p.parent] = true
		}
		for _, r := range p.references() {
			needed[r.target] = true
		}
	}
	return v
}

// text writes the variant as a description.
func (v *variant) text() string {
	var b strings.Builder
	b.WriteString("sfConfig extends {\n")
	for m := range v.machines {
		fmt.Fprintf(&b, "m%d extends VM { cores %d;\n", m, v.cores[m])
		for i, p := range v.plants {
			if p.host == m && p.parent < 0 {
				v.plant(&b, i)
			}
		}
		b.WriteString("}\n")
	}
	fmt.Fprintf(&b, "web extends VM { sfCopies %d; g extends Compound { app extends Probe { first LAZY ROOT:%s:out; n LAZY sfCopyIndex; } } }\n}\n", v.copies, v.plants[0].path)
	return b.String()
}

func (v *variant) plant(b *strings.Builder, i int) {
	if v.without[i] {
		return
	}
	p := v.plants[i]
	fmt.Fprintf(b, "%s extends Probe { n %d; ", p.path.Name(), v.numbers[i])
	for _, r := range p.references() {
		fmt.Fprintf(b, "%s LAZY ROOT:%s:out; ", r.name, v.plants[r.target].path)
	}
	for j, c := range v.plants {
		if c.parent == i {
			v.plant(b, j)
		}
	}
	b.WriteString("}\n")
}

// live returns the paths of the probes that are to run.
func (v *variant) live() []string {
	var paths []string
	for i, p := range v.plants {
		if !v.without[i] {
			paths = append(paths, string(p.path))
		}
	}
	for i := range v.copies {
		paths = append(paths, fmt.Sprintf("web%d:g:app", i+1))
	}
	slices.Sort(paths)
	return paths
}

func (v *variant) hosts() int { return v.machines + v.copies }

// day is a time in which everything goes wrong that can.
type day struct {
	*world
	rng  *rand.Rand // of the sequence of what happens
	f    forest
	now  *variant
	lone bool // a part that was detached runs beside it, on a machine of its own
	heal []func()
	asks sync.WaitGroup // requests that have no answer yet
}

// newDay draws from the seed how bad it is.
func newDay(w *world) *day {
	d := &day{world: w, rng: rand.New(rand.NewPCG(w.seed, 100))}
	machines := 1 + d.rng.IntN(3) // and one to three copies
	d.f = grow(d.rng, machines, machines+d.rng.IntN(4*machines))
	d.f.plants[0].reads, d.f.plants[0].later = -1, -1 // the copies refer to it
	w.net.Delay(0, time.Duration(d.rng.IntN(300))*time.Millisecond)
	w.net.Loss(d.rng.Float64() * 0.02)
	w.net.Duplicate(d.rng.Float64() * 0.2)
	w.slow = d.rng.IntN(20)
	return d
}

// badCloud is a provider with everything that real ones have, drawn from the
// seed.
func badCloud(seed uint64) cloud.Config {
	rng := rand.New(rand.NewPCG(seed, 101))
	return cloud.Config{
		Faults:       cloud.Faults{LostAnswers: rng.Float64() * 0.3, Transient: rng.Float64() * 0.2, NoCapacity: rng.Float64() * 0.1, NeverBoots: rng.Float64() * 0.05},
		Latency:      time.Duration(rng.IntN(500)) * time.Millisecond,
		ListLag:      time.Duration(rng.IntN(6)) * time.Second,
		Shutdown:     time.Duration(rng.IntN(25)) * time.Second,
		NativeTokens: rng.IntN(2) == 0,
		NoStop:       rng.IntN(4) == 0,
		PageSize:     1 + rng.IntN(4),
	}
}

// refused reports whether an error is one that a request may end with on such a
// day. Whoever gets it tries again.
func refused(err error) bool {
	for _, kind := range []api.Kind{api.KindConflict, api.KindStale, api.KindUnavailable, api.KindNotFound} {
		if errors.Is(err, &api.Error{Kind: kind}) {
			return true
		}
	}
	if strings.Contains(details(err), "transient: ") {
		return true // no provider could be asked
	}
	if errors.Is(err, fs.ErrNotExist) {
		return true // as in insist
	}
	return errors.Is(err, errPower) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// ask makes a request that nobody waits for.
func (d *day) ask(r api.PlanRequest) {
	d.asks.Go(func() {
		if _, err := d.apply(r); err != nil && !refused(err) {
			d.t.Errorf("after %v: request down=%v now=%v: %v%s", time.Since(d.stage.begun), r.Down, r.Now, err, details(err))
		}
	})
}

// hours has something happen again and again.
func (d *day) hours() {
	for range 4 + d.rng.IntN(8) {
		d.happens()
		time.Sleep(time.Duration(d.rng.IntN(90)) * time.Second)
	}
}

// happens has one thing happen.
func (d *day) happens() {
	machines := d.running()
	var m *machine
	if len(machines) > 0 {
		m = machines[d.rng.IntN(len(machines))]
	}
	pause := time.Duration(d.rng.IntN(60)) * time.Second
	what := d.rng.IntN(15)
	if m == nil && what > 4 && what < 14 {
		what = 0
	}
	switch what {
	case 0, 1, 2:
		d.now = d.f.vary(d.rng, d.now)
		d.ask(d.request(d.now.text()))
	case 3:
		d.ask(api.PlanRequest{Name: "sys", Down: true, Now: d.rng.IntN(2) == 0})
	case 4:
		d.restarts.Go(d.restartManager)
	case 5:
		d.restarts.Go(func() { d.restartMachine(m, pause) })
	case 6:
		d.later(pause, d.net.Cut(managerHost, m.resource.Address))
	case 7:
		d.later(pause, d.net.CutOneWay(managerHost, m.resource.Address))
	case 8:
		d.later(pause, d.net.CutOneWay(m.resource.Address, managerHost))
	case 9:
		d.later(pause, d.net.Isolate(managerHost))
	case 10:
		d.later(pause, d.net.Hold(managerHost, m.resource.Address, anything))
	case 11:
		d.later(pause, d.net.Hold(m.resource.Address, managerHost, anything))
	case 12:
		d.net.Break(managerHost, m.resource.Address)
	case 13:
		if live := d.stage.live(); len(live) > 0 {
			d.stage.die(value.Path(strings.TrimSuffix(live[d.rng.IntN(len(live))], "!")), component.Abnormal)
		}
	case 14:
		host := managerHost
		if m != nil && d.rng.IntN(2) == 0 {
			host = m.resource.Ref
		}
		d.clock(host).set(d.rng)
	}
}

func anything(string) bool { return true }

// later undoes something after a pause, and at the end of the day.
func (d *day) later(pause time.Duration, undo func()) {
	d.heal = append(d.heal, undo)
	t := time.AfterFunc(pause, undo)
	d.heal = append(d.heal, func() { t.Stop() })
}

// over heals everything.
func (d *day) over() {
	for _, undo := range d.heal {
		undo()
	}
	d.net.Loss(0)
	d.net.Duplicate(0)
	d.cloud.SetFaults(cloud.Faults{})
}

// settle asks for the last variant until it runs, once whatever was asked before
// has its answer: it might be carried out after it.
func (d *day) settle() {
	d.t.Helper()
	d.asks.Wait()
	if d.now == nil {
		d.now = d.f.vary(d.rng, nil)
	}
	d.until(func() api.PlanRequest { return d.request(d.now.text()) })
}

// until makes a request until it is carried out to its end.
func (d *day) until(r func() api.PlanRequest) {
	d.t.Helper()
	var err error
	var end *api.Deployment
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Second) {
		var p *api.Plan
		if p, err = d.apply(r()); err != nil {
			if !refused(err) {
				d.t.Fatalf("at the end: %v%s", err, details(err))
			}
			continue
		}
		if p.Empty {
			return
		}
		if end = d.end(); end.State == api.DeploymentDone {
			return
		}
	}
	d.t.Fatalf("the system does not come to run: %v, %+v", err, end)
}

// part has a part run beside the system that is a system of its own.
func (d *day) part() {
	d.until(func() api.PlanRequest {
		return d.request(`sfConfig extends { lone extends VM { probe extends Probe {} } }`)
	})
	d.until(func() api.PlanRequest { return api.PlanRequest{Name: "sys", Detach: "lone"} })
	d.lone = true
}

// rest checks that everything is as it was asked for, everywhere, and that
// daemons which start again do nothing about it.
func (d *day) rest() {
	d.t.Helper()
	want, hosts := d.now.live(), d.now.hosts()
	if d.lone {
		want, hosts = slices.Sorted(slices.Values(append(want, "lone:probe"))), hosts+1
	}
	for began := time.Now(); !slices.Equal(d.stage.live(), want) && time.Since(began) < time.Hour; {
		time.Sleep(time.Second) // what died is brought back with growing pauses
	}
	time.Sleep(2 * time.Minute)
	d.expectLive(want...)
	d.expectState(api.SystemRunning)
	d.expectSame(hosts)
	mark, made := len(d.stage.trace()), d.cloud.Stats()
	for _, m := range d.running() {
		d.restartMachine(m, 0)
	}
	d.restartManager()
	time.Sleep(2 * time.Minute)
	for _, c := range d.stage.trace()[mark:] {
		if c.Op != "adopt" {
			d.t.Errorf("at rest, after every daemon was started again: %v", c)
		}
	}
	if now := d.cloud.Stats(); now.Created != made.Created || now.Destroyed != made.Destroyed {
		d.t.Errorf("at rest, after every daemon was started again, machines were made or destroyed: %+v, %+v", made, now)
	}
	d.expectSame(hosts)
	d.expectNoChange(d.now.text())
}

// expectSame checks that the provider, the ledger and the inventory have the
// same n machines, each once, and each asked for with a token of its own.
func (w *world) expectSame(n int) {
	w.t.Helper()
	machines, tokens := map[string]bool{}, map[string]bool{}
	for _, r := range w.cloud.Resources() {
		if machines[r.Mark.Machine] || tokens[r.Token] {
			w.t.Errorf("the provider has %s (%s) twice", r.Mark.Path, r.Mark.Machine)
		}
		machines[r.Mark.Machine], tokens[r.Token] = true, true
	}
	held, err := w.service().Machines(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	inventory := map[string]bool{}
	for _, m := range held {
		inventory[m.ID] = true
	}
	if len(machines) != n || !maps.Equal(machines, inventory) {
		w.t.Errorf("%d machines are wanted; the provider has %v, the inventory %v", n, slices.Sorted(maps.Keys(machines)), slices.Sorted(maps.Keys(inventory)))
	}
	w.balance(n)
}

// TestAnyDayEndsWell has a system deployed, changed and terminated while every
// daemon crashes at any write, messages are late, lost and repeated, hosts are
// cut off in one direction or both, their clocks are wrong and jump, and the
// provider refuses, loses answers and lags. When that is over it comes to rest as the last request said, nothing is
// lost or doubled, and nothing of it happens again. // RT-06, LC1, LC7, HL1, DI8, DI9
func TestAnyDayEndsWell(t *testing.T) {
	overSeeds(t, 60, func(t *testing.T, seed uint64) { anyDay(t, seed, false) })
}

// A part that was detached goes through such days as well, while the system that
// it was deployed with comes, changes and goes.
func TestTR4AnyDayEndsWellForADetachedPart(t *testing.T) {
	overSeeds(t, 30, func(t *testing.T, seed uint64) { anyDay(t, seed, true) })
}

func anyDay(t *testing.T, seed uint64, part bool) {
	scenario(t, options{seed: seed, random: 10 * time.Second, cloud: badCloud(seed), clocks: true}, func(w *world) {
		d := newDay(w)
		if part {
			d.part()
		}
		stop := func() {}
		if d.rng.IntN(4) > 0 {
			stop = w.crashing(1+d.rng.IntN(4), 20+d.rng.IntN(150), func(string) bool { return true })
		}
		w.restartManager()
		d.hours()
		stop()
		d.over()
		d.settle()
		d.rest()
		w.insist(api.PlanRequest{Name: "sys", Down: true})
		w.endOrGone()
		if part {
			w.expectLive("lone:probe")
			w.endsSystem("lone")
		}
		w.expectNothing()
	})
}
