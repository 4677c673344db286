package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aloft/component/componenttest"
)

// The small components, on real machines: made, changed, repaired, and gone.
func TestToolboxIsMadeChangedAndLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("up", examples(t, "toolbox.sf"), "-y")
	inside := func(command string) string {
		t.Helper()
		return strings.TrimSpace(h.do("exec", "toolbox/box", "--", "sh", "-c", command))
	}
	for command, want := range map[string]string{
		"getent hosts depot | tr -s ' ' | cut -d' ' -f2-":          "depot.internal depot",
		"cat /proc/sys/net/core/somaxconn":                         "1024",
		"cd /opt/greeter && find . -type f":                        "./bin/greet",
		"stat -c %U /proc/$(pgrep -f greeter/bin/greet | head -1)": "greeter",
	} {
		if got := inside(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	if got := strings.TrimSpace(h.do("exec", "toolbox/reader", "--", "cat", "/etc/box-kernel")); got != "Linux" {
		t.Errorf("the other machine has read %q", got)
	}
	if out := h.do("up", examples(t, "toolbox.sf"), "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up again said\n%s", out)
	}

	// One setting is changed, one component goes, one that fetches a file comes,
	// and nothing else is touched.
	text, err := os.ReadFile(examples(t, "toolbox.sf"))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(`"net.core.somaxconn" 1024`, `"net.core.somaxconn" 2048`,
		`"toolbox/greeter.tar.gz"`, `"`+filepath.Join(filepath.Dir(examples(t, "toolbox.sf")), "toolbox/greeter.tar.gz")+`"`,
		"open extends TCPCheck { host LAZY depot:ip; port LAZY depot:files:port; }",
		`motto extends Download { url "`+strings.TrimSpace(h.do("get", "toolbox", "depot:files:uri"))+`"; path "/etc/motto"; digest "`+componenttest.Digest([]byte("Per aspera ad astra.\n"))+`"; }`,
	).Replace(string(text))
	pid := inside("pgrep -f greeter/bin/greet | head -1")
	h.do("up", h.write("toolbox", changed), "-y")
	if got := inside("cat /proc/sys/net/core/somaxconn"); got != "2048" {
		t.Errorf("the setting is %s", got)
	}
	if got := inside("pgrep -f greeter/bin/greet | head -1"); got != pid {
		t.Errorf("the program was restarted: %s, then %s", pid, got)
	}
	if got := inside("cat /etc/motto"); got != "Per aspera ad astra." {
		t.Errorf("the file that was fetched says %q", got)
	}
	id := h.id()
	h.do("down", "toolbox", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
