package real

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// unchanged checks that a home is as before somebody tried to make it a member.
func (h *home) unchanged(what string) {
	h.t.Helper()
	if _, err := os.Stat(filepath.Join(h.dir, "daemon.json")); !errors.Is(err, fs.ErrNotExist) {
		h.t.Errorf("after %s the home has settings of a member: %v", what, err)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "store")); !errors.Is(err, fs.ErrNotExist) {
		h.t.Errorf("after %s the home has a store: %v", what, err)
	}
	if out, status := h.try("daemon", "status"); status != 1 || !strings.Contains(out, "no daemon is running") {
		h.t.Errorf("after %s a daemon runs: exit %d\n%s", what, status, out)
	}
}

// Who may not join is told why, and nothing is changed, neither where he comes
// from nor where he wanted to go.
func TestWhoMayNotJoinIsToldWhyAndNothingIsChanged(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c, taken = "127.0.122.1:7400", "127.0.122.2:7400", "127.0.122.3:7400", "127.0.122.9:7400"
	occupied, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", taken)
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	first, second, other := newHome(t), newHome(t), newHome(t)
	if out, status := first.try("cluster", "init", "--listen", taken, "--name", "a"); status != 1 || !strings.Contains(out, "in use") {
		t.Errorf("init at an address in use: exit %d\n%s", status, out)
	}
	first.unchanged("an init at an address in use")
	first.do("cluster", "init", "--listen", a, "--name", "a", "--role", "manage")
	token := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(first.do(append([]string{"cluster", "token", "-o", "name"}, args...)...))
	}
	if out, status := first.try("cluster", "token", "--role", "host", "--ttl", "200h"); status != 1 || !strings.Contains(out, "a week") {
		t.Errorf("a token for ever: exit %d\n%s", status, out)
	}
	host := token("--role", "host")

	// A home of another cluster.
	other.do("cluster", "init", "--listen", c, "--name", "c", "--role", "manage")
	pid := other.pid()
	if out, status := other.try("join", a, "--token", host, "--listen", c); status != 1 || !strings.Contains(out, "a member of a cluster already") || !strings.Contains(out, "aloft cluster leave") {
		t.Errorf("a home of another cluster joins: exit %d\n%s", status, out)
	}
	if now := other.pid(); now != pid || len(other.members()) != 1 {
		t.Errorf("its daemon is %d, was %d; members %v", now, pid, other.members())
	}

	brief := token("--role", "host", "--ttl", "1s")
	expires := time.Now().Add(time.Second)
	spent := token("--role", "host")
	foreign := strings.TrimSpace(other.do("cluster", "token", "--role", "host", "-o", "name"))
	never := strings.Split(foreign, ".")[0] + "." + strings.Split(foreign, ".")[1] + "." + strings.Split(host, ".")[2] // a secret that this cluster does not know
	third := newHome(t)
	third.do("join", a, "--token", spent, "--listen", b, "--name", "b")
	eventually(t, 10*time.Second, "the token has expired", func() bool { return time.Now().After(expires) })
	for _, c := range []struct{ what, args, want string }{
		{"an expired token", "--token " + brief, "expired at"},
		{"a used token", "--token " + spent, "was used before"},
		{"a used token, for the same name", "--name b --token " + spent, "was used before"},
		{"a used token, for another role", "--role manage --token " + spent, "was used before"},
		{"a token that never was", "--token " + never, "unknown here"},
		{"a token of another cluster", "--token " + foreign, "cluster"},
		{"an address in use", "--token " + host, "in use"},
	} {
		listen := "127.0.122.4:7400"
		if c.want == "in use" {
			listen = taken
		}
		args := append([]string{"join", a, "--listen", listen}, strings.Fields(c.args)...)
		if out, status := second.try(args...); status != 1 || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d\n%s", c.what, status, out)
		}
		second.unchanged(c.what)
	}
	if n := len(first.members()); n != 2 {
		t.Errorf("%d members after refusals, want 2", n)
	}
	// What was refused spent nothing.
	second.do("join", a, "--token", host, "--listen", "127.0.122.4:7400", "--name", "d")
}
