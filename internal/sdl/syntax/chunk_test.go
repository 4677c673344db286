package syntax

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
)

// The files in testdata are named by the rule they check. Each holds chunks
// separated by a line of four dashes; behind a line of four equal signs stands
// the text the chunk is printed as. A mistake is announced on its line:
//
//	a = 1; //! SDL101@3 illegal character
//
// that is code, column, and text of the message and what is said below it, with
// " … " where something is left out. //!+2 speaks of the second line further
// down, for mistakes that no comment can stand behind.
var want = regexp.MustCompile(`^([+-]\d+)? (SDL\d+)@(\d+) (.*)`)

func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".sf"), func(t *testing.T) {
			line := 1
			for chunk := range strings.SplitSeq(string(text), "----\n") {
				src, printed, ok := strings.Cut(chunk, "====\n")
				checkChunk(t, fmt.Sprintf("%s:%d", file, line), src, printed)
				if bad := strings.Contains(file, "-bad"); bad == ok {
					t.Errorf("%s:%d: a chunk of a good file has a printed form, one of a bad file mistakes", file, line)
				}
				line += strings.Count(chunk, "\n") + 1
			}
		})
	}
}

func checkChunk(t *testing.T, where, src, printed string) {
	t.Helper()
	var list diag.List
	f := Parse("x", []byte(src), &list)
	var found []string
	for _, d := range list.All() {
		var b strings.Builder
		one := diag.List{}
		one.Add(d)
		if err := diag.WriteText(&b, &one, nil); err != nil {
			t.Fatal(err)
		}
		found = append(found, strings.ReplaceAll(b.String(), "\n", " "))
		if d.Expected == "" || d.Found == "" || d.Class == "" {
			t.Errorf("%s: incomplete: %+v", where, d)
		}
	}
	for i, line := range strings.Split(src, "\n") {
		_, rest, ok := strings.Cut(line, "//!")
		if !ok {
			continue
		}
		for part := range strings.SplitSeq(rest, "//!") {
			m := want.FindStringSubmatch(strings.TrimRight(part, " \r"))
			if m == nil {
				t.Fatalf("%s: malformed expectation %q", where, part)
			}
			skip, _ := strconv.Atoi(m[1])
			first := fmt.Sprintf("x:%d:%s: error %s (raw): ", i+1+skip, m[3], m[2])
			at := slices.IndexFunc(found, func(text string) bool {
				text, ok := strings.CutPrefix(text, first)
				return ok && saysAll(text, m[4])
			})
			if at < 0 {
				t.Errorf("%s: missing %s%s", where, first, m[4])
				continue
			}
			found = slices.Delete(found, at, at+1)
		}
	}
	for _, d := range found {
		t.Errorf("%s: unexpected %s", where, d)
	}
	if list.Errors() > 0 {
		return
	}
	text := Print(f)
	if text != printed {
		t.Errorf("%s: printed as\n%s\nwant\n%s", where, text, printed)
	}
	again := Parse("x", []byte(text), &list)
	if list.Errors() > 0 || !sameTree(f, again) {
		t.Errorf("%s: printed form reads as another tree:\n%s%s", where, text, messages(&list, text))
	}
}

// saysAll reports whether text holds the parts of want, which " … " separates,
// one behind the other.
func saysAll(text, want string) bool {
	for part := range strings.SplitSeq(want, " … ") {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}
