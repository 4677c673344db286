package user_test

import (
	"os"
	"os/exec"
	osuser "os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/user"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

func attrs(pairs ...any) *value.Component {
	c := value.NewComponent(false, value.Attr{Name: "keepOnTerminate", Value: value.Bool(false)})
	for i := 0; i < len(pairs); i += 2 {
		c.Set(value.Attr{Name: pairs[i].(string), Value: pairs[i+1].(value.Value)})
	}
	return c
}

func texts(all ...string) (v value.Vector) {
	for _, s := range all {
		v = append(v, value.String(s))
	}
	return v
}

func machine() component.Machine {
	return component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// groups asks the machine's own tool.
func groups(t testing.TB, name string) []string {
	t.Helper()
	out, err := exec.Command("id", "-nG", name).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return strings.Fields(string(out))
}

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA a@test"
	keyB = `command="true",no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB b@test`
)

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	before := map[string]string{}
	for _, f := range []string{"/etc/passwd", "/etc/group"} {
		before[f] = read(t, f)
	}
	name := value.String("alofted")
	componenttest.Run(t, func(testing.TB) (component.Manager, func()) { return user.New(), func() {} }, componenttest.Case{
		Name:    "an account",
		Machine: machine(),
		Slow:    true,
		Trusted: []string{"home"}, // a folder is made wherever it says
		Attrs:   attrs("name", name, "uid", value.Integer(4242), "authorizedKeys", texts(keyA)),
		Changes: []*value.Component{
			attrs("name", name, "uid", value.Integer(4242), "shell", value.String("/bin/bash"), "groups", texts("games", "users"), "authorizedKeys", texts(keyA, keyB)),
			attrs("name", name, "uid", value.Integer(4242), "groups", texts("games")),
		},
		Check: func(t testing.TB, c *component.Call) {
			u, err := osuser.Lookup("alofted")
			if err != nil || u.Uid != "4242" {
				t.Fatalf("%+v, %v", u, err)
			}
			want := []string{"alofted"}
			if v, ok := c.Attrs.Get("groups"); ok {
				for _, g := range v.(value.Vector) {
					want = append(want, string(g.(value.String)))
				}
			}
			if got := groups(t, "alofted"); !slices.Equal(got, want) {
				t.Errorf("groups %v, want %v", got, want)
			}
			keys := u.HomeDir + "/.ssh/authorized_keys"
			v, ok := c.Attrs.Get("authorizedKeys")
			info, err := os.Stat(keys)
			if !ok {
				if err == nil {
					t.Errorf("keys are left: %s", read(t, keys))
				}
				return
			}
			if err != nil || info.Mode().Perm() != 0o600 || strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid)) != u.Uid {
				t.Fatalf("%+v, %v", info, err)
			}
			for _, k := range v.(value.Vector) {
				if !strings.Contains(read(t, keys), "\n"+string(k.(value.String))+"\n") {
					t.Errorf("no %s in\n%s", k, read(t, keys))
				}
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			if out, err := exec.Command("usermod", "--shell", "/bin/false", "alofted").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		},
		Gone: func(t testing.TB, c *component.Call) {
			for f, was := range before {
				if got := read(t, f); got != was {
					t.Errorf("%s was\n%s\nand is\n%s", f, was, got)
				}
			}
		},
	})
}

// An account that was there gets what is wanted, and at the end what it had.
func TestAnAccountThatWasThereIsGivenBack(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	if out, err := exec.Command("useradd", "--groups", "games", "--shell", "/bin/bash", "theirs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before := read(t, "/etc/passwd")
	m := user.New()
	c := &component.Call{
		System: "s", Path: "m:u", Machine: machine(), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
		Attrs: attrs("name", value.String("theirs"), "groups", texts("users")),
	}
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := groups(t, "theirs"); !slices.Equal(got, []string{"theirs", "games", "users"}) {
		t.Errorf("groups %v", got)
	}
	if err := m.Ping(t.Context(), c); err != nil {
		t.Error(err)
	}
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := groups(t, "theirs"); !slices.Equal(got, []string{"theirs", "games"}) || read(t, "/etc/passwd") != before {
		t.Errorf("groups %v\n%s", got, read(t, "/etc/passwd"))
	}
}

// Its account goes when the last process of it has ended, which may be a moment
// later.
func TestAnAccountInUseGoesWhenItsProcessesHaveEnded(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m := user.New()
	c := &component.Call{
		System: "s", Path: "m:u", Machine: machine(), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()),
		Attrs: attrs("name", value.String("busy")),
	}
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	u, err := osuser.Lookup("busy")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the process was not left to end: %v", err)
	}
	if _, err := osuser.Lookup("busy"); err == nil {
		t.Error("the account is there")
	}
}

func TestWhatStandsInTheWayIsSaid(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m := user.New()
	for says, a := range map[string]*value.Component{
		"group nowhere does not exist": attrs("name", value.String("u1"), "groups", texts("nowhere")),
		"daemon is there already":      attrs("name", value.String("daemon"), "uid", value.Integer(4243)),
		"UID 4244 is not unique":       attrs("name", value.String("u3"), "uid", value.Integer(4244)),
	} {
		if strings.HasPrefix(says, "UID") {
			if out, err := exec.Command("useradd", "--uid", "4244", "u2").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		c := &component.Call{System: "s", Path: "m:u", Machine: machine(), WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()), Attrs: a}
		if err := m.Deploy(t.Context(), c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		if err := m.Terminate(t.Context(), c); err != nil {
			t.Errorf("after %q: %v", says, err)
		}
	}
	if _, err := osuser.Lookup("u2"); err != nil {
		t.Error("somebody else's account is gone")
	}
}

func TestPlanningRefuses(t *testing.T) {
	for name, a := range map[string]*value.Component{
		"an option as a name": attrs("name", value.String("-u")),
		"a field too many":    attrs("name", value.String("a:b")),
		"a relative home":     attrs("name", value.String("a"), "home", value.String("home")),
		"two keys in one":     attrs("name", value.String("a"), "authorizedKeys", texts("a\nb")),
		"a group with commas": attrs("name", value.String("a"), "groups", texts("a,b")),
		"root's number":       attrs("name", value.String("a"), "uid", value.Integer(0)),
	} {
		if p := componenttest.Problems(user.New().Class(), a, component.Target{Isolation: true}); len(p) != 1 || p[0].Message == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
