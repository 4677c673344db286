package editors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aloft/api"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// TestMain removes the program that program builds.
func TestMain(m *testing.M) {
	status := m.Run()
	if err := os.RemoveAll(built.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// program returns the path of aloft, built for this test without the race
// detector.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "editors"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(built.dir, "aloft"), "aloft/cmd/aloft").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "aloft")
}

// desk is a folder with copies of the examples, and a home for what is
// deployed from there.
type desk struct {
	t         *testing.T
	dir, home string
	own       string // Neovim's own files
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), own: t.TempDir()}
	home, err := os.MkdirTemp("", "aloft") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	d.home = home
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	if err := os.CopyFS(d.dir, os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) read(name string) string {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// neovim runs a script of vim/test in an editor without a screen, and stores
// what it found in findings. The script may ask for what it is to do, in want.
func (d *desk) neovim(script string, want, findings any) {
	d.t.Helper()
	path, err := filepath.Abs("vim")
	if err != nil {
		d.t.Fatal(err)
	}
	out := filepath.Join(d.own, "findings.json")
	session, err := json.Marshal(map[string]any{
		"script": filepath.Join(path, "test", script+".lua"), "findings": out,
		"program": program(d.t), "home": d.home, "want": want,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nvim", "--clean", "--headless",
		"--cmd", "set rtp^="+path, "-S", filepath.Join(path, "test", "session.lua"))
	cmd.Dir = d.dir
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "SESSION="+string(session), "PATH="+built.dir+":"+os.Getenv("PATH"), "ALOFT_HOME="+d.home)
	for _, kind := range []string{"CONFIG", "DATA", "STATE", "CACHE"} {
		cmd.Env = append(cmd.Env, "XDG_"+kind+"_HOME="+filepath.Join(d.own, strings.ToLower(kind)))
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%s.lua: %v\n%s", script, err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := json.Unmarshal(text, findings); err != nil {
		d.t.Fatalf("%s.lua: %v\n%s", script, err, text)
	}
}

// aloft runs a command and returns its output and exit status.
func (d *desk) aloft(args ...string) (string, int) {
	d.t.Helper()
	cmd := exec.Command(program(d.t), append([]string{"--home", d.home}, args...)...)
	cmd.Dir = d.dir
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		d.t.Fatalf("aloft %v: %v", args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// equal fails unless the findings called what are those wanted.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s\ngot:\n%v\nwant:\n%v", what, got, want)
	}
}

func contains(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s: no %q in\n%s", what, w, got)
		}
	}
}

// TestNeovim drives the server as people do, from Neovim.
func TestNeovim(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and deploys with it")
	}
	program(t)
	for _, c := range []struct {
		promise string
		test    func(*testing.T)
	}{
		{"a mistake is shown while it is typed and goes when it is mended", mistakes},
		{"what can be written is offered", completions},
		{"names lead to where they are defined and used and say what they mean", navigation},
		{"a component is renamed in all files or not at all", renaming},
		{"text gets the form that fmt gives it", formatting},
		{"what is in a description is outlined, folded and coloured", outline},
		{"a description is planned, deployed and terminated", commands},
		{"make lists the mistakes", makeLists},
		{"lines are indented while they are typed as fmt does", indentation},
		{"files share servers, and a missing program is said once", starting},
	} {
		t.Run(c.promise, c.test)
	}
}

func mistakes(t *testing.T) {
	type mistake struct {
		Code, Message string
		From, To      [2]int
	}
	var got struct {
		Found         []mistake
		Typed, Mended string
	}
	newDesk(t).neovim("diagnostics", nil, &got)
	equal(t, "typed", got.Typed, "    readyPort web:nginx:prot;")
	equal(t, "mended", got.Mended, "    readyPort web:nginx:port;")
	if len(got.Found) != 1 {
		t.Fatalf("mistakes: %+v", got.Found)
	}
	m := got.Found[0]
	equal(t, "code", m.Code, "SDL801")
	equal(t, "begin", m.From, [2]int{26, 14})
	equal(t, "end", m.To, [2]int{26, 28})
	contains(t, "message", m.Message, "web:nginx:prot", "did you mean web:nginx:port?")
}

func completions(t *testing.T) {
	type item struct{ Detail, Text, Also string }
	var got struct {
		Attributes, Parts, Prototypes, Files, InFolder, Classes, Library map[string]item
		Inserted                                                         string
	}
	newDesk(t).neovim("completion", nil, &got)
	for _, c := range []struct {
		what    string
		offered map[string]item
		label   string
		want    item
	}{
		{"inherited attribute", got.Attributes, "app", item{"extends Process, { … }", "app", ""}},
		{"attribute of the class", got.Attributes, "cores", item{"integer, default 1", "cores", ""}},
		{"attribute in a reference", got.Parts, "appendOnly", item{"true", "appendOnly", ""}},
		{"output in a reference", got.Parts, "host", item{"string, set at run time", "host", ""}},
		{"prototype of the file", got.Prototypes, "AppMachine", item{"extends Machine, { … }", "AppMachine", ""}},
		{"included prototype", got.Prototypes, "Redis", item{"The in-memory data store", "Redis", ""}},
		{"file beside", got.Files, "hello.sf", item{"", "hello.sf", ""}},
		{"folder beside", got.Files, "parts/", item{"", "parts/", ""}},
		{"file in a folder", got.InFolder, "parts/cache.sf", item{"", "parts/cache.sf", ""}},
		{"class", got.Classes, "Nginx", item{"Web server and load balancer", "Nginx", ""}},
		{"prototype of the library", got.Library, "Process", item{got.Library["Process"].Detail, "Process", "2 #include \"aloft/process.sf\"\n"}},
	} {
		if i, offered := c.offered[c.label]; !offered {
			t.Errorf("%s: %s is not among %v", c.what, c.label, slices.Sorted(maps.Keys(c.offered)))
		} else {
			equal(t, c.what, i, c.want)
		}
	}
	for what, offered := range map[string]map[string]item{"reference": got.Parts, "class": got.Classes, "file": got.InFolder} {
		if _, there := offered["AppMachine"]; there {
			t.Errorf("a prototype is offered as part of a %s", what)
		}
	}
	equal(t, "inserted by CTRL-X CTRL-O", got.Inserted, "  app3 extends AppMachine")
}

func navigation(t *testing.T) {
	type place struct {
		File, Line  string
		Col, Server int
	}
	var got struct {
		Prototype, Reference, Include, Library place
		References                             []string
		Hover                                  struct{ Attribute, Prototype, Reference string }
	}
	d := newDesk(t)
	d.neovim("navigation", nil, &got)
	server := got.Prototype.Server
	own, cache := filepath.Join(d.dir, "guestbook.sf"), filepath.Join(d.own, "cache", "aloft", "library", "aloft")
	equal(t, "prototype", got.Prototype, place{own, "AppMachine extends Machine {", 1, server})
	equal(t, "reference", got.Reference, place{own, "    redis extends Redis { appendOnly true; }", 5, server})
	equal(t, "library", got.Library, place{filepath.Join(cache, "vm.sf"), "VM extends Compound {", 1, server})
	equal(t, "include", got.Include.File, filepath.Join(cache, "components.sf"))
	equal(t, "server of the library", got.Include.Server, server)
	equal(t, "references", strings.Join(got.References, ", "), "24 redis, 25 redis, 33 redis")
	contains(t, "hover over an attribute", got.Hover.Attribute, "appendOnly true", "boolean", "every change is on disk", "redis.sf")
	contains(t, "hover over a prototype", got.Hover.Prototype, "Web server and load balancer", "nginx.sf")
	contains(t, "hover over a reference", got.Hover.Reference, "set at run time", "address that clients reach it by")
}

// The component db is given in one file, and spoken of in both.
const (
	shop = `#include "parts.sf"

sfConfig extends Shop {
  db:memory 2048;
  web extends Front;
  spare extends VM;
  address LAZY db:redis:uri;
}
`
	parts = `#include "aloft/components.sf"

// What every shop has, the db above all.
Shop extends {
  db extends VM { redis extends Redis; }
}

Front extends VM {
  app extends Process {
    command [| "front", "db" |];
    env extends DATA { STORE LAZY db:redis:host; }
  }
}
`
)

func renaming(t *testing.T) {
	var got struct {
		Clash, Captured, Library string
		Heard                    []string
	}
	d := newDesk(t)
	d.write("shop.sf", shop)
	d.write("parts.sf", parts)
	d.neovim("rename", nil, &got)
	equal(t, "refused for a clash", got.Clash, "sfConfig has an attribute web already")
	contains(t, "refused for a name that is found nearer", got.Captured, "app:redis:host")
	contains(t, "refused for the library", got.Library, "VM is given by the built-in library")
	if len(got.Heard) > 0 {
		t.Errorf("the editor said %q", got.Heard)
	}
	renamed := strings.NewReplacer("db:", "store:", "db extends", "store extends")
	equal(t, "shop.sf", d.read("shop.sf"), renamed.Replace(shop))
	equal(t, "parts.sf", d.read("parts.sf"), renamed.Replace(parts))
	if out, status := d.aloft("check", "shop.sf"); status != 0 {
		t.Errorf("after renaming: %s", out)
	}
}

func formatting(t *testing.T) {
	var got struct{ Before, All, Part string }
	d := newDesk(t)
	d.neovim("format", nil, &got)
	if d.read("guestbook.sf") == got.Before {
		t.Fatal("the text was in the usual form")
	}
	want, status := d.aloft("fmt", "guestbook.sf")
	if status != 0 {
		t.Fatal(want)
	}
	equal(t, "formatted", got.All, want)
	equal(t, "formatted by gq", got.Part, want)
}

func outline(t *testing.T) {
	var got struct {
		Symbols, Folds, Lenses []string
		Tokens                 map[string]string // by line
	}
	newDesk(t).neovim("outline", nil, &got)
	contains(t, "symbols", strings.Join(got.Symbols, "\n"),
		"Class AppMachine\n  Module python\n    Property name\n  Module code\n",
		"Module sfConfig\n  Module db\n    Module redis\n      Property appendOnly\n  Module app1\n")
	contains(t, "folds", strings.Join(got.Folds, "\n"), "1-5 comment", "13-28 region", "31-49 region")
	equal(t, "lenses", strings.Join(got.Lenses, ", "), "31 Plan: aloft.plan, 31 Deploy: aloft.deploy, 31 Terminate: aloft.terminate")
	for line, want := range map[string]string{
		"5":  "//               └── app2 ──┴── db/comment",
		"6":  `#include/keyword "aloft/components.sf"/string`,
		"9":  `Machine/class extends/keyword VM/type cloudProvider/property "local"/string`,
		"24": "REDIS_HOST/property LAZY/keyword db/variable redis/variable host/variable // known when db has an address/comment",
		"27": "readyPort/property 8000/number",
	} {
		equal(t, "tokens of line "+line, got.Tokens[line], want)
	}
}

func commands(t *testing.T) {
	type want struct {
		Command string `json:"command,omitempty"`
		Lens    string `json:"lens,omitempty"`
		Answer  string `json:"answer"`
	}
	type outcome struct {
		Asked, Shown []string
		Err          string
		Result       struct {
			Status int
			Output string
		}
	}
	d := newDesk(t)
	t.Cleanup(d.clear)
	do := func(w want) (got outcome) {
		t.Helper()
		d.neovim("command", w, &got)
		if got.Err != "" {
			t.Errorf("%+v: %s", w, got.Err)
		}
		return got
	}
	deployed := func() (running []string) {
		t.Helper()
		var systems []api.System
		if out, status := d.aloft("systems", "-o", "json"); status != 0 || json.Unmarshal([]byte(out), &systems) != nil {
			t.Fatalf("systems: exit %d\n%s", status, out)
		}
		for _, s := range systems {
			running = append(running, s.Name+" "+s.State)
		}
		return running
	}

	alone := do(want{Command: "AloftPlan"})
	equal(t, "status of plan without a daemon", alone.Result.Status, 1)
	contains(t, "plan without a daemon", strings.Join(alone.Shown, "\n"), "no daemon is running", "aloft daemon start")
	if out, status := d.aloft("daemon", "start"); status != 0 {
		t.Fatal(out)
	}

	planned := do(want{Command: "AloftPlan"})
	equal(t, "status of plan", planned.Result.Status, 2)
	equal(t, "questions of plan", len(planned.Asked), 0)
	contains(t, "plan", strings.Join(planned.Shown, "\n"), "first", "second", "site")

	refused := do(want{Lens: "Deploy", Answer: "Cancel"})
	equal(t, "question", strings.Join(refused.Asked, "\n"), "Deploy hello?")
	equal(t, "systems without consent", len(deployed()), 0)

	up := do(want{Lens: "Deploy", Answer: "Deploy"})
	equal(t, "said", strings.Join(up.Shown, "\n"), "Deploying hello: done")
	equal(t, "systems", strings.Join(deployed(), ", "), "hello running")

	down := do(want{Command: "AloftTerminate", Answer: "Terminate"})
	equal(t, "question", strings.Join(down.Asked, "\n"), "Terminate hello?")
	equal(t, "said", strings.Join(down.Shown, "\n"), "Terminating hello: done")
	equal(t, "systems at the end", len(deployed()), 0)

	if out, status := d.aloft("daemon", "stop"); status != 0 {
		t.Errorf("stop the daemon: %s", out)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), d.home) {
		t.Errorf("left behind: %v\n%s", err, mounts)
	}
}

// clear ends what a failed test has left.
func (d *desk) clear() {
	if !d.t.Failed() {
		return
	}
	log, _ := os.ReadFile(filepath.Join(d.home, "daemon.log"))
	d.t.Logf("daemon.log:\n%s", log)
	for _, args := range [][]string{{"down", "hello", "-y", "--now"}, {"daemon", "stop"}} {
		out, status := d.aloft(args...)
		d.t.Logf("aloft %v: exit %d\n%s", args, status, out)
	}
}

func makeLists(t *testing.T) {
	var got []string
	newDesk(t).neovim("make", nil, &got)
	equal(t, "quickfix list", strings.Join(got, "\n"), "guestbook.sf:21:10 e SDL801 (link): reference not found: web:nginx:usr\n"+
		"guestbook.sf:27:15 e SDL801 (link): reference not found: web:nginx:prot")
}

func indentation(t *testing.T) {
	var got map[string]string
	d := newDesk(t)
	hard, err := os.ReadFile("vim/test/hard.sf") // all that lines can begin with
	if err != nil {
		t.Fatal(err)
	}
	d.write("hard.sf", string(hard))
	d.neovim("indent", nil, &got)
	if len(got) < 3 {
		t.Fatalf("only %d descriptions were typed", len(got))
	}
	for file, typed := range got {
		d.write("typed.sf", typed)
		want, status := d.aloft("fmt", "typed.sf")
		if status != 0 {
			t.Errorf("%s: %s", file, want)
			continue
		}
		equal(t, file, typed, want)
	}
}

func starting(t *testing.T) {
	var got struct {
		Missing                []string
		Commands, CommandsThen int
		Hello                  int `json:"hello.sf"`
		Guestbook              int `json:"guestbook.sf"`
		A                      int `json:"repository/a.sf"`
		B                      int `json:"repository/parts/b.sf"`
		Ended                  string
		Again                  int
	}
	newDesk(t).neovim("start", nil, &got)
	if len(got.Missing) != 1 {
		t.Errorf("without the program: %q", got.Missing)
	}
	contains(t, "without the program", strings.Join(got.Missing, ""), "no program /nowhere/aloft", "setup { cmd =")
	equal(t, "commands without the program", got.Commands, 0)
	equal(t, "commands with it", got.CommandsThen, 2)
	equal(t, "server of the same folder", got.Guestbook, got.Hello)
	equal(t, "server of the same repository", got.B, got.A)
	if got.A == got.Hello || got.Again == got.A {
		t.Errorf("servers: %+v", got)
	}
	contains(t, "after the end of the server", got.Ended, ":edit starts it again")
}
