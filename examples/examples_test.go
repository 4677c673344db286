package examples_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"aloft/component"
	"aloft/examples"
	"aloft/internal/daemon"
	"aloft/internal/sdl/resolve"
	"aloft/library"
	"aloft/value"
)

func resolved(t *testing.T, name, text string) *value.Component {
	t.Helper()
	folder, done, err := resolve.OpenFolder(".")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	src := resolve.Source{Folder: folder, Name: name}
	if text != "" {
		src.Text = []byte(text)
	}
	r, err := resolve.Resolve(t.Context(), src, resolve.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Description == nil {
		t.Fatalf("%s: %+v", name, r.Diagnostics)
	}
	return r.Tree
}

func TestExamplesResolveWithoutAWarning(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".sf") {
			t.Run(f.Name(), func(t *testing.T) { check(t, resolved(t, f.Name(), "")) })
		}
	}
}

// check looks at every component of a resolved description as planning does.
func check(t *testing.T, c *value.Component) {
	t.Helper()
	name, ok := c.Get("sfClass")
	if ok {
		class, ok := daemon.Class(string(name.(value.String)))
		if !ok {
			t.Errorf("unknown class %s", name)
			return
		}
		for a := range c.All() {
			_, known := class.Attribute(a.Name)
			child, _ := a.Value.(*value.Component)
			if !known && !class.OpenAttributes && !strings.HasPrefix(a.Name, "sf") && (child == nil || child.Data) {
				t.Errorf("%s has no attribute %s", name, a.Name)
			}
			if class.Schema == nil {
				continue // of workflow, whose descriptions check themselves
			}
			if p := class.Schema.Wrong(a.Name, a.Value); p != nil {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if class.Check != nil {
			for _, p := range class.Check(c, component.Target{Isolation: true, Privileged: true}) {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
	for a := range c.All() {
		if child, ok := a.Value.(*value.Component); ok && !child.Data {
			check(t, child)
		}
	}
}

// Whoever wants to use a component finds it in an example.
func TestEveryComponentOfTheLibraryIsInAnExample(t *testing.T) {
	var texts strings.Builder
	err := fs.WalkDir(examples.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".sf") {
			return err
		}
		text, err := examples.FS.ReadFile(name)
		texts.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	described := regexp.MustCompile(`(?m)^([A-Z]\w+) extends `)
	for _, name := range library.Names() {
		if !strings.HasPrefix(name, "aloft/") {
			continue // of the language, for which the language's own examples are
		}
		text, err := fs.ReadFile(library.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range described.FindAllStringSubmatch(string(text), -1) {
			if !regexp.MustCompile(`\bextends (DATA )?` + m[1] + `\b`).MatchString(texts.String()) {
				t.Errorf("%s of %s is in no example", m[1], name)
			}
		}
	}
}

// Every file of the library stands by itself.
func TestEachLibraryFileCanBeIncludedAlone(t *testing.T) {
	for _, name := range library.Names() {
		if strings.HasPrefix(name, "aloft/") || strings.HasSuffix(name, "definitions.sf") {
			t.Run(name, func(t *testing.T) { resolved(t, "x.sf", `#include "`+name+`"`+"\nsfConfig extends {}") })
		}
	}
}
