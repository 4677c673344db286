package aloft_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestOperationsNamesTestsThatExist keeps the table of bad days true: each row
// names a test that is there, and each day of TestBadDays has a row.
func TestOperationsNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("doc/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var days []byte
	for _, name := range []string{"badday", "badclock"} {
		some, err := os.ReadFile("test/real/" + name + "_test.go")
		if err != nil {
			t.Fatal(err)
		}
		days = append(days, some...)
	}
	there := testsThatExist(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)(?:/([\\w-]+))?`")
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| bad day") {
			continue
		}
		rows++
		found := named.FindAllStringSubmatch(line, -1)
		if len(found) == 0 {
			t.Errorf("no test in the row %q", line)
		}
		for _, m := range found {
			if !there[m[1]] {
				t.Errorf("doc/operations.md names %s, which does not exist", m[1])
			}
			if m[2] != "" && !strings.Contains(string(days), `w.day("`+m[2]+`"`) {
				t.Errorf("doc/operations.md names %s/%s, which is no day of it", m[1], m[2])
			}
		}
	}
	if rows < 20 {
		t.Errorf("doc/operations.md has %d rows", rows)
	}
	for _, m := range regexp.MustCompile(`w\.day\("([\w-]+)"`).FindAllStringSubmatch(string(days), -1) {
		if !strings.Contains(string(text), "`TestBadDays/"+m[1]+"`") {
			t.Errorf("doc/operations.md has no row for %s", m[1])
		}
	}
}
