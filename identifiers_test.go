package aloft_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promised are the rules and scenarios of the specification that each have a
// test named with them, as TestDI6AnyManagerTakesARequest is for DI6.
var promised = slices.Concat(
	rules("DI", 1, 10), rules("HL", 1, 4), rules("LC", 1, 9), rules("LZ", 1, 8), rules("UP", 1, 9), rules("TR", 1, 5), rules("LV", 1, 5),
	[]string{"RT01", "RT02", "RT03", "RT04", "RT05", "RT06", "RT07", "RT08", "RT09", "RT10", "RT11", "RT12"},
)

// open are those of them that have none yet, each with the reason. Who writes
// the test strikes the line.
var open = map[string]string{}

// rules returns the identifiers of a kind, from one number to another.
func rules(kind string, from, to int) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, fmt.Sprintf("%s%d", kind, n))
	}
	return list
}

var identifier = regexp.MustCompile(`(?:DI|HL|LC|LZ|UP|TR|LV|RT)[0-9]+`)

// TestEveryPromisedIdentifierHasATest lists, with -v, the tests of each rule, and
// the rules without one.
func TestEveryPromisedIdentifierHasATest(t *testing.T) {
	tested := testsByIdentifier(t)
	for _, id := range promised {
		why, isOpen := open[id]
		switch {
		case len(tested[id]) == 0 && !isOpen:
			t.Errorf("%s: no test is named with it", id)
		case len(tested[id]) == 0:
			t.Logf("%s: none: %s", id, why)
		case isOpen:
			t.Errorf("%s: has a test by now, strike it from open: %s", id, strings.Join(tested[id], ", "))
		default:
			t.Logf("%s: %s", id, strings.Join(tested[id], ", "))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(open)) {
		if !slices.Contains(promised, id) || open[id] == "" {
			t.Errorf("open has %s, which is not promised, or does not say why", id)
		}
	}
}

// testsByIdentifier returns the tests that are named with each identifier.
func testsByIdentifier(t *testing.T) map[string][]string {
	t.Helper()
	tested := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			for _, id := range identifier.FindAllString(f.Name.Name, -1) {
				tested[id] = append(tested[id], filepath.Dir(path)+"."+f.Name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range tested {
		slices.Sort(list)
	}
	return tested
}
