package real

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/test/leak"
)

// lose kills the home's daemon and deletes all that it had.
func (h *home) lose() {
	h.t.Helper()
	kill(h.t, h.pid())
	eventually(h.t, 10*time.Second, "the daemon is gone", func() bool { return os.RemoveAll(h.dir) == nil })
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		h.t.Fatal(err)
	}
}

// state is the state of the home's daemon, "" while it does not answer.
func (h *home) state() string {
	var st api.DaemonStatus
	out, err := h.command("daemon", "status", "-o", "json").Output()
	if err != nil || !jsonOf(out, &st) {
		return ""
	}
	return st.State
}

// fence returns the fence of a system's owner.
func (h *home) fence(system string) int64 {
	h.t.Helper()
	var list []api.System
	h.json(&list, "systems")
	for _, s := range list {
		if s.Name == system {
			return s.Owner.Fence
		}
	}
	h.t.Fatalf("no system %s in %+v", system, list)
	return 0
}

// The manager and its folder are gone for good. What a backup makes of another
// folder, at another address, manages the same machines, and the manager of
// before is none any more, should it come back.
func TestAnotherHomeGoesOnFromABackup(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.194.1:7400", "127.0.194.2:7400", "127.0.194.3:7400"
	const secret = "s3cret of <the> shop"
	first, host := newHome(t), newHome(t)
	first.do("cluster", "init", "--role", "manage", "--listen", a, "--name", "a")
	host.join(first, a, b, "host", "b")
	first.set("shop/db", secret)
	first.do("up", first.write("one", sleepers(1)), "-y")
	pid := first.do("get", "one", "m1:p:pid")
	fence := first.fence("one")

	dir := t.TempDir()
	file := filepath.Join(dir, "of the day")
	if out := first.do("backup", "--out", file); !strings.Contains(out, "keys are in it") {
		t.Errorf("backup does not say how secret it is:\n%s", out)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v, %v", st.Mode(), err)
	}
	if leaks, looked, err := leak.New(secret).Files(dir, func(string) bool { return false }); err != nil || looked != 1 || len(leaks) != 0 {
		t.Errorf("the secret is in the backup: %v of %d files, %v", leaks, looked, err)
	}

	// The manager comes back later from a copy of its disk, as it was.
	old := newHome(t)
	first.do("daemon", "stop")
	if err := os.CopyFS(filepath.Join(old.dir, "copy"), os.DirFS(first.dir)); err != nil {
		t.Logf("copy: %v", err) // sockets cannot be copied, and need not be
	}
	first.do("daemon", "start")
	first.lose()

	third := newHome(t)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	altered := append([]byte{}, content...)
	altered[len(altered)/2] ^= 1
	for what, damaged := range map[string][]byte{"cut": content[:len(content)*2/3], "altered": altered} {
		path := filepath.Join(dir, what)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, status := third.try("restore", path); status != 1 || !strings.Contains(out, "damaged or cut short") {
			t.Errorf("%s: exit %d\n%s", what, status, out)
		}
	}
	if held, _ := os.ReadDir(third.dir); len(held) != 0 {
		t.Errorf("a damaged backup has left %v", held)
	}
	if out, status := host.try("restore", file); status != 1 || !strings.Contains(out, "is not empty") {
		t.Errorf("restore over a home: exit %d\n%s", status, out)
	}
	third.do("restore", file, "--listen", c)

	eventually(t, 30*time.Second, "the host has found the manager", func() bool { return third.members()["b"].State == api.MemberReady })
	if now := third.do("get", "one", "m1:p:pid"); now != pid {
		t.Errorf("process %s was restarted as %s", pid, now)
	}
	if now := third.fence("one"); now>>32 != fence>>32+1 {
		t.Errorf("the fence was %d and is %d: want the next epoch", fence, now)
	}
	third.do("up", third.write("one", sleepers(2)), "-y")
	if now := third.do("get", "one", "m1:p:pid"); now != pid {
		t.Errorf("process %s was restarted as %s by an update", pid, now)
	}

	// Two of the same name: the older one is told by the machines' roster.
	old.dir = filepath.Join(old.dir, "copy")
	old.do("daemon", "start")
	eventually(t, 30*time.Second, "the manager of before knows that it was given up", func() bool { return old.state() == api.DaemonRemoved })
	if out, status := old.try("down", "one", "-y"); status == 0 {
		t.Errorf("the manager of before still rules:\n%s", out)
	}
	third.do("down", "one", "-y")
	if left, _ := os.ReadDir(filepath.Join(host.dir, "machines")); len(left) != 0 {
		t.Errorf("machines left: %v", left)
	}
}

// Two of three managers are gone for ever. The third goes on alone when it is
// told to, and refuses the others should they come back.
func TestOneSurvivorRecoversTheCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.195.1:7400", "127.0.195.2:7400", "127.0.195.3:7400"
	first, second, third := newHome(t), newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a")
	first.do("up", first.write("one", sleepers(1)), "-y")
	pid := first.do("get", "one", "m1:p:pid")
	second.join(first, a, b, "manage", "b")
	third.join(first, a, c, "manage", "c")
	fence := first.fence("one")
	if out, status := first.try("cluster", "recover", "-y"); status != 1 || !strings.Contains(out, "nothing to recover from") {
		t.Errorf("with a majority: exit %d\n%s", status, out)
	}
	kill(t, second.pid())
	kill(t, third.pid())
	eventually(t, 20*time.Second, "changes are refused", func() bool {
		_, status := first.try("cluster", "token", "--role", "host")
		return status != 0
	})
	if out, status := first.try("cluster", "recover"); status != 1 || !strings.Contains(out, "gives up b, c") || !strings.Contains(out, "add -y") {
		t.Errorf("without being told: exit %d\n%s", status, out)
	}
	if out := first.do("cluster", "recover", "-y"); !strings.Contains(out, "Given up: b, c") {
		t.Errorf("recover:\n%s", out)
	}
	if all := first.members(); len(all) != 1 {
		t.Errorf("members left: %v", all)
	}
	if now := first.fence("one"); now>>32 <= fence>>32 {
		t.Errorf("the fence was %d and is %d", fence, now)
	}
	if now := first.do("get", "one", "m1:p:pid"); now != pid {
		t.Errorf("process %s was restarted as %s", pid, now)
	}
	first.do("up", first.write("one", sleepers(2)), "-y")

	// They come back, one alone, and may join anew.
	second.do("daemon", "start")
	eventually(t, 30*time.Second, "the one that comes back knows that it was given up", func() bool { return second.state() == api.DaemonRemoved })
	second.do("cluster", "leave", "--force")
	second.join(first, a, b, "manage", "b")
	if got := fmt.Sprint(second.members()["b"].Store); got != "voter" {
		t.Errorf("b is %s", got)
	}
	eventually(t, 20*time.Second, "the two have met", func() bool { return first.members()["b"].State == api.MemberReady })
	first.do("down", "one", "-y")
}
