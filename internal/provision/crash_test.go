package provision_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"aloft/internal/drivers/sim"
	"aloft/internal/provision"
	"aloft/provider"
)

// crash is thrown in place of the process's end.
type crash struct{ at int }

// bomb ends the process at the n-th instant at which it could matter: before
// and after each write of the ledger and each call of the provider.
type bomb struct {
	left int // 0: disarmed
	at   int
}

func (b *bomb) tick() {
	b.at++
	if b.left > 0 {
		if b.left--; b.left == 0 {
			panic(crash{b.at})
		}
	}
}

type mortalLedger struct {
	provision.Ledger
	*bomb
}

func (l mortalLedger) Put(key string, row []byte) error {
	l.tick()
	err := l.Ledger.Put(key, row)
	l.tick()
	return err
}

type mortalProvider struct {
	provider.Provider
	*bomb
}

func (p mortalProvider) Create(ctx context.Context, a provider.Account, r provider.Request) (provider.Resource, error) {
	p.tick()
	res, err := p.Provider.Create(ctx, a, r)
	p.tick()
	return res, err
}

func (p mortalProvider) Destroy(ctx context.Context, a provider.Account, ref string) error {
	p.tick()
	err := p.Provider.Destroy(ctx, a, ref)
	p.tick()
	return err
}

// lives runs f and reports whether the process survived it.
func lives(f func() error) (ok bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, crashed := r.(crash); !crashed {
				panic(r)
			}
			ok, err = false, nil
		}
	}()
	return true, f()
}

func TestCrashAtAnyInstantEndsInOneMachineAndThenInNone(t *testing.T) {
	clouds := map[string]sim.Config{
		"native tokens":   {NativeTokens: true, ListLag: 10 * time.Second, Shutdown: 5 * time.Second},
		"emulated tokens": {ListLag: 10 * time.Second, Shutdown: 5 * time.Second},
		"immediate":       {NativeTokens: true, BootScale: 1e-9},
	}
	for name, cfg := range clouds {
		t.Run(name, func(t *testing.T) {
			crashes := 0
			for n := 1; ; n++ {
				survived := false
				synctest.Test(t, func(t *testing.T) { survived = crashAt(t, cfg, n) })
				if survived {
					break
				}
				crashes++
			}
			if crashes < 12 {
				t.Errorf("only %d instants were tried", crashes)
			}
		})
	}
}

// crashAt makes and ends a machine with a crash at the n-th instant, starting
// anew over the same ledger, and reports whether all ended before that.
func crashAt(t *testing.T, cfg sim.Config, n int) (survived bool) {
	cloud := sim.NewCloud(cfg)
	ledger := &provision.Memory{}
	b := &bomb{left: n}
	start := func() *provision.Provisioner {
		return open(t, mortalLedger{ledger, b}, mortalProvider{cloud.Driver(), b})
	}
	w := want(1)
	survived = true
	attempt := func(what string, f func(*provision.Provisioner) error) *provision.Provisioner {
		for {
			p := start()
			ok, err := lives(func() error {
				if err := p.Resume(t.Context(), nil); err != nil {
					return fmt.Errorf("resume: %w", err)
				}
				return f(p)
			})
			if err != nil {
				t.Fatalf("crash at %d: %s: %v", n, what, err)
			}
			if ok {
				return p
			}
			survived = false
		}
	}
	p := attempt("acquire", func(p *provision.Provisioner) error {
		_, err := p.Acquire(t.Context(), w)
		return err
	})
	if left := cloud.Resources(); len(left) != 1 || left[0].Token != w.Token || left[0].State != provider.Running {
		t.Errorf("crash at %d: machines %+v, want one running", n, left)
	}
	if e, _, _ := p.Entry(w.MachineID); e.State != provision.Running || len(cloud.Resources()) == 1 && e.Ref != cloud.Resources()[0].Ref {
		t.Errorf("crash at %d: ledger has %+v", n, e)
	}
	p = attempt("release", func(p *provision.Provisioner) error {
		return p.Release(t.Context(), w.MachineID, holder(w))
	})
	if left := cloud.Resources(); len(left) != 0 {
		t.Errorf("crash at %d: left over %+v", n, left)
	}
	if e, _, _ := p.Entry(w.MachineID); e.State != provision.Destroyed {
		t.Errorf("crash at %d: ledger has %s", n, e.State)
	}
	return survived
}

func TestUnwantedIntentIsUndoneAtStart(t *testing.T) {
	for n := 1; n <= 8; n++ {
		synctest.Test(t, func(t *testing.T) {
			cloud := sim.NewCloud(sim.Config{ListLag: 10 * time.Second})
			ledger := &provision.Memory{}
			b := &bomb{left: n}
			p := open(t, mortalLedger{ledger, b}, mortalProvider{cloud.Driver(), b})
			if ok, err := lives(func() error { _, err := p.Acquire(t.Context(), want(1)); return err }); ok {
				t.Fatalf("survived instant %d: %v", n, err)
			}
			p = open(t, ledger, cloud.Driver())
			if err := p.Resume(t.Context(), func(provision.Entry) bool { return false }); err != nil {
				t.Fatal(err)
			}
			// A machine that was recorded as running is no intent any more.
			e, known, _ := p.Entry("machine-1")
			if left := cloud.Resources(); len(left) != 0 && e.State != provision.Running {
				t.Errorf("crash at %d: left over %+v, ledger %v %s", n, left, known, e.State)
			}
		})
	}
}
