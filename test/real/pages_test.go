package real

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
)

// block is a fenced block of a page: what it is, the name of its file, if it
// has one, and its content.
var block = regexp.MustCompile("(?ms)^```(sf|yaml|text)(?: ([a-z./]+))?\n(.*?)^```$")

// TestEveryDiagnosticHasAPageThatIsTrue runs the examples of doc/diagnostics:
// on every page the wrong one gives the diagnostic that is shown, and the right
// one gives none. UPDATE=1 writes what is shown anew.
func TestEveryDiagnosticHasAPageThatIsTrue(t *testing.T) {
	h := asNobody(t) // who has process machines only: one page is about them
	h.do("daemon", "start")
	pages, err := filepath.Abs("../../doc/diagnostics")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(pages, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, code := range diag.Codes() {
		known[string(code)+".md"] = true
		file := filepath.Join(pages, string(code)+".md")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%s has no page: %v", code, err)
			continue
		}
		t.Run(string(code), func(t *testing.T) { h.page(t, string(code), file, string(text)) })
	}
	for _, file := range files {
		if !known[filepath.Base(file)] {
			t.Errorf("%s is the page of no diagnostic", file)
		}
	}
}

// page runs the examples of one page.
func (h *home) page(t *testing.T, code, file, text string) {
	if !strings.HasPrefix(text, "# "+code+": ") {
		t.Errorf("the page does not begin with its code and title")
	}
	var shown []int // where the output is shown: from, to
	wrong := ""
	dir := filepath.Join(h.dir, "pages", code)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // convert writes a file, as nobody
		t.Fatal(err)
	}
	ex := runningOf(code)
	for _, m := range block.FindAllStringSubmatchIndex(text, -1) {
		name, content := ex.file, text[m[6]:m[7]]
		if m[4] >= 0 {
			name = text[m[4]:m[5]]
		}
		if text[m[2]:m[3]] == "text" {
			shown = m[6:8]
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if name != ex.file {
			continue
		}
		out := h.say(t, dir, ex.args)
		switch {
		case wrong == "" && !strings.Contains(out, " "+code+" "):
			t.Errorf("the wrong example does not give %s but\n%s", code, out)
			return
		case wrong == "":
			wrong = out
		case out != ex.right:
			t.Errorf("the right example gives\n%s", out)
		}
	}
	if wrong == "" || shown == nil {
		t.Fatal("the page lacks a wrong example, or what it gives")
	}
	if text[shown[0]:shown[1]] == wrong {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Errorf("the page shows\n%sbut the wrong example gives\n%s", text[shown[0]:shown[1]], wrong)
		return
	}
	if err := os.WriteFile(file, []byte(text[:shown[0]]+wrong+text[shown[1]:]), 0o644); err != nil {
		t.Error(err)
	}
}

// running is how the examples of a page are run.
type running struct {
	file  string // what their blocks are called
	args  []string
	right string // what is said of one without mistakes
}

func runningOf(code string) running {
	switch code[:3] {
	case "PLN":
		return running{"site.sf", []string{"plan", "site.sf"}, ""}
	case "CNV":
		return running{"compose.yaml", []string{"convert", "compose.yaml", "-o", "site.sf"}, ""}
	default:
		return running{"site.sf", []string{"check", "site.sf"}, "site.sf: no errors\n"}
	}
}

// say returns what aloft says when run with args in dir.
func (h *home) say(t *testing.T, dir string, args []string) string {
	t.Helper()
	cmd := h.command(args...)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput() // the status of a wrong description
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(out), strconv.Quote(host), `"myhost"`)
}
