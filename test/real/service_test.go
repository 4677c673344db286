package real

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A service that a package has brought, under OpenRC in a light machine: it is
// started and enabled, reloads when its configuration changes, comes back after
// it was killed, and a wrong name says what to do.
func TestServiceOfAPackageReloadsComesBackAndEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	example, err := os.ReadFile(examples(t, "service.sf"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(example), `cloudProvider "local";`, `cloudProvider "local"; sfLivenessDelay 3;`, 1)
	h.do("up", h.write("service", text), "-y")
	uri := fmt.Sprintf("http://%s/", strings.TrimSpace(h.do("get", "service", "web:ip")))
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	page := func() (greeting, body string) {
		res, err := client.Get(uri)
		if err != nil {
			return "", err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.Header.Get("X-Greeting"), string(b)
	}
	await := func(greeting string) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			g, body := page()
			if g == greeting && body == "Served by lighttpd.\n" {
				return
			}
			if time.Since(begun) > time.Minute {
				t.Fatalf("the page says %q %q, want %q\n%s", g, body, greeting, h.do("describe", "service", "web:server"))
			}
		}
	}
	inside := func(command string) string {
		t.Helper()
		return strings.TrimSpace(h.do("exec", "service/web", "--", "sh", "-c", command))
	}
	await("hello")
	if by := strings.TrimSpace(h.do("get", "service", "web:server:manager")); by != "OpenRC" {
		t.Errorf("it is run by %s", by)
	}
	if levels := inside("rc-update show default"); !strings.Contains(levels, "lighttpd") {
		t.Errorf("it is not enabled:\n%s", levels)
	}
	if out := h.do("up", h.write("service", text), "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up again said\n%s", out)
	}

	// up ends well while the service still reads the new configuration.
	changed := strings.Replace(text, `greeting "hello"`, `greeting "good day"`, 1)
	h.do("up", h.write("service", changed), "-y")
	await("good day")

	inside("kill -9 $(pgrep -x lighttpd)")
	begun := time.Now()
	await("good day")
	t.Logf("back after %s", time.Since(begun))

	wrong := strings.Replace(changed, `name "lighttpd"`, `name "lightttpd"`, 1)
	out, status := h.try("up", h.write("service", wrong), "-y")
	for _, want := range []string{"web:server, start on service/web", "OpenRC of this machine knows no service lightttpd", "Package"} {
		if status != 1 || !strings.Contains(out, want) {
			t.Errorf("up gave %d, and not %q:\n%s", status, want, out)
		}
	}
	// What was found when it came is what is left: enabled by its package, at rest.
	if _, body := page(); !strings.Contains(body, "refused") {
		t.Errorf("the service of the name before still answers: %s", body)
	}
	if levels := inside("rc-update show default"); !strings.Contains(levels, "lighttpd") {
		t.Errorf("its package had enabled it:\n%s", levels)
	}
	h.do("up", h.write("service", changed), "-y")
	await("good day")

	id := h.id()
	h.do("down", "service", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
