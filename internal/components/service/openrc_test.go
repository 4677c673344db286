package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aloft/component/componenttest"
	"aloft/internal/components/service"
	"aloft/internal/host"
	"aloft/value"
)

// install brings a package, as a Package does.
func install(t testing.TB, name string) {
	t.Helper()
	env := componenttest.NewEnv(t, service.New(nil).Class())
	err := host.NewPackages(slog.New(slog.DiscardHandler)).Install(t.Context(), host.Wanted{Names: []string{name}, WorkDir: t.TempDir()}, env)
	if err != nil {
		t.Fatal(err)
	}
}

func cutOff(t testing.TB, after time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), after)
}

// underInit is set where process 1 releases processes that have ended.
const underInit = "SERVICE_TEST_INIT"

// withInit returns true where process 1 is one that releases what has ended, as
// on every machine; elsewhere it has the test run again there, and returns false.
func withInit(t *testing.T) bool {
	t.Helper()
	if os.Getenv(underInit) != "" {
		return true
	}
	if !componenttest.OwnRoot(t) {
		return false
	}
	install(t, "openrc")
	if err := os.RemoveAll("/run/openrc"); err != nil { // as after a boot of the machine
		t.Fatal(err)
	}
	// A shell that has something to do afterwards waits for all that falls to it.
	cmd := exec.Command("unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "sh", "-c", `"$@"; exit $?`, "sh",
		self(t), "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=14m")
	cmd.Env = []string{underInit + "=1", "PATH=" + host.DefaultPath}
	out, err := cmd.CombinedOutput()
	t.Logf("with an init:\n%s", out)
	if err != nil {
		t.Errorf("with an init: %v", err)
	}
	return false
}

// With OpenRC, which has not booted the machine.
func TestOpenRC(t *testing.T) {
	if !withInit(t) {
		return
	}
	script := func(name string) string { return filepath.Join("/etc/init.d", name) }
	r := rival{
		name: "OpenRC",
		add: func(t testing.TB, name, program string, kinds ...string) {
			t.Helper()
			path, args, _ := strings.Cut(program, " ")
			text := fmt.Sprintf("#!/sbin/openrc-run\ncommand=%s\ncommand_args=\"%s\"\ncommand_background=yes\npidfile=/run/%s.pid\n", path, args, name)
			switch {
			case has(kinds, lsb):
				text = fmt.Sprintf(`#!/bin/sh
### BEGIN INIT INFO
# Provides: %[1]s
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
# Short-Description: a test
### END INIT INFO
p=/run/%[1]s.pid
case "$1" in
start) start-stop-daemon --start --quiet --oknodo --background --make-pidfile --pidfile $p --exec %[2]s -- %[3]s ;;
stop) start-stop-daemon --stop --quiet --oknodo --remove-pidfile --retry 5 --pidfile $p ;;
restart|force-reload) $0 stop && $0 start ;;
status) start-stop-daemon --status --pidfile $p ;;
*) echo "usage: $0" >&2; exit 3 ;;
esac
`, name, path, args)
			case has(kinds, reloads):
				text += fmt.Sprintf("extra_started_commands=reload\nreload() { kill -HUP $(cat /run/%s.pid); }\n", name)
			case has(kinds, hangs):
				text += "start() { sleep 1000; }\n"
			case has(kinds, needy):
				text += "depend() { need nothing-like-it; }\n"
			}
			if err := os.WriteFile(script(name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
			if has(kinds, needy) { // by itself it reads again only what is a whole second newer
				run(t, "rc-update", "-u")
			}
		},
		remove: func(t testing.TB, name string) {
			t.Helper()
			exec.Command("rc-update", "delete", name, "default").Run()
			b, _ := os.ReadFile("/run/" + name + ".pid")
			run(t, "rc-service", name, "stop")
			for pid := strings.TrimSpace(string(b)); ; time.Sleep(time.Millisecond) { // it does not wait
				if _, err := os.Stat("/proc/" + pid + "/exe"); err != nil {
					break
				}
			}
			if err := os.Remove(script(name)); err != nil {
				t.Error(err)
			}
		},
		active: func(name string) bool { return exec.Command("rc-service", name, "status").Run() == nil },
		enabled: func(name string) bool {
			_, err := os.Lstat(filepath.Join("/etc/runlevels/default", name))
			return err == nil
		},
		begin: func(t testing.TB, name string) {
			t.Helper()
			run(t, "rc-service", name, "start")
			run(t, "rc-update", "add", name, "default")
		},
	}
	t.Run("a note that names another's process ends nothing", func(t *testing.T) {
		port := componenttest.FreePort(t)
		r.add(t, "forged", fmt.Sprintf("%s serve %d", self(t), port))
		o := r.component(t, "name", value.String("forged"))
		for name, tt := range map[string]struct {
			owner int
			age   time.Duration
		}{"of another user": {4711, 0}, "of one that crashed": {0, time.Hour}} {
			bystander := exec.Command("sleep", "1000")
			if err := bystander.Start(); err != nil {
				t.Fatal(err)
			}
			o.start()
			kill(t, port)
			// As from a service that may write there, and runs no more.
			file, when := "/run/forged.pid", time.Now().Add(-tt.age)
			if err := os.WriteFile(file, fmt.Append(nil, bystander.Process.Pid), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chown(file, tt.owner, 0), os.Chtimes(file, when, when)); err != nil {
				t.Fatal(err)
			}
			refused(t, o.Ping(t.Context(), o.Call), "service forged has ended", file)
			o.terminate()
			if p, runs := host.Hold(bystander.Process.Pid); runs {
				p.Release()
			} else {
				t.Errorf("%s: it was ended", name)
			}
			bystander.Process.Kill()
			bystander.Wait()
			os.Remove(file)
		}
	})
	t.Run("suite", r.suite)
	t.Run("unhappy", r.unhappy)
}
