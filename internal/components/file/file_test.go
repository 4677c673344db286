package file_test

import (
	"os"
	"path/filepath"
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/file"
	"aloft/value"
)

var attrs = componenttest.Attrs

func daemon(testing.TB) (component.Manager, func()) { return file.New(), func() {} }

func breakIt(name string) func(testing.TB, *component.Call) {
	return func(t testing.TB, c *component.Call) {
		if err := os.WriteFile(filepath.Join(c.Machine.Folder, name), []byte("broken"), 0o600); err != nil {
			t.Error(err)
		}
	}
}

func TestSuite(t *testing.T) {
	shipped := []byte("\x00\x01 shipped")
	source := value.NewComponent(true,
		value.Attr{Name: "path", Value: value.String("logo.png")},
		value.Attr{Name: "digest", Value: value.String(componenttest.Digest(shipped))},
		value.Attr{Name: "mode", Value: value.String("0600")})
	folder := t.TempDir()
	machine := component.Machine{Folder: folder}
	path := value.String(filepath.Join(folder, "etc/app/app.conf"))
	there := value.String(filepath.Join(folder, "motd"))
	componenttest.Run(t, daemon,
		componenttest.Case{
			Name:    "content, bytes and source",
			Machine: machine,
			Attrs:   attrs("path", path, "content", value.String("one\n")),
			Changes: []*value.Component{
				attrs("path", path, "bytes", value.Bytes{0, 1, 2}),
				attrs("path", path, "bytes", value.Bytes{0, 1, 2}, "mode", value.String("0600")),
				attrs("path", path, "source", source, "owner", value.String("0"), "group", value.String("0")),
			},
			Sources: [][]byte{shipped},
			Check: func(t testing.TB, c *component.Call) {
				got, err := os.ReadFile(string(path))
				if err != nil {
					t.Fatal(err)
				}
				want := "one\n"
				if _, ok := c.Attrs.Get("bytes"); ok {
					want = "\x00\x01\x02"
				} else if _, ok := c.Attrs.Get("source"); ok {
					want = string(shipped)
				}
				mode := os.FileMode(0o644)
				if m, _ := c.Attrs.Get("mode"); m == value.String("0600") {
					mode = 0o600
				}
				if st, _ := os.Stat(string(path)); string(got) != want || st.Mode() != mode {
					t.Errorf("%q with mode %s, want %q with %s", got, st.Mode(), want, mode)
				}
			},
			Break: breakIt("etc/app/app.conf"),
		},
		componenttest.Case{
			Name:    "a file that was there comes back",
			Machine: machine,
			Attrs:   attrs("path", there, "content", value.String("ours"), "backup", value.Bool(true)),
			Changes: []*value.Component{attrs("path", there, "content", value.String("ours again"), "backup", value.Bool(true))},
			Prepare: func(t testing.TB, c *component.Call) {
				if err := os.WriteFile(string(there), []byte("theirs"), 0o604); err != nil {
					t.Fatal(err)
				}
			},
			Break: breakIt("motd"),
		},
	)
}

func TestALinkThatLeadsOutIsRefused(t *testing.T) {
	folder, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	c := &component.Call{
		Machine: component.Machine{Folder: folder}, WorkDir: t.TempDir(),
		Env:   componenttest.NewEnv(t, file.New().Class()),
		Attrs: attrs("path", value.String(filepath.Join(folder, "link", "x")), "content", value.String("x")),
	}
	if err := file.New().Deploy(t.Context(), c); err == nil {
		t.Error("written")
	}
	if _, err := os.Stat(filepath.Join(outside, "x")); err == nil {
		t.Error("it is outside")
	}
}

func TestKeptFileStays(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "x")
	c := &component.Call{
		Machine: component.Machine{Folder: folder}, WorkDir: t.TempDir(),
		Env:   componenttest.NewEnv(t, file.New().Class()),
		Attrs: attrs("path", value.String(path), "content", value.String("x"), "keepOnTerminate", value.Bool(true)),
	}
	if err := file.New().Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := file.New().Terminate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestPlanningRefuses(t *testing.T) {
	check := file.New().Class().Check
	for name, a := range map[string]*value.Component{
		"no content":     attrs("path", value.String("x")),
		"two contents":   attrs("path", value.String("x"), "content", value.String(""), "bytes", value.Bytes{}),
		"a path outside": attrs("path", value.String("/etc/x"), "content", value.String("")),
		"a wrong mode":   attrs("path", value.String("x"), "content", value.String(""), "mode", value.String("rw")),
	} {
		if p := check(a, component.Target{}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
