package service_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aloft/component/componenttest"
	"aloft/value"
)

// underSystemd is set where process 1 is systemd.
const underSystemd = "SERVICE_TEST_SYSTEMD"

// outside gives systemd a control group of its own to take for the whole of
// them, and takes that away at the end.
const outside = `set -e
mount -t tmpfs sys /sys
mkdir -p /sys/fs/cgroup
mount -t tmpfs cgroup /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd
groups=/sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd,xattr cgroup $groups 2>/dev/null || {
	groups=/sys/fs/cgroup
	umount $groups
	mount -t cgroup2 cgroup $groups
}
export groups
own=$(mktemp -d $groups/service-test.XXXXXXXX)
echo $$ >$own/cgroup.procs
set +e
unshare --pid --mount --cgroup --fork --kill-child --mount-proc sh -c "$1"
status=$?
echo $$ >$groups/cgroup.procs
find $own -depth -type d -exec rmdir {} +
exit $status
`

// boot makes systemd process 1, with nothing of the machine's devices and
// settings to change. It runs one unit, the test. What else it reads as words of
// the kernel's command line keeps it from the control groups of version 2 where
// there are those of version 1.
const boot = `set -e
mkdir /tmp/dev && mount -t tmpfs dev /tmp/dev
for d in null zero full random urandom tty; do
	[ -e /dev/$d ] || continue
	touch /tmp/dev/$d
	mount --bind /dev/$d /tmp/dev/$d
done
mount --rbind /tmp/dev /dev
if [ $groups = /sys/fs/cgroup ]; then
	umount $groups
	mount -t cgroup2 cgroup $groups
	version=systemd.unified_cgroup_hierarchy=1
else
	umount $groups
	mount -t cgroup -o none,name=systemd,xattr cgroup $groups
	version="systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1"
fi
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
export container=aloft
exec /lib/systemd/systemd --system --log-target=null --unit=service-test.service $version
`

// unit runs the test again and ends process 1 with it.
const unit = `[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
After=systemd-journald.service
[Service]
Type=oneshot
Environment=%s=1
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/root/service.test -test.run=^%s$ -test.v -test.timeout=14m
ExecStopPost=/bin/sh -c 'echo $EXIT_STATUS >/root/service.status; systemctl --no-block exit'
StandardOutput=append:/root/service.out
StandardError=append:/root/service.out
`

// systemd returns true where it is process 1; elsewhere it has the test run
// again there, and returns false.
func systemd(t *testing.T) bool {
	t.Helper()
	if os.Getenv(underSystemd) != "" {
		return true
	}
	if !componenttest.OwnRoot(t) {
		return false
	}
	install(t, "systemd")
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		"/root/service.test":                       binary,
		"/etc/systemd/system/service-test.service": fmt.Appendf(nil, unit, underSystemd, t.Name()),
	} {
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("sh", "-c", outside, "sh", boot).CombinedOutput()
	said, _ := os.ReadFile("/root/service.out")
	t.Logf("under systemd:\n%s", said)
	status, serr := os.ReadFile("/root/service.status")
	if string(status) != "0\n" {
		t.Errorf("under systemd the test ended with %q (%v); process 1: %v\n%s", status, serr, err, out)
	}
	return false
}

// With systemd as process 1.
func TestSystemd(t *testing.T) {
	if !systemd(t) {
		return
	}
	file := func(name string) string { return filepath.Join("/etc/systemd/system", name+".service") }
	is := func(verb, name string) bool {
		return exec.Command("systemctl", "is-"+verb, "--quiet", name).Run() == nil
	}
	r := rival{
		name: "systemd",
		add: func(t testing.TB, name, program string, kinds ...string) {
			t.Helper()
			// systemd refuses to start a unit for a sixth time within ten seconds,
			// which a fast machine comes to.
			text := "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n[Service]\nExecStart=" + program + "\n"
			switch {
			case has(kinds, reloads):
				text += "ExecReload=kill -HUP $MAINPID\n"
			case has(kinds, hangs):
				text += "ExecStartPre=sleep 1000\n"
			case has(kinds, needy):
				text += "ExecStartPre=" + program + "\nExecStartPre=false\n"
			}
			text += "[Install]\nWantedBy=multi-user.target\n"
			if err := os.WriteFile(file(name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			run(t, "systemctl", "daemon-reload")
		},
		remove: func(t testing.TB, name string) {
			t.Helper()
			run(t, "systemctl", "disable", "--now", "--quiet", name)
			if err := os.Remove(file(name)); err != nil {
				t.Error(err)
			}
			run(t, "systemctl", "daemon-reload")
		},
		active:  func(name string) bool { return is("active", name) },
		enabled: func(name string) bool { return is("enabled", name) },
		begin: func(t testing.TB, name string) {
			t.Helper()
			run(t, "systemctl", "enable", "--now", "--quiet", name)
		},
	}
	t.Run("suite", r.suite)
	t.Run("unhappy", r.unhappy)
	t.Run("one that is masked", func(t *testing.T) {
		run(t, "systemctl", "mask", "--quiet", "forbidden.service")
		o := r.component(t, "name", value.String("forbidden"))
		refused(t, o.Start(t.Context(), o.Call), "service forbidden does not start", "masked", "systemctl unmask")
		o.terminate()
	})
	t.Run("it is enabled in the end as it was found", func(t *testing.T) {
		word := func(unit string) string {
			out, _ := exec.Command("systemctl", "is-enabled", unit).Output()
			return strings.TrimSpace(string(out))
		}
		write := func(path, text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		const service = "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n[Service]\nExecStart=sleep 1000\n[Install]\n"
		write("/root/elsewhere.service", service+"WantedBy=multi-user.target\n")
		write(file("here"), service+"WantedBy=multi-user.target\n")
		write(file("talks"), service+"Also=talks.socket\n")
		write("/etc/systemd/system/talks.socket", "[Socket]\nListenStream=/run/talks\n[Install]\nWantedBy=sockets.target\n")
		for _, tt := range []struct {
			unit, found, during string
			enabled             bool
			prepare             string // of systemctl
		}{
			{"here", "disabled", "enabled", true, "daemon-reload"},
			{"here", "enabled-runtime", "disabled", false, "enable --runtime here"},
			{"here", "enabled-runtime", "enabled", true, "enable --runtime here"},
			{"elsewhere", "linked", "enabled", true, "link /root/elsewhere.service"},
			{"elsewhere", "linked", "linked", false, "link /root/elsewhere.service"},
			{"elsewhere", "enabled", "linked", false, "enable /root/elsewhere.service"},
			{"elsewhere", "linked-runtime", "enabled", true, "link --runtime /root/elsewhere.service"},
			{"elsewhere", "enabled-runtime", "linked-runtime", false, "enable --runtime /root/elsewhere.service"},
			{"talks", "indirect, disabled", "indirect, enabled", true, "daemon-reload"},
			{"talks", "indirect, enabled", "indirect, enabled", true, "enable talks.socket"},
			{"talks", "indirect, enabled", "indirect, enabled", false, "enable talks.socket"},
		} {
			is := func() string {
				if tt.unit == "talks" {
					return word("talks.service") + ", " + word("talks.socket")
				}
				return word(tt.unit)
			}
			run(t, append([]string{"systemctl"}, strings.Fields(tt.prepare)...)...)
			o := r.component(t, "name", value.String(tt.unit), "enabled", value.Bool(tt.enabled))
			if now := is(); now != tt.found {
				t.Errorf("%s: after %s it is %s", tt.unit, tt.prepare, now)
			}
			o.start()
			if now := is(); now != tt.during {
				t.Errorf("%s, %s: %s while enabled is %t", tt.unit, tt.found, now, tt.enabled)
			}
			o.terminate()
			if now := is(); now != tt.found {
				t.Errorf("%s, %s: enabled was %t, and in the end it is %s", tt.unit, tt.found, tt.enabled, now)
			}
			for _, option := range []string{"--system", "--runtime"} {
				for _, unit := range []string{tt.unit + ".service", "talks.socket"} { // some are gone by then
					exec.Command("systemctl", "disable", "--quiet", option, unit).Run()
				}
			}
		}
	})
	t.Run("one that it restarts by itself has not ended", func(t *testing.T) {
		port := componenttest.FreePort(t)
		r.add(t, "again", fmt.Sprintf("%s serve %d\nRestart=always\nRestartSec=100", self(t), port))
		o := r.component(t, "name", value.String("again"), "readyPort", port)
		o.start()
		kill(t, port)
		for r.active("again") { // systemd may hear of it after us
			time.Sleep(time.Millisecond)
		}
		err := o.Ping(t.Context(), o.Call)
		if err == nil || !strings.Contains(err.Error(), "has not ended") {
			t.Errorf("ping: %v", err)
		}
		o.terminate()
		if r.active("again") || r.enabled("again") {
			t.Error("something is left of it")
		}
	})
}
