package catalog

import (
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
