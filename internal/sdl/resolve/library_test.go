package resolve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aloft/library"
)

// The smallest real system, and the example of the cloud papers.
var systems = map[string]string{
	"smallest": `#include "softwarecomponents/definitions.sf";
#include "cloudprovider/definitions.sf";
sfConfig extends {
  m1 extends VM {
    cloudProvider "local";
    software extends VirtualSoftwareComponent {
      sfProcessHost LAZY PARENT:ip;
      p extends Process { command [| "sleep", "infinity" |]; }
    }
  }
}`,
	"compound": `#include "components.sf"
sfConfig extends Compound { a extends Prim { sfClass "X"; } }`,
}

func TestSystemsOfTheLibraryResolveWithoutWarning(t *testing.T) {
	for name, text := range systems {
		t.Run(name, func(t *testing.T) {
			res := resolveText(t, text, Options{})
			if res.Description == nil || len(res.Diagnostics.All()) > 0 {
				for _, d := range res.Diagnostics.All() {
					t.Errorf("%s %s %s %q", d.Span.Pos, d.Code, d.Message, d.Hints)
				}
			}
		})
	}
}

func TestEveryFileOfTheLibraryResolves(t *testing.T) {
	for _, name := range library.Names() {
		before := "#include \"components.sf\"\n"
		if strings.HasPrefix(name, "aloft/") || strings.Contains(name, "definitions.sf") {
			before = "" // these include what they need
		}
		res := resolveText(t, before+"#include \""+name+"\"\nsfConfig extends {}", Options{})
		for _, d := range res.Diagnostics.All() {
			t.Errorf("%s: %s %s %s %q", name, d.Span.Pos, d.Code, d.Message, d.Hints)
		}
	}
}

// The examples resolve without a warning, and the text of every phase means
// what the file does.
func TestExamplesResolveWithoutWarning(t *testing.T) {
	files, err := filepath.Glob("../../../examples/*.sf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			res := resolveText(t, string(text), Options{})
			for _, d := range res.Diagnostics.All() {
				t.Errorf("%s %s %s %q", d.Span.Pos, d.Code, d.Message, d.Hints)
			}
			for _, p := range Phases {
				again := resolveText(t, resolveText(t, string(text), Options{Until: p}).Text(), Options{})
				if got := string(typed(again.Tree)); got != string(typed(res.Tree)) {
					t.Errorf("after %s: %v\ngot  %s\nwant %s", p, first(again), got, typed(res.Tree))
				}
			}
		})
	}
}
