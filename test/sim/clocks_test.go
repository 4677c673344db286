package sim

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
)

// clock is the wall clock of one host: wrong from the first moment, too fast or
// too slow, and set anew now and then. Daemons have the time from it, and count
// by something else.
type clock struct {
	mu sync.Mutex
	// guarded by mu
	wrong time.Duration // what it was set wrong by
	rate  float64       // seconds that it goes wrong by in a second
	since time.Time     // begun
}

// wrongest is how wrong a clock may be, but for its rate: two of them differ by
// less than what certificates are dated back (an hour).
const wrongest = 20 * time.Minute

// now is what the clock says. It knows nothing of how long a process has run.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	went := time.Duration(c.rate * float64(now.Sub(c.since)))
	return now.Add(c.wrong + went).Round(0)
}

// set sets the clock, as wrong as is drawn.
func (c *clock) set(rng *rand.Rand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = time.Duration(rng.Int64N(int64(2*wrongest))) - wrongest
}

// jump sets the clock by d, forward or back.
func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong += d
}

// clock returns the clock of a host.
func (w *world) clock(host string) *clock {
	w.ids.Lock()
	defer w.ids.Unlock()
	if w.clocks[host] == nil {
		c := &clock{since: w.stage.begun}
		if w.wrongClocks {
			c.set(w.rng)
			c.rate = (w.rng.Float64() - 0.5) / 1000
		}
		w.clocks[host] = c
	}
	return w.clocks[host]
}

// setClocks sets all clocks.
func (w *world) setClocks() {
	for _, host := range w.hosts() {
		c := w.clock(host)
		w.ids.Lock()
		c.set(w.rng)
		w.ids.Unlock()
	}
}

// The clocks of all daemons jump by minutes for a day: certificates are
// renewed all the same, nobody is cut off, and nothing is touched.
func TestClocksThatJumpWhileCertificatesAreRenewedHarmNothing(t *testing.T) {
	overSeeds(t, 1, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, clocks: true}, func(w *world) {
			w.runs(hello)
			mark := len(w.stage.trace())
			for range 8 {
				w.setClocks()
				time.Sleep(3 * time.Hour)
				w.expectState(api.SystemRunning)
				for _, m := range w.running() {
					if name := m.resource.Mark.System + "/" + m.resource.Mark.Path; w.machineState(name) != api.MachineRunning {
						t.Errorf("after %v: %s is %s", time.Since(w.stage.begun), name, w.machineState(name))
					}
				}
			}
			if calls := w.stage.trace()[mark:]; len(calls) > 0 {
				t.Errorf("something was touched: %v", calls)
			}
			w.expectNoChange(hello)
			w.down(false)
		})
	})
}

// HL2: a tenure ends when it does, whatever the clocks of the machine and of its
// owner are set to meanwhile.
func TestHL2TenuresAreNotCountedByClocks(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, clocks: true}, func(w *world) {
			w.runs(stoppedApp)
			m := w.machine("sys/m")
			w.setUndying(true)
			w.cut(m)
			time.Sleep(time.Duration(w.number(30_000)) * time.Millisecond)
			w.setClocks()
			time.Sleep(6 * time.Minute)
			w.expectOn(m)
			w.expectOn(w.other(m), "m:app")
		})
	})
}

// A machine's clock is set back and its daemon starts again: what it tells then
// is not taken for what it has told before.
func TestEventsAfterAClockWasSetBackAreHeard(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(hello)
		m := w.machine("sys/m1")
		w.stage.die("m1:a", component.Abnormal)
		time.Sleep(time.Minute)
		w.clock(m.resource.Ref).jump(-time.Hour / 2)
		w.restartMachine(m, time.Second)
		time.Sleep(time.Minute)
		w.stage.die("m1:a", component.Abnormal)
		time.Sleep(time.Minute)
		if told := w.restartReasons("m1:a"); len(told) != 2 {
			t.Errorf("of two restarts these were heard: %q", told)
		}
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}

// hosts returns the names of the hosts on which daemons run.
func (w *world) hosts() (names []string) {
	for _, s := range w.seats {
		names = append(names, s.name)
	}
	for _, m := range w.running() {
		names = append(names, m.resource.Ref)
	}
	return names
}
