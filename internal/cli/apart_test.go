package cli

import (
	"strings"
	"testing"

	"aloft/api"
	"aloft/internal/sdl/diag"
)

func TestAPlanShowsWhereLongValuesDiffer(t *testing.T) {
	long := strings.Repeat("same ", 40)
	for name, c := range map[string]struct{ was, is, wantWas, wantIs string }{
		"short":          {"80", "81", "80", "81"},
		"early":          {"x" + long, "y" + long, "x" + long[:70] + "…", "y" + long[:70] + "…"},
		"late":           {long + "old", long + "new", "old", "new"},
		"longer":         {long, long + "new", "…", "new"},
		"behind a break": {long + "\n  old", long + "\n  new", "old", "new"},
	} {
		t.Run(name, func(t *testing.T) {
			was, is := apart(c.was, c.is)
			if !strings.Contains(was, c.wantWas) || !strings.Contains(is, c.wantIs) || was == is {
				t.Errorf("%q -> %q", was, is)
			}
			if n := len([]rune(was)); n > maxShown+1 {
				t.Errorf("%d characters", n)
			}
		})
	}
}

// Planning refuses what is only a warning while a file is checked: it must not
// look as if it were one.
func TestAnErrorOfTheDaemonIsShownAsOne(t *testing.T) {
	list := diagnostics([]api.Diagnostic{{Severity: "error", Code: string(diag.LazyUnresolvable), Message: "x"}})
	if list.Errors() != 1 {
		t.Errorf("%d errors, %d warnings", list.Errors(), list.Warnings())
	}
}
