package website

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzSite: a configuration is served or refused with its file's name, and what
// was read is written the same.
func FuzzSite(f *testing.F) {
	whole, err := site{Listen: "127.0.0.1:80", Pages: map[string]string{"/index.html": "<h1>hello</h1>", "/a/b.css": "p{}"}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, "/")
	f.Add([]byte(`{"listen":"127.0.0.1:80","root":"/nowhere"}`), "/a")
	f.Add([]byte(`null`), "/../..")
	f.Add([]byte(`{"pages":[]}`), "")
	f.Fuzz(func(t *testing.T, text []byte, path string) {
		h := &handler{config: filepath.Join(t.TempDir(), "site.json")}
		if err := os.WriteFile(h.config, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := h.site()
		if err != nil {
			if !strings.Contains(err.Error(), h.config) {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		if s.Root == "" {
			r := httptest.NewRequest("GET", "/", nil)
			r.URL.Path = path
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if _, page, ok := s.page(path); (w.Code == 200) != ok || ok && !bytes.Equal(w.Body.Bytes(), []byte(page)) {
				t.Errorf("%q: %d %q, want the page %q", path, w.Code, w.Body, page)
			}
		}
		again, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		other := &handler{config: h.config + ".again"}
		if err := os.WriteFile(other.config, again, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := other.site(); err != nil || got.Listen != s.Listen || got.Root != s.Root || len(got.Pages)+len(s.Pages) > 0 && !reflect.DeepEqual(got.Pages, s.Pages) {
			t.Errorf("%+v became %+v, %v", s, got, err)
		}
	})
}
