package real

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// exchanged describes machines with a process and a file that is sent along.
func exchanged(machines int) string {
	var b strings.Builder
	b.WriteString("sfConfig extends {\n")
	for i := range machines {
		fmt.Fprintf(&b, `  m%d extends VM {
    p extends Process { command [| "sleep", "infinity" |]; }
    sent extends File { path "/var/tmp/sent"; source "sent.txt"; }
  }
`, i+1)
	}
	b.WriteString("}\n")
	return b.String()
}

// content is the content that a manager holds, by digest, without some.
func content(t *testing.T, n *node, without map[string]bool) map[string]bool {
	t.Helper()
	holds := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(n.dir, "blobs"), func(file string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !without[e.Name()] {
			holds[e.Name()] = true
		}
		return err
	})
	if err != nil || without == nil && len(holds) == 0 {
		t.Fatalf("content of %s: %v, %v", n.name, holds, err)
	}
	return holds
}

// All managers are exchanged while a host and its machine are cut off, with an
// update under way that waits for these. The new one comes to them, they believe
// its list for its signature, and it goes on with the update and what follows: it
// has all that the old one kept, also the file that came with the description.
func TestAMachineLearnsManagersThatAllCameWhileItWasCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	l := newLAN(t)
	old, host, next := l.node("old", 1, false), l.node("host", 2, false), l.node("new", 3, false)
	t.Cleanup(func() { endNodes(t, host, []*node{old, next}, func() {}) })
	at := func(n *node) string { return n.address + ":7400" }
	describe := func(n *node, description, sent string) string {
		file := n.write("one", description)
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), "sent.txt"), []byte(sent), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	reached := func(want bool) func() bool {
		return func() bool {
			var st api.DaemonStatus
			out, err := host.command("daemon", "status", "-o", "json").Output()
			return err == nil && jsonOf(out, &st) && st.Quorum == want
		}
	}
	old.do("cluster", "init", "--listen", at(old), "--name", "old", "--role", "manage")
	host.join(old.home, at(old), at(host), "host", "host")
	old.do("up", describe(old, exchanged(1), "first"), "-y")
	pid := old.do("get", "one", "m1:p:pid")

	host.cut(true)
	eventually(t, 30*time.Second, "the host has noticed it", reached(false))
	update := old.command("up", describe(old, exchanged(1), "second"), "-y")
	if err := update.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the update is under way", func() bool {
		var st api.Status
		out, err := old.command("status", "one", "-o", "json").Output()
		return err == nil && jsonOf(out, &st) && st.State == api.SystemUpdating
	})
	_ = update.Process.Kill() // ends the watching alone
	_ = update.Wait()
	next.join(old.home, at(old), at(next), "manage", "new")
	if missing := content(t, old, content(t, next, nil)); len(missing) > 0 {
		t.Errorf("the new manager votes and does not hold %v", missing)
	}
	next.do("cluster", "remove", "old") // at once: all that it holds is taken over first
	old.cut(true)
	host.cut(false)
	begin := time.Now()
	eventually(t, 60*time.Second, "the host has found the manager that came", reached(true))
	next.answers("one/m1", "grep", "second", "/var/tmp/sent")
	t.Logf("the update has gone on %.1f s after the cable was in again", time.Since(begin).Seconds())
	eventually(t, 30*time.Second, "nothing is to be done any more", func() bool {
		_, status := next.try("plan", describe(next, exchanged(1), "second"))
		return status == 0
	})
	next.do("up", describe(next, exchanged(2), "second"), "-y")
	next.answers("one/m2", "grep", "second", "/var/tmp/sent")
	if now := next.do("get", "one", "m1:p:pid"); now != pid {
		t.Errorf("process %s was restarted as %s", pid, now)
	}
	next.do("down", "one", "-y")
}

// answers waits until a machine answers a manager and the command succeeds there.
func (n *node) answers(machine string, command ...string) {
	n.t.Helper()
	var said string
	defer func() {
		if n.t.Failed() {
			n.t.Logf("at the end, %s says\n%s", machine, said)
		}
	}()
	eventually(n.t, 60*time.Second, machine+" answers", func() (ok bool) {
		out, status := n.try(append([]string{"exec", machine, "--"}, command...)...)
		said = out
		return status == 0
	})
}
