package pool

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"aloft/internal/drivers/local/names"
)

func TestAHomeIsGoneWithItsFolder(t *testing.T) {
	dir := t.TempDir()
	stays, goes := t.TempDir(), filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(goes, 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := registry(dir, "0000000a", stays), registry(dir, "0000000b", goes)
	for _, r := range []*Registry{a, b} {
		if err := r.Register(); err != nil {
			t.Fatal(err)
		}
	}
	if gone := a.Gone(); len(gone) > 0 {
		t.Errorf("gone, with both there: %v", gone)
	}
	if err := os.Remove(goes); err != nil {
		t.Fatal(err)
	}
	if gone := a.Gone(); !slices.Equal(gone, []names.Home{"0000000b"}) {
		t.Errorf("gone: %v", gone)
	}
	if there := b.There(); !slices.Equal(there, []names.Home{"0000000a"}) {
		t.Errorf("there: %v", there)
	}
}
