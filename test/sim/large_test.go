package sim

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/api"
	cloud "aloft/internal/drivers/sim"
	"aloft/test/plain"
)

var (
	largeHosts      = flag.Int("sim.hosts", 0, "run TestLarge with so many hosts (10000 in bench/README.md)")
	largeComponents = flag.Int("sim.components", 100000, "... and so many components on them in all")
)

// large describes hosts with so many components each; of every hundredth
// component the number is n.
func large(hosts, each, n int) string {
	var b strings.Builder
	b.WriteString("sfConfig extends {\n")
	for h := range hosts {
		fmt.Fprintf(&b, "m%d extends VM {\n", h)
		for c := range each {
			number := 1
			if (h*each+c)%100 == 0 {
				number = n
			}
			fmt.Fprintf(&b, "c%d extends Probe { n %d; }\n", c, number)
		}
		b.WriteString("}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// life takes a system of that size through its life, counts what was asked of
// its components, and returns the processor time that took.
func life(t *testing.T, hosts, each int) (took time.Duration) {
	t.Helper()
	begun := spent(t)
	scenario(t, options{seed: 1, cloud: cloud.Config{BootScale: 0.01}}, func(w *world) {
		n := hosts * each
		counts := func(mark int, want map[string]int) {
			t.Helper()
			got := map[string]int{}
			for _, c := range w.stage.trace()[mark:] {
				if c.Done && !c.Failed {
					got[c.Op]++
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%d components on %d hosts: operations %v, want %v", n, hosts, got, want)
			}
		}
		phase := begun
		done := func(what string) {
			now := spent(t)
			t.Logf("%d components on %d hosts: %-10s %v", n, hosts, what, (now - phase).Round(10*time.Millisecond))
			phase = now
		}
		w.runs(large(hosts, each, 1))
		counts(0, map[string]int{"deploy": n, "start": n})
		w.balance(hosts)
		done("up")
		mark := len(w.stage.trace())
		w.runs(large(hosts, each, 2))
		counts(mark, map[string]int{"reconfigure": (n + 99) / 100})
		done("update")
		mark = len(w.stage.trace())
		w.insist(api.PlanRequest{Name: "sys", Down: true})
		w.endOrGone()
		counts(mark, map[string]int{"terminate": n})
		w.expectNothing()
		done("down")
	})
	return spent(t) - begun
}

// spent is the processor time of this process so far: the fake time of a bubble
// does not touch it, nor does what else the host is busy with.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// TestRT10TenThousandComponentsOnAHundredHosts is RT-10: every operation happens
// exactly once, the time is linear in the number of components, and it all
// takes 30 s of one core, and 2 GB, at most.
func TestRT10TenThousandComponentsOnAHundredHosts(t *testing.T) {
	if plain.Ran(t) {
		return
	}
	small := life(t, 10, 100)
	big := life(t, 100, 100)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("1,000 components: %v; 10,000: %v, which is %.1f times; %d MB from the system", small, big, float64(big)/float64(small), memory.Sys>>20)
	if big > 30*time.Second || memory.Sys > 2<<30 {
		t.Errorf("10,000 components took %v of a core and %d MB, more than 30 s or 2 GB", big, memory.Sys>>20)
	}
	if float64(big) > 20*float64(small) {
		t.Errorf("ten times the components took %.1f times as long", float64(big)/float64(small))
	}
}

// TestLarge runs once what bench/README.md reports.
func TestLarge(t *testing.T) {
	if *largeHosts == 0 {
		return // it takes minutes, and is run for its figures
	}
	t.Logf("%v", life(t, *largeHosts, *largeComponents / *largeHosts))
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("%d MB from the system", memory.Sys>>20)
}

// TestDI10DistributionDoesNotGrowWithHosts is DI10: the description reaches 40
// hosts in at most twice the time of 5, each with the same subtree, measured in
// fake time from the first machine's start to the last component's deploy, over
// a network with delays.
func TestDI10DistributionDoesNotGrowWithHosts(t *testing.T) {
	distribute := func(hosts int) (took time.Duration) {
		scenario(t, options{seed: 1}, func(w *world) {
			w.net.Delay(time.Millisecond, 20*time.Millisecond)
			w.runs(large(hosts, 5, 1)) // the machines exist from here on
			w.begin(strings.ReplaceAll(large(hosts, 5, 1), "n 1;", "n 2;"))
			began, mark := time.Since(w.stage.begun), len(w.stage.trace())
			w.end()
			for _, c := range w.stage.trace()[mark:] {
				took = max(took, c.At-began)
			}
			w.down(false)
		})
		return took
	}
	few, many := distribute(5), distribute(40)
	t.Logf("5 hosts: %v, 40 hosts: %v", few, many)
	if few == 0 || many > 2*few {
		t.Errorf("40 hosts took %v, more than twice the %v of 5", many, few)
	}
}
