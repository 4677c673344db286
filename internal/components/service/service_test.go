package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/service"
	"aloft/internal/host"
	"aloft/value"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		serve(os.Args[2])
	}
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

// serve is the program of the services in these tests: it listens on a port,
// says what it does, and hears of SIGHUP that it is to read its configuration.
// It is another process of this binary, and never returns.
func serve(port string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot serve:", err)
		os.Exit(1)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				os.Exit(1)
			}
			c.Close()
		}
	}()
	fmt.Println("serving on", port)
	for range asked {
		os.WriteFile("/run/reloaded-"+port, nil, 0o644)
	}
}

var attrs = componenttest.Attrs

func daemon(testing.TB) (component.Manager, func()) {
	p := host.NewProcesses(slog.New(slog.DiscardHandler))
	return service.New(p), componenttest.Loop(p.Run)
}

func machine() component.Machine {
	return component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}
}

func command(args ...string) value.Vector {
	var v value.Vector
	for _, a := range args {
		v = append(v, value.String(a))
	}
	return v
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// holder returns the process that listens on port, or 0.
func holder(port value.Integer) int {
	h, _ := host.HolderOf("127.0.0.1", int(port))
	return h.Pid
}

// listening waits until something listens on port.
func listening(t testing.TB, port value.Integer) {
	t.Helper()
	for begun := time.Now(); holder(port) == 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("nothing listens on %d", port)
		}
	}
}

// silent waits until nothing listens on port any more: who stops a service need not
// have waited for its process, or knows of one before that by its note.
func silent(t testing.TB, port value.Integer) {
	t.Helper()
	for begun := time.Now(); holder(port) != 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("process %d still listens on %d", holder(port), port)
		}
	}
}

// kill ends the process that listens on port, and waits until it has ended,
// which is after its port is free.
func kill(t testing.TB, port value.Integer) {
	t.Helper()
	listening(t, port)
	if p, runs := host.Hold(holder(port)); runs {
		defer p.Release()
		if err := p.End(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// rival is one of the service managers as the tests see it, from outside.
type rival struct {
	name string
	// add writes a service that runs program; what it needs of others, and
	// whether it can reload, are of the kinds below.
	add     func(t testing.TB, name, program string, kinds ...string)
	remove  func(t testing.TB, name string)
	active  func(name string) bool
	enabled func(name string) bool
	begin   func(t testing.TB, name string) // has it active and enabled
}

// Kinds of services.
const (
	reloads = "reloads"
	hangs   = "hangs"
	lsb     = "lsb"
	needy   = "needy"
)

// suite is what holds of services whoever manages them.
func (r rival) suite(t *testing.T) {
	port, other := componenttest.FreePort(t), componenttest.FreePort(t)
	program := func(p value.Integer) string { return fmt.Sprintf("%s serve %d", self(t), p) }
	check := func(t testing.TB, c *component.Call) {
		name, _ := c.Attrs.Get("name")
		listening(t, port) // which it need not have waited for
		if !r.active(string(name.(value.String))) {
			t.Error("it is not active")
		}
		enabled, given := c.Attrs.Get("enabled")
		if want := !given || enabled == value.Bool(true); r.enabled(string(name.(value.String))) != want {
			t.Errorf("enabled is not %t", want)
		}
		if by := c.Env.(*componenttest.Env).Outputs()["manager"]; by != value.String(r.name) {
			t.Errorf("it is run by %v", by)
		}
	}
	atRest := func(t testing.TB, c *component.Call) {
		name, _ := c.Attrs.Get("name")
		if n := string(name.(value.String)); r.active(n) || r.enabled(n) || holder(port) != 0 {
			t.Errorf("it was at rest: active %t, enabled %t, pid %d", r.active(n), r.enabled(n), holder(port))
		}
	}
	name := value.String("at-rest")
	cases := []componenttest.Case{{
		Name: "at rest before", Machine: machine(),
		Attrs: attrs("name", name, "readyPort", port),
		Changes: []*value.Component{
			attrs("name", name, "readyPort", port, "enabled", value.Bool(false)),
			attrs("name", name),
		},
		Prepare: func(t testing.TB, c *component.Call) { r.add(t, "at-rest", program(port)) },
		Check:   check, Gone: atRest,
		Break: func(t testing.TB, c *component.Call) { kill(t, port) },
	}, {
		Name: "active and enabled before", Machine: machine(),
		Attrs:   attrs("name", value.String("before"), "readyPort", port, "enabled", value.Bool(false)),
		Changes: []*value.Component{attrs("name", value.String("before"))},
		Prepare: func(t testing.TB, c *component.Call) {
			r.add(t, "before", program(port), reloads)
			r.begin(t, "before")
			listening(t, port)
		},
		Check: check,
		Gone: func(t testing.TB, c *component.Call) {
			if !r.active("before") || !r.enabled("before") {
				t.Errorf("it was active and enabled: active %t, enabled %t", r.active("before"), r.enabled("before"))
			}
			listening(t, port)
			r.remove(t, "before")
			silent(t, port)
		},
	}, {
		Name: "a command", Machine: machine(),
		Attrs:   attrs("name", value.String("nowhere"), "readyPort", port, "command", command(self(t), "serve", fmt.Sprint(port))),
		Changes: []*value.Component{attrs("name", value.String("nowhere"), "readyPort", other, "command", command(self(t), "serve", fmt.Sprint(other)))},
		Trusted: []string{"command"},
		Check: func(t testing.TB, c *component.Call) {
			if by := c.Env.(*componenttest.Env).Outputs()["manager"]; by != value.String("command") {
				t.Errorf("it is run by %v", by)
			}
		},
		Break: func(t testing.TB, c *component.Call) { kill(t, port) },
	}}
	if r.name == "OpenRC" {
		old := value.String("of-lsb")
		cases = append(cases, componenttest.Case{
			Name: "a script of LSB", Machine: machine(),
			Attrs:   attrs("name", old, "readyPort", port),
			Changes: []*value.Component{attrs("name", old, "readyPort", port)},
			Prepare: func(t testing.TB, c *component.Call) { r.add(t, "of-lsb", program(port), lsb) },
			Check:   check, Gone: atRest,
			Break: func(t testing.TB, c *component.Call) { kill(t, port) },
		})
	}
	componenttest.Run(t, daemon, cases...)
}

// one is a component with a daemon of its own.
type one struct {
	t testing.TB
	component.Manager
	*component.Call
}

func (r rival) component(t testing.TB, pairs ...any) one {
	m, end := daemon(t)
	t.Cleanup(end)
	return one{t, m, &component.Call{
		System: "s", Path: "m:service", Machine: machine(), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()), Attrs: attrs(pairs...),
	}}
}

func (o one) start() {
	o.t.Helper()
	if err := o.Start(o.t.Context(), o.Call); err != nil {
		o.t.Fatal(err)
	}
}

func (o one) terminate() {
	o.t.Helper()
	if err := o.Terminate(o.t.Context(), o.Call); err != nil {
		o.t.Error(err)
	}
}

// refused checks that err says all of texts, in its text, output or remedy.
func refused(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	output, remedy := component.Detail(err)
	all := err.Error() + "\n" + strings.Join(output, "\n") + "\n" + remedy
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("nothing of %q in:\n%s", text, all)
		}
	}
}

func (r rival) unhappy(t *testing.T) {
	port := componenttest.FreePort(t)
	serving := fmt.Sprintf("%s serve %d", self(t), port)

	t.Run("an unknown name", func(t *testing.T) {
		o := r.component(t, "name", value.String("nowhere"))
		refused(t, o.Start(t.Context(), o.Call), r.name+" of this machine knows no service nowhere", "Package", "command")
		o.terminate()
	})
	t.Run("a program that ends at once is no service", func(t *testing.T) {
		// A shell does so long before anybody looks; another process of this
		// binary may not.
		if err := os.WriteFile("/root/fails", []byte("#!/bin/sh\necho cannot serve\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		r.add(t, "fails", "/root/fails now")
		o := r.component(t, "name", value.String("fails"))
		want := []string{"service fails has ended as soon as it was started"}
		if r.name == "systemd" {
			want = append(want, "cannot serve", "its program ended with 1")
		}
		refused(t, o.Start(t.Context(), o.Call), want...)
		o.terminate()
		if r.active("fails") || r.enabled("fails") {
			t.Error("something is left of it")
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		// With its port given, that is told before anything is started.
		o = r.component(t, "name", value.String("fails"), "readyPort", port)
		refused(t, o.Start(t.Context(), o.Call), fmt.Sprintf("port %d on 127.0.0.1 is in use", port))
		o.terminate()
	})
	t.Run("a start that fails", func(t *testing.T) {
		r.add(t, "broken", "/bin/echo the disk is gone", needy)
		o := r.component(t, "name", value.String("broken"))
		err := o.Start(t.Context(), o.Call)
		if r.name == "systemd" {
			refused(t, err, "service broken does not start", "the disk is gone")
		} else {
			refused(t, err, "service broken does not start", "needs service(s) nothing-like-it", "rc_provide")
		}
		o.terminate()
	})
	t.Run("what a failed start has begun ends without its name", func(t *testing.T) {
		r.add(t, "deaf", serving)
		// Nothing will listen on the other port.
		o := r.component(t, "name", value.String("deaf"), "readyPort", componenttest.FreePort(t))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			for holder(port) == 0 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}()
		if err := o.Start(ctx, o.Call); err == nil {
			t.Error("it has started")
		}
		o.Attrs = attrs() // Deploy was given no more, where the name is another component's to say
		o.terminate()
		if r.active("deaf") || holder(port) != 0 {
			t.Errorf("it is left: active %t, pid %d", r.active("deaf"), holder(port))
		}
	})
	t.Run("one that cannot start any more does not stay for that", func(t *testing.T) {
		r.add(t, "worn", serving)
		r.begin(t, "worn")
		listening(t, port)
		o := r.component(t, "name", value.String("worn"), "enabled", value.Bool(false))
		o.start()
		if r.enabled("worn") {
			t.Error("it is enabled")
		}
		kill(t, port)
		r.add(t, "worn", "/bin/echo the disk is gone", needy)
		o.Returns = true
		refused(t, o.Terminate(t.Context(), o.Call), "service worn cannot be left as it was found")
		if !r.enabled("worn") {
			t.Error("what can be restored is not")
		}
		o.Returns = false
		o.terminate()
		if r.active("worn") || !r.enabled("worn") {
			t.Errorf("active %t, enabled %t", r.active("worn"), r.enabled("worn"))
		}
	})
	t.Run("a start that hangs is cut off", func(t *testing.T) {
		r.add(t, "hangs", serving, hangs)
		o := r.component(t, "name", value.String("hangs"))
		ctx, cancel := cutOff(t, 500*time.Millisecond)
		defer cancel()
		begun := time.Now()
		if err := o.Start(ctx, o.Call); err == nil {
			t.Error("it has started")
		}
		if d := time.Since(begun); d > 20*time.Second {
			t.Errorf("it took %s", d)
		}
		o.terminate()
		if r.active("hangs") {
			t.Error("it is active")
		}
	})
	t.Run("it reloads if it can, and is restarted if not", func(t *testing.T) {
		mark := fmt.Sprintf("/run/reloaded-%d", port)
		for _, kinds := range [][]string{{reloads}, nil} {
			r.add(t, "changes", serving, kinds...)
			o := r.component(t, "name", value.String("changes"), "readyPort", port)
			o.start()
			pid := holder(port)
			o.Old = o.Attrs
			if err := o.Reconfigure(t.Context(), o.Call); err != nil {
				t.Fatal(err)
			}
			if same := holder(port) == pid; same != (kinds != nil) {
				t.Errorf("with %v it was pid %d, is %d", kinds, pid, holder(port))
			}
			if kinds != nil {
				for begun := time.Now(); ; time.Sleep(time.Millisecond) {
					if _, err := os.Stat(mark); err == nil {
						break
					} else if time.Since(begun) > time.Minute {
						t.Fatal("it was not told")
					}
				}
			}
			// What differs for the machine alone is nothing that it is told.
			pid = holder(port)
			o.Attrs = attrs("name", value.String("changes"), "readyPort", port, "enabled", value.Bool(false))
			if err := o.Reconfigure(t.Context(), o.Call); err != nil {
				t.Fatal(err)
			}
			if holder(port) != pid || r.enabled("changes") {
				t.Errorf("pid %d, then %d; enabled %t", pid, holder(port), r.enabled("changes"))
			}
			o.terminate()
		}
	})
	t.Run("one that is brought back is another one", func(t *testing.T) {
		r.add(t, "back", serving)
		r.begin(t, "back")
		listening(t, port)
		o := r.component(t, "name", value.String("back"), "readyPort", port)
		o.start()
		pid := holder(port)
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		o.Returns = true
		o.terminate()
		o.Returns = false
		o.start()
		if now := holder(port); now == pid || now == 0 {
			t.Errorf("pid %d, then %d", pid, now)
		}
		o.terminate()
		if !r.active("back") || !r.enabled("back") {
			t.Error("it was active and enabled before the component came")
		}
		r.remove(t, "back")
	})
	t.Run("it stays if it is to stay", func(t *testing.T) {
		r.add(t, "stays", serving)
		o := r.component(t, "name", value.String("stays"), "readyPort", port, "keepOnTerminate", value.Bool(true))
		o.start()
		o.terminate()
		if !r.active("stays") || !r.enabled("stays") {
			t.Error("it is gone")
		}
		r.remove(t, "stays")
	})
	t.Run("its end is found by ping", func(t *testing.T) {
		r.add(t, "ends", serving)
		o := r.component(t, "name", value.String("ends"))
		o.start()
		if err := o.Ping(t.Context(), o.Call); err != nil {
			t.Fatal(err)
		}
		kill(t, port)
		refused(t, o.Ping(t.Context(), o.Call), "service ends has ended")
		o.terminate()
		o.start()
		listening(t, port)
		o.terminate()
	})
	t.Run("one whose package went is no more to be ended", func(t *testing.T) {
		r.add(t, "goes", serving)
		o := r.component(t, "name", value.String("goes"))
		o.start()
		r.remove(t, "goes")
		o.terminate()
	})
}

func TestMachineWithoutServiceManagerSaysWhatToDo(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	for _, folder := range []string{"/sbin", "/usr/sbin"} {
		os.Remove(filepath.Join(folder, "rc-service"))
	}
	o := rival{}.component(t, "name", value.String("cron"))
	refused(t, o.Start(t.Context(), o.Call), "neither systemd nor OpenRC", "service cron", "command", "Process")
	o.terminate()

	port := componenttest.FreePort(t)
	o = rival{}.component(t, "name", value.String("cron"), "readyPort", port, "command", command(self(t), "serve", fmt.Sprint(port)))
	o.start()
	pid := holder(port)
	// What it reads has changed: it has no other way than to begin anew.
	o.Old = o.Attrs
	if err := o.Reconfigure(t.Context(), o.Call); err != nil {
		t.Fatal(err)
	}
	if now := holder(port); now == 0 || now == pid {
		t.Errorf("pid %d, then %d", pid, now)
	}
	o.Attrs = attrs("name", value.String("cron"), "readyPort", port)
	refused(t, o.Reconfigure(t.Context(), o.Call), "not given any more", "remove the component")
	o.terminate()
	if pid := holder(port); pid != 0 {
		t.Errorf("pid %d is left", pid)
	}
}

func TestPlanningRefuses(t *testing.T) {
	class := service.New(nil).Class()
	for name, a := range map[string]*value.Component{
		"no name":          attrs(),
		"an option":        attrs("name", value.String("--force")),
		"a path":           attrs("name", value.String("../cron")),
		"several":          attrs("name", value.String("cron*")),
		"an empty command": attrs("name", value.String("cron"), "command", value.Vector{}),
		"a high port":      attrs("name", value.String("cron"), "readyPort", value.Integer(70000)),
	} {
		if p := componenttest.Problems(class, a, component.Target{Isolation: true}); len(p) != 1 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for _, name := range []string{"cron", "getty@tty1", "nginx.service", "dbus-org.freedesktop.hostname1", "php8.2-fpm"} {
		if p := componenttest.Problems(class, attrs("name", value.String(name)), component.Target{}); len(p) > 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// has reports whether kinds has kind.
func has(kinds []string, kind string) bool { return slices.Contains(kinds, kind) }
