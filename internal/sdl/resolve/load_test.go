package resolve

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// write makes files below dir, folders included.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, dir string) Folder {
	t.Helper()
	f, closeFolder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeFolder() })
	return f
}

func TestIncludesStayInTheAllowedFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"main/a.sf":   "x 1;",
		"main/s/b.sf": "#include \"../a.sf\"",
		"inc/c.sf":    "x 2;",
		"work/d.sf":   "x 3;",
		"out/e.sf":    "#include \"f.sf\" x Y;",
		"out/f.sf":    "Y 4;",
		"out/g.sf":    "x 4;",
	})
	if err := os.Symlink(filepath.Join(dir, "out/g.sf"), filepath.Join(dir, "main/link.sf")); err != nil {
		t.Fatal(err)
	}
	work := open(t, filepath.Join(dir, "work"))
	for _, c := range []struct {
		include string
		want    value.Value
		code    diag.Code
	}{
		{"a.sf", value.Integer(1), ""},
		{"s/b.sf", value.Integer(1), ""},
		{"c.sf", value.Integer(2), ""},
		{"/c.sf", value.Integer(2), ""},
		{"d.sf", value.Integer(3), ""},
		{filepath.Join(dir, "inc/c.sf"), value.Integer(2), ""},
		{"../inc/c.sf", value.Integer(2), ""}, // leads out, and into another allowed folder
		{"../out/e.sf", nil, diag.IncludeOutside},
		{filepath.Join(dir, "out/e.sf"), nil, diag.IncludeOutside},
		{"link.sf", nil, diag.IncludeOutside},
		{"/org/smartfrog/none.sf", nil, diag.IncludeNotFound},
		{"../out/none.sf", nil, diag.IncludeNotFound},
	} {
		for _, outside := range []bool{false, true} {
			src := Source{
				Folder: open(t, filepath.Join(dir, "main")), Name: "main.sf",
				Text: []byte("#include " + value.Quote(c.include) + "\nsfConfig extends { v x; }"),
			}
			opts := Options{Include: []Folder{open(t, filepath.Join(dir, "inc"))}, WorkDir: &work}
			if outside {
				opts.Outside = os.DirFS("/")
			}
			res, err := Resolve(context.Background(), src, opts)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if outside && c.code == diag.IncludeOutside {
				want = value.Integer(4)
			}
			if want == nil {
				if first(res).Code != c.code {
					t.Errorf("%s: got %v, want %s", c.include, first(res), c.code)
				}
				continue
			}
			if res.Description == nil {
				t.Errorf("%s (outside allowed: %v): %v", c.include, outside, first(res))
				continue
			}
			if v, _ := res.Tree.Get("v"); !value.Equal(v, want) {
				t.Errorf("%s: got %v, want %v", c.include, v, want)
			}
		}
	}
}

// A #codebase is no way out of the allowed folders, nor is a chain of links, a
// folder that is one, or a name written in another way. What is no file is not
// read: a pipe would wait for ever, a device give bytes without end.
func TestNoWayOfNamingAnIncludeLeadsOut(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"main/s/a.sf": "x 1;", "inc/b.sf": "x 2;", "out/secret.sf": "x 4;", "out/d/deep.sf": "x 5;"})
	for link, to := range map[string]string{
		"main/folder": "../out", "main/first": "second", "main/second": "../out/secret.sf",
		"inc/up": "..", "main/loop": "loop", "main/device": "/dev/zero",
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "main/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, include := range []string{
		`#codebase "../out" #include "secret.sf"`,
		`#codebase "../out/../out" #include "d/deep.sf"`,
		`#codebase "` + dir + `/out" #include "secret.sf"`,
		`#codebase "s ../out" #include "secret.sf"`,
		`#codebase "up/out" #include "secret.sf"`,
		`#codebase "file://` + dir + `/out" #include "secret.sf"`,
		`#include "file://` + dir + `/out/secret.sf"`,
		`#include "folder/secret.sf"`, `#include "folder/d/deep.sf"`, `#include "first"`,
		`#include "up/out/secret.sf"`, `#include "s/../../out/secret.sf"`, `#include "./../out/secret.sf"`,
		`#include "s/../folder/secret.sf"`, `#include "//` + dir + `/out/secret.sf"`,
		`#include "` + dir + `/main/../out/secret.sf"`, `#include "` + dir + `/main/folder/secret.sf"`,
		`#include "\056\056/out/secret.sf"`, `#include "..\000/out/secret.sf"`, `#include "..\\out\\secret.sf"`,
		`#include "loop"`, `#include "device"`, `#include "pipe"`, `#include "s"`, `#include ""`, `#include "."`, `#include "/"`,
		`#include "/proc/self/environ"`, `#include "/dev/stdin"`, `#include "secret.sf"`,
	} {
		src := Source{Folder: open(t, filepath.Join(dir, "main")), Name: "main.sf", Text: []byte(include + "\nsfConfig extends { v x; }")}
		res, err := Resolve(t.Context(), src, Options{Include: []Folder{open(t, filepath.Join(dir, "inc"))}})
		if err != nil {
			t.Fatal(err)
		}
		switch first(res).Code {
		case diag.IncludeNotFound, diag.IncludeOutside, diag.IncludeURL:
		default:
			t.Errorf("%s: got %v", include, first(res))
		}
	}
}

// The surroundings are told to a description only where somebody says so.
func TestPropertiesAndEnvironmentAreOnlyWhatIsGiven(t *testing.T) {
	t.Setenv("ALOFT_TEST_SECRET", "x")
	for _, form := range []string{"PROPERTY", "IPROPERTY", "ENVPROPERTY", "IENVPROPERTY"} {
		for _, name := range []string{"ALOFT_TEST_SECRET", "PATH", "user.home"} {
			res := resolveText(t, "sfConfig extends { v "+form+" \""+name+"\"; }", Options{})
			if first(res).Code != diag.PropertyUnknown {
				t.Errorf("%s %s: got %v", form, name, first(res))
			}
		}
	}
}

func TestDaemonsDoNotSearchTheWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"main/m.sf": "#include \"d.sf\" sfConfig extends {}", "work/d.sf": ""})
	t.Chdir(filepath.Join(dir, "work"))
	res, err := Resolve(context.Background(), Source{Folder: open(t, filepath.Join(dir, "main")), Name: "m.sf"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if first(res).Code != diag.IncludeNotFound {
		t.Errorf("got %v, want %s", first(res), diag.IncludeNotFound)
	}
}

// The text of every phase parses back to what the next phases make of it.
func TestTextOfEveryPhaseMeansTheSame(t *testing.T) {
	const text = `T extends { a 1; n extends { x PARENT:a; } }
sfConfig extends T, { [t] b (a + 2); n:y "z"; "odd name" 1.5f; c extends DATA T { a 5; } v [| DATA b, 7L |]; w [ a, (extends T) ]; l LAZY n:q; e (l ++ "x"); o OPTIONAL (3) none; }`
	want := typed(resolveText(t, text, Options{}).Tree)
	if want == nil {
		t.Fatal("does not resolve")
	}
	for _, p := range Phases {
		res := resolveText(t, text, Options{Until: p})
		if res.Diagnostics.Errors() > 0 {
			t.Fatalf("%s: %v", p, first(res))
		}
		again := resolveText(t, res.Text(), Options{})
		if got := typed(again.Tree); string(got) != string(want) {
			t.Errorf("after %s the text is\n%s\nand means %s\nwant %s\n%v", p, res.Text(), got, want, first(again))
		}
	}
}
