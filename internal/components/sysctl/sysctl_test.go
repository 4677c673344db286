package sysctl_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/sysctl"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

func values(pairs ...any) *value.Component {
	data := value.NewComponent(true)
	for i := 0; i < len(pairs); i += 2 {
		data.Set(value.Attr{Name: pairs[i].(string), Value: pairs[i+1].(value.Value)})
	}
	return value.NewComponent(false, value.Attr{Name: "values", Value: data})
}

func machine() component.Machine {
	return component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}
}

func kernel(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc/sys", path))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// In a network of its own, whose settings are nobody else's.
func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t, syscall.CLONE_NEWNET) {
		return
	}
	somaxconn, forward, ports := kernel(t, "net/core/somaxconn"), kernel(t, "net/ipv4/conf/lo/forwarding"), kernel(t, "net/ipv4/ip_local_port_range")
	componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return sysctl.New(), func() {} }, componenttest.Case{
		Name:    "settings of the network",
		Machine: machine(),
		Attrs:   values("net.core.somaxconn", value.Integer(77), "net/ipv4/conf/lo/forwarding", value.Bool(true)),
		Changes: []*value.Component{
			values("net.core.somaxconn", value.Integer(78), "net.ipv4.ip_local_port_range", value.String("20000 30000")),
			values("net.ipv4.ip_local_port_range", value.String("20001 30000")),
		},
		Check: func(t testing.TB, c *component.Call) {
			want := map[string]string{"net/core/somaxconn": somaxconn, "net/ipv4/conf/lo/forwarding": forward, "net/ipv4/ip_local_port_range": ports}
			v, _ := c.Attrs.Get("values")
			for a := range v.(*value.Component).All() {
				text, _ := component.Text(a.Value)
				want[strings.ReplaceAll(a.Name, ".", "/")] = strings.ReplaceAll(text, "true", "1")
			}
			for path, w := range want {
				if got := kernel(t, path); got != w {
					t.Errorf("%s is %q, want %q", path, got, w)
				}
			}
			files, _ := filepath.Glob("/etc/sysctl.d/90-aloft-suite-m-it-*.conf")
			if len(files) != 1 {
				t.Errorf("files for the next boot: %v", files)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			if err := os.WriteFile("/proc/sys/net/core/somaxconn", []byte("99"), 0); err != nil {
				t.Error(err)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			for path, was := range map[string]string{"net/core/somaxconn": somaxconn, "net/ipv4/conf/lo/forwarding": forward, "net/ipv4/ip_local_port_range": ports} {
				if got := kernel(t, path); got != was {
					t.Errorf("%s was %q, is %q", path, was, got)
				}
			}
			if files, _ := filepath.Glob("/etc/sysctl.d/90-aloft-*"); len(files) > 0 {
				t.Errorf("left over: %v", files)
			}
		},
	})
}

func TestWhatTheKernelRefusesLeavesAllAsItWas(t *testing.T) {
	if !componenttest.OwnRoot(t, syscall.CLONE_NEWNET) {
		return
	}
	m := sysctl.New()
	before := kernel(t, "net/core/somaxconn")
	c := &component.Call{
		System: "s", Path: "m:k", Machine: machine(), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
		Attrs: values("net.core.somaxconn", value.Integer(55)),
	}
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]*value.Component{
		"has no setting net.no.such": values("net.core.somaxconn", value.Integer(56), "net.no.such", value.Integer(1)),
		"does not take":              values("net.core.somaxconn", value.Integer(56), "net.ipv4.ip_local_port_range", value.String("many")),
	} {
		next := *c
		next.Old, next.Attrs = c.Attrs, a
		err := m.Reconfigure(t.Context(), &next)
		if _, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), name) || remedy == "" {
			t.Errorf("%v, %q", err, remedy)
		}
		if got := kernel(t, "net/core/somaxconn"); got != "55" {
			t.Errorf("after %q it is %s", name, got)
		}
	}
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := kernel(t, "net/core/somaxconn"); got != before {
		t.Errorf("it was %s, is %s", before, got)
	}
}

func TestPlanningRefuses(t *testing.T) {
	class := sysctl.New().Class()
	for name, a := range map[string]*value.Component{
		"a way out":        values("../../etc/passwd", value.Integer(1)),
		"a way out inside": values("net/../../etc", value.Integer(1)),
		"one word":         values("net", value.Integer(1)),
		"a space":          values("net.a b", value.Integer(1)),
		"a line break":     values("net.core.somaxconn", value.String("1\nkernel.x=2")),
		"nothing":          values("net.core.somaxconn", value.String(" ")),
		"a list":           values("net.core.somaxconn", value.Vector{}),
	} {
		if p := componenttest.Problems(class, a, component.Target{Isolation: true}); len(p) != 1 || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
