package resolve

import (
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
