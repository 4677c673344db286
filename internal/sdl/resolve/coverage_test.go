package resolve

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/library"
)

// identifiers lists every identifier of the language reference: its rules and
// departures, the classes of its operators and functions, the schema elements,
// the table of constants, typed JSON, and the codes of diagnostics.
func identifiers() []string {
	var ids []string
	for _, s := range []struct {
		prefix string
		last   int
	}{
		{"LX", 13},
		{"GR", 9},
		{"BD", 4},
		{"IN", 8},
		{"PH", 4},
		{"TY", 11},
		{"PL", 7},
		{"FN", 1},
		{"CF", 4},
		{"LK", 16},
		{"CV", 4},
		{"AS", 8},
		{"DG", 5},
		{"D", 17},
		{"RX", 5},
		{"CO", 4},
	} {
		for n := range s.last {
			ids = append(ids, fmt.Sprintf("%s%d", s.prefix, n+1))
		}
	}
	ids = append(ids,
		"Sum", "Product", "Minus", "Divide", "Mod", "Concatenate", "Append", "EQ", "NE", "LT", "LE", "GT", "GE",
		"And", "Or", "Xor", "Implies", "Not", "IfThenElse", "Switch", "Vector",
		"Format", "Next", "Random", "Date", "Set", "UserInput", "Ref", "SystemComponent", "Constraint",
		"schema-Compulsory", "schema-Integer", "schema-Long", "schema-Float", "schema-Double", "schema-String",
		"schema-Boolean", "schema-Vector", "schema-CD", "schema-Reference", "schema-Null", "schema-types",
		"CONSTANT", "typed", "section18", "section21", "section22",
	)
	for _, code := range diag.Codes() {
		if strings.HasPrefix(string(code), "SDL") {
			ids = append(ids, string(code))
		}
	}
	return ids
}

// without says why an identifier has no file of one kind.
var without = map[string]string{
	"CO1-ok": "measured by BenchmarkDescription", "CO1-bad": "measured",
	"CO2-ok": "measured by BenchmarkDescription", "CO2-bad": "measured",
	"CO3-ok": "measured by BenchmarkDescription", "CO3-bad": "measured",
	"CO4-ok": "TestResolvingStopsWhenItsContextIsCancelled", "CO4-bad": "measured",
	"Date-bad":            "takes anything",
	"SystemComponent-bad": "takes anything",
	"typed-bad":           "output",
	"section21-bad":       "output",
}

func TestEveryIdentifierHasCases(t *testing.T) {
	have := map[string]bool{}
	resolved, err := filepath.Glob("testdata/*.sf")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := filepath.Glob("../syntax/testdata/*.sf")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range slices.Concat(resolved, parsed) {
		have[strings.TrimSuffix(filepath.Base(f), ".sf")] = true
	}
	for _, id := range identifiers() {
		for _, name := range []string{id + "-ok", id + "-bad"} {
			if why := without[name]; !have[name] && why == "" {
				t.Errorf("%s.sf is missing", name)
			}
		}
	}
	known := identifiers()
	for name := range have {
		id := strings.TrimSuffix(strings.TrimSuffix(name, "-ok"), "-bad")
		if id == name || !slices.Contains(known, id) && !strings.HasPrefix(id, "library-") {
			t.Errorf("%s.sf is named by no identifier", name)
		}
	}
}

// Every template of the library's language files is used in a case.
func TestEveryTemplateIsUsedInACase(t *testing.T) {
	used := map[string]bool{}
	for _, chunk := range caseChunks(t) {
		for _, m := range regexp.MustCompile(`extends (?:DATA )?(\w+)`).FindAllStringSubmatch(chunk, -1) {
			used[m[1]] = true
		}
	}
	for _, file := range []string{"functions.sf", "predicates.sf", "org/smartfrog/sfcore/prim/prim.sf", "org/smartfrog/sfcore/compound/compound.sf"} {
		text, err := fs.ReadFile(library.FS, file)
		if err != nil {
			t.Fatal(err)
		}
		var list diag.List
		for _, item := range syntax.Parse(file, text, &list).Items {
			a, isAttribute := item.(*syntax.Attribute)
			if !isAttribute || a.Name == "sfCodeBase" {
				continue
			}
			if !used[a.Name] {
				t.Errorf("%s of %s is in no case", a.Name, file)
			}
		}
	}
}
