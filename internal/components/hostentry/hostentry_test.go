package hostentry_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/hostentry"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

func entry(address string, names ...string) *value.Component {
	var v value.Vector
	for _, n := range names {
		v = append(v, value.String(n))
	}
	return value.NewComponent(false, value.Attr{Name: "names", Value: v}, value.Attr{Name: "address", Value: value.String(address)})
}

func machine() component.Machine {
	return component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}
}

// resolve asks the C library, as programs of the machine do.
func resolve(name string) string {
	out, _ := exec.Command("getent", "ahostsv4", name).Output() // a name that is not there is an exit status
	return strings.Join(strings.Fields(string(out) + " -")[:1], "")
}

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	before, err := os.ReadFile("/etc/hosts")
	if err != nil {
		t.Fatal(err)
	}
	componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return hostentry.New(), func() {} }, componenttest.Case{
		Name:    "names",
		Machine: machine(),
		Attrs:   entry("10.1.2.3", "db.test", "db"),
		Changes: []*value.Component{entry("10.1.2.4", "db.test"), entry("10.1.2.4", "db.test", "primary.test")},
		Check: func(t testing.TB, c *component.Call) {
			address, _ := c.Attrs.Get("address")
			names, _ := c.Attrs.Get("names")
			for _, n := range names.(value.Vector) {
				if got := resolve(string(n.(value.String))); got != string(address.(value.String)) {
					t.Errorf("%s is %s, want %s", n, got, address)
				}
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			if err := os.WriteFile("/etc/hosts", []byte("10.9.9.9 other.test\n"), 0o644); err != nil {
				t.Error(err)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			after, err := os.ReadFile("/etc/hosts")
			if string(after) == "10.9.9.9 other.test\n" { // the break
				err = os.WriteFile("/etc/hosts", before, 0o644)
			} else if string(after) != string(before) {
				t.Errorf("the file was\n%s\nand is\n%s", before, after)
			}
			if err != nil {
				t.Error(err)
			}
		},
	})
}

func TestANameThatMeansSomethingElseIsRefused(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	if err := os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n10.1.1.1 DB.test # the old one\n::1 db.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m := hostentry.New()
	call := func(a *value.Component) *component.Call {
		return &component.Call{System: "s", Path: "m:e", Attrs: a, Machine: machine(), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class())}
	}
	err := m.Deploy(t.Context(), call(entry("10.1.1.2", "db.test")))
	if _, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), "db.test the address 10.1.1.1 already") || remedy == "" {
		t.Errorf("%v, %q", err, remedy)
	}
	if err := m.Deploy(t.Context(), call(entry("10.1.1.1", "db.test"))); err != nil {
		t.Errorf("the same address: %v", err)
	}
}

func TestPlanningRefuses(t *testing.T) {
	class := hostentry.New().Class()
	for name, a := range map[string]*value.Component{
		"no names":              entry("10.0.0.1"),
		"two names in one":      entry("10.0.0.1", "a b"),
		"a line break":          entry("10.0.0.1", "a\n10.0.0.2 b"),
		"a comment":             entry("10.0.0.1", "#a"),
		"a name as the address": entry("db", "a"),
	} {
		if p := componenttest.Problems(class, a, component.Target{Isolation: true}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
