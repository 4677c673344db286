package real

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

func jsonOf(text []byte, into any) bool { return json.Unmarshal(text, into) == nil }

func TestChangedDescriptionMovesOnlyTheDifference(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	const site = `site extends Website { pages extends DATA { "/" "PAGE"; } }`
	file := h.write("shop", `sfConfig extends { a extends VM { `+site+` } b extends VM { p extends Process { command [| "sleep", "infinity" |]; } } }`)
	h.do("up", file, "-y")
	pid := h.do("get", "shop", "b:p:pid")
	machine := h.do("get", "shop", "a:id")
	h.write("shop", `sfConfig extends {
		a extends VM { `+strings.Replace(site, "PAGE", "new", 1)+` }
		b extends VM { p extends Process { command [| "sleep", "infinity" |]; } }
		c extends VM { `+site+` }
	}`)
	out, status := h.try("plan", file)
	if status != 2 || !strings.Contains(out, "~ a:site") || !strings.Contains(out, "+ c") || strings.Contains(out, "b:p") {
		t.Errorf("plan: exit %d\n%s", status, out)
	}
	h.do("up", file, "-y")
	if page := get(t, strings.TrimSpace(h.do("get", "shop", "a:site:uri"))); page != "new" {
		t.Errorf("the changed page is %q", page)
	}
	if page := get(t, strings.TrimSpace(h.do("get", "shop", "c:site:uri"))); page != "PAGE" {
		t.Errorf("the added page is %q", page)
	}
	if now := h.do("get", "shop", "b:p:pid"); now != pid {
		t.Errorf("an unchanged process was restarted")
	}
	if now := h.do("get", "shop", "a:id"); now != machine {
		t.Errorf("a machine was replaced")
	}
	h.write("shop", `sfConfig extends { b extends VM { p extends Process { command [| "sleep", "infinity" |]; } } }`)
	h.do("up", file, "-y")
	if m, _ := processes(t, h.id()); m != 1 {
		t.Errorf("%d machines are left, want 1", m)
	}
}

func TestFailureIsToldAndOnlyWhatIsMissingIsDoneNext(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	text := `sfConfig extends { m extends VM {
		good extends Process { command [| "sleep", "infinity" |]; }
		bad extends Process { command [| "sh", "-c", "echo the disk is on fire >&2; test -e /tmp/fixed || exit 3; sleep 1000" |]; restart "never"; }
	} }`
	file := h.write("mixed", text)
	out, status := h.try("up", file, "-y")
	for _, want := range []string{"m:bad", "mixed/m", "the disk is on fire", "aloft up"} {
		if !strings.Contains(out, want) {
			t.Errorf("up does not say %q:\n%s", want, out)
		}
	}
	if status != 1 {
		t.Errorf("exit %d", status)
	}
	st := h.status("mixed")
	if st.State != api.SystemDegraded || component(t, st, "m:good").State != api.ComponentRunning || component(t, st, "m:bad").State != api.ComponentFailed {
		t.Errorf("status %+v", st)
	}
	pid := h.do("get", "mixed", "m:good:pid")
	h.do("exec", "mixed/m", "--", "touch", "/tmp/fixed")
	out = h.do("up", file, "-y")
	if strings.Contains(out, "m:good") && !strings.Contains(out, "COMPONENT") {
		t.Errorf("more than the missing was done:\n%s", out)
	}
	if now := h.do("get", "mixed", "m:good:pid"); now != pid {
		t.Error("a running component was restarted")
	}
	if st := h.status("mixed"); st.State != api.SystemRunning {
		t.Errorf("the system is %s", st.State)
	}
}

func TestPortInUseNamesItsHolder(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	file := h.write("ports", `sfConfig extends { m extends VM {
		one extends Website { pages extends DATA { "/" "1"; } }
		two extends Website { two LAZY PARENT:one:uri; pages extends DATA { "/" "2"; } }
	} }`)
	out, status := h.try("up", file, "-y")
	if status != 1 || !strings.Contains(out, "8080") || !strings.Contains(out, "in use") {
		t.Errorf("exit %d\n%s", status, out)
	}
}

func TestUnknownComponentStopsBeforeAnythingIsMade(t *testing.T) {
	h := newHome(t)
	out, status := h.try("up", h.write("odd", `sfConfig extends { m extends VM { x extends { sfClass "Webiste"; } } }`), "-y")
	if status != 1 || !strings.Contains(out, "PLN101") || !strings.Contains(out, "did you mean Website?") {
		t.Errorf("exit %d\n%s", status, out)
	}
	if m, _ := processes(t, h.id()); m != 0 {
		t.Errorf("%d machines were made", m)
	}
}

func TestWrongDescriptionStartsNoDaemon(t *testing.T) {
	h := newHome(t)
	out, status := h.try("up", h.write("wrong", `sfConfig extends { m extends VMM; n extends { a b; } }`), "-y")
	if status != 1 || !strings.Contains(out, "SDL401") {
		t.Errorf("exit %d\n%s", status, out)
	}
	if _, err := os.Stat(h.dir + "/home-id"); err == nil {
		t.Error("a daemon was started")
	}
}

func TestCtrlCLeavesTheDeploymentGoing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	file := h.write("slow", `sfConfig extends { m extends VM { p extends Process { command [| "sleep", "infinity" |]; readyCommand [| "sleep", "2" |]; } } }`)
	up := h.command("up", file, "-y")
	var out strings.Builder
	up.Stdout, up.Stderr = &out, &out
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the deployment is under way", func() bool {
		text, status := h.try("systems", "-o", "name")
		return status == 0 && strings.Contains(text, "slow")
	})
	if out, status := h.try("up", h.write("slow", `sfConfig extends { m extends VM; }`), "--name", "slow", "-y"); status != 1 || !strings.Contains(out, "revision 1") {
		t.Errorf("another description was not refused: exit %d\n%s", status, out)
	}
	if err := up.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err := up.Wait()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 130 {
		t.Errorf("up ended with %v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "aloft") {
		t.Errorf("up does not say how to follow:\n%s", out.String())
	}
	eventually(t, 20*time.Second, "the system runs", func() bool { return h.status("slow").State == api.SystemRunning })
}

func TestTwoHomesDoNotTouchEachOther(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	a, b := newHome(t), newHome(t)
	a.do("up", a.write("same", sleepers(1)), "-y")
	b.do("up", b.write("same", sleepers(1)), "-y")
	if a.address("same", "m1") == b.address("same", "m1") {
		t.Errorf("both machines have the address %s", a.address("same", "m1"))
	}
	a.do("down", "same", "-y")
	a.do("daemon", "stop")
	if out := b.do("exec", "same/m1", "--", "true"); out != "" {
		t.Error(out)
	}
}

func TestPackageThatCannotBeHadSaysWhyAndStopsOnlyItsBranch(t *testing.T) {
	if testing.Short() {
		t.Skip("asks the package sources")
	}
	h := newHome(t)
	file := h.write("packages", `sfConfig extends {
		a extends VM { p extends Package { name "no-such-package-of-ours"; } q extends Process { command [| "sleep", "infinity" |]; } }
		b extends VM { p extends Package { name "tree"; proxy "http://127.0.0.1:9"; } }
	}`)
	out, status := h.try("up", file, "-y")
	if status != 1 {
		t.Errorf("exit %d", status)
	}
	for _, want := range []string{
		"package no-such-package-of-ours is in none of the machine's package sources", "check its spelling",
		"127.0.0.1:9 cannot be reached", "check the machine's network",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("up does not say %q:\n%s", want, out)
		}
	}
	if q := component(t, h.status("packages"), "a:q"); q.State != api.ComponentRunning {
		t.Errorf("what does not depend on the failure is %s", q.State)
	}
}

func TestLC3DownIsHeldUntilTheDeploymentIsAtRest(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	file := h.write("slow", `sfConfig extends { m extends VM { p extends Process { command [| "sleep", "infinity" |]; readyCommand [| "sleep", "2" |]; } } }`)
	up := h.command("up", file, "-y")
	var out strings.Builder
	up.Stdout, up.Stderr = &out, &out
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the deployment is under way", func() bool {
		text, status := h.try("systems", "-o", "name")
		return status == 0 && strings.Contains(text, "slow")
	})
	if said := h.do("down", "slow", "-y"); !strings.Contains(said, "held until it ends") || !strings.Contains(said, "--now") {
		t.Errorf("down said\n%s", said)
	}
	if err := up.Wait(); err != nil {
		t.Errorf("the deployment was disturbed: %v\n%s", err, out.String())
	}
	if m, _ := processes(t, h.id()); m != 0 {
		t.Errorf("%d machines are left", m)
	}
}
