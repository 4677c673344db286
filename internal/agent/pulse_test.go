package agent

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/test/plain"
	"aloft/value"
)

// crowd is an agent with so many components that run, and are asked each by
// itself at the default delay.
func crowd(tb testing.TB, n int) *tenant {
	tb.Helper()
	a := &Agent{cfg: Config{
		ID: "m", Machine: func(string) component.Machine { return component.Machine{} }, WorkDir: tb.TempDir(),
		ComponentLog: func(string) *slog.Logger { return slog.New(slog.DiscardHandler) }, Now: time.Now,
	}, tenants: map[string]*tenant{}}
	t := newTenant(a, "sys")
	a.tenants["sys"] = t
	attrs := value.NewComponent(false)
	for i := range 10 {
		attrs.Set(value.Attr{Name: fmt.Sprint("attribute", i), Value: value.String("some text")})
	}
	for i := range n {
		path := value.Path(fmt.Sprint("group:c", i))
		t.comps[path] = &held{
			op: newTurn(), path: path, state: inventory.Running, wanted: attrs, attrs: attrs,
			outputs: map[string]value.Value{}, liveness: liveness{15 * time.Second, 2},
		}
	}
	return t
}

// pulsing is the processor time that asking a crowd takes, for as long as more
// says, and how often one was asked: all that the daemon does for it included.
func pulsing(tb testing.TB, t *tenant, more func(asked int, since time.Duration) bool) (took time.Duration, asked int) {
	tb.Helper()
	spent := func() time.Duration {
		var use syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
			tb.Fatal(err)
		}
		return time.Duration(use.Utime.Nano() + use.Stime.Nano())
	}
	begin := time.Now()
	t.due(begin) // plans the first of each
	before := spent()
	for at := begin; more(asked, at.Sub(begin)); {
		at = at.Add(pulseLeast)
		due, _ := t.due(at)
		for _, c := range due {
			t.feel(context.Background(), c)
		}
		asked += len(due)
	}
	return spent() - before, asked
}

// TestLV5TenThousandPingsCostLittle has all of 10,000 components asked, as often
// as half a minute wants at the default delay: that may take 5 % of a core. It is
// processor time, so it does not matter what else the host does; of three
// rounds the best counts, since the collector may clear up after others in one.
func TestLV5TenThousandPingsCostLittle(t *testing.T) {
	if plain.Ran(t) {
		return
	}
	const span = 30 * time.Second
	crowd := crowd(t, 10_000)
	least := span
	for range 3 {
		took, asked := pulsing(t, crowd, func(_ int, since time.Duration) bool { return since < span })
		if asked < 19_000 || asked > 21_000 {
			t.Fatalf("%d pings in half a minute, want each of 10,000 components asked twice", asked)
		}
		t.Logf("%d pings: %v, %.2f %% of a core", asked, took, 100*float64(took)/float64(span))
		least = min(least, took)
		for _, c := range crowd.comps {
			c.pulse = pulse{}
		}
	}
	if least > span/20 {
		t.Errorf("pings take %v of %v, more than 5 %% of a core", least, span)
	}
}

// BenchmarkLV5Ping is what one ping of a component costs.
func BenchmarkLV5Ping(b *testing.B) {
	crowd := crowd(b, 10_000)
	b.ResetTimer()
	took, _ := pulsing(b, crowd, func(asked int, _ time.Duration) bool { return asked < b.N })
	b.ReportMetric(float64(took)/float64(b.N), "cpu-ns/ping")
}
