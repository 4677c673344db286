package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"aloft/internal/sdl/resolve"
	"aloft/value"
)

func load(t *testing.T, files map[string]string) *Catalogue {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	c, err := Load(t.Context(), resolve.Folder{Name: "mine", FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPrototypesWithAClassAreComponents(t *testing.T) {
	c := load(t, map[string]string{"cache.sf": `#include "aloft/redis.sf"
// A Redis that keeps nothing.
//
// It is for what can be computed again.
Cache extends Redis {
  port 7000;
  sfCacheSchema extends DATA Schema {
    sfAssertionPhase "static";
    size extends Integer { description "how much it holds"; unit "MiB"; minimum 1; example 64; }
    mode extends OptionalString { values [| "lru", "lfu" |]; }
    keys extends OptionalVector { elements "string"; }
    weight extends OptionalDouble;
  }
  mode "lru";
}
Plain extends { a 1; }
`})
	if c.Problems.Errors() > 0 {
		t.Fatal(c.Problems.All())
	}
	x, ok := c.Component("Cache")
	if !ok || x.Class != "Redis" || x.Include != "cache.sf" || x.Doc != "A Redis that keeps nothing.\n\nIt is for what can be computed again." {
		t.Errorf("got %+v", x)
	}
	if _, ok := c.Component("Plain"); ok {
		t.Error("what has no class is no component")
	}
	size, _ := x.Attribute("size")
	if size == nil || !size.Required() || size.Unit != "MiB" || size.Type() != "integer" || !value.Equal(size.Example, value.Integer(64)) {
		t.Errorf("got %+v", size)
	}
	for name, want := range map[string]string{"mode": "string", "keys": "vector of string", "weight": "number", "sfProcessName": "any value"} {
		if a, ok := x.Attribute(name); !ok || a.Type() != want || a.Required() {
			t.Errorf("%s: got %+v", name, a)
		}
	}
	if mode, _ := x.Attribute("mode"); mode.Default != value.String("lru") {
		t.Errorf("got %+v", mode)
	}
}

// A pipe that nobody writes to would be read for ever.
func TestOnlyFilesAndFoldersAreRead(t *testing.T) {
	dir := t.TempDir()
	const own = "#include \"aloft/components.sf\"\nOwn extends Process {}\n"
	if err := os.MkdirAll(filepath.Join(dir, "sub", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"own.sf", "sub/second.sf", "sub/deep/third.sf", ".hidden.sf"} {
		text := strings.ReplaceAll(own, "Own", strings.TrimSuffix(filepath.Base(name), ".sf"))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"pipe", "pipe.sf", "sub/pipe.sf"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("pipe", filepath.Join(dir, "linked.sf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "broken.sf")); err != nil {
		t.Fatal(err)
	}
	folder, done, err := resolve.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	c, err := Load(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"own": true, "second": true, "third": false, "hidden": false} {
		if _, found := c.Component(name); found != want {
			t.Errorf("component %s: found %v", name, found)
		}
	}
}
