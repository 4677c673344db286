package sim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"aloft/provider"
	"aloft/provider/providertest"
)

func TestSimPassesTheSuite(t *testing.T) {
	clouds := map[string]Config{
		"well-behaved":    {},
		"native tokens":   {NativeTokens: true, ListLag: 30 * time.Second},
		"emulated tokens": {ListLag: 30 * time.Second, Shutdown: 20 * time.Second, Latency: time.Second},
		"small pages":     {PageSize: 1},
		"cannot stop":     {NoStop: true},
	}
	for name, cfg := range clouds {
		t.Run(name, func(t *testing.T) {
			providertest.RunIn(t, synctest.Test, func(t *testing.T) providertest.Harness {
				c := NewCloud(cfg)
				t.Cleanup(c.Close)
				return providertest.Harness{
					New:        func() provider.Provider { return c.Driver() },
					Account:    provider.Account{Name: "default"},
					Need:       provider.Need{Name: "web", Cores: 2, Memory: 2048, Disk: 20},
					LoseAnswer: func(op string) { c.LoseNext(op, 1) },
					Pause:      time.Second,
				}
			})
		})
	}
}

func request(n int) provider.Request {
	return provider.Request{
		Kind: provider.Compute, Token: fmt.Sprint("token-", n), Name: fmt.Sprint("m", n),
		Mark:     provider.Mark{Home: "0a1b2c3d", System: "shop", Path: fmt.Sprint("m", n), Machine: fmt.Sprint("id-", n)},
		Spec:     provider.Proposal{Template: Template, Size: "s1", Region: "east"},
		UserData: []byte("enrol"),
	}
}

var account = provider.Account{Name: "default"}

func TestBootTimesFollowTheMeasurements(t *testing.T) {
	for share, want := range map[float64]time.Duration{
		0: 49 * time.Second, 0.5: 66 * time.Second, 0.99: 97 * time.Second, 1: 236 * time.Second, 0.25: 62 * time.Second,
		0.375: 64 * time.Second, // half way between two points
	} {
		if got := bootTime(share); math.Abs((got - want).Seconds()) > 0.001 {
			t.Errorf("boot time at %g is %s, want %s", share, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := NewCloud(Config{Seed: 1, Faults: Faults{NeverBoots: BootFailures}})
		defer c.Close()
		for i := range 1000 {
			if _, err := c.Driver().Create(t.Context(), account, request(i)); err != nil {
				t.Fatal(err)
			}
		}
		running := func() (n, failed int) {
			for _, r := range c.Resources() {
				switch r.State {
				case provider.Running:
					n++
				case provider.Failed:
					failed++
				}
			}
			return n, failed
		}
		time.Sleep(66 * time.Second)
		if n, _ := running(); n < 450 || n > 550 {
			t.Errorf("%d of 1000 machines run after 66 s, want about half", n)
		}
		time.Sleep(236 * time.Second)
		if n, failed := running(); n+failed != 1000 || failed == 0 || failed > 20 {
			t.Errorf("in the end %d run and %d failed", n, failed)
		}
	})
}

func TestSeedRepeatsWhateverTheOrder(t *testing.T) {
	boots := func(seed uint64, order []int) map[string]time.Duration {
		out := map[string]time.Duration{}
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			c := NewCloud(Config{Seed: seed, OnRunning: func(r provider.Resource, _ []byte) {
				out[r.Token] = time.Since(begun)
			}})
			defer c.Close()
			for _, i := range order {
				if _, err := c.Driver().Create(t.Context(), account, request(i)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(10 * time.Minute)
			c.Resources() // after every hook
		})
		return out
	}
	order := []int{0, 1, 2, 3, 4, 5, 6, 7}
	first := boots(7, order)
	slices.Reverse(order)
	if again := boots(7, order); fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("one seed, two outcomes:\n%v\n%v", first, again)
	}
	if other := boots(8, order); fmt.Sprint(first) == fmt.Sprint(other) {
		t.Error("two seeds, one outcome")
	}
}

func TestHooksFollowTheMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		c := NewCloud(Config{
			OnRunning: func(r provider.Resource, data []byte) { log = append(log, r.Name+" runs with "+string(data)) },
			OnGone:    func(r provider.Resource) { log = append(log, r.Name+" is "+string(r.State)) },
		})
		defer c.Close()
		d := c.Driver()
		r, err := d.Create(t.Context(), account, request(1))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		for _, op := range []provider.Operation{provider.OpStop, provider.OpStart} {
			if err := d.Operate(t.Context(), account, r.Ref, op); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
		}
		if err := d.Destroy(t.Context(), account, r.Ref); err != nil {
			t.Fatal(err)
		}
		want := []string{"m1 runs with enrol", "m1 is stopped", "m1 runs with enrol", "m1 is destroying"}
		if !slices.Equal(log, want) {
			t.Errorf("hooks: %q, want %q", log, want)
		}
	})
}

func TestSnapshotCarriesMachinesToAnotherCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := NewCloud(Config{NativeTokens: true})
		defer first.Close()
		made, err := first.Driver().Create(t.Context(), account, request(1))
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := first.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		ran := make(chan string, 2)
		second := NewCloud(Config{NativeTokens: true, OnRunning: func(r provider.Resource, _ []byte) { ran <- r.Ref }})
		defer second.Close()
		if err := second.Restore(snapshot); err != nil {
			t.Fatal(err)
		}
		if ref := <-ran; ref != made.Ref {
			t.Errorf("%s runs, want %s", ref, made.Ref)
		}
		again, err := second.Driver().Create(t.Context(), account, request(1))
		if err != nil || again.Ref != made.Ref {
			t.Errorf("the same token gave %s (%v), want %s", again.Ref, err, made.Ref)
		}
		if other, err := second.Driver().Create(t.Context(), account, request(2)); err != nil || other.Ref == made.Ref {
			t.Errorf("another token gave %s, %v", other.Ref, err)
		}
	})
}

func TestRefusalsSayWhatCanBeDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCloud(Config{Quota: 1, PerSecond: 2})
		defer c.Close()
		d := c.Driver()
		if _, err := d.Create(t.Context(), account, request(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Create(t.Context(), account, request(2)); provider.KindOf(err) != provider.Quota {
			t.Errorf("above the quota: %v", err)
		}
		_, err := d.Create(t.Context(), account, request(3))
		e, ok := err.(*provider.Error)
		if !ok || e.Kind != provider.Transient || e.RetryAfter <= 0 || e.MayHaveHappened {
			t.Fatalf("third call in a second: %#v", err)
		}
		time.Sleep(e.RetryAfter)
		if _, err := d.Create(t.Context(), account, request(3)); provider.KindOf(err) != provider.Quota {
			t.Errorf("after the pause: %v", err)
		}
		if _, err := d.Create(t.Context(), provider.Account{Name: "other"}, request(4)); err != nil {
			t.Errorf("another account: %v", err)
		}
	})
}

func TestCallCutShortAfterItsEffectSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCloud(Config{Latency: 2 * time.Second})
		defer c.Close()
		for after, happened := range map[time.Duration]bool{500 * time.Millisecond: false, 1500 * time.Millisecond: true} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			_, err := c.Driver().Create(ctx, account, request(int(after)))
			cancel()
			if err == nil || provider.MayHaveHappened(err) != happened {
				t.Errorf("cut after %s: %v, may have happened: %v", after, err, !happened)
			}
		}
		if n := len(c.Resources()); n != 1 {
			t.Errorf("%d machines, want 1", n)
		}
	})
}
