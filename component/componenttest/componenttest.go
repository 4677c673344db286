// Package componenttest is the suite that every component manager passes: each
// operation twice, a new daemon between any two, operations cut off in the
// middle, every change, hostile strings, what is kept at the end, and otherwise
// nothing left. Managers
// outside the tree can run it too. It starts no goroutine that outlives a test.
package componenttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"aloft/component"
	"aloft/value"
)

// Factory returns a manager such as a daemon has that has just started, and
// what ends that daemon. Several daemons follow each other over one work
// folder; nothing else may pass from one to the next.
type Factory func(t testing.TB) (m component.Manager, end func())

// Case is a component to run the suite over.
type Case struct {
	Name  string
	Attrs *value.Component
	// Changes are what it is reconfigured to, one after the other; each is the
	// whole set of attributes.
	Changes []*value.Component
	// Machine is where it stands. Folder is made by the suite if empty, and
	// Address is 127.0.0.1.
	Machine component.Machine
	// Sources are shipped along, named by Digest.
	Sources [][]byte
	// Prepare, if not nil, sets the scene before anything is deployed.
	Prepare func(t testing.TB, c *component.Call)
	// Check, if not nil, looks at the component with the attributes of c.Attrs
	// from outside while it runs.
	Check func(t testing.TB, c *component.Call)
	// Break, if not nil, does what Ping must then notice.
	Break func(t testing.TB, c *component.Call)
	// Gone, if not nil, looks for remains beyond files and processes.
	Gone func(t testing.TB, c *component.Call)
	// Kept, if not nil, looks for what stays at an end with keepOnTerminate true.
	Kept func(t testing.TB, c *component.Call)
	// Keeps are paths below the machine's folder that may remain.
	Keeps []string
	// Slow is for operations that take seconds each, such as installing
	// packages: each is cut off at one instant only, and hostile strings go no
	// further than deploy.
	Slow bool
	// Trusted are attributes that hostile strings are not put into, because
	// running what they say is what they are for.
	Trusted []string
}

// Run runs the suite.
func Run(t *testing.T, factory Factory, cases ...Case) {
	m, end := factory(t)
	class := m.Class()
	end()
	t.Run("class", func(t *testing.T) { checkClass(t, class) })
	for _, tt := range cases {
		t.Run(tt.Name, func(t *testing.T) {
			s := suite{class: class, factory: factory, Case: tt}
			t.Run("each operation twice", func(t *testing.T) { s.twice(t) })
			t.Run("a new daemon between any two operations", func(t *testing.T) { s.restarted(t) })
			t.Run("operations cut off and repeated", func(t *testing.T) { s.interrupted(t) })
			t.Run("terminated from any state", func(t *testing.T) { s.early(t) })
			if tt.Break != nil {
				t.Run("ping notices a break", func(t *testing.T) { s.broken(t) })
				if class.Repairs {
					t.Run("a break is repaired in place", func(t *testing.T) { s.repaired(t) })
				}
			}
			if tt.Kept != nil {
				t.Run("kept, and taken over by the next one", func(t *testing.T) { s.kept(t) })
			}
			t.Run("hostile strings", func(t *testing.T) { s.hostile(t) })
		})
	}
}

type suite struct {
	Case
	class   component.Class
	factory Factory
}

// stage is one component on one machine, through the lives of its daemons.
type stage struct {
	suite
	t      testing.TB
	m      component.Manager
	end    func()
	call   *component.Call
	env    *Env
	before map[string]string
}

func (s suite) stage(t testing.TB) *stage {
	t.Helper()
	g := &stage{suite: s, t: t, env: NewEnv(t, s.class)}
	for _, b := range s.Sources {
		g.env.Ship(b)
	}
	machine := s.Machine
	if machine.Folder == "" {
		machine.Folder = t.TempDir()
	}
	if machine.Address == "" {
		machine.Address = "127.0.0.1"
	}
	if machine.Hostname == "" {
		machine.Name, machine.Hostname = "suite/m", "m"
	}
	g.call = &component.Call{
		System: "suite", Path: value.PathOf("m", "it"), Attrs: s.Attrs, Machine: machine,
		WorkDir: filepath.Join(t.TempDir(), "work"), Env: g.env,
	}
	g.m, g.end = s.factory(t)
	t.Cleanup(func() { g.end() })
	if err := os.MkdirAll(g.call.WorkDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if s.Prepare != nil {
		s.Prepare(t, g.call)
	}
	g.before = g.files()
	return g
}

// renew ends the daemon and starts the next one.
func (g *stage) renew() {
	g.end()
	g.m, g.end = g.factory(g.t)
}

type operation struct {
	name string
	do   func(context.Context, *component.Call) error
}

func (g *stage) op(name string) operation {
	return operation{name, func(ctx context.Context, c *component.Call) error {
		switch name {
		case "deploy":
			return g.m.Deploy(ctx, c)
		case "start":
			return g.m.Start(ctx, c)
		case "reconfigure":
			return g.m.Reconfigure(ctx, c)
		case "terminate":
			return g.m.Terminate(ctx, c)
		}
		return g.m.Ping(ctx, c)
	}}
}

// try runs one operation.
func (g *stage) try(ctx context.Context, name string) error {
	c := *g.call
	c.Outputs = g.env.Outputs()
	return g.op(name).do(ctx, &c)
}

func (g *stage) run(name string) {
	g.t.Helper()
	if err := g.try(g.t.Context(), name); err != nil {
		output, remedy := component.Detail(err)
		g.t.Fatalf("%s: %v\nremedy: %s\n%s", name, err, remedy, strings.Join(output, "\n"))
	}
}

// life is the whole life of the component; step runs one operation of it.
func (g *stage) life(step func(name string)) {
	g.t.Helper()
	step("deploy")
	step("start")
	g.look()
	for _, next := range g.Changes {
		g.change(next)
		step("reconfigure")
		g.look()
	}
	step("terminate")
	g.gone()
}

func (g *stage) change(next *value.Component) {
	g.call.Old, g.call.Attrs = g.call.Attrs, next
}

func (g *stage) look() {
	g.t.Helper()
	g.run("ping")
	if g.Check != nil {
		g.Check(g.t, g.call)
	}
	if n := len(g.env.EndedRecords()); n > 0 {
		g.t.Errorf("it ended: %+v", g.env.EndedRecords())
	}
}

func (s suite) twice(t *testing.T) {
	g := s.stage(t)
	g.life(func(name string) {
		g.run(name)
		g.run(name)
	})
}

func (s suite) restarted(t *testing.T) {
	g := s.stage(t)
	running := false
	g.life(func(name string) {
		g.run(name)
		running = running && name != "terminate" || name == "start"
		g.renew()
		if running {
			g.run("start") // as a daemon does for what ran when it died
		}
	})
}

// cuts are how long an operation is let go on before it is cut off.
var cuts = []time.Duration{0, 2 * time.Millisecond, 30 * time.Millisecond}

// slowCut is that of slow operations: in their midst.
const slowCut = 2 * time.Second

// patience is how long one that was cut off may go on. Managers promise five
// seconds; the rest is for machines that are busy with other tests.
const patience = 20 * time.Second

func (s suite) interrupted(t *testing.T) {
	cuts := cuts
	if s.Slow {
		cuts = []time.Duration{slowCut}
	}
	for _, cut := range cuts {
		t.Run(cut.String(), func(t *testing.T) {
			g := s.stage(t)
			g.life(func(name string) {
				ctx, cancel := context.WithTimeout(t.Context(), cut)
				begun := time.Now()
				err := g.try(ctx, name)
				cancel()
				if d := time.Since(begun); d > cut+patience {
					t.Errorf("%s went on for %s after it was cancelled", name, d-cut)
				}
				if err != nil && cut == 0 && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
					t.Logf("%s cut off: %v", name, err)
				}
				g.renew()
				g.run(name)
			})
		})
	}
}

// early ends the component before it was ever deployed, and between deploy
// and start.
func (s suite) early(t *testing.T) {
	for _, last := range []string{"", "deploy", "start"} {
		g := s.stage(t)
		if last != "" {
			g.run("deploy")
		}
		if last == "start" {
			g.run("start")
		}
		g.renew()
		g.call.Record = component.Record{Type: component.Abnormal, Description: "the suite says so"}
		g.run("terminate")
		g.gone()
	}
}

// kept ends the component with keepOnTerminate true. The next one, which has
// nothing but what that left, takes it over, and leaves nothing.
func (s suite) kept(t *testing.T) {
	g := s.stage(t)
	for _, keep := range []bool{true, false} {
		g.call.Attrs = value.NewComponent(false, slices.Collect(s.Attrs.All())...)
		g.call.Attrs.Set(value.Attr{Name: "keepOnTerminate", Value: value.Bool(keep)})
		if err := os.MkdirAll(g.call.WorkDir, 0o755); err != nil {
			t.Fatal(err)
		}
		g.run("deploy")
		g.run("start")
		g.look()
		g.run("terminate")
		for _, p := range processesOf(g.call.WorkDir) {
			t.Errorf("left running: %s", p)
		}
		if keep {
			s.Kept(t, g.call)
		}
		if err := os.RemoveAll(g.call.WorkDir); err != nil { // as a daemon does
			t.Fatal(err)
		}
		g.renew()
	}
	g.gone()
}

func (s suite) broken(t *testing.T) {
	g := s.stage(t)
	g.run("deploy")
	g.run("start")
	g.run("ping")
	g.Break(t, g.call)
	// A supervisor may be about to repair it; either way ping must not say
	// that all is well while it is not.
	if err := g.try(t.Context(), "ping"); err == nil && len(g.env.Restarts()) == 0 {
		t.Error("ping says that all is well")
	}
	g.run("terminate")
	g.gone()
}

// repaired breaks the component, and has it put right in place: it is then as it
// was, and what Terminate gives back is what was there before Deploy.
func (s suite) repaired(t *testing.T) {
	g := s.stage(t)
	g.run("deploy")
	g.run("start")
	g.look()
	for range 2 {
		g.Break(t, g.call)
		g.change(g.call.Attrs)
		g.run("reconfigure")
		g.look()
		g.renew()
		g.run("start")
	}
	g.run("terminate")
	g.gone()
}

// gone checks that nothing is left.
func (g *stage) gone() {
	g.t.Helper()
	after := g.files()
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before, ok := g.before[path]; !ok {
			g.t.Errorf("left over: %s", path)
		} else if before != after[path] {
			g.t.Errorf("not restored: %s was %s, is %s", path, before, after[path])
		}
	}
	for path := range g.before {
		if _, ok := after[path]; !ok {
			g.t.Errorf("gone although it was there before: %s", path)
		}
	}
	for _, p := range processesOf(g.call.WorkDir) {
		g.t.Errorf("left running: %s", p)
	}
	if g.Gone != nil {
		g.Gone(g.t, g.call)
	}
}

// files lists what stands in the machine's folder, with type, mode, content.
// On a machine with a root of its own that is the case's to check.
func (g *stage) files() map[string]string {
	found := map[string]string{}
	if g.call.Machine.Folder == "/" {
		return found
	}
	filepath.WalkDir(g.call.Machine.Folder, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(g.call.Machine.Folder, path)
		if err != nil || rel == "." || slices.Contains(g.Keeps, rel) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		found[rel] = info.Mode().String()
		if info.Mode().IsRegular() {
			b, _ := os.ReadFile(path)
			found[rel] += " " + Digest(b)
		}
		return nil
	})
	return found
}

// processesOf finds the processes that know the work folder: by argument,
// environment or working directory.
func processesOf(workDir string) []string {
	var found []string
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if strings.Contains(string(args), workDir) || strings.Contains(string(env), workDir) || strings.HasPrefix(cwd, workDir) {
			found = append(found, fmt.Sprintf("pid %d: %s", pid, strings.ReplaceAll(string(args), "\x00", " ")))
		}
	}
	return found
}
