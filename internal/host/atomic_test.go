package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatACrashLeftBesideAFileGoesWithTheNextWriteOrItsRemoval(t *testing.T) {
	for _, name := range []string{"conf", strings.Repeat("n", 255)} {
		for what, do := range map[string]func(string) error{
			"write":  func(p string) error { return WriteFile(p, []byte("new"), 0o644) },
			"remove": RemoveFile,
		} {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			f, err := createBeside(path) // and then the daemon died
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if err := do(path); err != nil {
				t.Fatal(err)
			}
			left, _ := os.ReadDir(dir)
			if want := map[string]int{"write": 1, "remove": 0}[what]; len(left) != want {
				t.Errorf("%s: %d files, want %d", what, len(left), want)
			}
		}
	}
}

// Somebody may have put a link where the new file is to be written.
func TestAWriteDoesNotFollowALink(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "conf")
	for _, link := range []string{besideName(path), path} {
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(path, []byte("new"), 0o644); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(victim); string(b) != "old" {
			t.Errorf("the victim holds %q", b)
		}
		os.Remove(path)
	}
}
