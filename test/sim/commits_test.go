package sim

import (
	"testing"

	cloud "aloft/internal/drivers/sim"
)

// TestADeployedMachineCostsTheStoreFewCommits: with several managers each
// commit waits until most of them have it on disk. In fake time a commit takes
// none, so none is shared: real ones are about half as many (bench/README.md).
func TestADeployedMachineCostsTheStoreFewCommits(t *testing.T) {
	const hosts, most = 20, 16
	scenario(t, options{seed: 1, cloud: cloud.Config{BootScale: 0.01}}, func(w *world) {
		revision := func() int64 {
			_, at, err := w.rows.List(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		before := revision()
		w.runs(large(hosts, 1, 1))
		each := float64(revision()-before) / hosts
		t.Logf("%.1f commits for each machine and its component", each)
		if each == 0 || each > most {
			t.Errorf("%.1f commits for each machine and its component, at most %d are to be", each, most)
		}
		w.down(false)
	})
}
