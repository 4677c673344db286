package executables_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/executables"
	"aloft/internal/components/executables/trial"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is a folder of executables: name to text.
type folder map[string]string

// attrs returns the attributes of a component of these executables, and what is
// sent along.
func (f folder) attrs(given ...value.Attr) (*value.Component, [][]byte) {
	files, sources := value.Vector{}, [][]byte{}
	for name, text := range f {
		text = "#!/bin/sh\n" + text
		files = append(files, value.NewComponent(true,
			value.Attr{Name: "path", Value: value.String(name)}, value.Attr{Name: "mode", Value: value.String("0755")},
			value.Attr{Name: "digest", Value: value.String(componenttest.Digest([]byte(text)))}))
		sources = append(sources, []byte(text))
	}
	shipped := value.NewComponent(true, value.Attr{Name: "path", Value: value.String("scripts")}, value.Attr{Name: "files", Value: files})
	if said := f["describe"]; said != "" {
		shipped.Set(value.Attr{Name: "describe", Value: value.String(strings.TrimSuffix(strings.TrimPrefix(said, "cat <<'END'\n"), "END\n"))})
	}
	return value.NewComponent(false, append(given,
		value.Attr{Name: "sfClass", Value: value.String("script:scripts")},
		value.Attr{Name: catalog.ScriptsAttr, Value: shipped})...), sources
}

func text(name, s string) value.Attr { return value.Attr{Name: name, Value: value.String(s)} }

// service keeps a file, and a process that is said to serve it.
var service = folder{
	"deploy":      `printf %s "$ALOFT_A_TEXT" > "$ALOFT_MACHINE_FOLDER/text"` + "\n" + `echo "{\"file\": \"$ALOFT_MACHINE_FOLDER/text\", \"size\": 12}" >&3` + "\n",
	"start":       `[ -e pid ] && grep -q . "/proc/$(cat pid)/cmdline" 2>/dev/null || { sleep 1000 & echo $! > pid; }` + "\n",
	"reconfigure": `printf %s "$ALOFT_A_TEXT" > "$ALOFT_MACHINE_FOLDER/text"` + "\n",
	"terminate":   `rm -f "$ALOFT_MACHINE_FOLDER/text" pid` + "\n",
	"ping":        `grep -q . "/proc/$(cat pid)/cmdline" && [ -e "$ALOFT_MACHINE_FOLDER/text" ]` + "\n",
	"describe":    "cat <<'END'\n" + `{"outputs":[{"name":"file","description":"the text"},{"name":"size","type":"integer","description":"its size"}]}` + "\nEND\n",
}

func TestSuite(t *testing.T) {
	one, sources := service.attrs(text("text", "one; $(rm -rf /)"))
	two, _ := service.attrs(text("text", "two"))
	factory, c := trial.Case("script:scripts", []*value.Component{one, two}, sources)
	c.Machine.Folder = t.TempDir()
	c.Check = func(t testing.TB, c *component.Call) {
		want, _ := c.Attrs.Get("text")
		got, err := os.ReadFile(filepath.Join(c.Machine.Folder, "text"))
		if err != nil || value.String(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
		if out := c.Env.(*componenttest.Env).Outputs(); out["size"] != value.Integer(12) {
			t.Errorf("outputs %v", out)
		}
	}
	c.Break = func(t testing.TB, c *component.Call) {
		if err := os.Remove(filepath.Join(c.Machine.Folder, "text")); err != nil {
			t.Error(err)
		}
	}
	componenttest.Run(t, factory, c)
}

// stage returns a manager's call for a component of these executables.
func stage(t *testing.T, f folder, given ...value.Attr) *component.Call {
	t.Helper()
	attrs, sources := f.attrs(given...)
	env := componenttest.NewEnv(t, executables.New().Class())
	for _, s := range sources {
		env.Ship(s)
	}
	return &component.Call{
		System: "shop", Path: value.PathOf("m", "it"), Attrs: attrs, WorkDir: t.TempDir(), Env: env,
		Machine: component.Machine{Folder: t.TempDir(), Address: "127.0.0.1", Hostname: "m"},
	}
}

// The contract of runtime.md section 11, as an executable sees it.
func TestEX1AnExecutableGetsTypedAttributesAndTellsOutputs(t *testing.T) {
	f := folder{
		"deploy":      "cat > stdin; cp \"$ALOFT_ATTRIBUTES\" file; env > env\necho loud; printf 'port=80\\nname=a=b c\\n' >&3\n",
		"reconfigure": "cp \"$ALOFT_OLD_ATTRIBUTES\" old; echo '{\"port\": \"81\"}' >&3\n",
		"terminate":   "printf %s \"$ALOFT_RECORD\" > ../record\n",
	}
	c := stage(t, f, text("my-name", "x y"), value.Attr{Name: "count", Value: value.Integer(7)}, value.Attr{Name: "on", Value: value.Bool(true)},
		value.Attr{Name: "list", Value: value.Vector{value.Integer(1)}}, text("zero", "a\x00b"))
	c.Outputs = map[string]value.Value{"before": value.String("kept")}
	m := executables.New()
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(c.WorkDir, name))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	typed := `{"$cd":"eager","attrs":[["my-name","x y"],["count",7],["on",true],["list",[1]],["zero","a\u0000b"],["sfClass","script:scripts"]]}`
	if read("stdin") != typed || read("file") != typed {
		t.Errorf("standard input %s\nfile %s", read("stdin"), read("file"))
	}
	env := read("env")
	for _, want := range []string{
		"ALOFT_A_MY_NAME=x y", "ALOFT_A_COUNT=7", "ALOFT_A_ON=true", "ALOFT_SYSTEM=shop", "ALOFT_PATH=m:it", "ALOFT_OPERATION=deploy",
		`ALOFT_OUTPUTS={"before":"kept"}`, "ALOFT_WORK_DIR=" + c.WorkDir, "ALOFT_DEADLINE=",
	} {
		if !strings.Contains("\n"+env, "\n"+want) {
			t.Errorf("the environment has no %s", want)
		}
	}
	if strings.Contains(env, "ALOFT_A_LIST") || strings.Contains(env, "ALOFT_A_ZERO") || strings.Contains(env, "ALOFT_A_SF") {
		t.Errorf("the environment has what is not simple:\n%s", env)
	}
	out := c.Env.(*componenttest.Env).Outputs()
	if out["port"] != value.String("80") || out["name"] != value.String("a=b c") {
		t.Errorf("outputs %v", out)
	}
	if _, err := os.Lstat(filepath.Join(c.WorkDir, "attributes.json")); err == nil {
		t.Error("attributes, and secrets among them, lie in the work folder after the call")
	}
	next := *c
	next.Old = c.Attrs
	next.Attrs, _ = f.attrs(text("my-name", "z"))
	if err := m.Reconfigure(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	if read("old") != typed || c.Env.(*componenttest.Env).Outputs()["port"] != value.String("81") {
		t.Errorf("before: %s", read("old"))
	}
	c.Record = component.Record{Type: component.Abnormal, Description: "it fell"}
	c.WorkDir = next.WorkDir
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(c.WorkDir), "record"))
	var rec component.Record
	if err != nil || json.Unmarshal(b, &rec) != nil || rec.Type != component.Abnormal || rec.Description != "it fell" {
		t.Errorf("record %s, %v", b, err)
	}
}

func TestWhatAnExecutableDidIsSaid(t *testing.T) {
	described := folder{"describe": "cat <<'END'\n" + `{"outputs":[{"name":"size","type":"integer"}]}` + "\nEND\n"}
	for name, tt := range map[string]struct {
		deploy, says, remedy string
		more                 folder
	}{
		"a failure":           {deploy: "echo 'no licence' >&2; echo bye; exit 3", says: "deploy: exit status 3: no licence"},
		"a silent failure":    {deploy: "echo on standard output; exit 1", says: "deploy: exit status 1, and said nothing"},
		"no line on 3":        {deploy: "echo hello >&3", says: `"hello" is no line name=value`, remedy: "name=value"},
		"no JSON on 3":        {deploy: `echo '{"a": }' >&3`, says: "invalid character", remedy: "JSON"},
		"an attribute on 3":   {deploy: "echo text=x >&3", says: `"text", which is an attribute of its own`, remedy: "another name"},
		"a strange output":    {deploy: "echo port=1 >&3", says: "which describe does not name", remedy: "describe", more: described},
		"an output of a kind": {deploy: "echo size=big >&3", says: `"size": want a integer`, remedy: "types", more: described},
	} {
		f := folder{"deploy": tt.deploy, "terminate": "true"}
		maps.Copy(f, tt.more)
		err := executables.New().Deploy(t.Context(), stage(t, f, text("text", "a")))
		_, remedy := component.Detail(err)
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(remedy, tt.remedy) {
			t.Errorf("%s: %v (remedy %q)", name, err, remedy)
		}
	}
}

func TestStatus75IsTriedAgain(t *testing.T) {
	c := stage(t, folder{"deploy": "[ -e tried ] || { touch tried; echo 'the lock is held' >&2; exit 75; }", "terminate": "true"})
	if err := executables.New().Deploy(t.Context(), c); err != nil {
		t.Error(err)
	}
	c = stage(t, folder{"deploy": "exit 75", "terminate": "true"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := executables.New().Deploy(ctx, c); err == nil || !strings.Contains(err.Error(), "exit status 75") {
		t.Errorf("%v", err)
	}
}

func TestAnExecutableThatHangsIsKilledWithAllItStarted(t *testing.T) {
	c := stage(t, folder{
		"deploy":    "trap '' TERM\nsleep 1000 & echo $! > one\nsetsid sleep 1000 & echo $! > two\ntouch ready; wait; sleep 1000\n",
		"terminate": "true",
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- executables.New().Deploy(ctx, c) }()
	for {
		if _, err := os.Lstat(filepath.Join(c.WorkDir, "ready")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	begun := time.Now()
	if err := <-done; err == nil {
		t.Error("it succeeded")
	}
	if d := time.Since(begun); d > 20*time.Second { // promised are five; the rest is for a busy machine
		t.Errorf("it took %s", d)
	}
	for _, name := range []string{"one", "two"} {
		b, err := os.ReadFile(filepath.Join(c.WorkDir, name))
		var pid int
		if _, serr := fmt.Sscan(string(b), &pid); err != nil || serr != nil {
			t.Fatal(err, serr)
		}
		if syscall.Kill(pid, 0) == nil && !zombie(pid) {
			t.Errorf("process %d goes on", pid)
		}
	}
}

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func TestAFailedReconfigureGoesBack(t *testing.T) {
	f := folder{
		"deploy":      `printf %s "$ALOFT_A_TEXT" > text`,
		"reconfigure": `printf %s "$ALOFT_A_TEXT" > text; [ "$ALOFT_A_TEXT" != bad ]`,
		"terminate":   "true",
	}
	c := stage(t, f, text("text", "good"))
	m := executables.New()
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	next := *c
	next.Old = c.Attrs
	next.Attrs, _ = f.attrs(text("text", "bad"))
	if err := m.Reconfigure(t.Context(), &next); err == nil {
		t.Error("it succeeded")
	}
	if b, err := os.ReadFile(filepath.Join(c.WorkDir, "text")); err != nil || string(b) != "good" {
		t.Errorf("%q, %v", b, err)
	}
}
