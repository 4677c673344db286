package resolve

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
)

// lexeme splits a text well enough to damage it.
var lexeme = regexp.MustCompile(`//[^\n]*|"(?:[^"\\]|\\.)*"|#include\??|\[\||\|\]|[\w.$@^~%&-]+|\s+|.`)

// mostMessages is how many errors one mistake may give: three, where a name is
// lost that others refer to.
const mostMessages = 3

// Take a right description, leave one token out, write it twice, or swap it with
// the next: that is one mistake, and no more than a few messages.
func TestOneMistakeGivesFewMessages(t *testing.T) {
	if testing.Short() {
		t.Skip("damages some hundred places, three ways each")
	}
	files, err := filepath.Glob("../../../examples/*.sf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no systems: %v", err)
	}
	files = append(files, "testdata/section22-ok.sf", "testdata/LK14-ok.sf", "testdata/AS4-ok.sf", "testdata/TY5-ok.sf", "testdata/Switch-ok.sf", "testdata/PL3-ok.sf")
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n----\n")
			damage(first, func(what, damaged string) {
				list := resolveText(t, damaged, Options{}).Diagnostics
				if list.Errors() > mostMessages {
					var b strings.Builder
					_ = diag.WriteText(&b, &list, func(string) ([]byte, bool) { return []byte(damaged), true })
					t.Errorf("%s: %d errors\n%s", what, list.Errors(), b.String())
				}
			})
		})
	}
}

// damage calls try with each way to damage text in one place.
func damage(text string, try func(what, damaged string)) {
	all := lexeme.FindAllString(text, -1)
	var at []int
	for i, s := range all {
		if strings.TrimSpace(s) != "" && !strings.HasPrefix(s, "//") {
			at = append(at, i)
		}
	}
	for k, i := range at {
		without := slices.Clone(all)
		without[i] = ""
		try("without "+all[i], strings.Join(without, ""))
		twice := slices.Clone(all)
		twice[i] += " " + all[i]
		try("twice "+all[i], strings.Join(twice, ""))
		if k+1 < len(at) {
			swapped := slices.Clone(all)
			swapped[i], swapped[at[k+1]] = swapped[at[k+1]], swapped[i]
			try("swapped "+all[i]+" and "+all[at[k+1]], strings.Join(swapped, ""))
		}
	}
}
