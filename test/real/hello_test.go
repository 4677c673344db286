package real

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"aloft/api"
)

func examples(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHelloIsServedAndLeavesNothingBehind(t *testing.T) {
	h := newHome(t)
	out := h.do("up", examples(t, "hello.sf"), "-y")
	if !strings.Contains(out, "hello runs") || !strings.Contains(out, "started a daemon") {
		t.Errorf("up said\n%s", out)
	}
	checkHello(t, h)
	if out := h.do("up", examples(t, "hello.sf")); !strings.Contains(out, "no changes") {
		t.Errorf("up of an unchanged system said\n%s", out)
	}
	if out := h.do("exec", "hello/first", "--", "hostname"); strings.TrimSpace(out) != "first" {
		t.Errorf("host name %q", out)
	}
	if _, status := h.try("exec", "hello/first", "--", "sh", "-c", "exit 7"); status != 7 {
		t.Errorf("exec gave %d, the command 7", status)
	}
	id := h.id()
	h.do("down", "hello", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
	for _, folder := range []string{"machines", "work"} {
		if entries, err := os.ReadDir(filepath.Join(h.dir, folder)); err == nil && len(entries) > 0 {
			t.Errorf("%s still holds %v", folder, entries)
		}
	}
}

// checkHello fails unless both sites answer, the second with the address of
// the first.
func checkHello(t *testing.T, h *home) {
	t.Helper()
	var endpoints []api.Endpoint
	h.json(&endpoints, "endpoints", "hello")
	uri := map[string]string{}
	for _, e := range endpoints {
		uri[e.Path] = e.URI
	}
	if page := get(t, uri["first:site"]); !strings.Contains(page, "first machine") {
		t.Errorf("first says %q", page)
	}
	if page := get(t, uri["second:site"]); !strings.Contains(page, uri["first:site"]) {
		t.Errorf("second does not name %s: %q", uri["first:site"], page)
	}
	for _, c := range h.status("hello").Components {
		if c.State != api.ComponentRunning {
			t.Errorf("%s is %s", c.Path, c.State)
		}
	}
}

// asNobody returns a home of an unprivileged user.
func asNobody(t *testing.T) *home {
	t.Helper()
	h := newHome(t)
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(h.dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	h.user = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	return h
}

func TestRT02HelloRunsWithoutRootOnProcessMachines(t *testing.T) {
	h := asNobody(t)
	// The examples may lie where that user cannot read.
	text, err := os.ReadFile(examples(t, "hello.sf"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(h.dir, "hello.sf")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	h.do("up", file, "-y")
	checkHello(t, h)
	if a := h.address("hello", "first"); !strings.HasPrefix(a, "127.") {
		t.Errorf("a process machine has the address %s", a)
	}
	id := h.id()
	h.do("down", "hello", "-y")
	if things := slices.DeleteFunc(left(t, id), func(s string) bool { return strings.Contains(s, "daemon run") }); len(things) > 0 {
		t.Errorf("left behind: %v", things)
	}
}

func TestPackagesAreRefusedOnProcessMachinesBeforeAnythingIsMade(t *testing.T) {
	h := asNobody(t)
	out, status := h.try("up", h.write("pkg", `sfConfig extends { m extends VM { p extends Package { name "redis-server"; } } }`), "-y")
	if status != 1 || !strings.Contains(out, "root file system") || !strings.Contains(out, "as root") {
		t.Errorf("exit %d\n%s", status, out)
	}
	var machines []api.Machine
	h.json(&machines, "machines")
	if len(machines) > 0 {
		t.Errorf("machines were made: %v", machines)
	}
}
