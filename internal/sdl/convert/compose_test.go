package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/format"
	"aloft/internal/sdl/resolve"
)

// compose converts testdata/compose/DIR/compose.yaml.
func compose(t testing.TB, dir string, env map[string]string) (*Doc, *diag.List) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(dir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !IsCompose(src) {
		t.Error("not taken for a Compose file")
	}
	folder, done, err := resolve.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = done() })
	var list diag.List
	return Compose("compose.yaml", src, ComposeOptions{Environment: env, Folder: folder.FS}, &list), &list
}

// TestComposeGoldens: each folder holds a Compose file and what becomes of it.
// What comes out is a description without mistakes.
func TestComposeGoldens(t *testing.T) {
	dirs, err := filepath.Glob("testdata/compose/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal(err, dirs)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			d, list := compose(t, dir, nil)
			if d == nil || list.Errors() > 0 {
				t.Fatal(messages(list, nil))
			}
			got := string(d.Write(SF)) + "\n" + messages(list, nil)
			golden := filepath.Join(dir, "want.txt")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			again := read(t, SF, d.Write(SF))
			checkForms(t, again)
			if n := strings.Count(got, "warning CNV101"); n != len(list.All()) {
				t.Errorf("%d warnings are shown of %d", n, len(list.All()))
			}
		})
	}
}

// TestComposeExample: what lies in examples/compose is what convert makes of
// the Compose file there, and it resolves without a warning.
func TestComposeExample(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "examples", "compose")
	d, list := compose(t, dir, nil)
	if d == nil {
		t.Fatal(messages(list, nil))
	}
	got, mistakes := format.Source("compose.sf", d.Write(SF))
	if mistakes.Errors() > 0 {
		t.Fatal(messages(&mistakes, d.Write(SF)))
	}
	want, err := os.ReadFile(filepath.Join(dir, "compose.sf"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("examples/compose/compose.sf is out of date: aloft convert examples/compose/compose.yaml -o examples/compose/compose.sf\n%s", got)
	}
	folder, done, err := resolve.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	r, err := resolve.Resolve(t.Context(), resolve.Source{Folder: folder, Name: "compose.sf"}, resolve.Options{Strict: true})
	if err != nil || r.Description == nil {
		t.Fatal(err, messages(&r.Diagnostics, want))
	}
}
