package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/archive"
	"aloft/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var attrs = componenttest.Attrs

// tarOf writes headers; the content of a file is its Linkname.
func tarOf(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content}
}

func link(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}

func packed(t testing.TB, with func(io.Writer) (io.WriteCloser, error), content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := with(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, content []byte) []byte {
	return packed(t, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }, content)
}

func zipOf(t testing.TB, files map[string]string) []byte {
	return packed(t, func(w io.Writer) (io.WriteCloser, error) {
		z := zip.NewWriter(w)
		for name, content := range files {
			f, err := z.Create(name)
			if err != nil {
				return nil, err
			}
			if _, err := io.WriteString(f, content); err != nil {
				return nil, err
			}
		}
		return nopWriter{z}, nil
	}, nil)
}

type nopWriter struct{ *zip.Writer }

func (nopWriter) Write([]byte) (int, error) { return 0, nil }

// shipped stands for an archive that was sent along.
func shipped(content []byte) *value.Component {
	return attrs("path", value.String("app.tar"), "digest", value.String(componenttest.Digest(content)))
}

// contents lists what stands in a folder: files with their content, links with
// what they hold.
func contents(t testing.TB, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			found[rel] = "-> " + to
			return err
		}
		b, err := os.ReadFile(path)
		found[rel] = string(b)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return found
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func vector(texts ...string) (v value.Vector) {
	for _, s := range texts {
		v = append(v, value.String(s))
	}
	return v
}

func TestSuite(t *testing.T) {
	one := gzipped(t, tarOf(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "app-1/", Mode: 0o755}, tar.Header{Typeflag: tar.TypeDir, Name: "app-1/empty/", Mode: 0o755},
		file("app-1/bin/run", "run 1"), file("app-1/lib/a", "a"), link("app-1/lib/b", "a"),
		tar.Header{Typeflag: tar.TypeLink, Name: "app-1/lib/c", Linkname: "app-1/lib/a"}))
	two := zipOf(t, map[string]string{"app-2/bin/run": "run 2", "app-2/new": "new"})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(two) }))
	defer s.Close()
	folder := t.TempDir()
	to := filepath.Join(folder, "opt/app")
	strip := value.Integer(1)
	want := map[string]map[string]string{
		"":     {"bin/run": "run 1", "lib/a": "a", "lib/b": "-> a", "lib/c": "a"},
		"only": {"lib/a": "a", "lib/c": "a"},
		"url":  {"bin/run": "run 2", "new": "new"},
		"all":  {"app-2/bin/run": "run 2", "app-2/new": "new"},
	}
	componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return archive.New(), func() {} }, componenttest.Case{
		Name:    "an application",
		Machine: component.Machine{Folder: folder},
		Attrs:   attrs("source", shipped(one), "destination", value.String(to), "strip", strip),
		Changes: []*value.Component{
			attrs("source", shipped(one), "destination", value.String(to), "strip", strip, "only", vector("lib/[ac]")),
			attrs("source", value.String(s.URL), "destination", value.String(to), "strip", strip, "digest", value.String(componenttest.Digest(two))),
			attrs("source", value.String(s.URL), "destination", value.String(to), "digest", value.String(componenttest.Digest(two))),
		},
		Sources: [][]byte{one, two},
		Check: func(t testing.TB, c *component.Call) {
			which := ""
			if _, ok := c.Attrs.Get("only"); ok {
				which = "only"
			} else if _, ok := c.Attrs.Get("digest"); ok {
				which = "url"
			}
			if _, ok := c.Attrs.Get("strip"); !ok {
				which = "all"
			}
			if got := contents(t, to); !equal(got, want[which]) {
				t.Errorf("%q: %v, want %v", which, got, want[which])
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			if err := os.Remove(filepath.Join(to, "bin/run")); err != nil {
				t.Error(err)
			}
		},
	})
}

// call is a component with an archive that was sent along.
func call(t testing.TB, content []byte, more ...any) *component.Call {
	env := componenttest.NewEnv(t, archive.New().Class())
	env.Ship(content)
	return &component.Call{
		Env: env, WorkDir: t.TempDir(), Machine: component.Machine{Folder: t.TempDir()},
		Attrs: attrs(append([]any{"source", shipped(content), "destination", value.String("to")}, more...)...),
	}
}

func TestEveryFormIsUnpacked(t *testing.T) {
	plain := tarOf(t, file("a/b", "content"))
	for name, content := range map[string][]byte{
		"tar": plain, "tar.gz": gzipped(t, plain), "zip": zipOf(t, map[string]string{"a/b": "content"}),
		"tar.xz":  packed(t, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }, plain),
		"tar.zst": packed(t, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }, plain),
	} {
		c := call(t, content)
		if err := archive.New().Deploy(t.Context(), c); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := contents(t, filepath.Join(c.WorkDir, "to")); !equal(got, map[string]string{"a/b": "content"}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What is wrong with an archive is said, and nothing of it stays.
func TestABadArchiveLeavesNothing(t *testing.T) {
	good := gzipped(t, tarOf(t, file("a", strings.Repeat("x", 9999))))
	for name, tt := range map[string]struct {
		content []byte
		says    string
	}{
		"a way up":                  {tarOf(t, file("ok", "1"), file("../out", "x")), `"../out", which leads outside`},
		"an absolute name":          {tarOf(t, file("/etc/x", "x")), "leads outside"},
		"a way up in a zip":         {zipOf(t, map[string]string{"../out": "x"}), "leads outside"},
		"a way up with backslashes": {zipOf(t, map[string]string{`..\out`: "x"}), "leads outside"},
		"a link out":                {tarOf(t, link("l", "../../etc"), file("l/x", "x")), "leads outside"},
		"an absolute link":          {tarOf(t, link("l", "/etc"), file("l/x", "x")), "leads outside"},
		"links that lead out together": {
			tarOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "d/e", Mode: 0o755}, link("d/e/l", "../.."), link("m", "d/e/l/.."), file("m/x", "x")),
			"",
		},
		"a hard link out":      {tarOf(t, tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "../../etc/passwd"}), "leads outside"},
		"a device":             {tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}), "neither a file"},
		"one that is cut off":  {good[:len(good)/2], "broken"},
		"one that was altered": {append(good[:len(good)-6:len(good)-6], 0, 0, 0, 0, 0, 0), "broken"},
		"a text":               {[]byte("hello"), "no archive that is known"},
		"nothing":              {nil, "no archive that is known"},
		"nothing wanted":       {tarOf(t, file("top", "x")), "is wanted"},
	} {
		t.Run(name, func(t *testing.T) {
			c := call(t, tt.content)
			if name == "nothing wanted" {
				c = call(t, tt.content, "strip", value.Integer(1))
			}
			err := archive.New().Deploy(t.Context(), c)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "app.tar: ") {
				t.Errorf("%v, want %q", err, tt.says)
			}
			if left := contents(t, c.WorkDir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestWhatIsThereIsNotWrittenOver(t *testing.T) {
	content := tarOf(t, file("conf", "theirs"), file("bin", "b"))
	c := call(t, content)
	mine := filepath.Join(c.WorkDir, "to/conf")
	if err := os.MkdirAll(filepath.Dir(mine), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := archive.New().Deploy(t.Context(), c)
	if _, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), mine) || remedy == "" {
		t.Errorf("%v", err)
	}
	if err := archive.New().Terminate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, filepath.Join(c.WorkDir, "to")); !equal(got, map[string]string{"conf": "mine"}) {
		t.Errorf("%v", got)
	}
}

func TestAFailedChangeLeavesTheFiles(t *testing.T) {
	c := call(t, tarOf(t, file("a", "1"), file("b", "2")))
	if err := archive.New().Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	bad := tarOf(t, file("a", "9"), file("../x", ""))
	c.Env.(*componenttest.Env).Ship(bad)
	next := *c
	next.Old, next.Attrs = c.Attrs, attrs("source", shipped(bad), "destination", value.String("to"))
	if err := archive.New().Reconfigure(t.Context(), &next); err == nil {
		t.Error("it was unpacked")
	}
	if err := archive.New().Ping(t.Context(), c); err != nil {
		t.Error(err)
	}
	if got := contents(t, filepath.Join(c.WorkDir, "to")); !equal(got, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("%v", got)
	}
}

func TestPlanningRefuses(t *testing.T) {
	to := value.String("to")
	for name, a := range map[string]*value.Component{
		"an address without a digest": attrs("source", value.String("http://h/x.tar"), "destination", to),
		"a way out":                   attrs("source", value.String("app.tar"), "destination", value.String("../x")),
		"a pattern that is none":      attrs("source", value.String("app.tar"), "destination", to, "only", vector("[")),
	} {
		if p := componenttest.Problems(archive.New().Class(), a, component.Target{}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// FuzzUnpack: whatever an archive has, nothing comes to be outside of its
// destination, and what fails leaves nothing.
func FuzzUnpack(f *testing.F) {
	plain := tarOf(f, file("a/b", "x"), link("a/l", "b"), link("m", "a"), file("m/c", "y"))
	f.Add(plain)
	f.Add(gzipped(f, plain))
	f.Add(zipOf(f, map[string]string{"a/b": "content"}))
	f.Fuzz(func(t *testing.T, content []byte) {
		c := call(t, content)
		err := archive.New().Deploy(t.Context(), c)
		if err == nil {
			err = archive.New().Terminate(t.Context(), c)
			if err != nil {
				t.Error(err)
			}
		}
		if left := contents(t, c.WorkDir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if entries, _ := os.ReadDir(c.Machine.Folder); len(entries) > 0 {
			t.Errorf("outside: %v", entries)
		}
	})
}
