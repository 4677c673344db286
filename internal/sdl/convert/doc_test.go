package convert

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"aloft/internal/sdl/format"
)

// TestExamplesOfTheDocument: each YAML and JSON example of doc/convert.md is
// what the example of the language behind it is converted to, and the reverse.
func TestExamplesOfTheDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "doc", "convert.md"))
	if err != nil {
		t.Fatal(err)
	}
	pairs := regexp.MustCompile("(?s)```(yaml|json)\n(.*?)```\n\n```sf\n(.*?)```").FindAllSubmatch(text, -1)
	if len(pairs) != 2 {
		t.Fatalf("%d examples", len(pairs))
	}
	for _, p := range pairs {
		form, other, sf := Form(p[1]), p[2], p[3]
		if got := read(t, SF, sf).Write(form); string(got) != string(other) {
			t.Errorf("%s:\n%s\nwant\n%s", form, got, other)
		}
		got, list := format.Source("t.sf", read(t, form, other).Write(SF))
		if list.Errors() > 0 || string(got) != string(sf) {
			t.Errorf("the language:\n%s\nwant\n%s", got, sf)
		}
	}
}
