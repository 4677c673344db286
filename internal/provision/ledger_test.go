package provision_test

import (
	"path/filepath"
	"testing"

	"aloft/internal/drivers/sim"
	"aloft/internal/journal"
	"aloft/internal/provision"
)

// TestLedgerSurvivesInAJournalsFile keeps a ledger where a daemon does.
func TestLedgerSurvivesInAJournalsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	cloud := sim.NewCloud(sim.Config{NativeTokens: true, BootScale: 1e-9})
	var ref string
	for life := range 3 {
		file, err := journal.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		p := open(t, provision.LedgerOf(file, "machine/"), cloud.Driver())
		if err := p.Resume(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		switch life {
		case 0, 1:
			res, err := p.Acquire(t.Context(), want(1))
			if err != nil {
				t.Fatal(err)
			}
			if ref == "" {
				ref = res.Ref
			}
			if res.Ref != ref {
				t.Errorf("life %d has machine %s, want %s", life, res.Ref, ref)
			}
		case 2:
			if err := p.Release(t.Context(), "machine-1", holder(want(1))); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := p.Entries()
		if err != nil || len(entries) != 1 || entries[0].Machine != "machine-1" {
			t.Errorf("life %d: ledger has %+v, %v", life, entries, err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := cloud.Stats().Created; n != 1 || len(cloud.Resources()) != 0 {
		t.Errorf("%d machines created, left %+v", n, cloud.Resources())
	}
}

func TestMemoryForgetsWhatIsDeleted(t *testing.T) {
	var m provision.Memory
	if err := m.Put("a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := m.Delete("a"); err != nil {
		t.Fatal(err)
	}
	if row, err := m.Get("a"); row != nil || err != nil {
		t.Errorf("a deleted row is %q, %v", row, err)
	}
}
