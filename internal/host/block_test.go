package host

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestABlockLeavesTheRestOfTheFileAlone(t *testing.T) {
	for _, before := range []string{"", "one\n", "one\ntwo", "# begin other: by aloft, do not edit\nx\n# end other\n"} {
		dir := t.TempDir()
		b := Block{Path: filepath.Join(dir, "hosts"), WorkDir: t.TempDir(), Name: "aloft-a"}
		if err := os.WriteFile(b.Path, []byte(before), 0o640); err != nil {
			t.Fatal(err)
		}
		for _, lines := range [][]string{{"a", "b"}, {"c"}, nil, {"# end aloft"}} {
			if err := b.Put(lines); err != nil {
				t.Fatal(err)
			}
			if err := b.Check(lines); err != nil {
				t.Error(err)
			}
		}
		if rest, err := b.Read(); err != nil || strings.TrimRight(rest, "\n") != strings.TrimRight(before, "\n") {
			t.Errorf("the rest is %q, %v", rest, err)
		}
		if err := RemoveBlock(b.WorkDir, b.Name); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(b.Path)
		if err != nil || info.Mode().Perm() != 0o640 {
			t.Fatalf("%v, %v", info, err)
		}
		if text, _ := os.ReadFile(b.Path); string(text) != before {
			t.Errorf("%q has become %q", before, text)
		}
	}
}

func TestAFileAndFoldersMadeForABlockGoWithIt(t *testing.T) {
	dir := t.TempDir()
	b := Block{Path: filepath.Join(dir, "a", "b", "keys"), WorkDir: t.TempDir(), Name: "aloft-a", Owned: Owned{Mode: 0o600}}
	if err := b.Put([]string{"x"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(b.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := RemoveBlock(b.WorkDir, b.Name); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}

func TestBlocksOfSeveralComponentsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	blocks := make([]Block, 20)
	for i := range blocks {
		blocks[i] = Block{Path: path, WorkDir: t.TempDir(), Name: "aloft-" + string(rune('a'+i))}
		all.Go(func() {
			if err := blocks[i].Put([]string{blocks[i].Name}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, b := range blocks {
		if err := b.Check([]string{b.Name}); err != nil {
			t.Error(err)
		}
		all.Go(func() {
			if err := RemoveBlock(b.WorkDir, b.Name); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if text, _ := os.ReadFile(path); string(text) != "127.0.0.1 localhost\n" {
		t.Errorf("left: %q", text)
	}
}

func TestABlockWhoseEndWasDeletedTakesNothingElseAway(t *testing.T) {
	b := Block{Path: filepath.Join(t.TempDir(), "hosts"), WorkDir: t.TempDir(), Name: "aloft-a"}
	if err := os.WriteFile(b.Path, []byte("one\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.Put([]string{"x"}); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(b.Path)
	if err := os.WriteFile(b.Path, []byte(strings.TrimSuffix(string(text), "# end aloft-a\n")+"two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b.Check([]string{"x"}) == nil {
		t.Error("not noticed")
	}
	if err := RemoveBlock(b.WorkDir, b.Name); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(b.Path); !strings.HasSuffix(string(text), "two\n") || !strings.HasPrefix(string(text), "one\n") {
		t.Errorf("%q", text)
	}
}
