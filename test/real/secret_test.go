package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/test/leak"
)

// password has what forms of texts must escape.
const password = `c0rrect<h"rse/b&ttery+%41é`

// vault is a system with a secret on one of its two machines, whose name the
// other refers to as well.
const vault = `
sfConfig extends {
  a extends VM {
    conf extends ConfigFile { path "app.conf"; format "template"; template "password={{.password}}\n"; values extends DATA { password extends DATA Secret { name "shop/db"; } } }
    page extends Website { pages extends DATA { index "hello"; } }
  }
  b extends VM { other extends File { path "plain.txt"; content "nothing"; } }
}
`

// set gives a secret its content.
func (h *home) set(name, content string) {
	h.t.Helper()
	cmd := h.command("secret", "set", name)
	cmd.Stdin = strings.NewReader(content + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("secret set: %v\n%s", err, out)
	}
}

// holding returns the files of components that hold what was put into them.
func (h *home) holding(content string) (files []string) {
	h.t.Helper()
	for _, root := range []string{filepath.Join(h.dir, "machines"), h.dir} {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && filepath.Base(path) == "app.conf" {
				if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), content) {
					files = append(files, path)
				}
			}
			return nil
		})
	}
	return files
}

func TestSecretIsWhereItIsNeededAndNowhereElse(t *testing.T) {
	h := newHome(t)
	h.user = nil
	file := h.write("vault", vault)
	h.set("shop/db", password)
	if out := h.do("secret", "list"); !strings.Contains(out, "shop/db") || strings.Contains(out, password) {
		t.Errorf("secret list:\n%s", out)
	}
	plan, _ := h.try("plan", file, "-o", "json")
	up := h.do("up", file, "-y")
	all := plan + up + h.do("get", "vault", "a:conf") + h.do("get", "vault", "a:conf", "-o", "json") + h.do("events", "vault", "-o", "json") + h.do("status", "vault", "-o", "json")
	if len(h.holding("password="+password)) == 0 {
		t.Fatal("the component that refers to the secret does not have it")
	}
	if out, status := h.try("secret", "rm", "shop/db"); status == 0 || !strings.Contains(out, "in use by system vault") {
		t.Errorf("a secret in use was removed: %s", out)
	}

	// Another content is a change; the former is forgotten.
	const second = `an0ther<p"ssword/&+%42ü`
	h.set("shop/db", second)
	if out, status := h.try("plan", file); status != 2 || !strings.Contains(out, "a:conf") || strings.Contains(out, second) {
		t.Errorf("plan after another content: exit %d\n%s", status, out)
	}
	all += h.do("up", file, "-y")
	if len(h.holding("password="+second)) == 0 || len(h.holding("password="+password)) != 0 {
		t.Error("the new content is not the one in use")
	}
	all += h.do("events", "vault")

	for _, content := range []string{password, second} {
		find := leak.New(content)
		if how := find.In([]byte(all)); how != "" {
			t.Errorf("what commands print shows it (%s)", how)
		}
		leaks, looked, err := find.Files(h.dir, func(path string) bool { return filepath.Base(path) == "app.conf" })
		if err != nil || looked < 20 {
			t.Errorf("looked through %d files: %v", looked, err)
		}
		for _, l := range leaks {
			t.Errorf("the secret is in %s", l)
		}
		leaks, looked, err = find.Processes()
		if err != nil || looked < 6 {
			t.Errorf("looked through %d: %v", looked, err)
		}
		for _, l := range leaks {
			t.Errorf("a process shows the secret: %s", l)
		}
	}

	// What finds nothing has to find what is planted.
	planted := filepath.Join(h.dir, "work", "planted")
	if err := os.MkdirAll(filepath.Dir(planted), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(planted, []byte("leak "+second), 0o600); err != nil {
		t.Fatal(err)
	}
	if leaks, _, _ := leak.New(second).Files(h.dir, func(path string) bool { return filepath.Base(path) == "app.conf" }); len(leaks) != 1 {
		t.Errorf("the planted leak: %v", leaks)
	}
	if err := os.Remove(planted); err != nil {
		t.Fatal(err)
	}

	h.do("down", "vault", "-y")
	h.do("secret", "rm", "shop/db")
}

func TestSecretThatNobodySetIsMadeUp(t *testing.T) {
	h := newHome(t)
	file := h.write("vault", vault)
	if out := h.do("up", file, "-y"); !strings.Contains(out, "secret shop/db does not exist yet") {
		t.Errorf("up does not say that it makes one up:\n%s", out)
	}
	var list []api.Secret
	h.json(&list, "secret", "list")
	if len(list) != 1 || list[0].Name != "shop/db" || list[0].Version != 1 || list[0].By != "aloft" || time.Since(list[0].Changed) > time.Hour {
		t.Errorf("secrets: %+v", list)
	}
	files := h.holding("password=")
	if len(files) == 0 {
		t.Fatal("the component has none")
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if made := strings.TrimSpace(strings.TrimPrefix(string(text), "password=")); len(made) < 20 {
		t.Errorf("what was made up: %q", made)
	}
	if out, status := h.try("up", file, "-y"); status != 0 || !strings.Contains(out, "no changes") {
		t.Errorf("again: exit %d\n%s", status, out)
	}
	h.do("down", "vault", "-y")
}

func TestSecretInAnEnvironmentIsRefusedWhilePlanning(t *testing.T) {
	h := newHome(t)
	file := h.write("seen", `sfConfig extends { m extends VM { p extends Process { command [| "sleep", "100" |]; env extends DATA { TOKEN extends DATA Secret { name "token"; } } } } }`)
	if out, status := h.try("up", file, "-y"); status != 1 || !strings.Contains(out, "secret token would be") {
		t.Errorf("exit %d\n%s", status, out)
	}
}
