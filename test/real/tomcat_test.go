package real

import (
	"archive/zip"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A page in a servlet container, over HTTP and HTTPS: it comes back after the
// container was killed, gives way to another version, and is gone at the end.
func TestTomcatServesWhatStandsInsideOfIt(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Dir(examples(t, "tomcat.sf")))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "tomcat.sf")
	h.do("up", file, "-y")
	value := func(path string) string { return strings.TrimSpace(h.do("get", "tomcat", path)) }
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it has made its certificate itself
	}}
	page := func(uri string) (int, string) {
		res, err := client.Get(uri)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	for uri, want := range map[string]string{value("web:tomcat:hello:uri"): "over http.", value("web:tomcat:httpsUri"): "over https."} {
		if status, body := page(uri); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d\n%s", uri, status, body)
		}
	}
	uri := value("web:tomcat:hello:uri")
	if out := h.do("logs", "tomcat", "web:tomcat"); !strings.Contains(out, `"GET / HTTP/1.1" 200`) {
		t.Errorf("the request is not in the log:\n%s", out)
	}
	if out := h.do("up", file, "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up again said\n%s", out)
	}

	// kill -9 of the run time.
	h.do("exec", "tomcat/web", "--", "sh", "-c", "kill -9 $(pgrep -u tomcat java)")
	begun := time.Now()
	for status := 0; status != 200; status, _ = page(uri) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("not back after a minute:\n%s", h.do("logs", "tomcat", "web:tomcat"))
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("back after %s", time.Since(begun))

	// Another version, then one that is broken, which changes nothing.
	var war bytes.Buffer
	w := zip.NewWriter(&war)
	f, err := w.Create("index.html")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "another version")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, next := range []struct {
		content []byte
		status  int
		says    string
	}{{war.Bytes(), 0, "tomcat runs"}, {war.Bytes()[:100], 1, "tomcat/hello.war: it is no WAR that can be read"}} {
		if err := os.WriteFile(filepath.Join(folder, "tomcat", "hello.war"), next.content, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, status := h.try("up", file, "-y"); status != next.status || !strings.Contains(out, next.says) {
			t.Errorf("up gave %d, and not %q:\n%s", status, next.says, out)
		}
		if status, body := page(uri); status != 200 || body != "another version" {
			t.Errorf("%d %s", status, body)
		}
	}

	id := h.id()
	h.do("down", "tomcat", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
