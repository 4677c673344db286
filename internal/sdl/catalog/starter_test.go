package catalog_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"aloft/component"
	"aloft/internal/components/workflow"
	"aloft/internal/daemon"
	"aloft/internal/model"
	"aloft/internal/plan"
	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/format"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// build is the component classes of this build.
type build struct{}

func (build) Class(name string) (component.Class, bool) { return daemon.Class(name) }
func (build) Names() []string                           { return nil }

func builtIn(t *testing.T, folders ...resolve.Folder) *catalog.Catalogue {
	t.Helper()
	c, err := catalog.Load(t.Context(), folders...)
	if err != nil {
		t.Fatal(err)
	}
	c.Join(daemon.Class)
	return c
}

// planned resolves a description and surveys it as planning does.
func planned(t *testing.T, name string, text []byte, folder fstest.MapFS) {
	t.Helper()
	src := resolve.Source{Folder: resolve.Folder{FS: folder}, Name: name, Text: text}
	res, err := resolve.Resolve(t.Context(), src, resolve.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if res.Description == nil {
		t.Fatalf("%s does not resolve: %+v\n%s", name, res.Diagnostics.All(), text)
	}
	survey := plan.Look("s", model.NewTree(res.Description.Root), build{}, plan.Host{Hostname: "here"}, false)
	for _, d := range survey.Problems.All() {
		t.Errorf("%s: %s %s %s: %s", name, d.Code, d.Path, d.Attribute, d.Message)
	}
	for _, note := range survey.Notes {
		t.Errorf("%s: %s", name, note)
	}
}

func TestEveryStarterIsRightAsItStands(t *testing.T) {
	c := builtIn(t)
	for _, x := range c.Components() {
		t.Run(x.Name, func(t *testing.T) {
			text, err := x.Starter()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text, "extends "+x.Name+" {") {
				t.Errorf("there is no %s in\n%s", x.Name, text)
			}
			if usual, _ := format.Source("x.sf", []byte(text)); string(usual) != text {
				t.Errorf("not in the usual form:\n%s", text)
			}
			planned(t, "starter.sf", []byte(text), fstest.MapFS{})
		})
	}
	for _, s := range c.Systems() {
		t.Run(s.Name, func(t *testing.T) {
			files, err := s.Files(t.Context(), daemon.Class)
			if err != nil {
				t.Fatal(err)
			}
			planned(t, s.Name+".sf", files[0].Text, fstest.MapFS{})
		})
	}
}

// Every class of workflow that this build has can be looked up, and nothing else
// of what the original has.
func TestRT08EveryClassOfWorkflowIsOffered(t *testing.T) {
	offered := map[string]catalog.Kind{}
	for _, x := range builtIn(t).Components() {
		if x.Kind != catalog.Plain {
			class, _ := daemon.Class(x.Class)
			offered[class.Name] = x.Kind
		}
	}
	for _, m := range workflow.New() {
		want := catalog.Condition
		if m.Class().Workflow {
			want = catalog.Workflow
		}
		if got := offered[m.Class().Name]; got != want {
			t.Errorf("%s is offered as %q, want %q", m.Class().Name, got, want)
		}
		delete(offered, m.Class().Name)
	}
	if len(offered) > 0 {
		t.Errorf("offered, and not there: %v", offered)
	}
}

func TestEveryComponentOfTheLibraryIsDescribed(t *testing.T) {
	for _, x := range builtIn(t).Components() {
		class, ok := daemon.Class(x.Class)
		if !ok || x.Doc == "" {
			t.Errorf("%s: class %s known %v, described as %q", x.Name, x.Class, ok, x.Doc)
		}
		if x.Kind != catalog.Plain && !strings.Contains(x.Doc, "\n    ") {
			t.Errorf("%s: there is no example in %q", x.Name, x.Doc)
		}
		for i := range x.Attributes {
			a := &x.Attributes[i]
			if a.Core() {
				continue
			}
			if a.Description == "" {
				t.Errorf("%s: what is %s?", x.Name, a.Name)
			}
			if a.Required() && a.Example == nil && x.Kind == catalog.Plain { // the others are shown in use
				t.Errorf("%s: %s must be given and has no example", x.Name, a.Name)
			}
			for what, v := range map[string]value.Value{"default": a.Default, "example": a.Example} {
				if v == nil {
					continue
				}
				if d, wrong := a.Wrong(v); wrong {
					t.Errorf("%s: the %s of %s: %s", x.Name, what, a.Name, d.Message)
				}
			}
		}
		for i := range x.Outputs {
			if !class.HasOutput(x.Outputs[i].Name) || x.Outputs[i].Doc == "" {
				t.Errorf("%s: output %+v", x.Name, x.Outputs[i])
			}
		}
	}
}

func TestSystemsBringWhatTheyNeed(t *testing.T) {
	guestbook, ok := builtIn(t).System("guestbook")
	if !ok {
		t.Fatal("no guestbook")
	}
	files, err := guestbook.Files(t.Context(), daemon.Class)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files[0].Name != "guestbook.sf" || files[1].Name != "guestbook/app.py" || !bytes.Contains(files[1].Text, []byte("import")) {
		t.Errorf("got %d files: %+v", len(files), files)
	}
}

func TestSystemsOfFoldersBringIncludesAndSources(t *testing.T) {
	c := builtIn(t, resolve.Folder{Name: "mine", FS: fstest.MapFS{
		"site/shop.sf":             {Data: []byte("// A shop.\n#include \"aloft/components.sf\"\n#include \"parts/m.sf\"\nsfConfig extends { m extends M; }\n")},
		"site/parts/m.sf":          {Data: []byte("M extends VM { d extends Directory { path \"x\"; source \"files\"; } }\n")},
		"site/parts/files/a.txt":   {Data: []byte("a")},
		"site/parts/files/b/c.txt": {Data: []byte("c")},
		"site/other.txt":           {Data: []byte("not needed")},
		"broken.sf":                {Data: []byte("a extends {\n")},
	}})
	shop, ok := c.System("shop")
	if !ok || shop.Doc != "A shop." {
		t.Fatalf("got %+v", shop)
	}
	files, err := shop.Files(t.Context(), daemon.Class)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if want := []string{"shop.sf", "parts/m.sf", "parts/files/a.txt", "parts/files/b/c.txt"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if c.Problems.Errors() == 0 || c.Problems.All()[0].Span.Pos.File != "mine/broken.sf" {
		t.Errorf("the broken file: %+v", c.Problems.All())
	}
}

func TestStartersOfOnesOwnComponents(t *testing.T) {
	mine := fstest.MapFS{"cache.sf": {Data: []byte(`#include "aloft/redis.sf"
// A Redis of a certain size.
Cache extends Redis {
  sfCacheSchema extends DATA Schema { sfAssertionPhase "static"; size extends Integer { description "how large"; example 5; } }
}
`)}}
	x, ok := builtIn(t, resolve.Folder{FS: mine}).Component("Cache")
	if !ok {
		t.Fatal("no Cache")
	}
	text, err := x.Starter()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, `#include "cache.sf"`) || !strings.Contains(text, "size 5;") {
		t.Errorf("got\n%s", text)
	}
	planned(t, "starter.sf", []byte(text), mine)
}

func TestNearestNames(t *testing.T) {
	c := builtIn(t)
	for name, want := range map[string]string{"redis": "Redis", "Procss": "Process", "gestbook": "guestbook"} {
		if near := c.Nearest(name); len(near) == 0 || near[0] != want {
			t.Errorf("%s: got %v", name, near)
		}
	}
	if near := c.Nearest("Kubernetes"); len(near) > 0 {
		t.Errorf("got %v", near)
	}
}
