package real

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

// join makes h a member of the cluster of a manager.
func (h *home) join(manager *home, at, listen, role, name string) {
	h.t.Helper()
	token := strings.TrimSpace(manager.do("cluster", "token", "--role", role, "--ttl", "10m", "-o", "name"))
	h.do("join", at, "--role", role, "--token", token, "--listen", listen, "--name", name)
}

// members returns the members by name, as h's daemon sees them.
func (h *home) members() map[string]api.Member {
	h.t.Helper()
	var list []api.Member
	h.json(&list, "cluster", "members")
	all := map[string]api.Member{}
	for _, m := range list {
		all[m.Name] = m
	}
	return all
}

// One manager becomes three, and one again, under a system that was there
// before, and that any of them changes.
func TestManagersComeAndGoUnderARunningSystem(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.81.1:7400", "127.0.81.2:7400", "127.0.81.3:7400"
	first := newHome(t)
	first.do("up", first.write("one", sleepers(1)), "-y")
	pid := first.do("get", "one", "m1:p:pid")
	first.do("cluster", "init", "--listen", a, "--name", "a")
	second, third := newHome(t), newHome(t)
	second.join(first, a, b, "manage", "b")
	third.join(second, b, c, "manage", "c")
	for name, m := range third.members() {
		if m.Store != "voter" && m.Store != "leader" {
			t.Errorf("%s is %s", name, m.Store)
		}
	}
	third.do("up", third.write("one", sleepers(2)), "-y")
	if out, status := first.try("cluster", "promote", "b"); status != 1 || !strings.Contains(out, "is a manager already") {
		t.Errorf("promote of a manager: %d %s", status, out)
	}
	second.do("cluster", "demote", "c")
	eventually(t, 20*time.Second, "c is a host", func() bool {
		var st api.DaemonStatus
		out, err := third.command("daemon", "status", "-o", "json").Output()
		return err == nil && jsonOf(out, &st) && st.State == api.DaemonReady && len(st.Roles) == 1 && st.Roles[0] == api.RoleHost && st.Quorum
	})
	first.do("cluster", "promote", "c")
	second.do("cluster", "remove", "c")
	first.do("cluster", "remove", "b")
	if out, status := first.try("cluster", "remove", "a"); status != 1 || !strings.Contains(out, "last manager") {
		t.Errorf("removal of the last manager: %d %s", status, out)
	}
	if all := first.members(); len(all) != 1 {
		t.Errorf("members left: %v", all)
	}
	if now := first.do("get", "one", "m1:p:pid"); now != pid {
		t.Errorf("process %s was restarted as %s", pid, now)
	}
}

// The manager that took a request dies; another goes on with it (RT-07), and
// the command ends well.
func TestUpGoesOnWhenItsManagerDies(t *testing.T) { // RT-07
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.82.1:7400", "127.0.82.2:7400", "127.0.82.3:7400"
	host, second, third := newHome(t), newHome(t), newHome(t)
	host.do("cluster", "init", "--listen", a, "--name", "a")
	second.join(host, a, b, "manage", "b")
	third.join(host, a, c, "manage", "c")
	up := second.command("up", second.write("one", sleepers(3)), "-y")
	var said bytes.Buffer
	up.Stdout, up.Stderr = &said, &said
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	victim := second.pid()
	defer func() { t.Logf("up said\n%s", said.String()) }()
	eventually(t, 10*time.Second, "it has begun", func() bool {
		out, status := host.try("systems", "-o", "name")
		return status == 0 && strings.Contains(out, "one")
	})
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err != nil {
		t.Errorf("up: %v", err)
	}
	if m, s := processes(t, host.id()); m != 3 || s != 3 {
		t.Errorf("%d machines and %d processes, want 3 of each", m, s)
	}
	host.do("down", "one", "-y")
}

func TestAJoinIsRefusedWithNothingChanged(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b = "127.0.83.1:7400", "127.0.83.2:7400"
	first, second := newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a")
	token := strings.TrimSpace(first.do("cluster", "token", "--role", "host", "-o", "name"))
	for _, c := range []struct{ args, want string }{
		{"join " + a + " --role manage --listen " + b + " --token " + token, "another role"},
		{"join " + a + " --role host --listen " + a + " --token " + token, "in use"},
		{"join " + a + " --role host --listen " + b + " --name a --token " + token, "a member called a"},
		{"join " + a + " --listen " + b + " --token nonsense", "join token"},
	} {
		if out, status := second.try(strings.Fields(c.args)...); status != 1 || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d\n%s", c.args, status, out)
		}
	}
	if n := len(first.members()); n != 1 {
		t.Errorf("%d members after refusals", n)
	}
	// Given again, the command that has succeeded succeeds.
	for range 2 {
		second.do("join", a, "--role", "host", "--listen", b, "--name", "b", "--token", token)
	}
}
