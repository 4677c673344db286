package examples_test

import (
	"os"
	"strings"
	"testing"

	"aloft/component"
	"aloft/internal/components/compound"
	"aloft/internal/components/configfile"
	"aloft/internal/components/directory"
	"aloft/internal/components/file"
	"aloft/internal/components/nginx"
	"aloft/internal/components/pkg"
	"aloft/internal/components/process"
	"aloft/internal/components/redis"
	"aloft/internal/components/software"
	"aloft/internal/components/vm"
	"aloft/internal/components/website"
	"aloft/internal/sdl/resolve"
	"aloft/library"
	"aloft/value"
)

// described are the classes that the library has a template for.
var described = map[string]component.Class{
	"VM": vm.New(vm.Config{}).Class(), "VirtualSoftwareComponent": software.New().Class(), "Compound": compound.New().Class(),
	"Package": pkg.New(nil).Class(), "File": file.New().Class(), "Directory": directory.New().Class(), "ConfigFile": configfile.New().Class(),
	"Process": process.New(nil).Class(), "Website": website.New(nil, "").Class(), "Nginx": nginx.New(nil, nil).Class(), "Redis": redis.New(nil, nil).Class(),
}

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
		class, ok := described[string(name.(value.String))]
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

// Every file of the library stands by itself.
func TestEachLibraryFileCanBeIncludedAlone(t *testing.T) {
	for _, name := range library.Names() {
		if strings.HasPrefix(name, "aloft/") || strings.HasSuffix(name, "definitions.sf") {
			t.Run(name, func(t *testing.T) { resolved(t, "x.sf", `#include "`+name+`"`+"\nsfConfig extends {}") })
		}
	}
}
