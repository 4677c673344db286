package real

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"aloft/api"
	"aloft/client"
)

var instants = flag.Int("real.instants", 4, "at how many seeded instants the owner of a system is killed or stopped")

// phases of an `up` in each of which its owner is killed and stopped, a moment
// after the phase was reached as others see it.
var phases = []struct {
	name    string
	reached func(d *api.Deployment) bool // d is nil before a plan is stored
	within  time.Duration                // how long the moment may be
}{
	{"before the plan is stored", func(*api.Deployment) bool { return true }, 60 * time.Millisecond},
	{"when it is stored", func(d *api.Deployment) bool { return d != nil }, 20 * time.Millisecond},
	{"while steps run", func(d *api.Deployment) bool { return d != nil && d.Settled > 0 }, 300 * time.Millisecond},
	{"before the end", func(d *api.Deployment) bool { return d != nil && 2*d.Settled > d.Steps }, 100 * time.Millisecond},
}

// RT-06: whenever the owner of a system is killed, or stopped and set going
// again later, in the middle of `up`, the command ends well, with the plan that
// was begun, if one was, and no step is done twice.
func TestRT06OwnerKilledOrStoppedAtSeededInstants(t *testing.T) {
	all := three(t, 91)
	host, taker, witness := all[0], all[1], all[2]
	said := &spoken{} // by the newest up
	defer func() {
		if t.Failed() {
			t.Logf("up said\n%s", said)
		}
	}()
	for seed := range *instants {
		r, phase := rand.New(rand.NewPCG(uint64(seed), 6)), phases[seed%len(phases)]
		sig := syscall.SIGKILL
		if (seed+seed/len(phases))%2 == 1 {
			sig = syscall.SIGSTOP
		}
		system := fmt.Sprint("s", seed)
		up := taker.command("up", taker.write(system, starters(2)), "-y")
		said = &spoken{}
		up.Stdout, up.Stderr = said, said
		pids := map[string]int{"b": taker.pid(), "c": witness.pid()}
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, phase.name, func() bool { return phase.reached(witness.deployment(system)) })
		moment := time.Duration(r.Int64N(int64(phase.within)))
		time.Sleep(moment)                         // the seeded instant
		d, name := witness.deployment(system), "b" // who took it
		plan, state := "", "nothing is recorded"
		if d != nil {
			plan, state = d.Plan, fmt.Sprintf("%s with %d of %d steps settled", d.State, d.Settled, d.Steps)
			if o := witness.ownerNow(system); o == "c" {
				name = o // the host is killed elsewhere
			}
		}
		if err := syscall.Kill(pids[name], sig); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		err := up.Wait()
		t.Logf("seed %d: %s was %s %s, %s in: %s; up went on for %s", seed, name, sig, phase.name, moment.Round(time.Millisecond), state, time.Since(begun).Round(10*time.Millisecond))
		if err != nil {
			t.Errorf("seed %d: up: %v", seed, err)
		}
		victim, alive := taker, witness
		if name == "c" {
			victim, alive = witness, taker
		}
		if sig == syscall.SIGSTOP {
			if err := syscall.Kill(pids[name], syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		} else {
			victim.do("daemon", "start")
		}
		eventually(t, 20*time.Second, "whoever was gone answers for the system as the others do", func() bool {
			a, b := victim.owner(system), alive.owner(system)
			return a != nil && b != nil && *a == *b
		})
		if now := alive.plan(system); plan != "" && now != plan {
			t.Errorf("seed %d: plan %s became %s", seed, plan, now)
		}
		if st := alive.status(system); st.Revision != 1 || st.State != api.SystemRunning {
			t.Errorf("seed %d: the system is %s in revision %d", seed, st.State, st.Revision)
		}
		once(t, host, alive, system, 2)
		alive.do("down", system, "-y")
		if t.Failed() {
			return
		}
	}
}

// deployment returns the newest plan of a system, as far as h is told; nil where
// there is none.
func (h *home) deployment(system string) *api.Deployment {
	c := client.New(client.SocketPath(h.dir, func(string) string { return "" }))
	defer c.Close()
	d, err := c.Deployment(h.t.Context(), system)
	if err != nil {
		return nil
	}
	return d
}

// ownerNow returns the name of who owns a system, as h is told at once; "" where
// nobody does.
func (h *home) ownerNow(system string) string {
	c := client.New(client.SocketPath(h.dir, func(string) string { return "" }))
	defer c.Close()
	list, err := c.Systems(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range list {
		if s.Name == system && s.Owner != nil {
			return s.Owner.Name
		}
	}
	return ""
}
