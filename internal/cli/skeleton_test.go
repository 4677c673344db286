package cli

import (
	"encoding/json"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	gopath "path"
	"path/filepath"
	"strings"
	"testing"
)

// source is the folder of aloft's source, seen from this package's.
const source = "../.."

// over is what an overlay of the go command says of the source.
type over struct{ Replace map[string]string }

// The package stands in the source only as the go command sees it: nothing is
// written there. Its suite passes, and the list that it is registered in takes
// it as the command says. (EX1, EX3)
func TestSkeletonInGoIsRightAsItStands(t *testing.T) {
	root, err := filepath.Abs(source)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var said strings.Builder
	if status := Run([]string{"component", "new", "--go", "Salutation"}, Deps{Stdout: io.Discard, Stderr: &said}); status != 0 {
		t.Fatalf("status %d: %s", status, &said)
	}
	o := over{Replace: map[string]string{}}
	here, err := filepath.Abs("salutation")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"salutation.go", "salutation_test.go"} {
		text, err := os.ReadFile(filepath.Join(here, name))
		if err != nil {
			t.Fatal(err)
		}
		if formatted, err := format.Source(text); err != nil || string(formatted) != string(text) {
			t.Errorf("%s is not in the usual form: %v", name, err)
		}
		o.Replace[filepath.Join(root, "internal/components/salutation", name)] = filepath.Join(here, name)
	}
	goCommand := func(args ...string) {
		t.Helper()
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("overlay.json", b, 0o644); err != nil {
			t.Fatal(err)
		}
		overlay, err := filepath.Abs("overlay.json")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", append([]string{args[0], "-overlay", overlay}, args[1:]...)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	// The command itself would run it, and vet, in a folder that is not there.
	tests := filepath.Join(here, "salutation.test")
	goCommand("test", "-c", "-vet=off", "-o", tests, "./internal/components/salutation")
	out, err := exec.CommandContext(t.Context(), tests, "-test.v").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestSuite/a_greeting/hostile_strings") {
		t.Errorf("its suite: %v\n%s", err, out)
	}

	list := filepath.Join(root, "internal/daemon/registry.go")
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`import "aloft/internal/components/salutation"`, "salutation.New() in the list of machineManagers"} {
		if !strings.Contains(said.String(), part) {
			t.Errorf("not said: %s\n%s", part, &said)
		}
	}
	registered := strings.NewReplacer("import (\n", "import (\n\t\"aloft/internal/components/salutation\"\n",
		"return append([]component.Manager{\n", "return append([]component.Manager{\n\t\tsalutation.New(),\n").Replace(string(text))
	if strings.Count(registered, "salutation") != 2 {
		t.Fatalf("%s has another form", list)
	}
	if err := os.WriteFile("registry.go", []byte(registered), 0o644); err != nil {
		t.Fatal(err)
	}
	if o.Replace[list], err = filepath.Abs("registry.go"); err != nil {
		t.Fatal(err)
	}
	goCommand("build", "./internal/daemon")
}

// known are the names that a component can have and that mean something else in
// all of a file of Go, or in the list of machineManagers.
func known(t *testing.T, path string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string) {
		if componentName.MatchString(name) && name == strings.ToLower(name) {
			names = append(names, name)
		}
	}
	for _, i := range f.Imports {
		if i.Name != nil {
			add(i.Name.Name)
		} else {
			add(gopath.Base(strings.Trim(i.Path.Value, `"`)))
		}
	}
	for name, o := range f.Scope.Objects {
		add(name)
		if d, ok := o.Decl.(*ast.FuncDecl); ok && name == "machineManagers" {
			for _, p := range d.Type.Params.List {
				for _, n := range p.Names {
					add(n.Name)
				}
			}
		}
	}
	return names
}

func TestSkeletonInGoIsNotCalledWhatDoesNotCompile(t *testing.T) {
	root, err := filepath.Abs(source)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	names := []string{
		"Func", "Value", "range", "Component", "OS", "main", "internal", "documentation", "init", "vendor", "testdata", "attrs", "t",
		"String", "append", "any", "Nil", "iota",
	}
	names = append(names, known(t, filepath.Join(root, "internal/daemon/registry.go"))...)
	for _, file := range []string{"name.go.txt", "name_test.go.txt"} {
		names = append(names, known(t, filepath.Join(root, "internal/cli/skeleton/go", file))...)
	}
	for _, name := range names {
		var said strings.Builder
		status := Run([]string{"component", "new", "--go", name}, Deps{Stdout: io.Discard, Stderr: &said})
		if status != 1 || !strings.Contains(said.String(), "cannot be called") {
			t.Errorf("%s: status %d: %s", name, status, &said)
		}
	}
	if files, _ := os.ReadDir("."); len(files) > 0 {
		t.Errorf("written: %v", files)
	}
}

func TestSkeletonIsNotCalledAsWhatTheLibraryHas(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"Redis", "sequence"} {
		var said strings.Builder
		status := Run([]string{"component", "new", name}, Deps{Stdout: io.Discard, Stderr: &said})
		if status != 1 || !strings.Contains(said.String(), "is a component of aloft's library") {
			t.Errorf("%s: status %d: %s", name, status, &said)
		}
	}
	if files, _ := os.ReadDir("."); len(files) > 0 {
		t.Errorf("written: %v", files)
	}
}
