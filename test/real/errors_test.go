package real

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/component/componenttest"
)

// errorsPage is what a site serves, and what a download is compared with.
const errorsPage = "as it was meant\n"

// troubles are the parts of a machine that fail, each in its own way: as it is
// described first, as it is put right, and what is said of the failure.
var troubles = []struct {
	name, bad, good string
	operation       string
	cause           string
	output          string // of what it printed
	todo            string
}{
	{
		"tool", `Package { name "no-such-package-of-ours"; }`, `Package { name "sl"; }`, "deploy",
		"package no-such-package-of-ours is in none of the machine's package sources", "E: Unable to locate package", "check its spelling",
	},
	{
		"unpacked", `Archive { source "broken.tar.gz"; destination "/opt/unpacked"; }`, `Archive { source "whole.tar.gz"; destination "/opt/unpacked"; }`, "deploy",
		"broken.tar.gz: the archive is broken", "", "get it anew",
	},
	{
		"fetched", `Download { url LAZY ATTRIB box:site:uri; path "/srv/fetched"; digest "` + componenttest.Digest([]byte("another")) + `"; }`,
		`Download { url LAZY ATTRIB box:site:uri; path "/srv/fetched"; digest "` + componenttest.Digest([]byte(errorsPage)) + `"; }`, "deploy",
		"has digest " + componenttest.Digest([]byte(errorsPage)), "", "give the new digest",
	},
	{
		"conf", `ConfigFile { path "/etc/app.conf"; format "template"; template "listen {{.prot}}\n"; values extends DATA { port 80; } }`,
		`ConfigFile { path "/etc/app.conf"; format "template"; template "listen {{.port}}\n"; values extends DATA { port 80; } }`, "deploy",
		"line 1: values has no prot", "", "did you mean {{.port}}?",
	},
	{
		"slow", `Script { deployScript "echo half of it is there; sleep 1000"; sfDeployTimeout 3; }`, `Script { deployScript "true"; sfDeployTimeout 3; }`, "deploy",
		"deploy took longer than its limit of 3s", "half of it is there", "longer with sfDeployTimeout",
	},
	{
		"hangs", `Script { startScript "echo waiting for somebody; sleep 1000"; timeout 3; }`, `Script { startScript "true"; timeout 3; }`, "start",
		"startScript did not end within 3s", "waiting for somebody", "longer with timeout",
	},
	{
		"dies", `Process { command [| "sh", "-c", "echo the disk is on fire >&2; exit 3" |]; restart "never"; }`,
		`Process { command [| "sleep", "infinity" |]; restart "never"; }`, "start",
		"sh exited with status 3 before it was ready", "the disk is on fire", "next: aloft logs errors box:dies",
	},
	{
		"second", `Website { port 8000; pages extends DATA { "/" "2"; } }`, `Website { port 8001; pages extends DATA { "/" "2"; } }`, "start",
		"port 8000 on ", "", "choose another port",
	},
	{
		"clerk", `DatabaseUser { server extends DATA { host LAZY ATTRIB store:ip; rootPassword "wrong"; } name "clerk"; password "pw-of-clerk"; }`,
		`DatabaseUser { server extends DATA { host LAZY ATTRIB store:ip; rootPassword "root of all"; } name "clerk"; password "pw-of-clerk"; }`, "start",
		"refuses the login", "", "see that the password",
	},
}

// Each of what may go wrong on a machine stops its own branch alone, says where,
// why and what to do, with the last of what was printed, leaves nothing behind,
// and is done, and nothing else, once it is put right.
func TestErrorsStopTheirBranchAloneAndSayWhatToDo(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	const db = `db extends MariaDB { rootPassword "root of all"; sfTerminateTimeout 5; }`
	text := func(parts string) string {
		return `sfConfig extends {
			box extends VM {
				good extends Process { command [| "sleep", "infinity" |]; }
				site extends Website { port 8000; pages extends DATA { "/" "as it was meant\n"; } }
				` + parts + `
			}
			store extends VM { ` + db + ` }
		}`
	}
	file := h.write("errors", text(""))
	inside := func(machine, command string) string {
		t.Helper()
		return strings.TrimSpace(h.do("exec", "errors/"+machine, "--", "sh", "-c", command))
	}
	h.do("up", file, "-y")
	untouched := []string{"box:good", "box:site", "store:db"}
	pids := func() string {
		return inside("box", "pgrep -of '[w]ebsite serve'; pgrep -ox sleep") + " " + inside("store", "pgrep -x mariadbd")
	}
	before := pids()

	whole, err := os.ReadFile(examples(t, "toolbox/greeter.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"whole.tar.gz": whole, "broken.tar.gz": whole[:len(whole)/2]} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bad, good := "", ""
	for _, x := range troubles {
		bad += x.name + " extends " + x.bad + "\n"
		good += x.name + " extends " + x.good + "\n"
	}
	// What needs one of them waits for it.
	const needs = `reader extends File { path "/etc/reader"; content LAZY ATTRIB box:unpacked:workDir; }`
	h.write("errors", text(bad+needs))
	out, status := h.try("up", file, "-y")
	if status != 1 || !strings.Contains(out, "errors is degraded") {
		t.Errorf("up ended with %d\n%s", status, out)
	}
	st := h.status("errors")
	for _, x := range troubles {
		_, said, found := strings.Cut(out, "failed: box:"+x.name+", "+x.operation+" on errors/box\n")
		said, _, _ = strings.Cut(said, "\n\n")
		if !found {
			t.Errorf("up does not say that %s has failed", x.name)
		}
		for _, want := range []string{"cause: ", x.cause, x.output, x.todo, "aloft logs errors box:" + x.name} {
			if !strings.Contains(said, want) {
				t.Errorf("of %s is not said %q:\n%s", x.name, want, said)
			}
		}
		if c := component(t, st, "box:"+x.name); c.State != api.ComponentFailed || !strings.Contains(c.Reason, x.cause) {
			t.Errorf("%s is %s: %s", x.name, c.State, c.Reason)
		}
	}
	if n := strings.Count(out, "\nfailed: "); n != len(troubles) {
		t.Errorf("%d failures, want %d:\n%s", n, len(troubles), out)
	}
	if c := component(t, st, "box:reader"); c.State == api.ComponentRunning {
		t.Error("what needs a failed one runs")
	}
	for _, path := range untouched {
		if c := component(t, st, path); c.State != api.ComponentRunning {
			t.Errorf("%s is %s: %s", path, c.State, c.Reason)
		}
	}
	if now := pids(); now != before {
		t.Errorf("processes %s were started anew: %s", before, now)
	}
	if left := inside("box", "ls -d /opt/unpacked /srv/fetched* /etc/app.conf* /etc/reader 2>/dev/null; pgrep -fx 'sleep 1000'; true"); left != "" {
		t.Errorf("left of what failed: %s", left)
	}

	// Put right, they are done, and nothing else is.
	h.write("errors", text(good+needs))
	h.do("up", file, "-y")
	if st := h.status("errors"); st.State != api.SystemRunning {
		t.Errorf("put right, the system is %s", st.State)
	}
	if got := inside("box", "cat /srv/fetched /etc/app.conf; ls /opt/unpacked"); got != errorsPage+"listen 80\ngreeter-1.0" {
		t.Errorf("put right, there is %q", got)
	}
	if now := pids(); now != before {
		t.Errorf("processes %s were started anew: %s", before, now)
	}

	// What a schema does not allow is refused with its place, before anything is
	// touched.
	h.write("errors", strings.Replace(text(good+needs), "port 8001", `port "eight"`, 1))
	out, status = h.try("up", file, "-y")
	for _, want := range []string{"errors.sf:", "port", "integer", `"eight"`} {
		if status != 1 || !strings.Contains(out, want) {
			t.Errorf("up ended with %d, and does not say %q:\n%s", status, want, out)
		}
	}
	if out := h.do("up", h.write("errors", text(good+needs)), "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("after a description that was refused:\n%s", out)
	}

	// A database that does not stop is ended at its limit; what it has
	// acknowledged is there for the next.
	const client = "mariadb -N -S /run/mysqld/aloft-*.sock -e "
	inside("store", client+`"CREATE DATABASE shop; CREATE TABLE shop.t (n INT); INSERT INTO shop.t VALUES (42)"`)
	inside("store", "setsid sh -c 'while :; do pkill -STOP -x mariadbd; sleep 0.01; done' >/dev/null 2>&1 </dev/null & sleep 0.3")
	begun := time.Now()
	h.write("errors", strings.Replace(strings.Replace(text(good+needs), db, "", 1), "clerk extends ", "clerk extends DATA ", 1))
	h.do("up", file, "-y")
	if took := time.Since(begun); took < 4*time.Second || took > 30*time.Second {
		t.Errorf("a database that does not stop held up its end for %s", took)
	}
	if left := inside("store", "pkill -f '[p]kill -STOP'; pgrep -a mariadbd; true"); left != "" {
		t.Errorf("it goes on: %s", left)
	}
	h.write("errors", text(good+needs))
	h.do("up", file, "-y")
	if got := inside("store", client+`"SELECT n FROM shop.t"`); got != "42" {
		t.Errorf("what was written before is %q", got)
	}
	if now := pids(); strings.Fields(now)[0] != strings.Fields(before)[0] || strings.Fields(now)[1] != strings.Fields(before)[1] {
		t.Errorf("processes %s were started anew: %s", before, now)
	}

	// A plan says where the data are that it would destroy, and how much.
	h.write("errors", `sfConfig extends { box extends VM; }`)
	if out, _ := h.try("plan", file); !regexp.MustCompile(`! data store:db  /var/lib/aloft-errors-store-db-\w+ on errors/store  [0-9.]+ MB`).MatchString(out) {
		t.Errorf("the plan says of the data:\n%s", out)
	}
	h.do("down", "errors", "-y")
}
