package local

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"aloft/provider"
)

// BenchmarkMachines makes and destroys many light machines at once. The daemon
// in them is this test's, whose start is not waited for.
func BenchmarkMachines(b *testing.B) {
	for _, n := range []int{1, 40, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b, Light)
			if _, _, err := w.d.Network(b.Context(), Light); err != nil {
				b.Fatal(err)
			}
			made := make([]provider.Resource, n)
			each := func(f func(i int) error) {
				var g errgroup.Group
				for i := range n {
					g.Go(func() error { return f(i) })
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				each(func(i int) (err error) {
					made[i], err = w.d.Create(b.Context(), w.account, w.request(fmt.Sprint("m", i)))
					return err
				})
				b.StopTimer()
				each(func(i int) error { return w.d.Destroy(b.Context(), w.account, made[i].Ref) })
				b.StartTimer()
			}
		})
	}
}

// BenchmarkDestroy is the other half of BenchmarkMachines.
func BenchmarkDestroy(b *testing.B) {
	const n = 40
	w := newWorld(b, Light)
	made := make([]provider.Resource, n)
	for b.Loop() {
		b.StopTimer()
		var g errgroup.Group
		for i := range n {
			g.Go(func() (err error) {
				made[i], err = w.d.Create(b.Context(), w.account, w.request(fmt.Sprint("m", i)))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for i := range n {
			g.Go(func() error { return w.d.Destroy(b.Context(), w.account, made[i].Ref) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}
