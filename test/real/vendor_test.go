package real

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"aloft/component/componenttest"
	"aloft/test/debs"
)

// Software that the distribution does not have: packages of a vendor's signed
// source, a file with its digest, a program for Java. A file that is another
// than was said stops its own branch alone.
func TestSoftwareOfAVendorIsInstalledAndChecked(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	vendor := debs.NewSigner(t, "vendor")
	source := debs.Publish(t, vendor, "vendor-tool", map[string]string{
		"vendor-tool": "#!/bin/sh\necho \"ready to $1\"\nexec sleep infinity\n",
	})
	resp, err := http.Get(source + "vendor-tool.deb")
	if err != nil {
		t.Fatal(err)
	}
	deb, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	// The host reaches the vendor through a proxy, which is the source itself.
	settings := filepath.Join(t.TempDir(), "apt.conf")
	if err := os.WriteFile(settings, []byte("Acquire::http::Proxy::packages.vendor.example \""+source+"\";\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.user = []string{"env", "APT_CONFIG=" + settings}

	text, err := os.ReadFile(examples(t, "vendor.sf"))
	if err != nil {
		t.Fatal(err)
	}
	key := string(text)
	key = key[strings.Index(key, `"-----BEGIN PGP`):]
	key = key[:strings.Index(key, ";")]
	right := strings.NewReplacer(
		"https://packages.example.org/debian", "http://packages.vendor.example/",
		"https://packages.example.org/manual.txt", "http://packages.vendor.example/vendor-tool.deb",
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", componenttest.Digest(deb),
		key, strconv.Quote(vendor.Key),
	).Replace(string(text))
	file := h.write("vendor", strings.Replace(right, componenttest.Digest(deb), componenttest.Digest([]byte("another")), 1))
	out, status := h.try("up", file, "-y")
	if status != 1 || !strings.Contains(out, "failed: box:manual, deploy on vendor/box") || !strings.Contains(out, componenttest.Digest(deb)) {
		t.Errorf("with the digest of another file: status %d\n%s", status, out)
	}
	if strings.Contains(out, "failed: box:vendor") || strings.Contains(out, "failed: box:registry") {
		t.Errorf("another branch has failed as well:\n%s", out)
	}
	h.write("vendor", right)
	h.do("up", file, "-y")
	for command, want := range map[string]string{
		"cat /etc/apt/sources.list.d/aloft-vendor.sources | grep -c packages.vendor.example": "1",
		"dpkg-query -W -f '${Version}' vendor-tool":                                          "1.0",
		"sha256sum /usr/local/share/doc/vendor-manual.txt | cut -d' ' -f1":                   strings.TrimPrefix(componenttest.Digest(deb), "sha256:"),
		`test -x "$(cat /etc/java-home)/bin/java" && echo there`:                             "there",
	} {
		if got := strings.TrimSpace(h.do("exec", "vendor/box", "--", "sh", "-c", command)); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if out := h.do("logs", "vendor", "box:vendor:daemon"); !strings.Contains(out, "ready to serve") {
		t.Errorf("the vendor's program said\n%s", out)
	}
	if out := h.do("up", file, "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up again said\n%s", out)
	}
	id := h.id()
	h.do("down", "vendor", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
