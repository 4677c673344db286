package provision_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"aloft/internal/drivers/sim"
	"aloft/internal/journal"
	"aloft/internal/provision"
)

// BenchmarkAcquire makes and ends machines that cost nothing to make, with the
// ledger on disk: what is left is what this room adds.
func BenchmarkAcquire(b *testing.B) {
	for _, machines := range []int{1, 40, 200} {
		b.Run(fmt.Sprint(machines), func(b *testing.B) {
			file, err := journal.Open(filepath.Join(b.TempDir(), "journal"))
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			cloud := sim.NewCloud(sim.Config{NativeTokens: true, BootScale: 1e-9})
			p, err := provision.New(provision.Config{
				Home: home, Vendors: provision.Fixed{cloud.Driver()}, Ledger: provision.LedgerOf(file, "machine/"),
				Log: slog.New(slog.DiscardHandler), Limits: map[string]provision.Limit{"sim": {}},
			})
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				var wg sync.WaitGroup
				for range machines {
					n++
					w := want(n)
					wg.Go(func() {
						if _, err := p.Acquire(b.Context(), w); err != nil {
							b.Error(err)
						}
						if err := p.Release(b.Context(), w.MachineID, holder(w)); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
			}
		})
	}
}
