package plan

import (
	"testing"

	"aloft/value"
)

// What is taken apart and put back is what it was, whether what is around it is
// still there or not; and what is around it says as much of it as before.
func TestPartThatIsGraftedIsAsItWas(t *testing.T) {
	const around = `sfOnFailure "undo"; n 1; group extends Compound { sfLivenessDelay 7; note "x"; `
	whole := tree(t, "whole.sf", "sfConfig extends { "+around+`a extends VM { size 2; b extends Server; } c extends VM { } } }`).Root.Comp
	for name, c := range map[string]struct{ rest, want string }{
		"beside the rest":       {"sfConfig extends { " + around + "c extends VM { } } }", "sfConfig extends { " + around + "c extends VM { } a extends VM { size 2; b extends Server; } } }"},
		"without what is round": {"sfConfig extends { other 2; }", `sfConfig extends { other 2; group extends Compound { sfLivenessDelay 7; a extends VM { size 2; b extends Server; } } }`},
		"without anything":      {"sfConfig extends { }", `sfConfig extends { sfOnFailure "undo"; group extends Compound { sfLivenessDelay 7; a extends VM { size 2; b extends Server; } } }`},
	} {
		t.Run(name, func(t *testing.T) {
			alone, ok := Apart(whole, "group:a")
			if !ok {
				t.Fatal("there is no group:a")
			}
			got, ok := Graft(tree(t, "rest.sf", c.rest).Root.Comp, alone, "group:a")
			want := tree(t, "want.sf", c.want).Root.Comp
			if !ok || !value.Equal(got, want) {
				t.Errorf("%s\nwant\n%s", value.Source(got), value.Source(want))
			}
		})
	}
}

// Nothing of a description is lost to a part that has its place.
func TestPartIsNotGraftedOverAnother(t *testing.T) {
	whole := tree(t, "whole.sf", "sfConfig extends { group extends { a extends VM { } } }").Root.Comp
	alone, _ := Apart(whole, "group:a")
	for name, text := range map[string]string{
		"the same": "sfConfig extends { group extends { a extends VM { } } }",
		"a value":  "sfConfig extends { group extends { a 1; } }",
		"around":   "sfConfig extends { group 1; }",
		"data":     "sfConfig extends { group extends DATA { } }",
	} {
		if got, ok := Graft(tree(t, "rest.sf", text).Root.Comp, alone, "group:a"); ok {
			t.Errorf("%s: %s", name, value.Source(got))
		}
	}
	for _, path := range []value.Path{"group:b", "group:a:x", "b"} {
		if _, ok := Apart(whole, path); ok {
			t.Errorf("there is a part at %s", path)
		}
	}
}
