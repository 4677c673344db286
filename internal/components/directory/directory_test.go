package directory_test

import (
	"os"
	"path/filepath"
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/directory"
	"aloft/value"
)

var attrs = componenttest.Attrs

func shipped(path, content, mode string) *value.Component {
	return attrs("path", value.String(path), "digest", value.String(componenttest.Digest([]byte(content))), "mode", value.String(mode))
}

func source(files ...value.Value) *value.Component {
	return attrs("path", value.String("www"), "mode", value.String("0755"), "files", value.Vector(files))
}

func TestSuite(t *testing.T) {
	daemon := func(testing.TB) (component.Manager, func()) { return directory.New(), func() {} }
	folder := t.TempDir()
	path := value.String(filepath.Join(folder, "srv/www"))
	there := value.String(filepath.Join(folder, "there"))
	check := func(files map[string]string) func(testing.TB, *component.Call) {
		return func(t testing.TB, c *component.Call) {
			if v, _ := c.Attrs.Get("mode"); v != nil {
				return // the case's last change
			}
			for name, want := range files {
				got, err := os.ReadFile(filepath.Join(string(path), name))
				if err != nil || string(got) != want {
					t.Errorf("%s: %q %v, want %q", name, got, err, want)
				}
			}
		}
	}
	componenttest.Run(t, daemon,
		componenttest.Case{
			Name:    "files of a source",
			Machine: component.Machine{Folder: folder},
			Attrs:   attrs("path", path, "source", source(shipped("a.txt", "A", "0644"), shipped("sub/deep/b.sh", "B", "0755"))),
			Changes: []*value.Component{
				attrs("path", path, "source", source(shipped("a.txt", "A2", "0644"), shipped("sub/deep/b.sh", "B", "0755"))),
				attrs("path", path, "source", source(shipped("c", "C", "0600")), "mode", value.String("0700"), "owner", value.String("0"), "group", value.String("0"), "recursive", value.Bool(true)),
			},
			Sources: [][]byte{[]byte("A"), []byte("A2"), []byte("B"), []byte("C")},
			Check:   check(map[string]string{"sub/deep/b.sh": "B"}),
			Break: func(t testing.TB, c *component.Call) {
				os.WriteFile(filepath.Join(string(path), "a.txt"), nil, 0o644)
			},
		},
		componenttest.Case{
			Name:    "a folder that was there stays",
			Machine: component.Machine{Folder: folder},
			Attrs:   attrs("path", there, "recursive", value.Bool(true)),
			Prepare: func(t testing.TB, c *component.Call) {
				if err := os.MkdirAll(filepath.Join(string(there), "theirs"), 0o755); err != nil {
					t.Fatal(err)
				}
			},
		},
		componenttest.Case{
			Name:    "all of a folder of our own goes when that is said",
			Machine: component.Machine{Folder: folder},
			Attrs:   attrs("path", path, "recursive", value.Bool(true)),
			Check: func(t testing.TB, c *component.Call) {
				if err := os.WriteFile(filepath.Join(string(path), "grown"), nil, 0o644); err != nil {
					t.Error(err)
				}
			},
			Break: func(t testing.TB, c *component.Call) { os.RemoveAll(string(path)) },
		},
	)
}

func TestAFolderThatIsNotEmptyStays(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "a", "b")
	m := directory.New()
	c := &component.Call{
		Machine: component.Machine{Folder: folder}, WorkDir: t.TempDir(),
		Env: componenttest.NewEnv(t, m.Class()), Attrs: attrs("path", value.String(path)),
	}
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "grown"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, "grown")); err != nil {
		t.Error(err)
	}
}
