package real

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

// destroy ends a home's daemon as a crash would, and deletes its folder. What
// the home's end would do has nothing left to do.
func (h *home) destroy() {
	h.t.Helper()
	kill(h.t, h.pid())
	if err := os.RemoveAll(h.dir); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Mkdir(h.dir, 0o700); err != nil { // another home by now, and never used
		h.t.Fatal(err)
	}
}

// One manager becomes five, and one again, under a system that is changed in
// between.
func TestFiveManagersAndBackUnderARunningSystem(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	at := func(i int) string { return "127.0.84." + string(rune('1'+i)) + ":7400" }
	names := []string{"a", "b", "c", "d", "e"}
	homes := []*home{newHome(t)}
	first := homes[0]
	first.do("cluster", "init", "--listen", at(0), "--name", "a")
	first.do("up", first.write("one", sleepers(1)), "-y")
	pid := first.do("get", "one", "m1:p:pid")
	for i := 1; i < 5; i++ {
		h := newHome(t)
		h.join(homes[i-1], at(i-1), at(i), "manage", names[i])
		homes = append(homes, h)
		if i == 2 {
			h.do("up", h.write("one", sleepers(2)), "-y")
		}
	}
	voters := 0
	for _, m := range homes[4].members() {
		if m.Store == "voter" || m.Store == "leader" {
			voters++
		}
	}
	if voters != 5 {
		t.Errorf("%d of 5 managers vote", voters)
	}
	homes[4].do("up", homes[4].write("one", sleepers(3)), "-y")
	for i := 4; i > 0; i-- {
		out := homes[i-1].do("cluster", "remove", names[i])
		if even := i%2 == 0; even != strings.Contains(out, "an odd number is better") {
			t.Errorf("%d managers left: %s", i, out)
		}
		if i == 3 {
			homes[1].do("up", homes[1].write("one", sleepers(2)), "-y")
		}
	}
	if now := first.do("get", "one", "m1:p:pid"); now != pid {
		t.Errorf("process %s was restarted as %s", pid, now)
	}
	if m, s := processes(t, first.id()); m != 2 || s != 2 {
		t.Errorf("%d machines and %d processes, want 2 of each", m, s)
	}
}

// No manager is the keeper of keys or files: the first dies with its folder,
// and the others enrol machines, deliver secrets, serve packages, and seal the
// secrets anew for themselves.
func TestTheFirstManagerIsDestroyedForGood(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.85.1:7400", "127.0.85.2:7400", "127.0.85.3:7400"
	first, second, third := newHome(t), newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a", "--role", "manage")
	second.join(first, a, b, "manage", "b")
	token := strings.TrimSpace(first.do("cluster", "token", "--role", "manage", "-o", "name"))
	third.do("join", a, "--token", token, "--listen", c, "--name", "c") // to manage, and a host
	first.set("shop/db", password)
	first.destroy()

	third.do("up", third.write("vault", vault), "-y") // a machine is enrolled, a secret delivered
	if len(second.holding("password="+password))+len(third.holding("password="+password)) == 0 {
		t.Error("the secret that was set at the manager that is gone was not delivered")
	}
	second.do("cluster", "remove", "a")
	if n := len(third.members()); n != 2 {
		t.Errorf("%d members are left, want 2", n)
	}
	const later = "set after its removal"
	third.set("shop/db", later)
	second.do("up", second.write("vault", vault), "-y")
	if len(second.holding("password="+later))+len(third.holding("password="+later)) == 0 {
		t.Error("a secret that was set since was not delivered")
	}
	fourth := newHome(t)
	fourth.join(second, b, "127.0.85.4:7400", "manage", "d")
	if n := len(fourth.members()); n != 3 {
		t.Errorf("%d members, want 3", n)
	}
	third.do("down", "vault", "-y")
}

// A member that was removed says so, and does nothing; a host that is none any
// more is told before its sessions end.
func TestARemovedMemberSaysSoAndDoesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.86.1:7400", "127.0.86.2:7400", "127.0.86.3:7400"
	first, second, third := newHome(t), newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a")
	second.join(first, a, b, "manage", "b")
	third.join(first, a, c, "host", "c")
	if out, status := third.try("doctor"); !strings.Contains(out, "light machines") {
		t.Errorf("doctor on a host: exit %d\n%s", status, out)
	}
	if out, status := third.try("systems"); status != 0 || !strings.Contains(out, "no systems") {
		t.Errorf("the command line of a host does not look at the cluster: exit %d\n%s", status, out)
	}
	if out, status := third.try("cluster", "token", "--role", "host"); status != 1 || !strings.Contains(out, "viewer") || !strings.Contains(out, "operator") {
		t.Errorf("the command line of a host changes the cluster: exit %d\n%s", status, out)
	}
	for name, h := range map[string]*home{"b": second, "c": third} {
		first.do("cluster", "remove", name)
		eventually(t, 20*time.Second, name+" says that it was removed", func() bool {
			var st api.DaemonStatus
			out, err := h.command("daemon", "status", "-o", "json").Output()
			return err == nil && jsonOf(out, &st) && st.State == api.DaemonRemoved
		})
		if out, status := h.try("systems"); status != 1 || !strings.Contains(out, "removed") {
			t.Errorf("systems at %s: exit %d\n%s", name, status, out)
		}
	}
}

// Two removals at the same moment cannot both count on the other's manager.
func TestTwoRemovalsAtOnceLeaveAMajority(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b, c = "127.0.87.1:7400", "127.0.87.2:7400", "127.0.87.3:7400"
	first, second, third := newHome(t), newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a")
	second.join(first, a, b, "manage", "b")
	third.join(first, a, c, "manage", "c")
	// With c dead, b may not be removed while c counts.
	kill(t, third.pid())
	if out, status := first.try("cluster", "remove", "b"); status != 1 || !strings.Contains(out, "no majority") {
		t.Errorf("a removal that breaks the majority: exit %d\n%s", status, out)
	}
	one, other := first.command("cluster", "remove", "c"), second.command("cluster", "remove", "c")
	if err := one.Start(); err != nil {
		t.Fatal(err)
	}
	out, err := other.CombinedOutput()
	first1 := one.Wait()
	if err != nil && first1 != nil {
		t.Errorf("neither removed it: %v, %v\n%s", first1, err, out)
	}
	if all := second.members(); len(all) != 2 {
		t.Errorf("members: %v", all)
	}
	// The one that is left takes changes.
	first.do("cluster", "remove", "b")
	first.do("up", first.write("one", sleepers(1)), "-y")
}

// cut starts a join and kills whom it names after a while.
func (h *home) cut(after time.Duration, victim func() int, args ...string) {
	h.t.Helper()
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = nil, nil
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	time.Sleep(after)
	if pid := victim(); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = syscall.Kill(cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
}

// daemonPID returns the process of h's daemon, or 0.
func (h *home) daemonPID() int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		args, _ := os.ReadFile(dir + "/cmdline")
		if strings.Contains(string(args), "--home\x00"+h.dir+"\x00daemon") {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid
		}
	}
	return 0
}

// A join that is cut at any moment, on either side, may be given again, with
// the same token; it leaves one member, and a store of voters.
func TestAJoinThatIsCutIsGivenAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b = "127.0.88.1:7400", "127.0.88.2:7400"
	first, second := newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a")
	token := strings.TrimSpace(first.do("cluster", "token", "--role", "manage", "-o", "name"))
	join := []string{"join", a, "--role", "manage", "--token", token, "--listen", b, "--name", "b"}
	for i := range 10 {
		victim := second.daemonPID
		if i%3 == 2 {
			victim = first.daemonPID
		}
		second.cut(time.Duration(60+70*i)*time.Millisecond, victim, join...)
		first.do("daemon", "start")
	}
	second.do(join...)
	second.do(join...) // and again, when it is through
	eventually(t, 20*time.Second, "both are there, and vote", func() bool {
		all := second.members()
		for _, m := range all {
			if m.State != api.MemberReady || m.Store != "voter" && m.Store != "leader" {
				return false
			}
		}
		return len(all) == 2
	})
	other := newHome(t)
	if out, status := other.try("join", a, "--role", "manage", "--token", token, "--listen", "127.0.88.3:7400"); status != 1 || !strings.Contains(out, "used") {
		t.Errorf("another joined with the same token: exit %d\n%s", status, out)
	}
	first.do("cluster", "remove", "b")
}

// A join that is cut and never given again is swept away once its token has
// expired: no member, no learner is left of it.
func TestAJoinThatIsNeverGivenAgainIsSwept(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const a, b = "127.0.89.1:7400", "127.0.89.2:7400"
	first, second := newHome(t), newHome(t)
	first.do("cluster", "init", "--listen", a, "--name", "a")
	token := strings.TrimSpace(first.do("cluster", "token", "--role", "manage", "--ttl", "5s", "-o", "name"))
	blocked := filepath.Join(second.dir, "daemon.log")
	if err := os.Mkdir(blocked, 0o700); err != nil { // its daemon cannot start: the join ends when it was let in
		t.Fatal(err)
	}
	if out, status := second.try("join", a, "--role", "manage", "--token", token, "--listen", b, "--name", "b"); status == 0 {
		t.Fatalf("joined: %s", out)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	if state := first.members()["b"].State; state != api.MemberJoining {
		t.Fatalf("it is %q", state)
	}
	eventually(t, 40*time.Second, "it is swept", func() bool { return len(first.members()) == 1 })
	if out, status := first.try("cluster", "remove", "a"); status != 1 || !strings.Contains(out, "last manager") {
		t.Errorf("exit %d: %s", status, out)
	}
	// The name and the address are free again.
	third := newHome(t)
	third.join(first, a, b, "manage", "b")
	first.do("cluster", "remove", "b")
}
