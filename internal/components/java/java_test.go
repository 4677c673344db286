package java_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/java"
	"aloft/internal/host"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	m.Run()
}

var attrs = componenttest.Attrs

func daemon(testing.TB) (component.Manager, func()) {
	return java.New(host.NewPackages(slog.New(slog.DiscardHandler))), func() {}
}

var machine = component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}

// available are the releases that this machine's package sources have.
func available(t testing.TB) (versions []value.Value) {
	t.Helper()
	for _, release := range []string{"11", "17", "21", "25"} {
		out, err := exec.Command("apt-cache", "policy", "openjdk-"+release+"-jre-headless").Output()
		if err == nil && strings.Contains(string(out), "Candidate:") && !strings.Contains(string(out), "Candidate: (none)") {
			n := map[string]int{"11": 11, "17": 17, "21": 21, "25": 25}[release]
			versions = append(versions, value.Integer(n))
		}
	}
	if len(versions) == 0 {
		t.Fatal("no package source has a Java run time")
	}
	return versions
}

func homeOf(t testing.TB, c *component.Call) string {
	t.Helper()
	home, _ := c.Env.(*componenttest.Env).Outputs()["home"].(value.String)
	return string(home)
}

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	versions := available(t)
	var changes []*value.Component
	for _, v := range versions[1:] {
		changes = append(changes, attrs("version", v, "vendor", value.String("default")))
	}
	componenttest.Run(t, daemon, componenttest.Case{
		Name: "java", Machine: machine, Slow: true, Attrs: attrs("version", versions[0]), Changes: changes,
		Check: func(t testing.TB, c *component.Call) {
			want, _ := c.Attrs.Get("version")
			out, err := exec.Command(filepath.Join(homeOf(t, c), "bin", "java"), "-version").CombinedOutput()
			if err != nil || !strings.Contains(string(out), `version "`+fmt.Sprint(want)) {
				t.Errorf("%v: %s, want release %s", err, out, want)
			}
		},
	})
}

// What is kept is there for the next one, which finds it, and so leaves it, too.
func TestKeptReleaseStays(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, _ := daemon(t)
	release := available(t)[0]
	// One that the machine came with would stay in any case.
	purge := exec.Command("apt-get", "purge", "-y", fmt.Sprintf("openjdk-%d-jre-headless", release))
	if out, err := purge.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, keep := range []bool{true, false} {
		c := &component.Call{
			System: "s", Path: "m:java", Attrs: attrs("version", release, "keepOnTerminate", value.Bool(keep)),
			WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()), Machine: machine,
		}
		if err := m.Deploy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.Terminate(t.Context(), c), m.Ping(t.Context(), c)); err != nil {
			t.Errorf("kept %t: %v", keep, err)
		}
	}
}

func TestReleaseThatNoSourceHasLeavesTheOneBefore(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, _ := daemon(t)
	have := available(t)[0]
	c := &component.Call{
		System: "s", Path: "m:java", Attrs: attrs("version", have), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()), Machine: machine,
	}
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	home := homeOf(t, c)
	c.Old, c.Attrs = c.Attrs, attrs("version", value.Integer(99))
	err := m.Reconfigure(t.Context(), c)
	if _, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), "openjdk-99-jre-headless is in none of the machine's package sources") || remedy == "" {
		t.Errorf("a release that does not exist: %v (%s)", err, remedy)
	}
	c.Attrs = c.Old
	if err := m.Ping(context.WithoutCancel(t.Context()), c); err != nil || homeOf(t, c) != home {
		t.Errorf("the one before, in %s, now %s: %v", home, homeOf(t, c), err)
	}
}
