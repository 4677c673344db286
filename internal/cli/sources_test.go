package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aloft/component"
	"aloft/value"
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

// file is a File component with a source written in text.
func file(source, text string) *value.Component {
	return value.NewComponent(false,
		value.Attr{Name: "sfClass", Value: value.String("File")},
		value.Attr{Name: "source", Value: value.String(source), Pos: value.Pos{File: text, Line: 3, Col: 5}})
}

func TestSourcesBecomeDigests(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"app.py": "a", "pages/index.html": "i", "pages/sub/x": "a", "lib/tpl.conf": "c"})
	shared := file("app.py", filepath.Join(dir, "shop.sf"))
	root := value.NewComponent(false,
		value.Attr{Name: "one", Value: shared},
		value.Attr{Name: "two", Value: shared},
		value.Attr{Name: "pages", Value: file("pages", filepath.Join(dir, "shop.sf"))},
		value.Attr{Name: "tpl", Value: file("tpl.conf", filepath.Join(dir, "lib/tpl.sf"))},
		value.Attr{Name: "fromLibrary", Value: file("app.py", "library/x.sf")},
		value.Attr{Name: "other", Value: value.NewComponent(false, value.Attr{Name: "source", Value: value.String("app.py")})},
		value.Attr{Name: "data", Value: value.NewComponent(true, value.Attr{Name: "f", Value: file("nowhere", "x")})},
	)
	s := shipment{class: classOf, dir: dir}
	got := s.ship(t.Context(), root)
	if n := s.diags.Errors(); n != 0 {
		t.Fatalf("%d errors: %v", n, s.diags.All())
	}
	const (
		a = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
		i = "sha256:de7d1b721a1e0632b7cf04edf5032c8ecffa9f9a08492152b926f1a5a7e765d7"
		c = "sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"
	)
	at := func(path ...string) value.Value {
		var v value.Value = got
		for _, p := range path {
			v, _ = v.(*value.Component).Get(p)
		}
		return v
	}
	if d := at("one", "source", "digest"); d != value.String(a) {
		t.Errorf("digest %v", d)
	}
	if m := at("one", "source", "mode"); m != value.String("0640") {
		t.Errorf("mode %v", m)
	}
	if p := at("one", "source", "path"); p != value.String("app.py") {
		t.Errorf("path %v", p)
	}
	if at("one") != at("two") {
		t.Error("a component reached twice is copied")
	}
	if d := at("tpl", "source", "digest"); d != value.String(c) {
		t.Errorf("source beside its own text: digest %v", d)
	}
	if d := at("fromLibrary", "source", "digest"); d != value.String(a) {
		t.Errorf("source named by the library: digest %v", d)
	}
	if v := at("other", "source"); v != value.String("app.py") {
		t.Errorf("an attribute of no class was shipped: %v", v)
	}
	files := at("pages", "source", "files").(value.Vector)
	var list []string
	for _, f := range files {
		p, _ := f.(*value.Component).Get("path")
		d, _ := f.(*value.Component).Get("digest")
		list = append(list, string(p.(value.String))+" "+string(d.(value.String)))
	}
	if want := "index.html " + i + ",sub/x " + a; strings.Join(list, ",") != want {
		t.Errorf("folder holds %v", list)
	}
	if len(s.list) != 3 {
		t.Errorf("%d contents to upload, want 3: equal ones go once", len(s.list))
	}
	if v, _ := root.Get("one"); v != value.Value(shared) || shared.At(1).Value != value.String("app.py") {
		t.Error("the description that was handed in changed")
	}
}

func TestEachOfSeveralSourcesBecomesADigest(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"sql/1.sql": "a", "sql/2.sql": "c"})
	scripts := func(names ...string) *value.Component {
		files := value.Vector{}
		for _, n := range names {
			files = append(files, value.String(n))
		}
		return value.NewComponent(false,
			value.Attr{Name: "sfClass", Value: value.String("Scripts")},
			value.Attr{Name: "files", Value: files, Pos: value.Pos{File: filepath.Join(dir, "shop.sf"), Line: 3, Col: 5}})
	}
	class := func(string) (component.Class, bool) {
		return component.Class{Attributes: []component.Attribute{{Name: "files", Source: true}}}, true
	}
	given := scripts("sql/1.sql", "sql/2.sql")
	s := shipment{class: class, dir: dir}
	v, _ := s.ship(t.Context(), given).Get("files")
	files, _ := v.(value.Vector)
	if s.diags.Errors() > 0 || len(files) != 2 || len(s.list) != 2 || len(s.sources) != 2 {
		t.Fatalf("%v, %d contents, %v", v, len(s.list), s.diags.All())
	}
	for i, want := range []string{"sql/1.sql", "sql/2.sql"} {
		c, _ := files[i].(*value.Component)
		path, _ := c.Get("path")
		if digest, _ := c.Get("digest"); path != value.String(want) || digest != value.String(s.list[i].Digest) {
			t.Errorf("%d: %v", i, c)
		}
	}
	if v, _ := given.Get("files"); v.(value.Vector)[0] != value.String("sql/1.sql") {
		t.Error("the description was changed")
	}
	// What was shipped before is not looked for again.
	again := shipment{class: class, dir: t.TempDir(), recorded: s.sources}
	if v, _ := again.ship(t.Context(), given).Get("files"); again.diags.Errors() > 0 || len(v.(value.Vector)) != 2 {
		t.Errorf("again: %v", again.diags.All())
	}
	s = shipment{class: class, dir: dir}
	s.ship(t.Context(), scripts("sql/1.sql", "sql/nowhere.sql"))
	if s.diags.Errors() != 1 || !strings.Contains(s.diags.All()[0].Message, "nowhere.sql") {
		t.Errorf("%v", s.diags.All())
	}
}

func TestMissingSourceIsADiagnosticAtItsPlace(t *testing.T) {
	s := shipment{class: classOf, dir: t.TempDir()}
	s.ship(t.Context(), value.NewComponent(false, value.Attr{Name: "f", Value: file("nowhere.py", "shop.sf")}))
	list := s.diags.All()
	if len(list) != 1 || list[0].Span.Pos.String() != "shop.sf:3:5" || !strings.Contains(list[0].Message, `"nowhere.py": no such file`) {
		t.Errorf("got %+v", list)
	}
}
