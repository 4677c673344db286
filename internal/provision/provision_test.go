package provision_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"aloft/internal/drivers/sim"
	"aloft/internal/provision"
	"aloft/provider"
)

const home = "0a1b2c3d"

func open(t *testing.T, ledger provision.Ledger, p provider.Provider) *provision.Provisioner {
	t.Helper()
	prov, err := provision.New(provision.Config{
		Home: home, Vendors: provision.Fixed{p}, Ledger: ledger, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return prov
}

func want(n int) provision.Want {
	return provision.Want{
		System: "shop", Path: fmt.Sprint("web", n), MachineID: fmt.Sprint("machine-", n), Token: fmt.Sprint("token-", n),
		Name: fmt.Sprint("web", n),
		Proposal: provider.Proposal{
			Provider: "sim", Account: "default", Region: "east", Size: "s1", Template: sim.Template,
			Cores: 1, Memory: 1024, Disk: 20,
		},
		UserData: func(context.Context) ([]byte, error) { return []byte("enrol"), nil },
	}
}

func holder(w provision.Want) string { return provision.Holder(w.System, w.Path) }

func TestAcquireReturnsTheRunningMachineAndReleaseLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{ListLag: 10 * time.Second, Shutdown: 30 * time.Second})
		ledger := &provision.Memory{}
		p := open(t, ledger, cloud.Driver())
		w := want(1)
		first, err := p.Acquire(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		again, err := p.Acquire(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if first.State != provider.Running || again.Ref != first.Ref {
			t.Errorf("acquired %+v, then %+v", first, again)
		}
		e, _, _ := p.Entry(w.MachineID)
		if e.State != provision.Running || e.Seen.Address != first.Address || e.Mark.Home != home {
			t.Errorf("ledger has %+v", e)
		}
		if err := p.Release(t.Context(), w.MachineID, holder(w)); err != nil {
			t.Fatal(err)
		}
		if left := cloud.Resources(); len(left) != 0 {
			t.Errorf("left over: %+v", left)
		}
		if err := p.Release(t.Context(), w.MachineID, holder(w)); err != nil {
			t.Errorf("second release: %v", err)
		}
		if _, err := p.Acquire(t.Context(), w); err == nil || !strings.Contains(err.Error(), "does not come back") {
			t.Errorf("a destroyed machine was acquired again: %v", err)
		}
	})
}

func TestLostAnswerIsLookedForBeforeItIsAskedForAgain(t *testing.T) {
	for _, native := range []bool{false, true} {
		t.Run(fmt.Sprint("native=", native), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := sim.NewCloud(sim.Config{NativeTokens: native, ListLag: 20 * time.Second})
				cloud.LoseNext("create", 1)
				p := open(t, &provision.Memory{}, cloud.Driver())
				if _, err := p.Acquire(t.Context(), want(1)); err != nil {
					t.Fatal(err)
				}
				if n := cloud.Stats().Created; n != 1 {
					t.Errorf("%d machines were created, want 1", n)
				}
			})
		})
	}
}

func TestRefusalIsRecordedAndLeavesNothing(t *testing.T) {
	cases := []struct {
		name string
		cfg  sim.Config
		kind provider.ErrorKind
		text string
	}{
		{"no capacity", sim.Config{Faults: sim.Faults{NoCapacity: 1}}, provider.Capacity, "no s1 left"},
		{"does not boot", sim.Config{Faults: sim.Faults{NeverBoots: 1}}, "", "did not boot"},
		{"boots too slowly", sim.Config{BootScale: 10}, "", "which is the limit"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := sim.NewCloud(c.cfg)
				p := open(t, &provision.Memory{}, cloud.Driver())
				_, err := p.Acquire(t.Context(), want(1))
				if provider.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.text) {
					t.Errorf("error %v of kind %q, want %q with %q", err, provider.KindOf(err), c.kind, c.text)
				}
				e, _, _ := p.Entry("machine-1")
				if e.State != provision.Destroyed || !strings.Contains(e.Reason, c.text) {
					t.Errorf("ledger has %s: %q", e.State, e.Reason)
				}
				if left := cloud.Resources(); len(left) != 0 {
					t.Errorf("left over: %+v", left)
				}
			})
		})
	}
}

func TestInterruptedAcquireIsContinuedWithTheSameMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{})
		p := open(t, &provision.Memory{}, cloud.Driver())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := p.Acquire(ctx, want(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the deadline", err)
		}
		if _, err := p.Acquire(t.Context(), want(1)); err != nil {
			t.Fatal(err)
		}
		if n := cloud.Stats().Created; n != 1 {
			t.Errorf("%d machines were created, want 1", n)
		}
	})
}

func TestStoppedMachineIsRevived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{})
		p := open(t, &provision.Memory{}, cloud.Driver())
		res, err := p.Acquire(t.Context(), want(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := cloud.Stop(res.Ref, "host was rebooted"); err != nil {
			t.Fatal(err)
		}
		if seen, err := p.Observe(t.Context(), "machine-1"); err != nil || seen.State != provider.Stopped {
			t.Fatalf("observed %v, %v", seen.State, err)
		}
		back, err := p.Revive(t.Context(), "machine-1")
		if err != nil || back.State != provider.Running || back.Ref != res.Ref {
			t.Fatalf("revived %+v, %v", back, err)
		}
	})
}

func TestStoppedMachineThatCannotBeStartedSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{NoStop: true})
		p := open(t, &provision.Memory{}, cloud.Driver())
		res, err := p.Acquire(t.Context(), want(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := cloud.Stop(res.Ref, "reclaimed"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Revive(t.Context(), "machine-1"); provider.KindOf(err) != provider.NotSupported {
			t.Errorf("got %v, want kind not supported", err)
		}
		if len(cloud.Resources()) != 1 {
			t.Error("a failed revival destroyed the machine")
		}
	})
}

func TestMachineIsDestroyedWithItsLastClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{})
		p := open(t, &provision.Memory{}, cloud.Driver())
		w := want(1)
		if _, err := p.Acquire(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if err := p.Claim(t.Context(), w.MachineID, "person/ann", true); provider.KindOf(err) != provider.Conflict {
			t.Errorf("second claim beside an exclusive one: %v", err)
		}
		other := w
		other.System = "blog"
		if _, err := p.Acquire(t.Context(), other); err == nil {
			t.Error("another system acquired a held machine")
		}
		if err := p.Release(t.Context(), w.MachineID, "blog/web1"); err != nil {
			t.Fatal(err)
		}
		if len(cloud.Resources()) != 1 {
			t.Fatal("a stranger's release destroyed the machine")
		}
		if err := p.Release(t.Context(), w.MachineID, holder(w)); err != nil {
			t.Fatal(err)
		}
		if len(cloud.Resources()) != 0 {
			t.Error("the machine outlived its last claim")
		}
	})
}

func TestProviderThatAsksToComeLaterIsAskedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{NativeTokens: true, PerSecond: 3})
		p, err := provision.New(provision.Config{
			Home: home, Vendors: provision.Fixed{cloud.Driver()}, Ledger: &provision.Memory{},
			Log: slog.New(slog.DiscardHandler), Limits: map[string]provision.Limit{"sim": {}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := acquireAll(t, p, 20); n != 20 {
			t.Errorf("%d of 20 machines run", n)
		}
		if s := cloud.Stats(); s.Created != 20 {
			t.Errorf("%d machines were created, want 20", s.Created)
		}
	})
}

// acquireAll acquires n machines at once and returns how many run.
func acquireAll(t *testing.T, p *provision.Provisioner, n int) (running int) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range n {
		wg.Go(func() {
			if _, err := p.Acquire(t.Context(), want(i)); err == nil {
				mu.Lock()
				running++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return running
}

func TestLedgerAgreesWithABadCloud(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const machines = 40
				cloud := sim.NewCloud(sim.Config{
					Seed: seed, NativeTokens: seed%2 == 0, ListLag: 15 * time.Second, Latency: 200 * time.Millisecond,
					Shutdown: 20 * time.Second,
					Faults:   sim.Faults{NoCapacity: 0.05, NeverBoots: 0.1, LostAnswers: 0.3, Transient: 0.1},
				})
				p := open(t, &provision.Memory{}, cloud.Driver())
				running := acquireAll(t, p, machines)
				agrees(t, p, cloud, running)
				if running < machines/2 {
					t.Errorf("only %d of %d machines run", running, machines)
				}
				for i := range machines {
					w := want(i)
					for range 5 { // a release that fails is repeated by its caller
						if err := p.Release(t.Context(), w.MachineID, holder(w)); err == nil {
							break
						}
					}
				}
				agrees(t, p, cloud, 0)
			})
		})
	}
}

// agrees checks the ledger with the cloud's own truth.
func agrees(t *testing.T, p *provision.Provisioner, cloud *sim.Cloud, inUse int) {
	t.Helper()
	time.Sleep(time.Minute) // destructions that were interrupted by a failure end
	if err := p.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	rep, err := p.Sweep(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Strays) > 0 || len(rep.Missing) > 0 {
		t.Errorf("strays %+v, missing %+v", rep.Strays, rep.Missing)
	}
	if rep.InUse != inUse || rep.Created != rep.InUse+rep.Destroyed {
		t.Errorf("ledger: created %d, in use %d (want %d), destroyed %d", rep.Created, rep.InUse, inUse, rep.Destroyed)
	}
	if s, left := cloud.Stats(), cloud.Resources(); len(left) != inUse || s.Created-s.Destroyed != inUse {
		t.Errorf("cloud: %d machines, created %d, destroyed %d; want %d in use", len(left), s.Created, s.Destroyed, inUse)
	}
}

func TestSweepReportsStrangersAndTheirFateIsAsJudged(t *testing.T) {
	always := func(fate provision.Fate) provision.Judge {
		return func(context.Context, provision.Stray) (provision.Fate, error) { return fate, nil }
	}
	for _, tt := range []struct {
		judge provision.Judge
		fate  provision.Fate
		left  []string // machines at the provider
		again int      // strays of the next sweep
		inUse int
	}{
		{nil, provision.Kept, []string{"machine-1", "machine-2"}, 1, 1},
		{always(provision.Kept), provision.Kept, []string{"machine-1", "machine-2"}, 1, 1},
		{provision.RemoveAll, provision.Removed, []string{"machine-1"}, 0, 1},
		{always(provision.Adopted), provision.Adopted, []string{"machine-1", "machine-2"}, 0, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			cloud := sim.NewCloud(sim.Config{})
			p := open(t, &provision.Memory{}, cloud.Driver())
			if _, err := p.Acquire(t.Context(), want(1)); err != nil {
				t.Fatal(err)
			}
			// Another process with this home's id, whose ledger is lost.
			lost := open(t, &provision.Memory{}, cloud.Driver())
			if _, err := lost.Acquire(t.Context(), want(2)); err != nil {
				t.Fatal(err)
			}
			rep, err := p.Sweep(t.Context(), "", tt.judge)
			if err != nil || len(rep.Strays) != 1 || rep.Strays[0].Fate != tt.fate || rep.Strays[0].Mark.Machine != "machine-2" {
				t.Fatalf("strays %+v, %v; want machine-2 %s", rep.Strays, err, tt.fate)
			}
			rep, err = p.Sweep(t.Context(), "", nil)
			if err != nil || len(rep.Strays) != tt.again || rep.InUse != tt.inUse || len(rep.Missing) > 0 {
				t.Errorf("then %+v, %v", rep, err)
			}
			var left []string
			for _, r := range cloud.Resources() {
				left = append(left, r.Mark.Machine)
			}
			if slices.Sort(left); !slices.Equal(left, tt.left) {
				t.Errorf("left: %v, want %v", left, tt.left)
			}
			if tt.fate != provision.Adopted {
				return
			}
			// It is a machine like any other: found by its token, and ended.
			w := want(2)
			if r, err := p.Acquire(t.Context(), w); err != nil || len(cloud.Resources()) != 2 {
				t.Errorf("acquired %+v, %v", r, err)
			}
			if err := p.Release(t.Context(), w.MachineID, holder(w)); err != nil || len(cloud.Resources()) != 1 {
				t.Errorf("release: %v; left %+v", err, cloud.Resources())
			}
		})
	}
}

func TestRowsWhoseMachineIsGoneAreReportedAndCanBeAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{})
		p := open(t, &provision.Memory{}, cloud.Driver())
		r, err := p.Acquire(t.Context(), want(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := cloud.Lose(r.Ref); err != nil {
			t.Fatal(err)
		}
		rep, err := p.Sweep(t.Context(), "", nil)
		if err != nil || len(rep.Missing) != 1 || rep.InUse != 1 {
			t.Errorf("%+v, %v; want machine-1 missing", rep, err)
		}
		for range 2 { // and again after a crash
			if err := p.Abandon(t.Context(), "machine-1", "nobody has it"); err != nil {
				t.Error(err)
			}
		}
		rep, err = p.Sweep(t.Context(), "", nil)
		if e, _, _ := p.Entry("machine-1"); err != nil || len(rep.Missing) != 0 || rep.Destroyed != 1 || e.Reason != "nobody has it" {
			t.Errorf("%+v, %v, row %+v; want it destroyed", rep, err, e)
		}
	})
}

// What was asked for again between the look and the decision is no stray.
func TestSweepLeavesAloneWhatIsAdoptedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{})
		lost := open(t, &provision.Memory{}, cloud.Driver())
		for n := 1; n <= 2; n++ {
			if _, err := lost.Acquire(t.Context(), want(n)); err != nil {
				t.Fatal(err)
			}
		}
		p := open(t, &provision.Memory{}, cloud.Driver())
		rep, err := p.Sweep(t.Context(), "", func(ctx context.Context, s provision.Stray) (provision.Fate, error) {
			// Whoever is judged first, the other one's component comes meanwhile.
			other := map[string]int{"machine-1": 2, "machine-2": 1}[s.Mark.Machine]
			if _, err := p.Acquire(ctx, want(other)); err != nil {
				t.Error(err)
			}
			return provision.Removed, nil
		})
		if err != nil || len(rep.Strays) != 1 || len(cloud.Resources()) != 1 {
			t.Errorf("%+v, %v; left %+v", rep, err, cloud.Resources())
		}
	})
}

func TestDestructionCutShortIsFinishedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := sim.NewCloud(sim.Config{Shutdown: 2 * time.Minute})
		p := open(t, &provision.Memory{}, cloud.Driver())
		w := want(1)
		if _, err := p.Acquire(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Release(short, w.MachineID, holder(w)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the deadline", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Run(ctx) }()
		time.Sleep(3 * time.Minute)
		if e, _, _ := p.Entry(w.MachineID); e.State != provision.Destroyed {
			t.Errorf("ledger has %s", e.State)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("run ended with %v", err)
		}
	})
}
