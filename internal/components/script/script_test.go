package script_test

import (
	"context"
	"errors"
	"fmt"
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
	"aloft/internal/components/script"
	"aloft/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func attrs(pairs ...string) *value.Component {
	c := value.NewComponent(false)
	for i := 0; i < len(pairs); i += 2 {
		c.Set(value.Attr{Name: pairs[i], Value: value.String(pairs[i+1])})
	}
	return c
}

func with(c *value.Component, name, text string) *value.Component {
	c.Set(value.Attr{Name: "env", Value: value.NewComponent(true, value.Attr{Name: name, Value: value.String(text)})})
	return c
}

// A service of the user's own: a file, and a process that serves it.
func service(text string, more ...string) *value.Component {
	return with(attrs(append([]string{
		"deployScript", `printf %s "$TEXT" > "$DATA/text" && echo "deployed=yes $TEXT" >&3`,
		"startScript", `[ -e pid ] && grep -q . "/proc/$(cat pid)/cmdline" 2>/dev/null || { sleep 1000 & echo $! > pid; }; echo "served=$(cat "$DATA/text")" >&3`,
		"terminateScript", `rm -f "$DATA/text" pid`,
		"pingScript", `grep -q . "/proc/$(cat pid)/cmdline" && cat "$DATA/text"`,
	}, more...)...), "TEXT", text)
}

func TestSuite(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("DATA", folder)
	data := func(c *value.Component) *value.Component {
		v, _ := c.Get("env")
		v.(*value.Component).Set(value.Attr{Name: "DATA", Value: value.String(folder)})
		return c
	}
	componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return script.New(), func() {} }, componenttest.Case{
		Name:    "a service",
		Machine: component.Machine{Folder: folder},
		Attrs:   data(service("one; $(rm -rf /)")),
		Changes: []*value.Component{
			data(service("two")),
			data(service("three", "reconfigureScript", `printf %s "$TEXT" > "$DATA/text"; echo "served=$TEXT" >&3`, "shell", "/bin/bash")),
		},
		Trusted: []string{"deployScript", "startScript", "reconfigureScript", "terminateScript", "pingScript", "shell", "env"},
		Check: func(t testing.TB, c *component.Call) {
			v, _ := c.Attrs.Get("env")
			want, _ := v.(*value.Component).Get("TEXT")
			got, err := os.ReadFile(filepath.Join(folder, "text"))
			if err != nil || value.String(got) != want {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
			if out := c.Env.(*componenttest.Env).Outputs(); out["served"] != want {
				t.Errorf("outputs %v", out)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			b, err := os.ReadFile(filepath.Join(c.WorkDir, "pid"))
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			for syscall.Kill(pid, 0) == nil && !zombie(pid) {
				time.Sleep(time.Millisecond)
			}
		},
	})
}

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func call(t *testing.T, a *value.Component) *component.Call {
	return &component.Call{Attrs: a, WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, script.New().Class())}
}

func TestWhatAScriptDidIsSaid(t *testing.T) {
	for name, tt := range map[string]struct {
		attrs              *value.Component
		says, output, then string
	}{
		"a failure":         {attrs("deployScript", "echo getting ready; echo 'no licence for shop' >&2; exit 3"), "deployScript: exit status 3: no licence for shop", "getting ready|no licence for shop", ""},
		"a silent failure":  {attrs("deployScript", "exit 1"), "deployScript: exit status 1, and said nothing", "", ""},
		"no line on 3":      {attrs("deployScript", "echo hello >&3"), `printed "hello" on descriptor 3`, "", "name=value"},
		"an attribute on 3": {attrs("deployScript", "echo shell=x >&3"), `"shell", which is an attribute of its own`, "", "another name"},
		"no such shell":     {attrs("deployScript", "true", "shell", "/no/shell"), "/no/shell", "", ""},
	} {
		err := script.New().Deploy(t.Context(), call(t, tt.attrs))
		output, remedy := component.Detail(err)
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(remedy, tt.then) {
			t.Errorf("%s: %v (remedy %q)", name, err, remedy)
		}
		if got := strings.Join(output, "|"); tt.output != "" && got != tt.output {
			t.Errorf("%s: output %q, want %q", name, got, tt.output)
		}
	}
}

func TestAScriptThatHangsIsEndedWithAllItStarted(t *testing.T) {
	a := attrs("deployScript", `trap '' TERM; sleep 1000 & echo $! > one; setsid sleep 1000 & echo $! > two; wait; sleep 1000`)
	a.Set(value.Attr{Name: "timeout", Value: value.Integer(1)})
	c := call(t, a)
	begun := time.Now()
	err := script.New().Deploy(t.Context(), c)
	if _, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), "did not end within 1s") || remedy == "" {
		t.Errorf("%v", err)
	}
	if d := time.Since(begun); d > 20*time.Second {
		t.Errorf("it took %s", d)
	}
	for _, f := range []string{"one", "two"} {
		b, err := os.ReadFile(filepath.Join(c.WorkDir, f))
		if err != nil {
			t.Fatal(err)
		}
		if pid, _ := strconv.Atoi(strings.TrimSpace(string(b))); syscall.Kill(pid, 0) == nil && !zombie(pid) {
			t.Errorf("process %s goes on", b)
		}
	}
}

// What a script has said is told as well where its operation is cut off, as at its
// limit.
func TestAScriptThatIsCutOffIsQuoted(t *testing.T) {
	c := call(t, attrs("deployScript", "echo half of it is done; : > begun; sleep 1000"))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { failed <- script.New().Deploy(ctx, c) }()
	for {
		if _, err := os.Stat(filepath.Join(c.WorkDir, "begun")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	err := <-failed
	if output, _ := component.Detail(err); !errors.Is(err, context.Canceled) || strings.Join(output, "|") != "half of it is done" {
		t.Errorf("%v, output %q", err, output)
	}
}

// A daemon that died in the midst of a script: the next one ends what is left
// before it runs the script again.
func TestAScriptOfADeadDaemonDoesNotRunBesideItsRepetition(t *testing.T) {
	c := call(t, attrs("deployScript", `[ -e first ] || { echo $$ > first; exec sleep 1000; }`))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- script.New().Deploy(ctx, c) }()
	var pid int
	for pid == 0 {
		b, _ := os.ReadFile(filepath.Join(c.WorkDir, "first"))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		time.Sleep(time.Millisecond)
	}
	if err := script.New().Deploy(t.Context(), c); err != nil {
		t.Error(err)
	}
	if syscall.Kill(pid, 0) == nil && !zombie(pid) {
		t.Error("the first one goes on")
	}
	cancel()
	<-done
}

func TestPlanningRefuses(t *testing.T) {
	for name, a := range map[string]*value.Component{
		"a shell without a path":  attrs("shell", "bash -x"),
		"a variable that is none": with(attrs(), "A=B", "x"),
		"no time": func() *value.Component {
			a := attrs()
			a.Set(value.Attr{Name: "timeout", Value: value.Integer(0)})
			return a
		}(),
	} {
		if p := componenttest.Problems(script.New().Class(), a, component.Target{}); len(p) != 1 || p[0].Message == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
