package process_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/process"
	"aloft/internal/host"
	"aloft/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func daemon(t testing.TB) (component.Manager, func()) {
	p := host.NewProcesses(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	return process.New(p), func() { cancel(); <-done }
}

var attrs = componenttest.Attrs

func command(args ...string) value.Vector {
	var v value.Vector
	for _, a := range args {
		v = append(v, value.String(a))
	}
	return v
}

func TestSuite(t *testing.T) {
	env := func(text string) *value.Component {
		return value.NewComponent(true, value.Attr{Name: "TEXT", Value: value.String(text)})
	}
	sleep := command("sh", "-c", `echo "$TEXT"; exec sleep 100`)
	componenttest.Run(t, daemon, componenttest.Case{
		Name: "sleep",
		Attrs: attrs("command", sleep, "env", env("one"), "readyCommand", command("true"),
			"dir", value.String("a/b"), "logFile", value.String("logs/out")),
		Changes: []*value.Component{
			attrs("command", sleep, "env", env("two"), "readyLine", value.String("two"), "logFile", value.String("logs/out")),
			attrs("command", sleep, "env", env("two"), "readyTimeout", value.Integer(5), "logFile", value.String("logs/out"),
				"restart", value.String("always"), "stopSignal", value.String("INT"), "stopTimeout", value.Integer(2),
				"limits", value.NewComponent(true, value.Attr{Name: "openFiles", Value: value.Integer(99)})),
			attrs("command", command("sleep", "101")),
		},
		Trusted: []string{"command", "readyCommand", "readyLine", "readyUrl"},
		Break: func(t testing.TB, c *component.Call) {
			pid := int(c.Env.(*componenttest.Env).Outputs()["pid"].(value.Integer))
			syscall.Kill(pid, syscall.SIGKILL)
			for syscall.Kill(pid, 0) == nil { // until it is reaped
				time.Sleep(time.Millisecond)
			}
		},
	})
}

func TestEndIsToldWithRecord(t *testing.T) {
	m, end := daemon(t)
	defer end()
	env := componenttest.NewEnv(t, m.Class())
	c := &component.Call{
		Path: "m:p", Env: env, WorkDir: t.TempDir(), Machine: component.Machine{Hostname: "m", Address: "127.0.0.1"},
		Attrs: attrs("command", command("sh", "-c", "until test -e told; do sleep 0.05; done; echo done; exit 0")),
	}
	if err := m.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.WorkDir, "told"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for len(env.EndedRecords()) == 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	r := env.EndedRecords()
	if len(r) != 1 || r[0].Type != component.Normal || r[0].Path != "m:p" || r[0].Host != "m" || strings.Join(r[0].Output, "|") != "done" {
		t.Errorf("records %+v", r)
	}
}

// Root in a container may not change another user's process, so its limits are
// its own from the beginning, and new ones come with a new process.
func TestAnotherUsersProcessHasItsLimits(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run a process as another user")
	}
	m, end := daemon(t)
	defer end()
	env := componenttest.NewEnv(t, m.Class())
	dir, err := os.MkdirTemp("", "process") // that the other user can enter
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	wanted := func(mib int) *value.Component {
		return attrs("command", command("sleep", "100"), "user", value.String("nobody"),
			"limits", value.NewComponent(true, value.Attr{Name: "memory", Value: value.Integer(mib)}))
	}
	c := &component.Call{
		Path: "m:p", Env: env, WorkDir: dir, Attrs: wanted(512),
		Machine: component.Machine{Hostname: "m", Address: "127.0.0.1", Isolation: true},
	}
	holds := func(mib int) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(int(env.Outputs()["pid"].(value.Integer))), "limits"))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("Max address space %d %[1]d bytes", mib<<20); !strings.Contains(strings.Join(strings.Fields(string(b)), " "), want) {
			t.Errorf("want %q in\n%s", want, b)
		}
	}
	// With the race detector this program has more address space than the limits
	// allow: what is to become the process dies of them where it happens to need
	// another thread.
	done := func(do func(context.Context, *component.Call) error) {
		t.Helper()
		err := do(t.Context(), c)
		for range 3 {
			if err == nil || !strings.Contains(err.Error(), "exited with status 2") {
				break
			}
			err = do(t.Context(), c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	done(m.Start)
	defer func() {
		if err := m.Terminate(context.Background(), c); err != nil {
			t.Error(err)
		}
	}()
	holds(512)
	for _, mib := range []int{256, 1024} {
		c.Old, c.Attrs = c.Attrs, wanted(mib)
		done(m.Reconfigure)
		holds(mib)
	}
}

func TestPlanningRefuses(t *testing.T) {
	m, end := daemon(t)
	defer end()
	class := m.Class()
	check := func(attrs *value.Component, m component.Target) []component.Problem {
		return componenttest.Problems(class, attrs, m)
	}
	tests := []struct {
		name  string
		attrs *value.Component
		attr  string
	}{
		{"a folder outside a process machine", attrs("command", command("x"), "dir", value.String("/etc")), "dir"},
		{"a log file above the work folder", attrs("command", command("x"), "logFile", value.String("../x")), "logFile"},
		{"an empty command", attrs("command", value.Vector{}), "command"},
		{"an unknown signal", attrs("command", command("x"), "stopSignal", value.String("STOP")), "stopSignal"},
		{"a bad restart", attrs("command", command("x"), "restart", value.String("sometimes")), "restart"},
		{"a number in a command", attrs("command", value.Vector{value.String("x"), value.Integer(1)}), "command"},
		{"no command", attrs(), "command"},
		{"an unknown limit", attrs("command", command("x"), "limits", value.NewComponent(true, value.Attr{Name: "cpus", Value: value.Integer(1)})), "limits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := check(tt.attrs, component.Target{})
			if len(p) != 1 || p[0].Attr != tt.attr || p[0].Remedy == "" && p[0].Expected == "" {
				t.Errorf("problems %+v", p)
			}
		})
	}
	if p := check(attrs("command", command("x"), "dir", value.String("/etc")), component.Target{Isolation: true}); len(p) > 0 {
		t.Errorf("an isolated machine: %+v", p)
	}
}
