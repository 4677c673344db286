package pkg_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/pkg"
	"aloft/internal/host"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

var attrs = componenttest.Attrs

func daemon(testing.TB) (component.Manager, func()) {
	return pkg.New(host.NewPackages(slog.New(slog.DiscardHandler))), func() {}
}

func machine() component.Machine {
	return component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}
}

func packages(t testing.TB) []string {
	t.Helper()
	out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "installed "); ok {
			names = append(names, name)
		}
	}
	return names
}

// Two small packages, one with a library that comes along.
func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	before := packages(t)
	for _, name := range []string{"sl", "figlet"} {
		if slices.Contains(before, name) {
			t.Skipf("%s is installed on this machine already", name)
		}
	}
	two := value.Vector{value.String("sl"), value.String("figlet")}
	componenttest.Run(t, daemon, componenttest.Case{
		Name:    "apt",
		Machine: machine(),
		Slow:    true,
		Attrs:   attrs("names", two, "keepOnTerminate", value.Bool(false)),
		Changes: []*value.Component{attrs("name", value.String("sl"), "keepOnTerminate", value.Bool(false))},
		Trusted: []string{"proxy"}, // each wrong one costs apt's patience; the check is tested in host
		Check: func(t testing.TB, c *component.Call) {
			now := packages(t)
			_, both := c.Attrs.Get("names")
			if !slices.Contains(now, "sl") || slices.Contains(now, "figlet") != both {
				t.Errorf("sl and figlet: wrong ones are installed (want both: %v)", both)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			if out, err := exec.Command("dpkg", "--purge", "sl").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			if after := packages(t); !slices.Equal(before, after) {
				differ := func(a, b []string) []string {
					return slices.DeleteFunc(slices.Clone(a), func(n string) bool { return slices.Contains(b, n) })
				}
				t.Errorf("%d packages before, %d after: %q are gone, %q are left", len(before), len(after), differ(before, after), differ(after, before))
			}
			if _, err := os.Stat("/usr/sbin/policy-rc.d"); err != nil && hadPolicy {
				t.Error("the machine's own policy is gone")
			}
		},
	})
}

var hadPolicy = func() bool { _, err := os.Stat("/usr/sbin/policy-rc.d"); return err == nil }()

func TestWhatAnotherComponentWantsStays(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	if slices.Contains(packages(t), "sl") {
		t.Skip("sl is installed on this machine already")
	}
	m, _ := daemon(t)
	call := func() *component.Call {
		return &component.Call{
			Attrs: attrs("name", value.String("sl"), "keepOnTerminate", value.Bool(false)), Machine: machine(),
			WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
		}
	}
	one, two := call(), call()
	for _, c := range []*component.Call{one, two} {
		if err := m.Deploy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Terminate(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if err := m.Ping(t.Context(), two); err != nil {
		t.Errorf("the other component: %v", err)
	}
}

func TestFailuresAreClear(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, _ := daemon(t)
	call := func(a *value.Component) *component.Call {
		return &component.Call{Attrs: a, Machine: machine(), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class())}
	}
	err := m.Deploy(t.Context(), call(attrs("name", value.String("no-such-package-at-all"), "refresh", value.Bool(false))))
	if output, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), "no-such-package-at-all is in none") || remedy == "" || len(output) == 0 {
		t.Errorf("a package that is nowhere: %v, %q, %q", err, output, remedy)
	}
	// A source that nobody answers for: port 9 of this machine.
	lists, _ := filepath.Glob("/var/lib/apt/lists/*_Packages*")
	for _, f := range lists {
		os.Remove(f)
	}
	err = m.Deploy(t.Context(), call(attrs("name", value.String("sl"), "proxy", value.String("http://127.0.0.1:9"))))
	if _, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), "cannot be reached") || remedy == "" {
		t.Errorf("a source that cannot be reached: %v", err)
	}
}

func TestPlanningRefuses(t *testing.T) {
	m, _ := daemon(t)
	check := m.Class().Check
	for name, a := range map[string]*value.Component{
		"neither name nor names": attrs(),
		"a removal":              attrs("name", value.String("dpkg-")),
		"an option":              attrs("name", value.String("--purge")),
		"a pattern":              attrs("names", value.Vector{value.String("ok"), value.String("~i")}),
		"no names":               attrs("names", value.Vector{}),
		"a version that is none": attrs("name", value.String("sl"), "version", value.String("1 2")),
	} {
		if p := check(a, component.Target{}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p := check(attrs("names", value.Vector{value.String("g++"), value.String("libc6:amd64")}), component.Target{}); len(p) > 0 {
		t.Errorf("good names: %+v", p)
	}
}
