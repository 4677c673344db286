package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/provider"
)

// frail is a machine with a component that ends so often, one beside it, and
// another machine that reads both.
func frail(ends int, top, machine, beside string) string {
	return fmt.Sprintf(`sfConfig extends { %s
		m1 extends VM { sfMaxRestarts 2; %s a extends Probe { endsAfter 1000; ends %d; } b extends Probe { below extends Probe; %s } }
		m2 extends VM { c extends Probe { later LAZY ROOT:m1:ip; } }
	}`, top, machine, ends, beside)
}

// incarnations returns the ids of the machines called m1 that were made, in
// order.
func (w *world) incarnations() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.machines {
		if m.resource.Mark.Path == "m1" && !slices.Contains(ids, m.resource.Mark.Machine) {
			ids = append(ids, m.resource.Mark.Machine)
		}
	}
	return ids
}

// settles waits until the system runs again, or is degraded with nothing due.
func (w *world) settles(state string) {
	w.t.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Second) {
		if w.system() != state {
			continue
		}
		time.Sleep(10 * time.Minute) // longer than any pause
		if w.system() == state {
			return
		}
	}
	w.t.Fatalf("the system is %s, not %s: m1: %s", w.system(), state, w.reason("m1"))
}

// TR3: what is given up below a machine ends what is beside it and the machine,
// which is brought back as another: terminated in post-order, made, deployed,
// started; those who read it are told.
func TestTR3WhatIsGivenUpOnAMachineReplacesIt(t *testing.T) {
	scenario(t, options{seed: 1, random: time.Second}, func(w *world) {
		w.begins(frail(3, "", "", ""))
		before, other := w.machine("sys/m1"), w.machine("sys/m2")
		mark := len(w.stage.trace())
		w.settles(api.SystemRunning)
		after := w.machine("sys/m1")
		if after.resource.Mark.Machine == before.resource.Mark.Machine || len(w.incarnations()) != 2 {
			t.Errorf("of m1 there were %v, want two", w.incarnations())
		}
		if w.machine("sys/m2") != other {
			t.Error("m2 was replaced as well")
		}
		w.expectOn(after, "m1:a", "m1:b", "m1:b:below")
		calls := slices.DeleteFunc(w.stage.trace()[mark:], func(c call) bool { return c.Path == "m1:a" })
		ops := w.operationsIn(calls)
		w.follows(ops, "m1:b terminate", "m1:b:below terminate")
		w.follows(ops, "m1:b deploy", "m1:b terminate")
		w.follows(ops, "m1:b start", "m1:b:below deploy")
		w.follows(ops, "m2:c reconfigure", "m1:b deploy")
		if ip, _ := w.last("m2:c", "reconfigure").Attrs.Get("later"); ip == nil || !strings.Contains(fmt.Sprint(ip), after.resource.Address) {
			t.Errorf("m2:c was told %v, want %s", ip, after.resource.Address)
		}
		if ends := w.ends("m1"); len(ends) != 1 || !strings.Contains(ends[0], "m1:a is given up: it was told to; the machine is replaced") {
			t.Errorf("the machine's end was told as %q", ends)
		}
		w.balance(2)
		w.down(false)
	})
}

// ends returns what the events of the ends of a component say.
func (w *world) ends(path string) (reasons []string) {
	w.t.Helper()
	events, err := w.service().Events(context.Background(), api.EventQuery{System: "sys", Path: path})
	if err != nil {
		w.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Path == path && e.State == "ended" {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// TR3: the pauses between replacements grow, and what is around the machine says
// how often it is replaced.
func TestTR3ReplacementsPauseLongerAndAreGivenUp(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(frail(1000, "sfMaxRestarts 4;", "", ""))
		w.settles(api.SystemDegraded)
		if n := len(w.incarnations()); n != 5 {
			t.Errorf("m1 was made %d times, want once and 4 times again", n)
		}
		if why := w.reason("m1"); !strings.Contains(why, "not replaced again: it was 4 times within 1h") {
			t.Errorf("m1 is %q", why)
		}
		time.Sleep(3 * time.Hour)
		if n := len(w.incarnations()); n != 5 {
			t.Errorf("m1 was made %d times after all", n)
		}
		// Each pause, from the third end of a on one machine to the end of b there,
		// is twice the one before.
		var ended, pauses []time.Duration
		for _, c := range w.stage.trace() {
			switch {
			case c.Path == "m1:a" && c.Op == "ended":
				ended = append(ended, c.At)
			case c.Path == "m1:b" && c.Op == "terminate" && !c.Done:
				pauses = append(pauses, c.At-ended[len(ended)-1])
			}
		}
		for i, want := range []time.Duration{1, 2, 4, 8} {
			if i >= len(pauses) || pauses[i] < want*time.Second || pauses[i] > want*time.Second+2*lostTick {
				t.Fatalf("pauses before replacements: %v", pauses)
			}
		}
		w.down(true)
	})
}

// lostTick is how often an owner looks.
const lostTick = 2 * time.Second

// HL3, UP9: a machine with data is not replaced without sfReplaceOnLoss true, nor
// one whose compound ignores ends.
func TestHL3UP9MachineWithDataIsNotReplacedForWhatIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		machine, beside string
		replaced        bool
	}{
		"data":             {beside: `dataDir "/data";`},
		"data, with leave": {machine: "sfReplaceOnLoss true;", beside: `dataDir "/data";`, replaced: true},
		"ignored ends":     {machine: `sfOnChildEnd "ignore";`},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.begins(frail(3, "", c.machine, c.beside))
				before := w.machine("sys/m1")
				if c.replaced {
					w.settles(api.SystemRunning)
					w.expectOn(w.machine("sys/m1"), "m1:a", "m1:b", "m1:b:below")
				} else {
					w.settles(api.SystemDegraded)
					w.expectOn(before, "m1:b", "m1:b:below")
				}
				if replaced := w.machine("sys/m1") != before; replaced != c.replaced {
					t.Errorf("replaced: %t, want %t", replaced, c.replaced)
				}
				if why := w.reason("m1"); c.beside != "" && !c.replaced && !strings.Contains(why, "not replaced: m1:b holds data") {
					t.Errorf("m1 is %q", why)
				}
				w.insist(api.PlanRequest{Name: "sys", Down: true})
				w.end()
				w.expectNothing()
			})
		})
	}
}

// TR3: a machine that ends as a whole is started again with its disk; one that
// its host cannot start any more is replaced, unless it holds data.
func TestTR3MachineThatCannotBeStartedIsReplaced(t *testing.T) {
	for name, data := range map[string]string{"without data": "", "with data": `dataDir "/data";`} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.runs(frail(0, "sfMaxRestarts 3;", "", data))
				before := w.machine("sys/m1")
				w.setUnstartable(true)
				if err := w.cloud.Stop(before.resource.Ref, "reclaimed"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute)
				switch {
				case data == "":
					w.settles(api.SystemRunning)
					if after := w.machine("sys/m1"); after == before {
						t.Error("it is the same machine")
					}
					w.expectLive("m1:a", "m1:b", "m1:b:below", "m2:c")
					w.balance(2)
				default:
					w.settles(api.SystemDegraded)
					if len(w.incarnations()) != 1 || len(w.cloud.Resources()) != 2 {
						t.Errorf("machines %v, %d at the cloud: want the one with the data still there", w.incarnations(), len(w.cloud.Resources()))
					}
					if why := w.reason("m1"); !strings.Contains(why, "not replaced: m1:b holds data") {
						t.Errorf("m1 is %q", why)
					}
				}
				w.setUnstartable(false)
				w.down(true)
			})
		})
	}
}

// setUnstartable has the cloud refuse to start machines that were stopped.
func (w *world) setUnstartable(b bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unstartable = b
}

func (s stubborn) Operate(ctx context.Context, a provider.Account, ref string, op provider.Operation) error {
	s.w.mu.Lock()
	refuses := s.w.unstartable && op == provider.OpStart
	s.w.mu.Unlock()
	if refuses {
		return &provider.Error{Kind: provider.Denied, Provider: "sim", Op: "start", Err: errors.New("it does not start")}
	}
	return s.Provider.Operate(ctx, a, ref, op)
}

// TR3 while managers and machines crash: the machine is replaced all the same,
// no more often than it may be, and none is left over.
func TestTR3LC7ReplacementSurvivesCrashes(t *testing.T) {
	crashes := 0
	overSeeds(t, 12, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 2 * time.Second}, func(w *world) {
			w.begins(frail(3, "", "", ""))
			stop := w.crashing(4, 60, func(daemon string) bool { return seed%2 == 0 || isManager(daemon) })
			w.restartManager() // and from now on it crashes
			for began := time.Now(); len(w.incarnations()) < 2 && time.Since(began) < patience; {
				time.Sleep(time.Second)
			}
			time.Sleep(time.Minute)
			stop()
			w.settles(api.SystemRunning)
			w.expectLive("m1:a", "m1:b", "m1:b:below", "m2:c")
			if n := len(w.incarnations()); n < 2 || n > 4 {
				t.Errorf("m1 was made %d times", n)
			}
			w.balance(2)
			w.down(false)
			crashes += w.crashes
		})
	})
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}

// An owner that is replaced knows how often the one before has replaced a machine.
func TestTR3NextOwnerGoesOnCounting(t *testing.T) {
	scenario(t, options{seed: 1, more: 2}, func(w *world) {
		w.begins(frail(1000, "sfMaxRestarts 3;", "", ""))
		for made := range 3 {
			for began := time.Now(); len(w.incarnations()) < made+2 && time.Since(began) < patience; {
				time.Sleep(time.Second)
			}
			owner, _ := w.owner(theSystem)
			w.kill(owner)
			w.another(theSystem, owner)
			w.enthrone(owner)
		}
		w.settles(api.SystemDegraded)
		if n := len(w.incarnations()); n != 4 {
			t.Errorf("m1 was made %d times, want once and 3 times again", n)
		}
		w.down(true)
	})
}
