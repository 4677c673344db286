package redis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/redis"
	"aloft/internal/host"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

var attrs = componenttest.Attrs

func daemon(t testing.TB) (component.Manager, func()) {
	log := slog.New(slog.DiscardHandler)
	p := host.NewProcesses(log)
	return redis.New(p, host.NewPackages(log)), componenttest.Loop(p.Run)
}

// ask sends inline commands and returns the last reply.
func ask(t testing.TB, port value.Value, commands ...string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Minute)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	var reply string
	for _, cmd := range commands {
		fmt.Fprintf(c, "%s\r\n", cmd)
		reply, err = r.ReadString('\n')
		if err != nil {
			t.Error(err)
		}
		if strings.HasPrefix(reply, "$") {
			reply, _ = r.ReadString('\n')
		} else if strings.HasPrefix(reply, "*2") {
			for range 4 {
				reply, _ = r.ReadString('\n')
			}
		}
	}
	return strings.TrimSpace(reply)
}

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	port, other := componenttest.FreePort(t), componenttest.FreePort(t)
	nasty := value.String(`p"w\ #'$(x)` + "\x01é")
	componenttest.Run(t, daemon, componenttest.Case{
		Name:    "redis",
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
		Slow:    true,
		Attrs:   attrs("port", port),
		Changes: []*value.Component{
			attrs("port", port, "maxMemory", value.String("64mb"), "appendOnly", value.Bool(true)),
			attrs("port", port, "password", nasty),
			attrs("port", other, "password", nasty, "bind", value.String("0.0.0.0")),
			attrs("port", other, "password", value.String("plain")),
		},
		Check: func(t testing.TB, c *component.Call) {
			port, _ := c.Attrs.Get("port")
			password, _ := c.Attrs.Get("password")
			switch password {
			case nil:
				want := "0"
				if m, _ := c.Attrs.Get("maxMemory"); m != nil {
					want = "67108864"
				}
				if got := ask(t, port, "CONFIG GET maxmemory"); got != want {
					t.Errorf("maxmemory %s, want %s", got, want)
				}
			case value.String("plain"):
				if got := ask(t, port, "AUTH plain", "PING"); got != "+PONG" {
					t.Errorf("with the password: %s", got)
				}
			default:
				if got := ask(t, port, "PING"); !strings.HasPrefix(got, "-NOAUTH") {
					t.Errorf("without the password: %s", got)
				}
			}
			if uri := c.Env.(*componenttest.Env).Outputs()["uri"]; uri != value.String(fmt.Sprintf("redis://127.0.0.1:%d", port)) {
				t.Errorf("uri %v", uri)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			componenttest.Freeze(t, host.NewProcesses(slog.New(slog.DiscardHandler)).Pid(c.WorkDir))
		},
		Kept: func(t testing.TB, c *component.Call) {
			if left, _ := filepath.Glob("/var/lib/redis/aloft-*/dump.rdb"); len(left) != 1 {
				t.Errorf("its data: %s", left)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			for _, pattern := range []string{"/etc/redis/aloft-*", "/var/lib/redis/aloft-*"} {
				if left, _ := filepath.Glob(pattern); len(left) > 0 {
					t.Errorf("left over: %s", left)
				}
			}
		},
	})
}

// told is an environment that keeps what it is told of processes that had to be
// killed.
type told struct {
	*componenttest.Env
	killed []string
}

func (e *told) Killed(reason string) { e.killed = append(e.killed, reason) }

func TestStopTimeoutIsWhatAServerHasForItsEnd(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	port := componenttest.FreePort(t)
	env := &told{Env: componenttest.NewEnv(t, m.Class())}
	c := &component.Call{
		System: "s", Path: "m:deaf", WorkDir: t.TempDir(), Env: env, Attrs: attrs("port", port, "stopTimeout", value.Integer(2)),
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m", Name: "s/m"},
	}
	if err := errors.Join(m.Deploy(t.Context(), c), m.Start(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	busy := make(chan struct{})
	go func() { // a server that runs a script hears of nothing else
		defer close(busy)
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer c.Close()
			fmt.Fprint(c, "EVAL \"while true do end\" 0\r\n")
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	for answers := true; answers; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		answers = m.Ping(ctx, c) == nil
		cancel()
	}
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	<-busy
	if len(env.killed) != 1 || !strings.Contains(env.killed[0], "on s/m did not end within 2s of its signal") || !strings.Contains(env.killed[0], "stopTimeout gives it longer") {
		t.Errorf("told: %q", env.killed)
	}
}

// What is kept has what was in it for the next one. One that would begin empty
// beside it is refused, and takes it up by way of one that reads it.
func TestKeptDataAreThoseOfTheNextOne(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	port := componenttest.FreePort(t)
	c := &component.Call{
		System: "s", Path: "m:kept", WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
	}
	with := func(appendOnly bool) *value.Component {
		return attrs("port", port, "appendOnly", value.Bool(appendOnly), "keepOnTerminate", value.Bool(true))
	}
	life := func(do func()) {
		t.Helper()
		if err := errors.Join(m.Deploy(t.Context(), c), m.Start(t.Context(), c)); err != nil {
			t.Fatal(err)
		}
		do()
		if err := m.Terminate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	greets := func() {
		t.Helper()
		if got := ask(t, port, "GET greeting"); got != "hello" {
			t.Errorf("kept: %q", got)
		}
	}
	c.Attrs = with(false)
	life(func() { ask(t, port, "SET greeting hello") })
	c.Attrs = with(true)
	if err := m.Deploy(t.Context(), c); err == nil || !strings.Contains(err.Error(), "kept without appendOnly") {
		t.Errorf("one that would begin empty: %v", err)
	}
	c.Attrs = with(false)
	life(func() {
		greets()
		c.Old, c.Attrs = c.Attrs, with(true)
		if err := m.Reconfigure(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	life(greets)
	c.Attrs = attrs("port", port, "appendOnly", value.Bool(true))
	life(greets)
	c.Attrs = with(false)
	life(func() {
		if got := ask(t, port, "GET greeting"); got == "hello" {
			t.Error("what was not to be kept is there")
		}
		c.Attrs = attrs("port", port)
	})
}

func TestDataOutlivesARestartAndAReplicaCopiesIt(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	call := func(path string, a *value.Component) *component.Call {
		return &component.Call{
			System: "s", Path: value.Path(path), Attrs: a, WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
			Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
		}
	}
	run := func(c *component.Call) {
		t.Helper()
		if err := m.Deploy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	port, next, copyPort := componenttest.FreePort(t), componenttest.FreePort(t), componenttest.FreePort(t)
	one := call("a:redis", attrs("port", port, "password", value.String("pw"), "appendOnly", value.Bool(true)))
	run(one)
	ask(t, port, "AUTH pw", "SET greeting hello")
	one.Old, one.Attrs = one.Attrs, attrs("port", next, "password", value.String("pw"), "appendOnly", value.Bool(true))
	if err := m.Reconfigure(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, next, "AUTH pw", "GET greeting"); got != "hello" {
		t.Errorf("after a restart: %q", got)
	}
	two := call("b:redis", attrs("port", copyPort, "replicaOf",
		attrs("sfClass", value.String("Redis"), "host", value.String("127.0.0.1"), "port", next, "password", value.String("pw"))))
	run(two)
	deadline := time.Now().Add(2 * time.Minute)
	for ask(t, copyPort, "GET greeting") != "hello" {
		if time.Now().After(deadline) {
			t.Fatal("the replica never copied")
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, c := range []*component.Call{two, one} {
		if err := m.Terminate(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat("/etc/redis/redis.conf"); err != nil {
		t.Errorf("the distribution's own configuration: %v", err)
	}
}
