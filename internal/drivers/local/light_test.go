package local

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/light"
	"aloft/provider"
)

func TestLightMachineRunsItsDaemon(t *testing.T) {
	w := newWorld(t, Light)
	r := w.create("db")
	a := w.ask(r)
	if a.Parent != 1 {
		t.Errorf("daemon is a child of %d, want process 1", a.Parent)
	}
	if a.Host != "db" || a.Machine != r.Ref || a.UserData != "token-db" {
		t.Errorf("machine says %+v", a)
	}
	if got, err := w.d.Get(t.Context(), w.account, r.Ref); err != nil || got.State != provider.Running {
		t.Errorf("Get = %+v, %v; want it running", got, err)
	}
}

func TestLightMachinesReachEachOtherAndTheHost(t *testing.T) {
	w := newWorld(t, Light)
	a, b := w.create("a"), w.create("b")
	w.ask(b)
	python := func(address, port string) string {
		return fmt.Sprintf(`bash -c 'exec 3<>/dev/tcp/%s/%s && echo tell >&3 && cat <&3'`, address, port)
	}
	if out := w.run(a, python(b.Address, port)); !strings.Contains(out, b.Ref) {
		t.Errorf("from a to b: %q", out)
	}
	gateway, prefix, err := w.d.Network(t.Context(), Light)
	if err != nil {
		t.Fatal(err)
	}
	if !prefix.Contains(gateway) {
		t.Errorf("gateway %s outside %s", gateway, prefix)
	}
	host := w.listen(gateway.String())
	_, hostPort, _ := strings.Cut(host, ":")
	if out := w.run(a, python(gateway.String(), hostPort)); out != "hello from the host" {
		t.Errorf("from a to the host: %q", out)
	}
}

func TestFortyMachinesAtOnce(t *testing.T) {
	w := newWorld(t, Light)
	var g errgroup.Group
	made := make([]provider.Resource, 40)
	for i := range made {
		g.Go(func() (err error) {
			made[i], err = w.d.Create(t.Context(), w.account, w.request(fmt.Sprint("m", i)))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	addresses := map[string]bool{}
	for _, r := range made {
		addresses[r.Address] = true
		if a := w.ask(r); a.Machine != r.Ref {
			t.Errorf("at %s answers %s, want %s", r.Address, a.Machine, r.Ref)
		}
	}
	if len(addresses) != len(made) {
		t.Errorf("%d addresses for %d machines", len(addresses), len(made))
	}
	if left, err := w.d.Residue(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestMachinesOfSeveralBridgesReachEachOther(t *testing.T) {
	w := newWorld(t, Light)
	w.d.ports = 1
	a, b, c := w.create("a"), w.create("b"), w.create("c")
	for _, to := range []provider.Resource{b, c} {
		w.ask(to)
		if out := w.run(a, fmt.Sprintf(`bash -c 'exec 3<>/dev/tcp/%s/%s && echo tell >&3 && cat <&3'`, to.Address, port)); !strings.Contains(out, to.Ref) {
			t.Errorf("from a to %s: %q", to.Name, out)
		}
	}
	if links := w.tracesOf("link"); len(links) != 3+3+4 { // machines, bridges, both ends of what joins these
		t.Errorf("links: %q", links)
	}
}

func TestLightMachineSeesNothingPrivateOfTheHost(t *testing.T) {
	w := newWorld(t, Light)
	secret := filepath.Join("/var/tmp", "aloft-test-secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(secret)
	other, err := os.MkdirTemp("/opt", "aloft-test-") // a home where nothing is masked
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(other)
	if err := os.WriteFile(filepath.Join(other, "key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := w.config
	config.Home, config.ID = other, newID()
	d, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	r := w.create("m")
	// What is empty or absent is left out of the list: what it prints was seen.
	for _, dir := range append([]string{other, w.config.Home}, light.Masked...) {
		out := w.run(r, "find "+dir+" -mindepth 1 -type f 2>/dev/null")
		for path := range strings.FieldsSeq(out) {
			if strings.HasPrefix(path, light.StatePath+"/") || strings.HasPrefix(path, filepath.Dir(light.LogPath)+"/") {
				continue // its own
			}
			t.Errorf("machine sees %s", path)
		}
	}
	if out := w.run(r, "ls /etc/ssh/ssh_host_* /etc/shadow- 2>/dev/null"); out != "" {
		t.Errorf("machine sees %q", out)
	}
	if out := w.run(r, "cut -d: -f2 /etc/shadow | sort -u"); out != "*" {
		t.Errorf("passwords in the machine: %q", out)
	}
	if out := w.run(r, "id -u; stat -c %a /tmp; stat -c %a /root; stat -c %a /run/lock"); out != "0\n1777\n700\n1777" {
		t.Errorf("modes: %q", out)
	}
}

func TestLightMachineHasAnIdentityOfItsOwn(t *testing.T) {
	w := newWorld(t, Light)
	r := w.create("web-app1")
	host, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		t.Fatal(err)
	}
	id := w.run(r, "cat /etc/machine-id")
	if id == strings.TrimSpace(string(host)) || id != strings.ReplaceAll(r.Ref, "-", "") {
		t.Errorf("machine id %q", id)
	}
	tests := map[string]string{
		"hostname":                      "web-app1",
		"grep SigIgn /proc/self/status": "SigIgn:\t0000000000000000",
		"cat /etc/hostname":             "web-app1",
		"getent hosts web-app1":         fmt.Sprintf("%-15s web-app1", r.Address),
		"cat /proc/1/comm >/dev/null":   "",
		"ls /dev/pts/ptmx /dev/shm -d /dev/null && echo x >/dev/null && test -w /dev/shm && echo fine":                    "/dev/null\n/dev/pts/ptmx\n/dev/shm\nfine",
		"echo 1 2>/dev/null >/proc/sys/kernel/sysrq || echo refused":                                                      "refused",
		"/usr/sbin/policy-rc.d; echo $?":                                                                                  "101",
		"apt-config shell p Acquire::http::Proxy":                                                                         fmt.Sprintf("p='http://%s:3142'", gateway(t, w)),
		"cat /etc/dpkg/dpkg.cfg.d/aloft":                                                                                  "force-unsafe-io",
		"ls -A /sys/class/net | sort | xargs":                                                                             "eth0 lo",
		"touch /usr/lib/aloft/aloft 2>/dev/null || echo refused":                                                          "refused",
		"stat -c %a /var/lib/aloft /var/lib/aloft/userdata.json | xargs":                                                  "700 600",
		"for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done | grep -c -- \"--home-id " + w.config.ID + "\" | xargs": "1",
	}
	for command, want := range tests {
		if got := w.run(r, command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}

func gateway(t *testing.T, w *world) string {
	t.Helper()
	g, _, err := w.d.Network(t.Context(), Light)
	if err != nil {
		t.Fatal(err)
	}
	return g.String()
}

func TestWritesInsideLeaveTheHostAsItWas(t *testing.T) {
	w := newWorld(t, Light)
	before := fingerprint(t, "/etc/hostname", "/etc/passwd", "/usr/bin/env", "/etc/apt", "/usr/sbin", "/var/lib")
	r := w.create("m")
	out := w.run(r, "echo changed >/etc/hostname; echo x >>/etc/passwd; rm /usr/bin/env; rm -r /etc/apt; "+
		"touch /var/lib/made-inside /made-inside; chmod 700 /usr/sbin; hostname changed; echo done")
	if out != "done" {
		t.Fatalf("writing: %q", out)
	}
	if got := w.run(r, "ls /usr/bin/env /etc/apt 2>/dev/null; ls /made-inside; hostname"); got != "/made-inside\nchanged" {
		t.Errorf("inside: %q", got)
	}
	after := fingerprint(t, "/etc/hostname", "/etc/passwd", "/usr/bin/env", "/etc/apt", "/usr/sbin", "/var/lib")
	if before != after {
		t.Errorf("host before:\n%safter:\n%s", before, after)
	}
	if _, err := os.Lstat("/made-inside"); err == nil {
		t.Error("the host has /made-inside")
	}
	if name, _ := os.Hostname(); name == "changed" {
		t.Error("the host's name changed")
	}
}

// fingerprint tells what writing to paths would change.
func fingerprint(t *testing.T, paths ...string) string {
	t.Helper()
	var b strings.Builder
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, p, st.Mode, st.Size, st.Mtim, st.Ino, st.Nlink)
	}
	return b.String()
}

func TestFileSystemsInTheRootAreStackedToo(t *testing.T) {
	w := newWorld(t, Light)
	w.config.Form = Light
	req := w.request("m")
	config, err := json.Marshal(w.config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	// A managing daemon on a host whose /opt is a file system of its own; only
	// that daemon, and so its machine, sees it.
	script := `mount -t tmpfs none /opt && echo host >/opt/file && "$@" && cat /opt/file`
	host := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", w.config.Binary, "manager", string(config), "create", string(request), "0")
	out, err := host.CombinedOutput()
	if err != nil || string(out) != "host\n" {
		t.Fatalf("%v: %s", err, out)
	}
	w.open()
	r, err := w.d.Create(t.Context(), w.account, req)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.run(r, "cat /opt/file; echo machine >/opt/file; cat /opt/file"); got != "host\nmachine" {
		t.Errorf("in the machine: %q", got)
	}
}

func TestKilledDaemonComesBackAndItsComponentLives(t *testing.T) {
	for _, form := range []Form{Light, Process} {
		t.Run(string(form), func(t *testing.T) {
			w := newWorld(t, form)
			r := w.create("m")
			first := w.ask(r)
			w.killDaemon(r)
			w.killDaemon(r)
			second := w.ask(r)
			if second.PID == first.PID || second.Parent != first.Parent {
				t.Errorf("after the kill %+v, before %+v", second, first)
			}
			// The component fell to the keeper.
			command := fmt.Sprintf("cut -d' ' -f4 /proc/%d/stat", first.Component)
			if got := w.run(r, command); got != fmt.Sprint(first.Parent) {
				t.Errorf("component's parent is %q, want %d", got, first.Parent)
			}
		})
	}
}

func TestStoppedMachineBootsWithTheDiskItHas(t *testing.T) {
	for _, form := range []Form{Light, Process} {
		t.Run(string(form), func(t *testing.T) {
			w := newWorld(t, form)
			r := w.create("m")
			w.run(r, "echo kept >$ALOFT_HOME/file")
			if err := w.d.Operate(t.Context(), w.account, r.Ref, provider.OpStop); err != nil {
				t.Fatal(err)
			}
			got, err := w.d.Get(t.Context(), w.account, r.Ref)
			if err != nil || got.State != provider.Stopped {
				t.Errorf("after stop: %+v, %v", got, err)
			}
			again, err := w.d.Create(t.Context(), w.account, w.request("m")) // the token is the machine's
			if err != nil || again.Ref != r.Ref || again.State != provider.Stopped {
				t.Errorf("create with its token: %+v, %v", again, err)
			}
			w.open() // another daemon, as after a reboot, which leaves no links either
			if err := (light.Net{Home: w.d.id}).Down(); err != nil {
				t.Fatal(err)
			}
			if err := w.d.Operate(t.Context(), w.account, r.Ref, provider.OpStart); err != nil {
				t.Fatal(err)
			}
			if out := w.run(r, "cat $ALOFT_HOME/file"); out != "kept" {
				t.Errorf("file after the boot: %q", out)
			}
		})
	}
}

func TestMachinesOutliveTheDriver(t *testing.T) {
	for _, form := range []Form{Light, Process} {
		t.Run(string(form), func(t *testing.T) {
			w := newWorld(t, form)
			r := w.create("m")
			before := w.ask(r)
			w.open()
			got, err := w.d.Get(t.Context(), w.account, r.Ref)
			if err != nil || got.State != provider.Running || got.Address != r.Address {
				t.Errorf("Get = %+v, %v", got, err)
			}
			if after := w.ask(got); after.PID != before.PID {
				t.Errorf("daemon %d became %d", before.PID, after.PID)
			}
		})
	}
}

func TestKilledInitIsSeenAsStopped(t *testing.T) {
	for _, form := range []Form{Light, Process} {
		t.Run(string(form), func(t *testing.T) {
			w := newWorld(t, form)
			r := w.create("m")
			before := w.ask(r)
			if err := w.keeper(r).End(t.Context(), unix.SIGKILL, endLimit); err != nil {
				t.Fatal(err)
			}
			got, err := w.d.Get(t.Context(), w.account, r.Ref)
			if err != nil || got.State != provider.Stopped {
				t.Errorf("Get = %+v, %v", got, err)
			}
			if err := w.d.Operate(t.Context(), w.account, r.Ref, provider.OpStart); err != nil {
				t.Fatal(err)
			}
			after := w.ask(r)
			if form == Process && after.Component != before.Component {
				t.Errorf("component %d became %d", before.Component, after.Component)
			}
		})
	}
}

func TestLimitsAreEnforcedOrSaidNotToBe(t *testing.T) {
	w := newWorld(t, Light)
	need := provider.Need{Name: "m", Cores: 1, Memory: 64}
	offers, err := w.d.Offer(t.Context(), provider.Call{Needs: []provider.Need{need}}, &w.account)
	if err != nil || len(offers) != 1 {
		t.Fatalf("Offer = %+v, %v", offers, err)
	}
	if len(offers[0].Notes) > 0 {
		t.Skip("said so: ", offers[0].Notes)
	}
	req := w.request("m")
	req.Spec = offers[0]
	r, err := w.d.Create(t.Context(), w.account, req)
	if err != nil {
		t.Fatal(err)
	}
	w.ask(r)
	// 200 MB in the memory file system are more than the machine has.
	if out := w.run(r, "head -c 200000000 /dev/zero >/dev/shm/much && echo has it || echo has not"); strings.Contains(out, "has it") {
		t.Errorf("memory beyond the limit: %q", out)
	}
}

func TestWhatIsMissingIsNamedWithItsConsequence(t *testing.T) {
	w := newWorld(t, Light)
	r := w.create("m")
	// The disk of a light machine cannot be the upper layer of another's.
	out := w.run(r, light.BinaryPath+" probe "+light.StatePath)
	for _, want := range []string{"overlay file system", "process machines instead", "--home"} {
		if !strings.Contains(out, want) {
			t.Errorf("in a machine: %q lacks %q", out, want)
		}
	}
	// Without the rights of the superuser.
	out = w.run(r, "setpriv --reuid 1 --clear-groups "+light.BinaryPath+" probe "+light.StatePath)
	if !strings.Contains(out, "superuser") || !strings.Contains(out, "run aloft as root") {
		t.Errorf("as another user: %q", out)
	}
	// A superuser who may not make namespaces.
	out = w.run(r, "setpriv --bounding-set -sys_admin --inh-caps -sys_admin "+light.BinaryPath+" probe "+light.StatePath)
	if !strings.Contains(out, "namespaces") || !strings.Contains(out, "CAP_SYS_ADMIN") {
		t.Errorf("without CAP_SYS_ADMIN: %q", out)
	}
}
