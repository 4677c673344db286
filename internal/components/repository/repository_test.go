package repository_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/repository"
	"aloft/internal/host"
	"aloft/test/debs"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

func attrs(pairs ...string) *value.Component {
	c := value.NewComponent(false)
	for i := 0; i < len(pairs); i += 2 {
		c.Set(value.Attr{Name: pairs[i], Value: value.String(pairs[i+1])})
	}
	return c
}

var packages = host.NewPackages(slog.New(slog.DiscardHandler))

func machine() component.Machine {
	return component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}
}

// left lists what is the component's on the machine.
func left(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"/etc/apt/sources.list.d/aloft-*", "/etc/apt/keyrings/aloft-*", "/var/lib/apt/lists/127.0.0.1*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func call(t *testing.T, a *value.Component) *component.Call {
	return &component.Call{Attrs: a, WorkDir: t.TempDir(), Machine: machine(), Env: componenttest.NewEnv(t, repository.New(packages).Class())}
}

// Real apt, real keys, a real package: it comes from the source that was
// added, and what is signed by another is refused.
func TestPackagesComeFromASourceSignedWithItsKeyAlone(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	owner, other := debs.NewSigner(t, "owner"), debs.NewSigner(t, "other")
	address := debs.Publish(t, owner, "aloft-test-a", nil)
	t.Run("suite", func(t *testing.T) {
		componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return repository.New(packages), func() {} }, componenttest.Case{
			Name: "apt", Machine: machine(), Slow: true,
			Attrs:   attrs("name", "tools", "url", address, "suite", "stable", "key", owner.Key),
			Changes: []*value.Component{attrs("name", "tools", "url", address, "suite", "testing", "key", owner.Key)},
			Trusted: []string{"url"}, // each wrong one costs apt's patience; those that planning refuses are below
			Check: func(t testing.TB, c *component.Call) {
				suite, _ := c.Attrs.Get("suite")
				out, err := exec.Command("apt-cache", "policy", "aloft-test-a").CombinedOutput()
				if err != nil || !strings.Contains(string(out), string(suite.(value.String))+"/main") {
					t.Errorf("apt does not know it from %s: %v\n%s", suite, err, out)
				}
			},
			Break: func(t testing.TB, c *component.Call) {
				if err := os.Remove("/etc/apt/keyrings/aloft-tools.asc"); err != nil {
					t.Error(err)
				}
			},
			Gone: func(t testing.TB, c *component.Call) {
				if l := left(t); len(l) > 0 {
					t.Errorf("left over: %v", l)
				}
			},
		})
	})
	t.Run("a package of it", func(t *testing.T) {
		m, c := repository.New(packages), call(t, attrs("name", "tools", "url", address, "suite", "stable", "key", owner.Key))
		if err := m.Deploy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		no := false
		w := host.Wanted{Names: []string{"aloft-test-a"}, WorkDir: t.TempDir(), Refresh: &no}
		if err := packages.Install(t.Context(), w, c.Env); err != nil {
			t.Error(err)
		}
		if err := packages.Installed(t.Context(), w); err != nil {
			t.Error(err)
		}
		if err := m.Terminate(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	for name, tt := range map[string]struct {
		attrs        *value.Component
		says, remedy string
	}{
		"another's key": {attrs("name", "tools", "url", address, "suite", "stable", "key", other.Key), "is not signed with the key", "key that its owner publishes"},
		"no such suite": {attrs("name", "tools", "url", address, "suite", "oldstable", "key", owner.Key), "no signed list of packages", "suite"},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := repository.New(packages), call(t, tt.attrs)
			err := m.Deploy(t.Context(), c)
			output, remedy := component.Detail(err)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(remedy, tt.remedy) {
				t.Errorf("%v (remedy %q)\n%s", err, remedy, strings.Join(output, "\n"))
			}
			if err := m.Terminate(t.Context(), c); err != nil {
				t.Error(err)
			}
			if l := left(t); len(l) > 0 {
				t.Errorf("left over: %v", l)
			}
		})
	}
	t.Run("a change that does not work", func(t *testing.T) {
		m, c := repository.New(packages), call(t, attrs("name", "tools", "url", address, "suite", "stable", "key", owner.Key))
		if err := m.Deploy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		next := *c
		next.Old, next.Attrs = c.Attrs, attrs("name", "tools", "url", address, "suite", "stable", "key", other.Key)
		if err := m.Reconfigure(t.Context(), &next); err == nil {
			t.Error("it succeeded")
		}
		if err := m.Ping(t.Context(), c); err != nil {
			t.Errorf("it is not as it was: %v", err)
		}
		if err := m.Terminate(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
}

func TestPlanningRefuses(t *testing.T) {
	key := "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZgAAABYJKwYBBAHaRw8BAQdA\n-----END PGP PUBLIC KEY BLOCK-----\n"
	for name, tt := range map[string]struct{ attr, text string }{
		"a name that leads elsewhere": {"name", "../../x"},
		"an address with a user":      {"url", "http://u:p@h/debian"},
		"an address with an option":   {"url", "http://h/debian\nTrusted: yes"},
		"an address of another kind":  {"url", "file:///etc"},
		"a suite with an option":      {"suite", "stable\nTrusted: yes"},
		"a key that is none":          {"key", "hello"},
		"a private key":               {"key", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"},
		"half a key":                  {"key", strings.TrimSuffix(key, "-----END PGP PUBLIC KEY BLOCK-----\n")},
		"a damaged key":               {"key", strings.Replace(key, "\n-----END", "\n=AAAA\n-----END", 1)},
	} {
		a := attrs("name", "tools", "url", "https://h/debian", "suite", "stable", "key", key)
		a.Set(value.Attr{Name: tt.attr, Value: value.String(tt.text)})
		if p := componenttest.Problems(repository.New(packages).Class(), a, component.Target{}); len(p) != 1 || p[0].Attr != tt.attr || p[0].Remedy == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p := componenttest.Problems(repository.New(packages).Class(), attrs("name", "tools", "url", "https://h/debian", "key", key), component.Target{}); len(p) != 0 {
		t.Errorf("what is right is refused: %+v", p)
	}
}
