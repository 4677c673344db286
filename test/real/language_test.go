package real

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// example is a description in doc/language.md, right or wrong, and what is
// shown below it, if something is.
var example = regexp.MustCompile("(?ms)^```sf( wrong)?\n(.*?)^```\n(?:\n```text\n(.*?)^```)?")

// TestExamplesOfTheLanguageAreTrue runs the examples of doc/language.md.
// UPDATE=1 writes what they give anew.
func TestExamplesOfTheLanguageAreTrue(t *testing.T) {
	file := filepath.Join("..", "..", "doc", "language.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	h := &home{t: t, dir: t.TempDir()}
	var anew strings.Builder
	end, n := 0, 0
	for _, m := range example.FindAllStringSubmatchIndex(text, -1) {
		n++
		content, wrong := text[m[4]:m[5]], m[2] >= 0
		if err := os.WriteFile(filepath.Join(h.dir, "shop.sf"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		out, status := h.try("parse", "shop.sf", "--strict")
		if (status != 0) != wrong {
			t.Errorf("exit %d of\n%s\n%s", status, content, out)
		}
		if m[6] < 0 {
			continue
		}
		if shown := text[m[6]:m[7]]; shown != out && os.Getenv("UPDATE") == "" {
			t.Errorf("of\n%s\nthe page shows\n%sand it gives\n%s", content, shown, out)
		}
		anew.WriteString(text[end:m[6]] + out)
		end = m[7]
	}
	if n < 15 {
		t.Errorf("only %d examples found", n)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(anew.String()+text[end:]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
